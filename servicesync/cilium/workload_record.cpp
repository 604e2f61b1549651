// What the controller tells a node's agent of each of its pods. Pure.
#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {

std::string encode(const WorkloadRecord& record) {
  json::object object;
  object.emplace("identity", record.identity);
  object.emplace("serviceAccount", record.service_account);
  json::array ports;
  for (const NamedPort& port : record.named_ports) {
    json::object entry;
    entry.emplace("name", port.name);
    entry.emplace("protocol", to_string(port.protocol));
    entry.emplace("port", port.port);
    ports.push_back(std::move(entry));
  }
  object.emplace("namedPorts", std::move(ports));
  return to_json(object);
}

Result<WorkloadRecord> decode_workload_record(std::string_view key, std::string_view value) {
  TRY(parsed, parse_record(key, value));
  Cursor root = parsed.root();
  WorkloadRecord record;
  TRY(identity, root["identity"].integer(0, (1 << 24) - 1));
  TRY(account, root["serviceAccount"].string_or("default"));
  record.identity = static_cast<std::uint32_t>(identity);
  record.service_account = std::move(account);
  Cursor ports = root["namedPorts"];
  if (!ports.is_null()) TRY_OK(ports.expect_array());
  for (std::size_t i = 0; i < ports.size(); ++i) {
    Cursor at = ports.at(i);
    TRY(name, at["name"].string());
    TRY(protocol, protocol_at(at["protocol"]));
    TRY(port, port_at(at["port"]));
    record.named_ports.push_back({std::move(name), protocol, port});
  }
  return record;
}

}  // namespace tombolo::cilium
