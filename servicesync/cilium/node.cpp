// Node records (Cilium pkg/node/types): members have Go's names. Pure.
#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

json::value block_json(const std::optional<Prefix>& prefix) {
  if (!prefix) return nullptr;
  json::object object;
  object.emplace("IP", prefix->base().str());
  object.emplace("Mask", mask_base64(prefix->family(), prefix->length()));
  return object;
}

json::value block_json(const std::vector<Prefix>& prefixes) {
  if (prefixes.empty()) return nullptr;
  json::array array;
  for (const Prefix& prefix : prefixes) array.push_back(block_json(std::optional<Prefix>(prefix)));
  return array;
}

json::string text_of(const std::optional<Ip>& ip) {
  return json_text(ip ? ip->str() : std::string());
}

Result<std::optional<Prefix>> decode_block(const Cursor& at, Family family) {
  if (at.is_null()) return std::optional<Prefix>();
  TRY_OK(at.expect_object());
  Cursor ip_cursor = at["IP"];
  TRY(ip, ip_at(ip_cursor));
  if (ip.family() != family)
    return ip_cursor.error(fmt::format("{} is no {} address", ip.str(), to_string(family)));
  TRY(length, length_of_mask(at["Mask"], family));
  return std::optional<Prefix>(Prefix(ip, length));
}

Result<std::vector<Prefix>> decode_blocks(const Cursor& list, Family family) {
  std::vector<Prefix> blocks;
  if (list.is_null()) return blocks;
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor at = list.at(i);
    TRY(block, decode_block(at, family));
    if (!block) return at.error("is required");
    blocks.push_back(*block);
  }
  return blocks;
}

Result<std::vector<NodeAddress>> decode_addresses(const Cursor& list) {
  std::vector<NodeAddress> addresses;
  if (list.is_null()) return addresses;
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor at = list.at(i);
    TRY(type, at["Type"].string());
    TRY(ip, ip_at(at["IP"]));
    addresses.push_back({std::move(type), ip});
  }
  return addresses;
}

Result<void> decode_blocks_and_ips(const Cursor& root, NodeRecord& node) {
  TRY(addresses, decode_addresses(root["IPAddresses"]));
  TRY(ipv4, decode_block(root["IPv4AllocCIDR"], Family::kV4));
  TRY(more_ipv4, decode_blocks(root["IPv4SecondaryAllocCIDRs"], Family::kV4));
  TRY(ipv6, decode_block(root["IPv6AllocCIDR"], Family::kV6));
  TRY(more_ipv6, decode_blocks(root["IPv6SecondaryAllocCIDRs"], Family::kV6));
  TRY(ipv4_health, optional_ip_at(root["IPv4HealthIP"]));
  TRY(ipv6_health, optional_ip_at(root["IPv6HealthIP"]));
  TRY(ipv4_ingress, optional_ip_at(root["IPv4IngressIP"]));
  TRY(ipv6_ingress, optional_ip_at(root["IPv6IngressIP"]));
  node.addresses = std::move(addresses);
  node.ipv4_block = ipv4;
  node.ipv4_more_blocks = std::move(more_ipv4);
  node.ipv6_block = ipv6;
  node.ipv6_more_blocks = std::move(more_ipv6);
  node.ipv4_health = ipv4_health;
  node.ipv6_health = ipv6_health;
  node.ipv4_ingress = ipv4_ingress;
  node.ipv6_ingress = ipv6_ingress;
  return {};
}

}  // namespace

std::string encode(const NodeRecord& node) {
  json::object object;
  object.emplace("Name", node.name);
  object.emplace("Cluster", node.cluster);
  json::array addresses;
  for (const NodeAddress& address : node.addresses) {
    json::object entry;
    entry.emplace("Type", address.type);
    entry.emplace("IP", address.ip.str());
    addresses.push_back(std::move(entry));
  }
  object.emplace("IPAddresses", std::move(addresses));
  object.emplace("IPv4AllocCIDR", block_json(node.ipv4_block));
  object.emplace("IPv4SecondaryAllocCIDRs", block_json(node.ipv4_more_blocks));
  object.emplace("IPv6AllocCIDR", block_json(node.ipv6_block));
  object.emplace("IPv6SecondaryAllocCIDRs", block_json(node.ipv6_more_blocks));
  object.emplace("IPv4HealthIP", text_of(node.ipv4_health));
  object.emplace("IPv6HealthIP", text_of(node.ipv6_health));
  object.emplace("IPv4IngressIP", text_of(node.ipv4_ingress));
  object.emplace("IPv6IngressIP", text_of(node.ipv6_ingress));
  object.emplace("ClusterID", node.cluster_id);
  object.emplace("Source", node.source);
  object.emplace("EncryptionKey", node.encryption_key);
  object.emplace("Labels", json_or_null(node.labels));
  object.emplace("Annotations", json_or_null(node.annotations));
  object.emplace("NodeIdentity", node.node_identity);
  object.emplace("WireguardPubKey", node.wireguard_key);
  object.emplace("BootID", node.boot_id);
  return to_json(object);
}

Result<NodeRecord> decode_node(std::string_view key, std::string_view name, std::string_view value,
                               const Origin& origin) {
  TRY(record, parse_record(key, value));
  Cursor root = record.root();
  TRY_OK(expect_text(root["Name"], name));
  TRY_OK(expect_text(root["Cluster"], origin.cluster));
  TRY(id, root["ClusterID"].integer(0, UINT32_MAX));
  if (origin.id != 0 && id != origin.id)
    return root["ClusterID"].error(
        fmt::format("{} where the cluster's configuration says {}", id, origin.id));
  NodeRecord node;
  node.name = name;
  node.cluster = origin.cluster;
  node.cluster_id = static_cast<std::uint32_t>(id);
  TRY_OK(decode_blocks_and_ips(root, node));
  TRY(source, root["Source"].string_or(""));
  TRY(encryption_key, root["EncryptionKey"].integer_or(0, 0, 255));
  TRY(labels, root["Labels"].string_map());
  TRY(annotations, root["Annotations"].string_map());
  TRY(node_identity, root["NodeIdentity"].integer_or(0, 0, UINT32_MAX));
  TRY(wireguard_key, root["WireguardPubKey"].string_or(""));
  TRY(boot_id, root["BootID"].string_or(""));
  node.source = std::move(source);
  node.encryption_key = static_cast<std::uint8_t>(encryption_key);
  node.labels = std::move(labels);
  node.annotations = std::move(annotations);
  node.node_identity = static_cast<std::uint32_t>(node_identity);
  node.wireguard_key = std::move(wireguard_key);
  node.boot_id = std::move(boot_id);
  return node;
}

NodeRecord node_record_of(const Node& node) {
  NodeRecord record;
  record.name = node.name;
  record.cluster = node.cluster;
  record.cluster_id = node.cluster_id;
  record.labels = node.labels;
  record.boot_id = node.boot_id;
  for (const Ip& ip : node.internal_ips) record.addresses.push_back({"InternalIP", ip});
  for (const Prefix& block : node.pod_blocks) {
    bool v4 = block.family() == Family::kV4;
    std::optional<Prefix>& first = v4 ? record.ipv4_block : record.ipv6_block;
    if (!first)
      first = block;
    else
      (v4 ? record.ipv4_more_blocks : record.ipv6_more_blocks).push_back(block);
  }
  return record;
}

Node node_row_of(const NodeRecord& record) {
  Node node;
  node.cluster = record.cluster;
  node.cluster_id = record.cluster_id;
  node.name = record.name;
  node.labels = record.labels;
  node.boot_id = record.boot_id;
  for (const NodeAddress& address : record.addresses)
    if (address.type == "InternalIP") node.internal_ips.push_back(address.ip);
  auto add = [&](const std::optional<Prefix>& first, const std::vector<Prefix>& more) {
    if (first) node.pod_blocks.push_back(*first);
    node.pod_blocks.insert(node.pod_blocks.end(), more.begin(), more.end());
  };
  add(record.ipv4_block, record.ipv4_more_blocks);
  add(record.ipv6_block, record.ipv6_more_blocks);
  return node;
}

}  // namespace tombolo::cilium
