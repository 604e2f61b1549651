// Records of identities and addresses as the rows of policy, and workload records as the pods of a
// node. Pure.
#include <charconv>

#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

constexpr std::string_view kReservedPrefix = "io.cilium.k8s.";

}  // namespace

Identity identity_row_of(std::uint32_t number, const StringMap& labels) {
  Identity row;
  row.number = number;
  for (const auto& [key, value] : labels) {
    if (key == kClusterLabel)
      row.cluster = value;
    else if (key == kAccountLabel)
      row.service_account = value;
    else if (key == kNamespaceLabel)
      row.name_space = value;
    else if (key.starts_with(kNamespaceLabelsPrefix))
      row.namespace_labels.emplace(key.substr(kNamespaceLabelsPrefix.size()), value);
    else if (!key.starts_with(kReservedPrefix) && key.find(':') == std::string::npos)
      row.labels.emplace(key, value);
  }
  return row;
}

Result<Identity> decode_identity_row(std::string_view key, std::string_view name,
                                     std::string_view value, const Origin& origin) {
  TRY(labels, decode_identity(key, name, value, origin));
  std::uint32_t number = 0;
  std::from_chars(name.data(), name.data() + name.size(),
                  number);  // decode_identity has checked it
  Identity row = identity_row_of(number, labels);
  if (row.name_space.empty())
    return fail(Code::kInvalidArgument, "{}: the label {} is missing", key, kNamespaceLabel);
  return row;
}

Result<IpOwner> ip_owner_of(std::string_view key, const IpRecord& record,
                            std::string_view cluster) {
  if (record.prefix_length && *record.prefix_length != bits_of(record.ip.family()))
    return fail(Code::kInvalidArgument, "{}: a range, not an address", key);
  IpOwner owner;
  owner.ip = record.ip;
  owner.identity = record.identity;
  owner.cluster = cluster;
  owner.name_space = record.name_space;
  owner.pod_name = record.pod_name;
  owner.node_ip = record.host_ip;
  owner.ports = record.named_ports;
  return owner;
}

Result<LocalPod> decode_local_pod(std::string_view key, std::string_view name,
                                  std::string_view value) {
  std::size_t slash = name.find('/');
  if (slash == 0 || slash == std::string_view::npos || slash + 1 == name.size() ||
      name.find('/', slash + 1) != std::string_view::npos)
    return fail(Code::kInvalidArgument, "{}: is not NAMESPACE/NAME", key);
  TRY(record, decode_workload_record(key, value));
  LocalPod pod;
  pod.name_space = name.substr(0, slash);
  pod.name = name.substr(slash + 1);
  pod.identity = record.identity;
  pod.service_account = std::move(record.service_account);
  pod.ports = std::move(record.named_ports);
  return pod;
}

}  // namespace tombolo::cilium
