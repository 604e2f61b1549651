// Ends by address and by name.
#include "app/daemon/handlers/policy_names.h"

#include <algorithm>
#include <set>

namespace tombolo {
namespace {

// Reserved identity numbers, as Cilium gives them.
constexpr std::uint32_t kHost = 1;
constexpr std::uint32_t kInit = 5;
constexpr std::uint32_t kRemoteNode = 6;
constexpr std::uint32_t kFirstOfPods = 256;

void show_labels(const Identity& identity, admin::api::PolicyEnd& shown) {
  for (const auto& [key, value] : identity.labels)
    shown.add_labels(fmt::format("{}={}", key, value));
  for (const auto& [key, value] : identity.namespace_labels)
    shown.add_namespace_labels(fmt::format("{}={}", key, value));
}

bool of_node(const Table<Node>& nodes, const Ip& ip, NamedEnd& end) {
  for (const auto& [key, versioned] : nodes.rows()) {
    if (std::ranges::find(versioned.row.internal_ips, ip) == versioned.row.internal_ips.end())
      continue;
    end.shown.set_cluster(versioned.row.cluster);
    end.shown.set_what("node");
    end.shown.set_node(versioned.row.name);
    return true;
  }
  return false;
}

bool has(const std::vector<Ip>& ips, const Ip& ip) {
  return std::ranges::find(ips, ip) != ips.end();
}

}  // namespace

NamedEnd PolicyNames::at(const Ip& ip) const {
  NamedEnd end;
  end.ip = ip;
  end.shown.set_address(ip.str());
  end.shown.set_what("outside");
  if (agent_ != nullptr)
    fill_from_agent(ip, end);
  else
    fill_from_controller(ip, end);
  if (end.identity) show_labels(*end.identity, end.shown);
  return end;
}

void PolicyNames::fill_from_agent(const Ip& ip, NamedEnd& end) const {
  auto& shown = end.shown;
  std::uint32_t number = 0;
  if (const IpOwner* owner = agent_->ip_owners.find(ip.str())) {
    number = owner->identity;
    shown.set_cluster(owner->cluster);
    shown.set_name_space(owner->name_space);
    shown.set_pod(owner->pod_name);
    end.node_ip = owner->node_ip;
    end.ports = owner->ports;
    end.is_pod = !owner->pod_name.empty() || number >= kFirstOfPods || number == kInit;
    if (number == kHost || number == kRemoteNode) shown.set_what("node");
  } else {
    // A pod of this node may be known before its record has gone through the store.
    for (const auto& [key, versioned] : agent_->guarded_pods.rows()) {
      const GuardedPod& pod = versioned.row;
      if (!has(pod.ips, ip)) continue;
      std::size_t slash = pod.pod.find('/');
      number = pod.identity;
      shown.set_cluster(cluster_);
      shown.set_name_space(pod.pod.substr(0, slash));
      if (slash != std::string::npos) shown.set_pod(pod.pod.substr(slash + 1));
      if (const LocalPod* local = agent_->local_pods.find(pod.pod)) end.ports = local->ports;
      end.is_pod = true;
      break;
    }
  }
  shown.set_identity(number);
  if (end.node_ip) shown.set_node(end.node_ip->str());
  if (const Identity* identity = agent_->identities.find(std::to_string(number)))
    end.identity = *identity;
  if (end.is_pod) shown.set_what(end.identity ? "pod" : "pod without identity");
  if (!end.is_pod && shown.what() == "outside") of_node(agent_->nodes, ip, end);
}

void PolicyNames::fill_from_controller(const Ip& ip, NamedEnd& end) const {
  for (const auto& [key, versioned] : controller_->workloads.rows()) {
    const Workload& workload = versioned.row;
    if (!has(workload.ips, ip) || workload.host_network || workload.finished) continue;
    Identity identity;
    identity.number = workload.identity;
    identity.cluster = cluster_;
    identity.name_space = workload.name_space;
    identity.service_account = workload.service_account;
    identity.labels = workload.labels;
    if (const Namespace* name_space = controller_->namespaces.find(workload.name_space))
      identity.namespace_labels = name_space->labels;
    identity.namespace_labels["kubernetes.io/metadata.name"] = workload.name_space;
    end.shown.set_cluster(cluster_);
    end.shown.set_name_space(workload.name_space);
    end.shown.set_pod(workload.name);
    end.shown.set_identity(workload.identity);
    end.shown.set_node(workload.node);
    end.shown.set_what("pod");
    end.identity = std::move(identity);
    end.ports = workload.ports;
    end.is_pod = true;
    if (const Node* node = controller_->nodes.find(cluster_ + "/" + workload.node))
      for (const Ip& address : node->internal_ips)
        if (address.family() == ip.family()) end.node_ip = address;
    return;
  }
  of_node(controller_->nodes, ip, end);
}

Result<Ip> PolicyNames::address_of(const std::string& cluster, const std::string& name_space,
                                   const std::string& pod) const {
  std::map<std::string, Ip> found;  // the first address per cluster: IPv4 where there is one
  auto add = [&](const std::string& of, const Ip& ip) {
    if (!cluster.empty() && of != cluster) return;
    auto [at, fresh] = found.try_emplace(of, ip);
    if (!fresh && at->second.family() == Family::kV6 && ip.family() == Family::kV4) at->second = ip;
  };
  std::string key = object_key(name_space, pod);
  if (agent_ != nullptr) {
    for (const auto& [text, versioned] : agent_->ip_owners.rows())
      if (versioned.row.pod_name == pod && versioned.row.name_space == name_space)
        add(versioned.row.cluster, versioned.row.ip);
    for (const auto& [id, versioned] : agent_->guarded_pods.rows())
      if (versioned.row.pod == key)
        for (const Ip& ip : versioned.row.ips) add(cluster_, ip);
  } else if (const Workload* workload = controller_->workloads.find(key)) {
    for (const Ip& ip : workload->ips) add(cluster_, ip);
  }
  if (auto own = found.find(cluster_); own != found.end()) return own->second;
  if (found.size() == 1) return found.begin()->second;
  std::string asked = cluster.empty() ? key : cluster + "/" + key;
  if (found.empty() && agent_ == nullptr)
    return fail(Code::kNotFound,
                "no pod {} in cluster {}; this controller has no agent beside it: ask an agent for "
                "pods of other clusters",
                asked, cluster_);
  if (found.empty()) return fail(Code::kNotFound, "no pod {} with an address", asked);
  std::vector<std::string> clusters;
  for (const auto& [name, ip] : found) clusters.push_back(name);
  return fail(Code::kInvalidArgument, "pod {} is in the clusters {}: say CLUSTER/{}", asked,
              fmt::join(clusters, ", "), key);
}

Result<NamedEnd> PolicyNames::find(const std::string& text) const {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t slash = text.find('/'); slash != std::string::npos;
       slash = text.find('/', begin)) {
    parts.push_back(text.substr(begin, slash - begin));
    begin = slash + 1;
  }
  parts.push_back(text.substr(begin));
  bool empty_part = std::ranges::any_of(parts, [](const auto& part) { return part.empty(); });
  if (parts.size() > 3 || empty_part)
    return fail(Code::kInvalidArgument, "\"{}\" is not NS/POD, CLUSTER/NS/POD or an address", text);
  if (parts.size() == 1) {
    auto ip = Ip::parse(text);
    if (!ip)
      return fail(Code::kInvalidArgument, "\"{}\" is not NS/POD, CLUSTER/NS/POD or an address",
                  text);
    return at(*ip);
  }
  bool with_cluster = parts.size() == 3;
  TRY(ip, address_of(with_cluster ? parts[0] : "", parts[with_cluster ? 1 : 0],
                     parts[with_cluster ? 2 : 1]));
  return at(ip);
}

}  // namespace tombolo
