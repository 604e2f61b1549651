// What a Service says about clients outside the cluster (core/v1 ServiceSpec; validation as in
// pkg/apis/core/validation ValidateService and pkg/apis/core/v1/service LoadBalancerSourceRanges).
// Pure.
#include <algorithm>

#include "servicesync/manifests/internal.h"

namespace tombolo::manifests {
namespace {

constexpr std::string_view kRangesAnnotation =
    "service.beta.kubernetes.io/load-balancer-source-ranges";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// As the API server: bits behind the length are masked away.
Result<Prefix> decode_range(const Cursor& at, std::string_view text) {
  auto range = InterfaceAddress::parse(trimmed(text));
  if (!range) return at.error(range.error().what);
  return Prefix(range->ip, range->prefix_length);
}

// The field, else the older annotation with commas.
Result<void> decode_source_ranges(const Cursor& spec, Service& service) {
  Cursor list = spec["loadBalancerSourceRanges"];
  TRY(texts, list.string_list());
  bool exposed = service.type == ServiceType::kLoadBalancer;
  if (!texts.empty() && !exposed) return list.error("is only for services of type LoadBalancer");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    TRY(range, decode_range(list.at(i), texts[i]));
    service.source_ranges.push_back(range);
  }
  auto annotation = service.annotations.find(std::string(kRangesAnnotation));
  if (!exposed || !texts.empty() || annotation == service.annotations.end()) return {};
  std::string_view rest = trimmed(annotation->second);
  while (!rest.empty()) {
    std::size_t comma = std::min(rest.find(','), rest.size());
    auto range = InterfaceAddress::parse(trimmed(rest.substr(0, comma)));
    if (!range)
      return list.error(fmt::format("annotation {}: {}", kRangesAnnotation, range.error().what));
    service.source_ranges.emplace_back(range->ip, range->prefix_length);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return {};
}

Result<void> decode_class(const Cursor& value, Service& service) {
  TRY(name, value.string_or(""));
  if (name.empty()) return {};
  if (service.type != ServiceType::kLoadBalancer)
    return value.error("is only for services of type LoadBalancer");
  if (!is_label_key(name))
    return value.error(fmt::format("'{}' is not the name of a class", name.substr(0, 80)));
  service.load_balancer_class = std::move(name);
  return {};
}

}  // namespace

Result<void> decode_load_balancer(const Cursor& spec, Service& service) {
  TRY_OK(decode_class(spec["loadBalancerClass"], service));
  TRY_OK(decode_source_ranges(spec, service));
  Cursor policy_at = spec["externalTrafficPolicy"];
  TRY(policy, policy_at.string_or(""));
  if (policy != "" && policy != "Cluster" && policy != "Local")
    return policy_at.error(fmt::format("'{}' is not one of Cluster, Local", policy.substr(0, 80)));
  service.external_traffic_local = policy == "Local";
  // The API server takes any text.
  TRY(ip, spec["loadBalancerIP"].string_or(""));
  if (service.type == ServiceType::kLoadBalancer) service.load_balancer_ip = std::move(ip);
  return {};
}

}  // namespace tombolo::manifests
