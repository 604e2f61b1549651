// Pods and the controllers that make pods (k8s.io/api core/v1 and apps/v1). Pure.
#include <set>

#include "servicesync/manifests/internal.h"

namespace tombolo::manifests {
namespace {

Result<void> decode_container_ports(const Cursor& container, std::vector<NamedPort>& out) {
  Cursor ports = container["ports"];
  if (ports.is_null()) return {};
  TRY_OK(ports.expect_array());
  std::set<std::string> names;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    Cursor port = ports.at(i);
    TRY_OK(port.expect_object());
    NamedPort entry;
    Cursor name = port["name"];
    TRY(text, name.string_or(""));
    if (!text.empty() && !is_port_name(text))
      return name.error(
          fmt::format("'{}' is not a port name (lower-case letters, digits, '-', a "
                      "letter at least, at most 15)",
                      text.substr(0, 80)));
    if (!text.empty() && !names.insert(text).second)
      return name.error(fmt::format("'{}' stands twice in this container", text));
    entry.name = std::move(text);
    TRY(protocol, decode_protocol(port["protocol"]));
    TRY(number, decode_port(port["containerPort"]));
    entry.protocol = protocol;
    entry.port = number;
    out.push_back(std::move(entry));
  }
  return {};
}

Result<void> decode_containers(const Cursor& containers, bool sidecars_only,
                               std::vector<NamedPort>& out) {
  if (containers.is_null()) return {};
  TRY_OK(containers.expect_array());
  for (std::size_t i = 0; i < containers.size(); ++i) {
    Cursor container = containers.at(i);
    TRY_OK(container.expect_object());
    if (sidecars_only) {
      TRY(restart, container["restartPolicy"].string_or(""));
      if (restart != "Always") continue;
    }
    TRY_OK(decode_container_ports(container, out));
  }
  return {};
}

// status.podIPs, else status.podIP.
Result<std::vector<Ip>> decode_pod_ips(const Cursor& status) {
  std::vector<Ip> ips;
  Cursor list = status["podIPs"];
  if (!list.is_null()) {
    TRY_OK(list.expect_array());
    for (std::size_t i = 0; i < list.size(); ++i) {
      Cursor entry = list.at(i);
      TRY(ip, decode_ip(entry["ip"]));
      ips.push_back(ip);
    }
    return ips;
  }
  Cursor single = status["podIP"];
  TRY(text, single.string_or(""));
  if (!text.empty()) {
    TRY(ip, decode_ip(single));
    ips.push_back(ip);
  }
  return ips;
}

// What the Ready condition says; true when there is none.
Result<bool> decode_ready(const Cursor& status) {
  Cursor conditions = status["conditions"];
  if (conditions.is_null()) return true;
  TRY_OK(conditions.expect_array());
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    Cursor condition = conditions.at(i);
    TRY(type, condition["type"].string());
    if (type != "Ready") continue;
    Cursor value = condition["status"];
    TRY(text, value.string());
    if (text != "True" && text != "False" && text != "Unknown")
      return value.error(
          fmt::format("'{}' is not one of True, False, Unknown", text.substr(0, 80)));
    return text == "True";
  }
  return true;
}

}  // namespace

Result<void> decode_pod_spec(const Cursor& spec, Workload& pod) {
  if (spec.is_null()) return {};
  TRY_OK(spec.expect_object());
  TRY(node, spec["nodeName"].string_or(""));
  TRY(legacy_account, spec["serviceAccount"].string_or("default"));
  TRY(account, spec["serviceAccountName"].string_or(legacy_account));
  if (!account.empty() && !is_dns_subdomain(account))
    return spec["serviceAccountName"].error(
        fmt::format("'{}' is not an RFC 1123 subdomain", account.substr(0, 80)));
  TRY(hostname, optional_label(spec["hostname"]));
  TRY(subdomain, optional_label(spec["subdomain"]));
  TRY(host_network, spec["hostNetwork"].boolean_or(false));
  pod.node = std::move(node);
  pod.service_account = account.empty() ? "default" : std::move(account);
  pod.hostname = std::move(hostname);
  pod.subdomain = std::move(subdomain);
  pod.host_network = host_network;
  TRY_OK(decode_containers(spec["containers"], false, pod.ports));
  return decode_containers(spec["initContainers"], true, pod.ports);
}

Result<Workload> decode_pod(Cursor root) {
  TRY(metadata, decode_metadata(root, NameKind::kSubdomain));
  Workload pod;
  pod.name_space = std::move(metadata.name_space);
  pod.name = std::move(metadata.name);
  pod.labels = std::move(metadata.labels);
  pod.annotations = std::move(metadata.annotations);
  pod.owner = std::move(metadata.owner);
  pod.terminating = metadata.deleted;
  TRY_OK(decode_pod_spec(root["spec"], pod));
  Cursor status = root["status"];
  Cursor phase_at = status["phase"];
  TRY(phase, phase_at.string_or("Running"));
  static const std::set<std::string, std::less<>> kPhases{"Pending", "Running", "Succeeded",
                                                          "Failed", "Unknown"};
  if (!kPhases.contains(phase))
    return phase_at.error(fmt::format(
        "'{}' is not one of Pending, Running, Succeeded, Failed, Unknown", phase.substr(0, 80)));
  pod.finished = phase == "Succeeded" || phase == "Failed";
  TRY(ready, decode_ready(status));
  pod.ready = ready && !pod.finished;
  TRY(ips, decode_pod_ips(status));
  if (!pod.finished) pod.ips = std::move(ips);
  return pod;
}

std::string PodTemplate::key() const {
  return fmt::format("{}/{}/{}", pod.name_space, kind, name);
}

bool names_pod(const PodTemplate& pods, std::string_view pod_name) {
  return pod_name.size() > pods.name.size() + 1 && pod_name.starts_with(pods.name) &&
         pod_name[pods.name.size()] == '-';
}

Result<PodTemplate> decode_virtual_machine(Cursor root) {
  TRY(metadata, decode_metadata(root, NameKind::kSubdomain));
  Cursor spec = root["spec"];
  TRY_OK(spec.expect_object());
  Cursor machine = spec["template"];
  TRY_OK(machine.expect_object());
  TRY(pod_metadata, decode_template_metadata(machine["metadata"]));
  PodTemplate result;
  result.kind = "VirtualMachine";
  // KubeVirt, pkg/virt-controller/services: GenerateName "virt-launcher-NAME-".
  result.name = "virt-launcher-" + metadata.name;
  result.pod.name_space = std::move(metadata.name_space);
  result.pod.labels = std::move(pod_metadata.labels);
  result.pod.labels["vm.kubevirt.io/name"] = metadata.name;
  result.pod.annotations = std::move(pod_metadata.annotations);
  result.pod.owner = object_key("VirtualMachineInstance", metadata.name);
  result.pod.ready = true;
  return result;
}

Result<PodTemplate> decode_pod_template(Cursor root) {
  TRY(metadata, decode_metadata(root, NameKind::kSubdomain));
  PodTemplate result;
  TRY(kind, root["kind"].string());
  Cursor spec = root["spec"];
  TRY_OK(spec.expect_object());
  Cursor pods = spec["template"];
  TRY_OK(pods.expect_object());
  TRY(pod_metadata, decode_template_metadata(pods["metadata"]));
  result.kind = std::move(kind);
  result.name = std::move(metadata.name);
  result.pod.name_space = std::move(metadata.name_space);
  result.pod.labels = std::move(pod_metadata.labels);
  result.pod.annotations = std::move(pod_metadata.annotations);
  result.pod.ready = true;
  TRY_OK(decode_pod_spec(pods["spec"], result.pod));
  TRY(replicas, spec["replicas"].integer_or(1, 0, INT32_MAX));
  result.replicas = static_cast<std::uint32_t>(replicas);
  if (result.kind == "StatefulSet") {
    Cursor ordinals = spec["ordinals"];
    TRY(start, ordinals["start"].integer_or(0, 0, INT32_MAX));
    result.first_ordinal = static_cast<std::uint32_t>(start);
  }
  // Pods of a ReplicaSet that a Deployment made are the Deployment's.
  bool made = result.kind == "ReplicaSet" && metadata.owner.starts_with("Deployment/");
  result.pod.owner = made ? std::move(metadata.owner) : object_key(result.kind, result.name);
  if (result.kind == "StatefulSet") {
    TRY(service, optional_label(spec["serviceName"]));
    result.pod.subdomain = std::move(service);
    result.hostname_is_name = true;
  }
  return result;
}

}  // namespace tombolo::manifests
