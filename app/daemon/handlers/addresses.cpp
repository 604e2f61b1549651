// Blocks and attachments as pools and leases; `ip explain` collects every finding about one
// address.
#include "app/daemon/handlers/addresses.h"

#include <limits>

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
    co_return response;
  }

 private:
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
        row->set_state("in use");
      }
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
