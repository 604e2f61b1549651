// Records of one service. See records.h.
#include "dns/records.h"

#include <algorithm>
#include <map>
#include <set>

namespace tombolo::dns {
namespace {

// What belongs to one pod: the addresses of both families, by which cluster and id it is known.
struct HeadlessEndpoint {
  std::string cluster;
  std::vector<Ip> ips[2];  // IPv4, IPv6
  std::vector<const Backend*> backends;
};

struct NodeDraft {
  std::vector<Ip> ips[2];
  std::uint16_t paired = 0;
  std::set<std::string> srv;
};

void add_ip(std::vector<Ip>* ips, const Ip& ip) {
  std::vector<Ip>& list = ips[ip.is_v4() ? 0 : 1];
  if (std::ranges::find(list, ip) == list.end()) list.push_back(ip);
}

Rrset address_set(Type type, const std::vector<Ip>& ips, std::uint16_t paired) {
  Rrset set{type, static_cast<std::uint16_t>(std::min(ips.size(), kMaxRecordsOfName)), paired, {}};
  for (std::size_t i = 0; i < set.count; ++i) set.rdata += ips[i].bytes_be();
  return set;
}

Node finish(const NodeDraft& draft) {
  Node node;
  if (!draft.ips[0].empty()) node.add(address_set(Type::kA, draft.ips[0], draft.paired));
  if (!draft.ips[1].empty()) node.add(address_set(Type::kAaaa, draft.ips[1], draft.paired));
  if (!draft.srv.empty()) {
    Rrset set{Type::kSrv, 0, 0, {}};
    for (const std::string& rdata : draft.srv) {
      if (set.count == kMaxRecordsOfName) break;
      append_rdata(set, rdata);
    }
    node.add(std::move(set));
  }
  return node;
}

class Builder {
 public:
  Builder(const Frontend& row, const RecordOptions& options) : row_(row), options_(options) {}

  ServiceBuild run() {
    key_ = service_key(row_.name_space, row_.name);
    if (key_.empty()) {
      problem("namespace or name is no DNS label");
      return std::move(build_);
    }
    service_name_ = key_ + options_.suffix;
    if (service_name_.size() > kMaxNameSize) {
      problem("the name is longer than 255 bytes");
      return std::move(build_);
    }
    if (!row_.external_name.empty())
      external_name();
    else if (row_.headless)
      headless();
    else
      cluster_ip();
    return std::move(build_);
  }

 private:
  void problem(std::string_view what) {
    build_.problems.push_back(fmt::format("service {}: {}", row_.key(), what));
  }

  void external_name() {
    auto target = Name::parse(row_.external_name);
    if (!target) {
      problem(target.error().what);
      return;
    }
    auto records = std::make_shared<ServiceRecords>();
    records->key = ServiceKey(key_);
    Rrset set{Type::kCname, 0, 0, {}};
    append_rdata(set, target->lowered().wire());
    records->apex.add(std::move(set));
    build_.records = std::move(records);
  }

  void cluster_ip() {
    const auto& ips = options_.kind == ZoneKind::kCluster ? row_.cluster_ips : row_.clusterset_ips;
    for (const Ip& ip : ips) {
      add_ip(apex_.ips, ip);
      if (options_.kind == ZoneKind::kCluster) build_.reverse.push_back({ip, service_name_});
    }
    for (const FrontendPort& port : row_.ports)
      if (!port.name.empty()) add_srv(port.name, port.protocol, 100, port.port, service_name_);
    finish_service();
  }

  void headless() {
    std::map<std::string, HeadlessEndpoint> endpoints = chosen_endpoints();
    for (bool paired : {true, false})
      for (const auto& [id, endpoint] : endpoints)
        if (paired == (!endpoint.ips[0].empty() && !endpoint.ips[1].empty()))
          add_endpoint(endpoint, paired);
    if (apex_.ips[0].size() > kMaxRecordsOfName || apex_.ips[1].size() > kMaxRecordsOfName)
      problem(fmt::format("more than {} endpoints: its name shows that many", kMaxRecordsOfName));
    if (!endpoints.empty()) finish_service();
  }

  // The active ones, else those that still serve while they end (KEP-1669), grouped by pod.
  std::map<std::string, HeadlessEndpoint> chosen_endpoints() {
    std::map<std::string, HeadlessEndpoint> endpoints;
    for (BackendState state : {BackendState::kActive, BackendState::kTerminating}) {
      for (const Backend& backend : row_.backends) {
        const std::string& cluster = backend.cluster.empty() ? options_.cluster : backend.cluster;
        bool shown = options_.kind == ZoneKind::kClusterset || options_.remote_endpoints ||
                     cluster == options_.cluster;
        if (backend.state != state || !shown) continue;
        const std::string id = !backend.hostname.empty()   ? "h/" + backend.hostname
                               : !backend.pod_name.empty() ? "p/" + backend.pod_name
                                                           : "i/" + backend.ip.str();
        HeadlessEndpoint& endpoint = endpoints[cluster + "/" + id];
        endpoint.cluster = cluster;
        add_ip(endpoint.ips, backend.ip);
        endpoint.backends.push_back(&backend);
      }
      if (!endpoints.empty()) break;
    }
    return endpoints;
  }

  void add_endpoint(const HeadlessEndpoint& endpoint, bool paired) {
    if (paired) ++apex_.paired;
    // The first of each family keeps its place in the pairing, so further ones go behind all pairs.
    for (const auto& ips : endpoint.ips) {
      if (ips.empty()) continue;
      auto& list = apex_.ips[ips.front().is_v4() ? 0 : 1];
      if (paired)
        list.insert(list.begin() + (apex_.paired - 1), ips.front());
      else
        list.push_back(ips.front());
      list.insert(list.end(), ips.begin() + 1, ips.end());
    }
    for (const Backend* backend : endpoint.backends) {
      std::string labels = endpoint_labels(*backend, endpoint.cluster);
      if (labels.empty()) continue;
      std::string target = labels + service_name_;
      add_ip(below_[labels].ips, backend->ip);
      if (!backend->port_name.empty())
        add_srv(backend->port_name, backend->protocol, backend->weight, backend->port, target);
      if (options_.kind == ZoneKind::kCluster) build_.reverse.push_back({backend->ip, target});
    }
  }

  // HOSTNAME, in clusterset.local HOSTNAME.CLUSTER, as wire labels; empty and a problem when it
  // cannot be a name. A cluster's name may have two labels (KEP-2149).
  std::string endpoint_labels(const Backend& backend, std::string_view cluster) {
    std::string labels;
    std::string host = backend.hostname.empty() ? dashed(backend.ip) : backend.hostname;
    bool good = append_label(labels, host);
    while (options_.kind == ZoneKind::kClusterset && good) {
      std::size_t dot = cluster.find('.');
      good = append_label(labels, cluster.substr(0, dot));
      if (dot == std::string_view::npos) break;
      cluster.remove_prefix(dot + 1);
    }
    if (good && labels.size() + service_name_.size() <= kMaxNameSize) return labels;
    problem(fmt::format("endpoint {} ('{}' of cluster '{}') cannot be a name", backend.ip.str(),
                        host, cluster));
    return {};
  }

  void add_srv(std::string_view port_name, Protocol protocol, std::uint16_t weight, Port port,
               const std::string& target) {
    std::string labels;
    std::string_view protocol_label = protocol == Protocol::kTcp   ? "_tcp"
                                      : protocol == Protocol::kUdp ? "_udp"
                                                                   : "_sctp";
    if (!append_label(labels, fmt::format("_{}", port_name)) ||
        !append_label(labels, protocol_label) ||
        labels.size() + service_name_.size() > kMaxNameSize) {
      problem(fmt::format("port '{}' cannot be a name", port_name));
      return;
    }
    std::string rdata;
    append16_be(rdata, 0);  // priority first: RFC 2782, not the order of the KEP's examples
    append16_be(rdata, weight);
    append16_be(rdata, port);
    below_[labels].srv.insert(rdata + target);
  }

  void finish_service() {
    // Every name between a record and the service exists (RFC 4592 section 2.2.2).
    std::set<std::string> between;
    for (const auto& [labels, node] : below_)
      for (std::size_t at = static_cast<std::uint8_t>(labels[0]) + 1U; at < labels.size();
           at += static_cast<std::uint8_t>(labels[at]) + 1U)
        between.insert(labels.substr(at));
    for (const std::string& labels : between) below_.try_emplace(labels);
    auto records = std::make_shared<ServiceRecords>();
    records->key = ServiceKey(key_);
    records->headless = row_.headless;
    records->apex = finish(apex_);
    records->below.reserve(below_.size());
    for (const auto& [labels, draft] : below_) records->below.emplace_back(labels, finish(draft));
    build_.records = std::move(records);
    std::ranges::sort(build_.reverse);
    auto repeated = std::ranges::unique(build_.reverse);
    build_.reverse.erase(repeated.begin(), repeated.end());
  }

  const Frontend& row_;
  const RecordOptions& options_;
  ServiceBuild build_;
  std::string key_;
  std::string service_name_;
  NodeDraft apex_;
  std::map<std::string, NodeDraft> below_;
};

}  // namespace

const Rrset* Node::find(Type type) const {
  for (const Rrset& set : sets())
    if (set.type == type) return &set;
  return nullptr;
}

void Node::add(Rrset set) {
  ENSURE(count_ < kMaxSets);
  sets_[count_++] = std::move(set);
}

const Node* ServiceRecords::find_below(std::string_view labels) const {
  auto at = std::ranges::lower_bound(
      below, labels, {}, [](const auto& entry) { return std::string_view(entry.first); });
  return at == below.end() || at->first != labels ? nullptr : &at->second;
}

ServiceBuild build_service(const Frontend& row, const RecordOptions& options) {
  bool in_zone = options.kind == ZoneKind::kCluster ? row.local : row.exported;
  // An ExternalName service cannot be exported (KEP-1645).
  if (options.kind == ZoneKind::kClusterset && !row.external_name.empty()) in_zone = false;
  if (!in_zone) return {};
  return Builder(row, options).run();
}

std::string dashed(const Ip& ip) {
  std::string text = ip.str();
  for (char& c : text)
    if (c == ':' || c == '.') c = '-';
  if (text.front() == '-') text.insert(text.begin(), '0');
  if (text.back() == '-') text.push_back('0');
  return text;
}

std::string service_key(std::string_view name_space, std::string_view name) {
  std::string key;
  if (!append_label(key, name) || !append_label(key, name_space)) return {};
  return key;
}

void append_rdata(Rrset& set, std::string_view rdata) {
  append16_be(set.rdata, static_cast<std::uint16_t>(rdata.size()));
  set.rdata += rdata;
  ++set.count;
}

}  // namespace tombolo::dns
