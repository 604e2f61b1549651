// From the planner's rows to the API's.
#include "app/admin/plan_messages.h"

namespace tombolo::admin {
namespace {

constexpr std::size_t kLongestFleet = 3U << 20U;

std::string size_text(const Prefix& prefix) {
  int bits = prefix.host_bits();
  return bits > 32 ? fmt::format("2^{}", bits) : fmt::format("{}", std::uint64_t{1} << bits);
}

void add(v1::ShowPlanResponse& response, const std::string& cluster, const std::string& region,
         const PlannedRange& range) {
  auto* row = response.add_ranges();
  row->set_cluster(cluster);
  row->set_region(region);
  row->set_use(std::string(to_string(range.use)));
  row->set_prefix(range.prefix.str());
  row->set_node_prefix_length(static_cast<std::uint32_t>(range.node_prefix_length));
  row->set_origin(std::string(to_string(range.origin)));
  row->set_family(std::string(to_string(range.prefix.family())));
  row->set_size(size_text(range.prefix));
}

void add(v1::ShowPlanResponse& response, const PlannedCluster& cluster, const Subnet& subnet) {
  auto* row = response.add_ranges();
  row->set_cluster(cluster.name);
  row->set_region(cluster.region);
  row->set_use(subnet_name(subnet));
  row->set_prefix(subnet.prefix.str());
  row->set_family(std::string(to_string(subnet.prefix.family())));
  row->set_size(size_text(subnet.prefix));
}

void add(v1::ShowPlanResponse& response, const PlannedCluster& cluster) {
  constexpr unsigned kMostNodes = 64;
  auto* row = response.add_clusters();
  row->set_name(cluster.name);
  row->set_id(cluster.id);
  row->set_region(cluster.region);
  for (unsigned node = 0; node < std::min(cluster.nodes, kMostNodes); ++node) row->add_nodes();
  for (Family family : {Family::kV4, Family::kV6}) {
    const PlannedRange* underlay = find_range(cluster, BlockUse::kUnderlay, family);
    if (underlay == nullptr) continue;
    std::vector<Prefix> networks;
    for (const Subnet& subnet : cluster.subnets)
      if (subnet.prefix.family() == family) networks.push_back(subnet.prefix);
    if (networks.empty()) networks.push_back(underlay->prefix);
    for (const Prefix& network : networks)
      row->add_gateways(InterfaceAddress{gateway_of(network), network.length()}.str());
    for (int node = 0; node < row->nodes_size(); ++node) {
      auto ip = node_address(cluster, family, static_cast<unsigned>(node));
      auto network = node_subnet(cluster, family, static_cast<unsigned>(node));
      if (ip && network)
        row->mutable_nodes(node)->add_addresses(InterfaceAddress{*ip, network->length()}.str());
    }
  }
}

}  // namespace

Result<Fleet> fleet_of(const v1::FleetFile& file) {
  YamlLimits limits;
  limits.bytes = kLongestFleet;
  TRY(documents, parse_yaml(file.text(), file.name(), limits));
  if (documents.size() != 1)
    return fail(Code::kInvalidArgument, "{}: {} documents where one is expected", file.name(),
                documents.size());
  return parse_fleet(documents.front());
}

v1::ShowPlanResponse show_plan(const Plan& plan, const Fleet* fleet, const Plan* previous) {
  v1::ShowPlanResponse response;
  for (const PlannedCluster& cluster : plan.clusters) add(response, cluster);
  for (const PlannedCluster& cluster : plan.clusters) {
    for (const PlannedRange& range : cluster.ranges)
      add(response, cluster.name, cluster.region, range);
    for (const Subnet& subnet : cluster.subnets) add(response, cluster, subnet);
  }
  for (const PlannedRange& range : plan.clusterset) add(response, "", "", range);
  for (auto& line : plan_table(plan, fleet).summary) response.add_notes(std::move(line));
  if (previous != nullptr)
    for (auto& line : diff_plans(*previous, plan)) response.add_changes(std::move(line));
  return response;
}

Result<v1::PlanRoutesResponse> routes_of_plan(const Plan& plan, const std::string& cluster,
                                              unsigned node) {
  std::vector<RouteEntry> routes;
  if (cluster.empty()) {
    routes = plan_routes(plan);
  } else {
    const PlannedCluster* found = find_cluster(plan, cluster);
    if (node > 0 && found != nullptr && node >= found->nodes)
      return fail(Code::kOutOfRange, "cluster {} is planned with {} nodes; there is no node {}",
                  cluster, found->nodes, node + 1);
    TRY(of_cluster, plan_routes_of(plan, cluster, node));
    routes = std::move(of_cluster);
  }
  v1::PlanRoutesResponse response;
  for (const RouteEntry& route : routes) {
    auto* row = response.add_routes();
    row->set_cluster(route.cluster);
    row->set_use(std::string(to_string(route.use)));
    row->set_destination(route.destination.str());
    for (const Ip& hop : route.next_hops) row->add_next_hops(hop.str());
    row->set_command(route_command(route));
  }
  return response;
}

}  // namespace tombolo::admin
