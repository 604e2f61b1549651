// The rules of clouds and of Kubernetes, read once from the files under providers/, which are
// compiled in. A file that is wrong is a programmer's error: the tests read all of them.
#include "ipamd/plan/internal.h"

namespace tombolo {

std::string_view provider_text(std::string_view name);  // cmake/embed.cmake

namespace {

constexpr std::array<std::string_view, 4> kClouds{"aws", "azure", "gcp", "on-prem"};

struct Rules {
  std::array<CloudRules, kClouds.size()> clouds;
  KubernetesRules kubernetes;
  std::vector<ForbiddenRange> forbidden;
};

Result<std::optional<Cloud>> read_cloud(const Cursor& cursor) {
  if (cursor.is_null()) return std::optional<Cloud>();
  TRY(text, cursor.string());
  for (std::size_t i = 0; i < kClouds.size(); ++i)
    if (text == kClouds.at(i)) return static_cast<Cloud>(i);
  return cursor.error("is no cloud");
}

Result<void> read_forbidden(const Cursor& list, std::optional<Cloud> cloud,
                            std::vector<ForbiddenRange>& forbidden) {
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY_OK(entry.only({"cidr", "why", "unless_all"}));
    ForbiddenRange range;
    TRY(cidr, entry["cidr"].string());
    TRY(prefix, Prefix::parse(cidr));
    range.prefix = prefix;
    TRY(why, entry["why"].string());
    range.why = std::move(why);
    range.only_with = cloud;
    TRY(unless_all, read_cloud(entry["unless_all"]));
    range.unless_all = unless_all;
    forbidden.push_back(std::move(range));
  }
  return {};
}

template <class Number>
Result<void> read_number(const Cursor& cursor, Number& number) {
  TRY(value, cursor.integer(0, 128));
  number = static_cast<Number>(value);
  return {};
}

Result<void> read_provider(const Cursor& file, std::size_t index, Rules& rules) {
  TRY_OK(file.only({"name", "underlay", "node_block_factor", "zonal_subnets", "pod_prefix_length",
                    "divided_v6", "forbidden"}));
  CloudRules& cloud = rules.clouds.at(index);
  TRY(name, file["name"].string());
  cloud.name = std::move(name);
  Cursor underlay = file["underlay"];
  TRY_OK(underlay.only({"largest", "smallest", "reserved_first", "reserved_last"}));
  TRY_OK(read_number(underlay["largest"], cloud.underlay_shortest));
  TRY_OK(read_number(underlay["smallest"], cloud.underlay_longest));
  TRY_OK(read_number(underlay["reserved_first"], cloud.reserved_first));
  TRY_OK(read_number(underlay["reserved_last"], cloud.reserved_last));
  TRY_OK(read_number(file["node_block_factor"], cloud.node_block_factor));
  TRY(zonal, file["zonal_subnets"].boolean_or(false));
  cloud.zonal_subnets = zonal;
  if (Cursor length = file["pod_prefix_length"]; !length.is_null())
    TRY_OK(read_number(length, cloud.pod_prefix_length));
  if (Cursor divided = file["divided_v6"]; !divided.is_null()) {
    TRY_OK(divided.only({"smallest", "step"}));
    TRY_OK(read_number(divided["smallest"], cloud.network_longest_v6));
    TRY_OK(read_number(divided["step"], cloud.network_step_v6));
  }
  return read_forbidden(file["forbidden"], static_cast<Cloud>(index), rules.forbidden);
}

Result<void> read_kubernetes(const Cursor& file, Rules& rules) {
  TRY_OK(file.only({"service_host_bits", "node_block_bits", "node_prefix_length_v6",
                    "service_host_bits_v6", "node_block_own", "service_own", "load_balancer_own",
                    "forbidden"}));
  KubernetesRules& kubernetes = rules.kubernetes;
  TRY_OK(read_number(file["service_host_bits"], kubernetes.service_host_bits));
  TRY_OK(read_number(file["node_block_bits"], kubernetes.node_block_bits));
  TRY_OK(read_number(file["node_prefix_length_v6"], kubernetes.node_prefix_length_v6));
  TRY_OK(read_number(file["service_host_bits_v6"], kubernetes.service_host_bits_v6));
  TRY_OK(read_number(file["node_block_own"], kubernetes.node_block_own));
  TRY_OK(read_number(file["service_own"], kubernetes.service_own));
  TRY_OK(read_number(file["load_balancer_own"], kubernetes.load_balancer_own));
  return read_forbidden(file["forbidden"], std::nullopt, rules.forbidden);
}

Result<Rules> read_rules() {
  Rules rules;
  TRY(kubernetes, parse_yaml(std::string(provider_text("kubernetes")), "kubernetes.yaml"));
  TRY_OK(read_kubernetes(kubernetes.front().root(), rules));
  for (std::size_t i = 0; i < kClouds.size(); ++i) {
    std::string name(kClouds.at(i));
    TRY(file, parse_yaml(std::string(provider_text(name)), name + ".yaml"));
    TRY_OK(read_provider(file.front().root(), i, rules));
  }
  return rules;
}

const Rules& rules_in_force() {
  static const Rules kRules = [] {
    auto rules = read_rules();
    ENSURE(rules.has_value(), "{}", rules.error().what);
    return *rules;
  }();
  return kRules;
}

}  // namespace

std::string_view to_string(Cloud cloud) {
  return kClouds.at(static_cast<std::size_t>(cloud));
}

const CloudRules& rules_of(Cloud cloud) {
  return rules_in_force().clouds.at(static_cast<std::size_t>(cloud));
}

const KubernetesRules& kubernetes_rules() {
  return rules_in_force().kubernetes;
}

const std::vector<ForbiddenRange>& all_forbidden() {
  return rules_in_force().forbidden;
}

}  // namespace tombolo
