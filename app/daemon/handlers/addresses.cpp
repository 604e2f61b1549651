// Blocks and attachments as pools and leases; `ip explain` collects every finding about one
// address.
#include "app/daemon/handlers/addresses.h"

#include <algorithm>
#include <limits>
#include <map>

#include "app/daemon/pool_keeper.h"
#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

namespace api = admin::api;

// The controller knows all nodes of the cluster, an agent its own.
const Table<NodeBlock>& blocks_of(const DaemonView& view) {
  return view.controller != nullptr ? view.controller->node_blocks : view.agent->node_blocks;
}
const Table<Attachment>& attachments_of(const DaemonView& view) {
  return view.controller != nullptr ? view.controller->attachments : view.agent->attachments;
}

std::uint64_t usable(const Prefix& prefix) {
  // As ipamd/allocator/address_pool.h: not the first address, and not the last one of IPv4.
  uint128 size = prefix.size();
  if (prefix.family() == Family::kV4) return static_cast<std::uint64_t>(size > 2 ? size - 2 : size);
  return static_cast<std::uint64_t>(
      std::min<uint128>(size - 1, std::numeric_limits<std::uint64_t>::max()));
}

PoolCatalog catalog_in_force(const DaemonView& view) {
  std::vector<PoolObject> objects;
  for (const Table<PoolObject>* table : {&view.pools->pools(), &view.pools->reservations()})
    for (const auto& [key, versioned] : table->rows()) objects.push_back(versioned.row);
  auto catalog = catalog_of(objects);
  // What is in force was judged good.
  return catalog ? std::move(*catalog) : PoolCatalog();
}

// "kept for StatefulSet/shop/db/0/eth0 in pool racks"
std::string text_of(const AddressClaim& claim) {
  if (claim.kept()) return fmt::format("kept for {} in pool {}", claim.identity, claim.pool);
  return fmt::format("in use, pool {}{}", claim.pool,
                     claim.identity.empty() ? "" : ", fixed for " + claim.identity);
}

class Pools final : public admin::PoolHandlers {
 public:
  explicit Pools(DaemonView view) : view_(std::move(view)) {}

  admin::Answer<api::ListPoolsResponse> list(api::ListPoolsRequest request,
                                             admin::Caller) override {
    api::ListPoolsResponse response;
    for (const auto& [key, versioned] : blocks_of(view_).rows()) {
      const NodeBlock& block = versioned.row;
      if (!request.node().empty() && request.node() != block.node) continue;
      std::uint64_t used = 0;
      for (const auto& [id, attachment] : attachments_of(view_).rows())
        for (const Ip& ip : attachment.row.ips) used += block.prefix.contains(ip) ? 1U : 0U;
      auto* row = response.add_pools();
      row->set_name(
          fmt::format("{}-{}", block.node, block.prefix.family() == Family::kV4 ? "v4" : "v6"));
      row->set_cluster(view_.config->cluster().name());
      row->set_node(block.node);
      row->set_use("pod");
      row->set_prefix(block.prefix.str());
      row->set_size(usable(block.prefix));
      row->set_used(used);
      row->set_free(usable(block.prefix) - used);
    }
    if (request.node().empty() && view_.pools != nullptr) list_written(response);
    co_return response;
  }

 private:
  // Those that operators wrote; the controller alone knows what is in use everywhere.
  void list_written(api::ListPoolsResponse& response) const {
    PoolCatalog catalog = catalog_in_force(view_);
    std::map<std::string, std::uint64_t> used;
    for (const auto& [key, versioned] : view_.controller->claims.rows())
      if (!versioned.row.free()) ++used[versioned.row.pool];
    for (const IpPool& pool : catalog.pools()) {
      std::uint64_t size = 0;
      for (const IpRange& range : catalog.usable(pool)) {
        uint128 more = range.last.value() - range.first.value() + 1;
        uint128 most = std::numeric_limits<std::uint64_t>::max() - size;
        size += static_cast<std::uint64_t>(std::min(more, most));
      }
      if (pool.kind == PoolKind::kOverlay) used[pool.name] = used_of_overlay(pool);
      auto* row = response.add_pools();
      row->set_name(pool.name);
      row->set_cluster(view_.config->cluster().name());
      row->set_use(fmt::format("{}{}{}", to_string(pool.kind), pool.disabled ? ", disabled" : "",
                               pool.sharing ? ", home " + pool.sharing->home : ""));
      row->set_prefix(pool.subnet.str());
      row->set_size(size);
      row->set_used(used[pool.name]);
      row->set_free(pool.disabled ? 0 : size - std::min(size, used[pool.name]));
    }
  }
  std::uint64_t used_of_overlay(const IpPool& pool) const {
    std::uint64_t used = 0;
    for (const auto& [id, attachment] : view_.controller->attachments.rows())
      for (const Ip& ip : attachment.row.ips) used += pool.subnet.contains(ip) ? 1U : 0U;
    return used;
  }

  DaemonView view_;
};

class Ips final : public admin::IpHandlers {
 public:
  explicit Ips(DaemonView view) : view_(std::move(view)) {}

  admin::Answer<api::ListIpsResponse> list(api::ListIpsRequest request, admin::Caller) override {
    api::ListIpsResponse response;
    auto matches = [](const std::string& wanted, const std::string& value) {
      return wanted.empty() || wanted == value;
    };
    std::map<Ip, const AddressClaim*> claims;
    if (view_.controller != nullptr)
      for (const auto& [key, versioned] : view_.controller->claims.rows())
        if (!versioned.row.free()) claims[versioned.row.ip] = &versioned.row;
    // In a process of both roles the agent's own rows are the fresher ones; the controller has
    // every node's.
    for (const auto& [key, versioned] : attachments_of(view_).rows()) {
      const Attachment& attachment = versioned.row;
      if (!matches(request.node(), attachment.node) ||
          !matches(request.name_space(), attachment.name_space) ||
          !matches(request.pod(), attachment.pod_name))
        continue;
      for (const Ip& ip : attachment.ips) {
        auto* row = response.add_ips();
        row->set_ip(ip.str());
        row->set_cluster(view_.config->cluster().name());
        row->set_node(attachment.node);
        row->set_name_space(attachment.name_space);
        row->set_pod(attachment.pod_name);
        row->set_interface_name(attachment.interface_name);
        row->set_container_id(attachment.container_id);
        auto claim = claims.find(ip);
        row->set_state(claim == claims.end() ? "in use" : text_of(*claim->second));
        if (claim != claims.end()) claims.erase(claim);
      }
    }
    for (const auto& [ip, claim] : claims) {
      auto row = claim->kept() ? kept(*claim) : reserved(*claim);
      row.set_ip(ip.str());
      row.set_cluster(view_.config->cluster().name());
      if (matches(request.node(), row.node()) && matches(request.name_space(), row.name_space()) &&
          matches(request.pod(), row.pod()))
        *response.add_ips() = std::move(row);
    }
    co_return response;
  }

  admin::Answer<api::ExplainIpResponse> explain(api::ExplainIpRequest request,
                                                admin::Caller) override {
    CO_TRY(ip, Ip::parse(request.ip()));
    api::ExplainIpResponse response;
    response.set_ip(ip.str());
    response.set_verdict("nobody's: it is in no range of the plan");
    auto found = [&](std::string subject, std::string text, std::string source,
                     std::string verdict) {
      auto* finding = response.add_findings();
      finding->set_subject(std::move(subject));
      finding->set_text(std::move(text));
      finding->set_source(std::move(source));
      response.set_verdict(std::move(verdict));
    };
    if (view_.controller != nullptr) explain_plan(ip, found);
    if (view_.pools != nullptr) explain_pools(ip, found);
    for (const auto& [key, versioned] : blocks_of(view_).rows())
      if (versioned.row.prefix.contains(ip))
        found("block",
              fmt::format("{} belongs to node {}", versioned.row.prefix, versioned.row.node),
              "node_blocks", fmt::format("free in the block of node {}", versioned.row.node));
    for (const auto& [key, versioned] : attachments_of(view_).rows())
      for (const Ip& held : versioned.row.ips)
        if (held == ip) explain_attachment(versioned.row, found);
    if (view_.controller != nullptr) explain_services(ip, found);
    co_return response;
  }

 private:
  // Nobody's address, for the next pod of an identity, whose second part is the namespace.
  static api::IpLease kept(const AddressClaim& claim) {
    api::IpLease row;
    std::string rest = claim.identity.substr(claim.identity.find('/') + 1);
    row.set_name_space(rest.substr(0, rest.find('/')));
    row.set_state(text_of(claim));
    return row;
  }
  // Claimed for an interface that is not there, or not told of, yet.
  static api::IpLease reserved(const AddressClaim& claim) {
    api::IpLease row;
    row.set_node(claim.node);
    row.set_name_space(claim.pod.substr(0, claim.pod.find('/')));
    row.set_pod(claim.pod.substr(claim.pod.find('/') + 1));
    row.set_container_id(claim.holder.substr(0, claim.holder.find('/')));
    row.set_interface_name(claim.holder.substr(claim.holder.find('/') + 1));
    row.set_state("reserved, pool " + claim.pool);
    return row;
  }
  void explain_plan(const Ip& ip, auto& found) const {
    for (const auto& [key, versioned] : view_.controller->plan_blocks.rows()) {
      const PlanBlock& block = versioned.row;
      if (!block.prefix.contains(ip)) continue;
      std::string owner = block.cluster.empty() ? "the whole fleet" : "cluster " + block.cluster;
      found(
          "plan",
          fmt::format("{} is the {} range of {}", block.prefix, to_string(block.use), owner),
          "plan_blocks",
          fmt::format("in the {} range of {}, not given to anybody", to_string(block.use), owner));
    }
  }
  void explain_pools(const Ip& ip, auto& found) const {
    PoolCatalog catalog = catalog_in_force(view_);
    for (const IpPool& pool : catalog.pools()) {
      if (!pool.subnet.contains(ip)) continue;
      auto usable = catalog.usable(pool);
      bool given =
          std::ranges::any_of(usable, [&](const IpRange& range) { return range.contains(ip); });
      found("pool",
            fmt::format("{} is in the subnet of the {} pool {} ({}), which {}", ip.str(),
                        to_string(pool.kind), pool.name, pool.place,
                        given ? "gives it out" : "does not give it out"),
            "pools", fmt::format("{} in the pool {}", given ? "free" : "not given out", pool.name));
    }
    for (const auto& [key, versioned] : view_.controller->claims.rows()) {
      const AddressClaim& claim = versioned.row;
      if (claim.ip != ip) continue;
      std::string text =
          claim.free() ? fmt::format("at rest in pool {}", claim.pool) : text_of(claim);
      if (claim.held())
        text +=
            fmt::format(", held by {} of pod {} on node {}", claim.holder, claim.pod, claim.node);
      found("claim", text, "claims", text);
    }
  }
  void explain_attachment(const Attachment& attachment, auto& found) const {
    std::string pod = object_key(attachment.name_space, attachment.pod_name);
    found("lease",
          fmt::format("held by {} of container {} on node {}, host interface {}",
                      attachment.interface_name, attachment.container_id, attachment.node,
                      attachment.host_interface),
          "attachments", fmt::format("pod {} on node {}", pod, attachment.node));
    if (view_.controller == nullptr) return;
    const Workload* workload = view_.controller->workloads.find(pod);
    if (workload == nullptr) return;
    found("workload",
          fmt::format("{}, identity {}",
                      workload->terminating ? "terminating"
                      : workload->ready     ? "ready"
                                            : "not ready",
                      workload->identity),
          "workloads", fmt::format("pod {} on node {}", pod, attachment.node));
  }
  void explain_services(const Ip& ip, auto& found) const {
    for (const auto& [key, versioned] : view_.controller->frontends.rows()) {
      const Frontend& frontend = versioned.row;
      for (const Ip& service_ip : frontend.cluster_ips)
        if (service_ip == ip)
          found("service", "cluster IP of " + key, "frontends", "the cluster IP of service " + key);
      for (const Ip& service_ip : frontend.clusterset_ips)
        if (service_ip == ip)
          found("service", "clusterset IP of " + key, "frontends",
                "the clusterset IP of service " + key);
      for (const Ip& service_ip : frontend.load_balancer_ips)
        if (service_ip == ip)
          found("service", "load balancer address of " + key, "frontends",
                "the load balancer address of service " + key);
    }
  }

  DaemonView view_;
};

}  // namespace

std::unique_ptr<admin::PoolHandlers> make_pool_handlers(const DaemonView& view) {
  return std::make_unique<Pools>(view);
}
std::unique_ptr<admin::IpHandlers> make_ip_handlers(const DaemonView& view) {
  return std::make_unique<Ips>(view);
}

}  // namespace tombolo
