// NetworkPolicy of networking.k8s.io/v1: k8s.io/kubernetes pkg/apis/networking validation and
// defaults. Pure.
#include "core/names.h"
#include "policy/languages/languages.h"
#include "policy/languages/selector.h"

namespace tombolo::policy {
namespace {

// Host bits may be set, as the API server lets them; they mean nothing.
Result<Prefix> parse_cidr(const Cursor& at) {
  TRY(text, at.string());
  auto address = InterfaceAddress::parse(text);
  if (!address) return at.error(fmt::format("'{}' is not a CIDR", text.substr(0, 80)));
  return Prefix(address->ip, address->prefix_length);
}

Result<void> parse_ip_block(const Cursor& at, PolicyPeerMatch& out) {
  TRY_OK(at.expect_object());
  TRY_OK(at.only({"cidr", "except"}));
  TRY(cidr, parse_cidr(at["cidr"]));
  Cursor list = at["except"];
  TRY_OK(expect_list(list));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(except, parse_cidr(entry));
    if (!cidr.contains(except) || except.length() <= cidr.length())
      return entry.error(
          fmt::format("{} must lie inside {} and be smaller", except.str(), cidr.str()));
    out.except.push_back(except);
  }
  out.prefix = cidr;
  return {};
}

Result<PolicyPeerMatch> parse_peer(const Cursor& at, const std::string& name_space) {
  TRY_OK(at.expect_object());
  TRY_OK(at.only({"podSelector", "namespaceSelector", "ipBlock"}));
  Cursor pods = at["podSelector"];
  Cursor namespaces = at["namespaceSelector"];
  Cursor block = at["ipBlock"];
  PolicyPeerMatch peer;
  if (!block.is_null()) {
    if (!pods.is_null() || !namespaces.is_null())
      return at.error("ipBlock stands alone: no podSelector or namespaceSelector beside it");
    TRY_OK(parse_ip_block(block, peer));
    return peer;
  }
  if (pods.is_null() && namespaces.is_null())
    return at.error("needs a podSelector, a namespaceSelector or an ipBlock");
  TRY(pod_selector, parse_selector(pods));
  TRY(namespace_selector, parse_selector(namespaces));
  peer.pods = std::move(pod_selector);
  peer.namespaces = std::move(namespace_selector);
  if (namespaces.is_null()) peer.name_space = name_space;
  return peer;
}

Result<PolicyPortMatch> parse_port(const Cursor& at) {
  TRY_OK(at.expect_object());
  TRY_OK(at.only({"protocol", "port", "endPort"}));
  PolicyPortMatch match;
  TRY(protocol_text, at["protocol"].string_or("TCP"));
  auto protocol = parse_protocol(protocol_text);
  if (!protocol)
    return at["protocol"].error(
        fmt::format("'{}' is not one of TCP, UDP, SCTP", protocol_text.substr(0, 80)));
  match.protocol = *protocol;
  Cursor port = at["port"];
  Cursor end = at["endPort"];
  if (port.is_string()) {
    TRY(name, port.string());
    if (!is_port_name(name))
      return port.error(fmt::format("'{}' is not a port name", name.substr(0, 80)));
    if (!end.is_null()) return end.error("needs a port that is a number");
    match.name = std::move(name);
    return match;
  }
  if (port.is_null()) {
    if (!end.is_null()) return end.error("needs a port");
    return match;
  }
  TRY(first, port.integer(1, 65535));
  TRY(last, end.integer_or(first, 1, 65535));
  if (last < first) return end.error(fmt::format("{} is below the port, {}", last, first));
  match.first = static_cast<Port>(first);
  match.last = static_cast<Port>(last);
  return match;
}

struct Side {
  PolicyDirection direction;
  std::string_view rules;  // the member of the spec
  std::string_view peers;  // the member of each rule
};
constexpr Side kIngress{PolicyDirection::kIngress, "ingress", "from"};
constexpr Side kEgress{PolicyDirection::kEgress, "egress", "to"};

Result<PolicyRule> parse_rule(const Cursor& at, const Side& side, const std::string& name_space) {
  TRY_OK(at.expect_object());
  TRY_OK(at.only({side.peers, "ports"}));
  PolicyRule rule;
  rule.direction = side.direction;
  Cursor peers = at[side.peers];
  TRY_OK(expect_list(peers));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    Cursor entry = peers.at(i);
    TRY(peer, parse_peer(entry, name_space));
    rule.peers.push_back(std::move(peer));
  }
  Cursor ports = at["ports"];
  TRY_OK(expect_list(ports));
  for (std::size_t i = 0; i < ports.size(); ++i) {
    Cursor entry = ports.at(i);
    TRY(port, parse_port(entry));
    rule.ports.push_back(std::move(port));
  }
  return rule;
}

Result<std::vector<PolicyRule>> parse_rules(const Cursor& spec, const Side& side,
                                            const std::string& name_space) {
  std::vector<PolicyRule> rules;
  Cursor list = spec[side.rules];
  TRY_OK(expect_list(list));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(rule, parse_rule(entry, side, name_space));
    rule.name = fmt::format("{}[{}]", side.rules, i);
    rules.push_back(std::move(rule));
  }
  return rules;
}

struct Types {
  bool ingress = false;
  bool egress = false;
};

Result<Types> parse_types(const Cursor& spec) {
  Cursor at = spec["policyTypes"];
  TRY(names, at.string_list());
  if (names.size() > 2) return at.error("has more than two entries");
  if (names.empty()) return Types{true, spec["egress"].size() > 0};
  Types types;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == "Ingress")
      types.ingress = true;
    else if (names[i] == "Egress")
      types.egress = true;
    else
      return at.at(i).error(
          fmt::format("'{}' is not one of Ingress, Egress", names[i].substr(0, 80)));
  }
  return types;
}

Result<void> parse_metadata(const Cursor& metadata, Policy& policy) {
  TRY_OK(metadata.expect_object());
  TRY(name, metadata["name"].string());
  if (!is_dns_subdomain(name))
    return metadata["name"].error(
        fmt::format("'{}' is not an RFC 1123 subdomain", name.substr(0, 80)));
  TRY(name_space, metadata["namespace"].string_or("default"));
  if (!is_dns_label(name_space))
    return metadata["namespace"].error(
        fmt::format("'{}' is not an RFC 1123 label", name_space.substr(0, 80)));
  policy.name = std::move(name);
  policy.name_space = std::move(name_space);
  return {};
}

}  // namespace

Result<Policy> parse_network_policy(Cursor root) {
  TRY_OK(root.expect_object());
  Policy policy;
  policy.kind = PolicyKind::kNetworkPolicy;
  TRY_OK(parse_metadata(root["metadata"], policy));
  Cursor spec = root["spec"];
  if (!spec.is_null()) TRY_OK(spec.expect_object());
  TRY_OK(spec.only({"podSelector", "ingress", "egress", "policyTypes"}));
  TRY(subjects, parse_selector(spec["podSelector"]));
  TRY(types, parse_types(spec));
  TRY(ingress, parse_rules(spec, kIngress, policy.name_space));
  TRY(egress, parse_rules(spec, kEgress, policy.name_space));
  policy.subjects = std::move(subjects);
  policy.isolates_ingress = types.ingress;
  policy.isolates_egress = types.egress;
  // Rules of a direction that is not named in policyTypes say nothing.
  if (types.ingress) policy.rules = std::move(ingress);
  if (types.egress)
    policy.rules.insert(policy.rules.end(), std::make_move_iterator(egress.begin()),
                        std::make_move_iterator(egress.end()));
  return policy;
}

}  // namespace tombolo::policy
