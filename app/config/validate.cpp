// What a type cannot say about the configuration: names, addresses, paths, and what one field asks
// of another.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "app/config/config.h"
#include "app/pki/pki.h"
#include "core/ip.h"

namespace tombolo::config {
namespace {

class Checker {
 public:
  void refuse(std::string path, std::string what) {
    complaints.push_back({std::move(path), std::move(what)});
  }
  void range(std::string path, std::uint64_t number, std::uint64_t low, std::uint64_t high) {
    if (number < low || number > high)
      refuse(std::move(path), fmt::format("{} is not from {} to {}", number, low, high));
  }
  void path(std::string path, const std::string& text) {
    if (!text.starts_with('/'))
      refuse(std::move(path), fmt::format("\"{}\" is not absolute", text));
  }
  std::vector<Complaint> complaints;
};

bool is_host_name(const std::string& text) {
  return pki::check_name({"fleet", "cluster", pki::Kind::kNode, text}).has_value();
}

struct HostPort {
  std::string host;
  bool loopback = false;
};

// "host:port" or "[v6]:port"; nothing when it is neither.
std::optional<HostPort> host_port(std::string_view text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  int port = -1;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc{} || stop != end || port < 0 || port > 65535) return std::nullopt;
  std::string host(text.substr(0, colon));
  bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto ip = Ip::parse(host);
  if (ip && ip->is_v4() == bracketed) return std::nullopt;
  if (!ip && (bracketed || !is_host_name(host))) return std::nullopt;
  bool loopback = host == "localhost" || (ip && *ip == *Ip::parse("::1")) ||
                  (ip && Prefix::parse("127.0.0.0/8")->contains(*ip));
  return HostPort{std::move(host), loopback};
}

template <class List>
void check_addresses(Checker& check, const std::string& path, const List& list, bool tls) {
  for (int i = 0; i < list.size(); ++i) {
    std::string place = fmt::format("{}[{}]", path, i);
    auto address = host_port(list[i]);
    if (!address)
      check.refuse(place, fmt::format("\"{}\" is not host:port", list[i]));
    else if (!tls && !address->loopback)
      check.refuse(place, fmt::format("{} is not loopback, so store.tls is required", list[i]));
  }
}

template <class List>
void check_endpoints(Checker& check, const std::string& path, const List& list) {
  for (int i = 0; i < list.size(); ++i)
    if (!Endpoint::parse(list[i]))
      check.refuse(fmt::format("{}[{}]", path, i),
                   fmt::format("\"{}\" is not address:port", list[i]));
}

void check_tls(Checker& check, const std::string& path, const v1::TlsFiles& tls) {
  using Entry = std::pair<const char*, const std::string&>;
  for (const auto& [name, file] :
       {Entry{"certificate", tls.certificate()}, Entry{"key", tls.key()}, Entry{"ca", tls.ca()}}) {
    std::string place = fmt::format("{}.{}", path, name);
    if (file.empty())
      check.refuse(place, "is required");
    else
      check.path(place, file);
  }
}

void check_cluster(Checker& check, const v1::ClusterConfig& cluster) {
  if (cluster.name().empty()) {
    check.refuse("cluster.name", "is required");
  } else if (auto good = pki::check_name({"fleet", cluster.name(), pki::Kind::kController, ""});
             !good) {
    check.refuse("cluster.name", good.error().what);
  }
  if (auto good = pki::check_name({cluster.fleet(), "cluster", pki::Kind::kController, ""}); !good)
    check.refuse("cluster.fleet", good.error().what);
  auto bits = cluster.identity_cluster_bits();
  check.range("cluster.identity_cluster_bits", bits, 8, 10);
  if (cluster.id() == 0)
    check.refuse("cluster.id", "is required");
  else if (bits >= 8 && bits <= 10)
    check.range("cluster.id", cluster.id(), 1, (1U << bits) - 1);
}

void check_node(Checker& check, const DaemonConfig& config) {
  const auto& node = config.node();
  if (!is_host_name(node.name()))
    check.refuse("node.name",
                 fmt::format("\"{}\" is not a DNS name of lower case letters, digits, '-' and '.'",
                             node.name()));
  std::array<bool, 2> seen{};
  for (int i = 0; i < node.addresses_size(); ++i) {
    std::string place = fmt::format("node.addresses[{}]", i);
    auto ip = Ip::parse(node.addresses(i));
    if (!ip) {
      check.refuse(place, fmt::format("\"{}\" is not an address", node.addresses(i)));
    } else if (std::exchange(seen[ip->is_v4() ? 0 : 1], true)) {
      check.refuse(place, fmt::format("a second {} address", to_string(ip->family())));
    }
  }
  if (has_role(config, v1::ROLE_AGENT) && node.addresses_size() == 0)
    check.refuse("node.addresses", "is required for an agent");
}

void check_store(Checker& check, const DaemonConfig& config) {
  const auto& store = config.store();
  bool controller = has_role(config, v1::ROLE_CONTROLLER);
  if (store.has_embedded() && store.endpoints_size() > 0)
    check.refuse("store", "has both embedded and endpoints; a store is one or the other");
  if (store.has_embedded() && !controller)
    check.refuse("store.embedded", "needs the role controller");
  if (!controller && store.endpoints_size() == 0)
    check.refuse("store.endpoints", "is required without the role controller");
  if (store.has_tls()) check_tls(check, "store.tls", store.tls());
  check_addresses(check, "store.embedded.listen", store.embedded().listen(), store.has_tls());
  check_addresses(check, "store.embedded.advertise", store.embedded().advertise(), true);
  check_addresses(check, "store.endpoints", store.endpoints(), store.has_tls());
}

bool is_prime(std::uint32_t number) {
  for (std::uint32_t i = 2; i * i <= number; ++i)
    if (number % i == 0) return false;
  return number > 1;
}

void check_zone(Checker& check, const std::string& path, const std::string& zone) {
  if (!is_host_name(zone)) check.refuse(path, fmt::format("\"{}\" is not a DNS name", zone));
}

void check_agent(Checker& check, const v1::AgentConfig& agent) {
  check.path("agent.cni_socket", agent.cni_socket());
  if (!agent.runtime_socket().empty() && agent.runtime_socket() != "off")
    check.path("agent.runtime_socket", agent.runtime_socket());
  if (agent.mtu() != 0) check.range("agent.mtu", agent.mtu(), 576, 65535);
  const auto& dns = agent.dns();
  check_endpoints(check, "agent.dns.listen", dns.listen());
  check_endpoints(check, "agent.dns.upstreams", dns.upstreams());
  check_zone(check, "agent.dns.cluster_zone", dns.cluster_zone());
  check_zone(check, "agent.dns.clusterset_zone", dns.clusterset_zone());
  if (dns.cluster_zone() == dns.clusterset_zone())
    check.refuse("agent.dns.clusterset_zone", "is the cluster_zone as well");
  check.range("agent.dns.ttl_s", dns.ttl_s(), 1, 3600);
  check.range("agent.lb.maglev_size", agent.lb().maglev_size(), 251, 131071);
  if (!is_prime(agent.lb().maglev_size()))
    check.refuse("agent.lb.maglev_size",
                 fmt::format("{} is not a prime", agent.lb().maglev_size()));
  const auto& interfaces = agent.announce().interfaces();
  for (int i = 0; i < interfaces.size(); ++i)
    if (interfaces[i].empty() || interfaces[i].size() > 64 ||
        interfaces[i].find_first_of("/ \t\n") != std::string::npos)
      check.refuse(fmt::format("agent.announce.interfaces[{}]", i),
                   fmt::format("\"{}\" is no name or pattern of interfaces", interfaces[i]));
}

void check_admin(Checker& check, const v1::AdminConfig& admin) {
  check.path("admin.socket", admin.socket());
  if (!admin.viewer_socket().empty()) check.path("admin.viewer_socket", admin.viewer_socket());
  if (admin.viewer_socket() == admin.socket())
    check.refuse("admin.viewer_socket", "is the socket of admins as well");
  check_addresses(check, "admin.listen", admin.listen(), true);
  if (admin.has_tls()) check_tls(check, "admin.tls", admin.tls());
  if (admin.listen_size() > 0 && !admin.has_tls())
    check.refuse("admin.tls", "is required for admin.listen");
}

void check_controller(Checker& check, const v1::ControllerConfig& controller) {
  if (!controller.manifests().empty()) check.path("controller.manifests", controller.manifests());
  if (!controller.has_signing()) return;
  check.path("controller.signing.certificate", controller.signing().certificate());
  check.path("controller.signing.key", controller.signing().key());
}

}  // namespace

std::vector<Complaint> validate(const DaemonConfig& config) {
  Checker check;
  for (int i = 0; i < config.roles_size(); ++i)
    for (int k = 0; k < i; ++k)
      if (config.roles(i) == config.roles(k))
        check.refuse(fmt::format("roles[{}]", i), "is given twice");
  check_cluster(check, config.cluster());
  check_node(check, config);
  check.path("state_dir", config.state_dir());
  check.path("run_dir", config.run_dir());
  check.path("cgroup_root", config.cgroup_root());
  check.path("bpffs_root", config.bpffs_root());
  check_store(check, config);
  check_controller(check, config.controller());
  check_agent(check, config.agent());
  check_admin(check, config.admin());
  if (config.metrics().listen() != "off" && !Endpoint::parse(config.metrics().listen()))
    check.refuse("metrics.listen",
                 fmt::format("\"{}\" is neither address:port nor off", config.metrics().listen()));
  return std::move(check.complaints);
}

}  // namespace tombolo::config
