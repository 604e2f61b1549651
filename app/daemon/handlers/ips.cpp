// Leases and claims as addresses; `ip explain` collects every finding about one of them.
#include <algorithm>
#include <map>

#include "app/daemon/handlers/addresses.h"
#include "app/daemon/handlers/addresses_internal.h"
#include "app/daemon/pool_grants.h"
#include "ipamd/claims/claims.h"

namespace tombolo {
namespace {

namespace api = admin::api;

// "kept for StatefulSet/shop/db/0/eth0 in pool racks"
std::string text_of(const AddressClaim& claim) {
  if (claim.kept()) return fmt::format("kept for {} in pool {}", claim.identity, claim.pool);
  return fmt::format("in use, pool {}{}", claim.pool,
                     claim.identity.empty() ? "" : ", fixed for " + claim.identity);
}

class Ips final : public admin::IpHandlers {
 public:
  Ips(DaemonView view, const PoolGrants* grants, ClaimJanitor* janitor)
      : view_(std::move(view)), grants_(grants), janitor_(janitor) {}

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

  admin::Answer<api::ReleaseIpResponse> release(api::ReleaseIpRequest request,
                                                admin::Caller) override {
    CO_TRY(ip, Ip::parse(request.ip()));
    if (janitor_ == nullptr)
      co_return fail(Code::kFailedPrecondition, "addresses are given up at a controller");
    CO_TRY(was, co_await janitor_->give_up(ip));
    api::ReleaseIpResponse response;
    response.set_ip(ip.str());
    response.set_pool(was.pool);
    response.set_kept_for(was.identity);
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
      if (given && pool.sharing) explain_part(ip, pool.name, found);
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

  // Whose part of a shared pool it is in.
  void explain_part(const Ip& ip, const std::string& pool, auto& found) const {
    auto standing = grants_->standing().find(pool);
    if (standing == grants_->standing().end() || !standing->second.ledger) return;
    for (const grants::Grant& grant : standing->second.ledger->grants)
      if (grant.range.contains(ip))
        found("part",
              fmt::format("the part {} of the pool {} is granted to cluster {}", grant.range, pool,
                          grant.cluster),
              std::string(grants::kLedgersPrefix) + pool,
              grant.cluster == view_.config->cluster().name()
                  ? fmt::format("free in the pool {}", pool)
                  : fmt::format("cluster {}'s, in the pool {}", grant.cluster, pool));
  }

  DaemonView view_;
  const PoolGrants* grants_;
  ClaimJanitor* janitor_;  // null: no controller
};

}  // namespace

std::unique_ptr<admin::IpHandlers> make_ip_handlers(const DaemonView& view,
                                                    const PoolGrants* grants,
                                                    ClaimJanitor* janitor) {
  return std::make_unique<Ips>(view, grants, janitor);
}

}  // namespace tombolo
