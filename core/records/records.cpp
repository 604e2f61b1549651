// Rows to protobuf messages and back. Decoding trusts nothing: lengths, enums and ports are
// checked.
#include "core/records/records.h"

#include "core/records/fields.h"

namespace tombolo::records {

namespace state = ::tombolo::state::v1;

Result<Ip> ip_of(const KeyValue& kv, const std::string& bytes) {
  auto ip = Ip::from_bytes_be(bytes);
  if (!ip) return std::unexpected(std::move(ip).error().with_context(kv.key));
  return ip;
}

Result<Port> port_of(const KeyValue& kv, std::uint32_t number) {
  if (number > 65535) return fail(Code::kInvalidArgument, "{}: {} is not a port", kv.key, number);
  return static_cast<Port>(number);
}

Result<Protocol> protocol_of(const KeyValue& kv, state::Protocol protocol) {
  switch (protocol) {
    case state::PROTOCOL_TCP:
      return Protocol::kTcp;
    case state::PROTOCOL_UDP:
      return Protocol::kUdp;
    case state::PROTOCOL_SCTP:
      return Protocol::kSctp;
    default:
      return fail(Code::kInvalidArgument, "{}: protocol {} is unknown", kv.key,
                  static_cast<int>(protocol));
  }
}

Result<Prefix> prefix_of(const KeyValue& kv, const state::Prefix& message) {
  TRY(base, ip_of(kv, message.address()));
  if (message.length() > static_cast<std::uint32_t>(bits_of(base.family())))
    return fail(Code::kInvalidArgument, "{}: prefix length {}", kv.key, message.length());
  Prefix prefix(base, static_cast<int>(message.length()));
  if (prefix.base() != base)
    return fail(Code::kInvalidArgument, "{}: {}/{} has bits behind its length", kv.key, base.str(),
                message.length());
  return prefix;
}

void set_prefix(state::Prefix* message, const Prefix& prefix) {
  message->set_address(prefix.base().bytes_be());
  message->set_length(static_cast<std::uint32_t>(prefix.length()));
}

namespace {

Result<std::vector<Ip>> ips_of(const KeyValue& kv,
                               const google::protobuf::RepeatedPtrField<std::string>& list) {
  std::vector<Ip> ips;
  for (const std::string& bytes : list) {
    TRY(ip, ip_of(kv, bytes));
    ips.push_back(ip);
  }
  return ips;
}

Result<BackendState> backend_state_of(const KeyValue& kv, state::BackendState backend_state) {
  switch (backend_state) {
    case state::BACKEND_STATE_ACTIVE:
      return BackendState::kActive;
    case state::BACKEND_STATE_TERMINATING:
      return BackendState::kTerminating;
    case state::BACKEND_STATE_QUARANTINED:
      return BackendState::kQuarantined;
    default:
      return fail(Code::kInvalidArgument, "{}: backend state {} is unknown", kv.key,
                  static_cast<int>(backend_state));
  }
}

state::BackendState message_of(BackendState backend_state) {
  switch (backend_state) {
    case BackendState::kActive:
      return state::BACKEND_STATE_ACTIVE;
    case BackendState::kTerminating:
      return state::BACKEND_STATE_TERMINATING;
    case BackendState::kQuarantined:
      return state::BACKEND_STATE_QUARANTINED;
  }
  return state::BACKEND_STATE_ACTIVE;
}

Result<Backend> backend_of(const KeyValue& kv, const state::Backend& message) {
  Backend backend;
  TRY(ip, ip_of(kv, message.ip()));
  TRY(port, port_of(kv, message.port()));
  TRY(protocol, protocol_of(kv, message.protocol()));
  TRY(backend_state, backend_state_of(kv, message.state()));
  if (message.weight() > 65535)
    return fail(Code::kInvalidArgument, "{}: weight {} is over 65535", kv.key, message.weight());
  backend.ip = ip;
  backend.port = port;
  backend.protocol = protocol;
  backend.state = backend_state;
  backend.port_name = message.port_name();
  backend.cluster = message.cluster();
  backend.node = message.node();
  backend.zone = message.zone();
  backend.hostname = message.hostname();
  backend.pod_name = message.pod_name();
  backend.weight = static_cast<std::uint16_t>(message.weight());
  return backend;
}

void fill(state::Backend* message, const Backend& backend) {
  message->set_ip(backend.ip.bytes_be());
  message->set_port(backend.port);
  message->set_protocol(static_cast<state::Protocol>(backend.protocol));
  message->set_port_name(backend.port_name);
  message->set_cluster(backend.cluster);
  message->set_node(backend.node);
  message->set_zone(backend.zone);
  message->set_hostname(backend.hostname);
  message->set_pod_name(backend.pod_name);
  message->set_weight(backend.weight);
  message->set_state(message_of(backend.state));
}

}  // namespace

std::string node_block_key(const NodeBlock& block) {
  return fmt::format("{}{}", kBlocksPrefix, block.key());
}

std::string encode(const NodeBlock& block) {
  state::NodeBlock message;
  message.set_node(block.node);
  set_prefix(message.mutable_prefix(), block.prefix);
  return bytes_of(message);
}

Result<NodeBlock> decode_node_block(const KeyValue& kv) {
  TRY(message, parse<state::NodeBlock>(kv));
  TRY(prefix, prefix_of(kv, message.prefix()));
  NodeBlock block{message.node(), prefix};
  if (node_block_key(block) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the block of another key, {}", kv.key,
                node_block_key(block));
  return block;
}

std::string attachment_key(const Attachment& attachment) {
  return fmt::format("{}{}/{}", kLeasesPrefix, attachment.node, attachment.key());
}

std::string encode(const Attachment& attachment) {
  state::Attachment message;
  message.set_container_id(attachment.container_id);
  message.set_interface_name(attachment.interface_name);
  message.set_name_space(attachment.name_space);
  message.set_pod_name(attachment.pod_name);
  message.set_pod_uid(attachment.pod_uid);
  message.set_node(attachment.node);
  message.set_netns_path(attachment.netns_path);
  message.set_host_interface(attachment.host_interface);
  message.set_mac(attachment.mac);
  for (const Ip& ip : attachment.ips) message.add_ips(ip.bytes_be());
  return bytes_of(message);
}

Result<Attachment> decode_attachment(const KeyValue& kv) {
  TRY(message, parse<state::Attachment>(kv));
  TRY(ips, ips_of(kv, message.ips()));
  Attachment attachment;
  attachment.container_id = message.container_id();
  attachment.interface_name = message.interface_name();
  attachment.name_space = message.name_space();
  attachment.pod_name = message.pod_name();
  attachment.pod_uid = message.pod_uid();
  attachment.node = message.node();
  attachment.netns_path = message.netns_path();
  attachment.host_interface = message.host_interface();
  attachment.mac = message.mac();
  attachment.ips = std::move(ips);
  if (attachment_key(attachment) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the lease of another key, {}", kv.key,
                attachment_key(attachment));
  return attachment;
}

std::string frontend_key(const Frontend& frontend) {
  return fmt::format("{}{}", kFrontendsPrefix, frontend.key());
}

std::string encode(const Frontend& frontend) {
  state::Frontend message;
  message.set_name_space(frontend.name_space);
  message.set_name(frontend.name);
  message.set_local(frontend.local);
  message.set_exported(frontend.exported);
  message.set_headless(frontend.headless);
  for (const Ip& ip : frontend.cluster_ips) message.add_cluster_ips(ip.bytes_be());
  for (const Ip& ip : frontend.clusterset_ips) message.add_clusterset_ips(ip.bytes_be());
  for (const Ip& ip : frontend.load_balancer_ips) message.add_load_balancer_ips(ip.bytes_be());
  for (const Prefix& range : frontend.source_ranges) set_prefix(message.add_source_ranges(), range);
  message.set_external_traffic_local(frontend.external_traffic_local);
  message.set_external_name(frontend.external_name);
  message.set_selection(frontend.selection == Selection::kMaglev ? state::SELECTION_MAGLEV
                                                                 : state::SELECTION_RANDOM);
  for (const FrontendPort& port : frontend.ports) {
    auto* added = message.add_ports();
    added->set_name(port.name);
    added->set_protocol(static_cast<state::Protocol>(port.protocol));
    added->set_port(port.port);
  }
  for (const Backend& backend : frontend.backends) fill(message.add_backends(), backend);
  return bytes_of(message);
}

Result<Frontend> decode_frontend(const KeyValue& kv) {
  TRY(message, parse<state::Frontend>(kv));
  Frontend frontend;
  frontend.name_space = message.name_space();
  frontend.name = message.name();
  frontend.local = message.local();
  frontend.exported = message.exported();
  frontend.headless = message.headless();
  TRY(cluster_ips, ips_of(kv, message.cluster_ips()));
  TRY(clusterset_ips, ips_of(kv, message.clusterset_ips()));
  frontend.cluster_ips = std::move(cluster_ips);
  frontend.clusterset_ips = std::move(clusterset_ips);
  TRY(load_balancer_ips, ips_of(kv, message.load_balancer_ips()));
  frontend.load_balancer_ips = std::move(load_balancer_ips);
  for (const auto& entry : message.source_ranges()) {
    TRY(range, prefix_of(kv, entry));
    frontend.source_ranges.push_back(range);
  }
  frontend.external_traffic_local = message.external_traffic_local();
  frontend.external_name = message.external_name();
  if (!state::Selection_IsValid(message.selection()))
    return fail(Code::kInvalidArgument, "{}: selection {} is unknown", kv.key,
                static_cast<int>(message.selection()));
  frontend.selection =
      message.selection() == state::SELECTION_MAGLEV ? Selection::kMaglev : Selection::kRandom;
  for (const auto& port : message.ports()) {
    TRY(protocol, protocol_of(kv, port.protocol()));
    TRY(number, port_of(kv, port.port()));
    frontend.ports.push_back({port.name(), protocol, number});
  }
  for (const auto& entry : message.backends()) {
    TRY(backend, backend_of(kv, entry));
    frontend.backends.push_back(std::move(backend));
  }
  if (frontend_key(frontend) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the service of another key, {}", kv.key,
                frontend_key(frontend));
  return frontend;
}

}  // namespace tombolo::records
