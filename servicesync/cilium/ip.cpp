// IPIdentityPair (Cilium pkg/identity): which identity an address or a range has. Pure.
#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

constexpr std::int64_t kLastReservedIdentity = 255;
constexpr std::int64_t kMaxIdentity = (1 << 24) - 1;

Result<std::vector<NamedPort>> decode_named_ports(const Cursor& list) {
  std::vector<NamedPort> ports;
  if (list.is_null()) return ports;
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor at = list.at(i);
    TRY(name, at["Name"].string());
    TRY(port, port_at(at["Port"]));
    TRY(protocol, protocol_at(at["Protocol"]));
    ports.push_back({std::move(name), protocol, port});
  }
  return ports;
}

// The key ends in IP, or IP/LENGTH for a range.
Result<void> decode_address(const Cursor& root, std::string_view name, IpRecord& record) {
  Cursor ip_cursor = root["IP"];
  TRY(ip, ip_at(ip_cursor));
  record.ip = ip;
  Cursor mask = root["Mask"];
  if (!mask.is_null()) {
    TRY(length, length_of_mask(mask, ip.family()));
    record.prefix_length = length;
    if (Prefix(ip, length).base() != ip)
      return ip_cursor.error(fmt::format("{}/{} has bits behind its length", ip.str(), length));
  }
  std::string expected =
      record.prefix_length ? fmt::format("{}/{}", ip.str(), *record.prefix_length) : ip.str();
  // Cilium writes a host's range of full length without it.
  bool full = record.prefix_length && *record.prefix_length == bits_of(ip.family());
  if (name != expected && !(full && name == ip.str()))
    return ip_cursor.error(fmt::format("{} lies under the key of {}", expected, name));
  return {};
}

}  // namespace

std::string encode(const IpRecord& record) {
  json::object object;
  object.emplace("IP", record.ip.str());
  json::value mask = nullptr;
  if (record.prefix_length)
    mask = json_text(mask_base64(record.ip.family(), *record.prefix_length));
  object.emplace("Mask", std::move(mask));
  object.emplace("HostIP", record.host_ip ? record.host_ip->str() : std::string());
  object.emplace("ID", record.identity);
  object.emplace("Key", record.encryption_key);
  object.emplace("Metadata", record.metadata);
  if (!record.name_space.empty()) object.emplace("K8sNamespace", record.name_space);
  if (!record.pod_name.empty()) object.emplace("K8sPodName", record.pod_name);
  if (!record.service_account.empty()) object.emplace("K8sServiceAccount", record.service_account);
  if (!record.named_ports.empty()) {
    json::array ports;
    for (const NamedPort& port : record.named_ports) {
      json::object entry;
      entry.emplace("Name", port.name);
      entry.emplace("Port", port.port);
      entry.emplace("Protocol", to_string(port.protocol));
      ports.push_back(std::move(entry));
    }
    object.emplace("NamedPorts", std::move(ports));
  }
  return to_json(object);
}

Result<IpRecord> decode_ip(std::string_view key, std::string_view name, std::string_view value,
                           const Origin& origin) {
  TRY(parsed, parse_record(key, value));
  Cursor root = parsed.root();
  IpRecord record;
  TRY_OK(decode_address(root, name, record));
  TRY(host_ip, optional_ip_at(root["HostIP"]));
  Cursor id_cursor = root["ID"];
  TRY(id, id_cursor.integer(0, kMaxIdentity));
  auto low = first_identity(origin.id, origin.cluster_bits);
  auto high = last_identity(origin.id, origin.cluster_bits);
  if (origin.id != 0 && id > kLastReservedIdentity && (id < low || id > high))
    return id_cursor.error(fmt::format("{} is not an identity of cluster {}, which has {} to {}",
                                       id, origin.cluster, low, high));
  TRY(encryption_key, root["Key"].integer_or(0, 0, 255));
  TRY(metadata, root["Metadata"].string_or(""));
  TRY(name_space, root["K8sNamespace"].string_or(""));
  TRY(pod_name, root["K8sPodName"].string_or(""));
  TRY(service_account, root["K8sServiceAccount"].string_or(""));
  TRY(named_ports, decode_named_ports(root["NamedPorts"]));
  record.host_ip = host_ip;
  record.identity = static_cast<std::uint32_t>(id);
  record.encryption_key = static_cast<std::uint8_t>(encryption_key);
  record.metadata = std::move(metadata);
  record.name_space = std::move(name_space);
  record.pod_name = std::move(pod_name);
  record.service_account = std::move(service_account);
  record.named_ports = std::move(named_ports);
  return record;
}

}  // namespace tombolo::cilium
