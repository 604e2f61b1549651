// kubeadm: the ranges as a ClusterConfiguration for `kubeadm init --config`, and the size of a
// node's part of the pod range as flags of the controller manager. Form: kubeadm.k8s.io/v1beta4
// (Kubernetes 1.31 and newer), where extraArgs is a list.
#include "ipamd/export/internal.h"

namespace tombolo::exports {

Result<std::string> kubeadm(const Job& job) {
  const PlannedCluster& cluster = *job.cluster;
  // Kubernetes takes one range per family and use.
  for (BlockUse use : {BlockUse::kPod, BlockUse::kService})
    for (Family family : {Family::kV4, Family::kV6})
      if (ranges_of(cluster, use, family).size() > 1)
        return fail(Code::kFailedPrecondition,
                    "cluster {} has several {} {} ranges; kubeadm takes one", cluster.name,
                    to_string(family), to_string(use));
  std::string text = heading(job, "kubeadm");
  text += fmt::format(
      "apiVersion: kubeadm.k8s.io/v1beta4\n"
      "kind: ClusterConfiguration\n"
      "clusterName: \"{}\"\n"
      "networking:\n",
      cluster.name);
  if (auto pods = ranges_of(cluster, BlockUse::kPod); !pods.empty())
    text += fmt::format("  podSubnet: \"{}\"\n", joined(pods));
  else
    text += "  # No podSubnet: pods take addresses of the underlay.\n";
  text += fmt::format("  serviceSubnet: \"{}\"\n", joined(ranges_of(cluster, BlockUse::kService)));
  std::string arguments;
  for (const PlannedRange& range : cluster.ranges)
    if (range.use == BlockUse::kPod && range.node_prefix_length > 0)
      arguments += fmt::format(
          "    - name: node-cidr-mask-size-{}\n"
          "      value: \"{}\"\n",
          lower(range.prefix.family()), range.node_prefix_length);
  if (!arguments.empty()) text += "controllerManager:\n  extraArgs:\n" + arguments;
  return text;
}

}  // namespace tombolo::exports
