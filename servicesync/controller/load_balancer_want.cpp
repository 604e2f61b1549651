// Annotations of five projects to one list of addresses.
#include "servicesync/controller/load_balancer_want.h"

#include <algorithm>
#include <array>

#include "core/json.h"

namespace tombolo::controller {
namespace {

enum class Spelling { kCommas, kJson };

struct Annotation {
  std::string_view key;
  Spelling spelling = Spelling::kCommas;
};

// In the order in which they decide.
constexpr std::array kAnnotations{
    Annotation{"ipam.tombolo.io/load-balancer-ips"},
    Annotation{"lbipam.cilium.io/ips"},
    Annotation{"io.cilium/lb-ipam-ips"},
    Annotation{"metallb.io/loadBalancerIPs"},
    Annotation{"metallb.universe.tf/loadBalancerIPs"},
    Annotation{"projectcalico.org/loadBalancerIPs", Spelling::kJson},
    Annotation{"kube-vip.io/loadbalancerIPs"},
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Result<std::vector<std::string>> split(const Annotation& annotation, const std::string& text) {
  if (annotation.spelling == Spelling::kJson) {
    TRY(value, parse_json(text));
    DocumentPlace place{std::string(annotation.key), {}};
    Cursor root(value, place);
    if (!root.is_array()) return fail(Code::kInvalidArgument, "is no JSON list of addresses");
    return root.string_list();
  }
  std::vector<std::string> parts;
  std::string_view rest = text;
  while (true) {
    std::size_t comma = rest.find(',');
    parts.emplace_back(trimmed(rest.substr(0, comma)));
    if (comma == std::string_view::npos) return parts;
    rest.remove_prefix(comma + 1);
  }
}

Result<void> add(const Service& service, std::string_view text, std::vector<Ip>& ips) {
  TRY(ip, Ip::parse(text));
  if (ip.value() == 0)
    return fail(Code::kInvalidArgument, "{}: addresses by DHCP are not given", ip.str());
  if (std::ranges::find(service.families, ip.family()) == service.families.end())
    return fail(Code::kInvalidArgument, "{} is {}, which the service is not", ip.str(),
                to_string(ip.family()));
  for (const Ip& other : ips)
    if (other.family() == ip.family())
      return fail(Code::kInvalidArgument, "{} and {}: at most one address of each family",
                  other.str(), ip.str());
  ips.push_back(ip);
  return {};
}

Result<std::vector<Ip>> read(const Service& service, const Annotation& annotation,
                             const std::string& text) {
  TRY(parts, split(annotation, text));
  std::vector<Ip> ips;
  for (const std::string& part : parts) TRY_OK(add(service, part, ips));
  return ips;
}

}  // namespace

bool is_ours_to_expose(const Service& service) {
  return service.type == ServiceType::kLoadBalancer &&
         (service.load_balancer_class.empty() || service.load_balancer_class == kLoadBalancerClass);
}

std::optional<AddressWant> load_balancer_want(const Service& service) {
  if (!is_ours_to_expose(service)) return std::nullopt;
  AddressWant want;
  want.object = service.key();
  want.families = service.families;
  want.created_unix_s = service.created_unix_s;
  for (const Annotation& annotation : kAnnotations) {
    auto at = service.annotations.find(std::string(annotation.key));
    if (at == service.annotations.end() || trimmed(at->second).empty()) continue;
    auto ips = read(service, annotation, at->second);
    if (ips)
      want.fixed = std::move(*ips);
    else
      want.problem = fmt::format("annotation {}: {}", annotation.key, ips.error().what);
    return want;
  }
  std::string_view field = trimmed(service.load_balancer_ip);
  if (field.empty()) return want;
  if (auto added = add(service, field, want.fixed); !added)
    want.problem = fmt::format("spec.loadBalancerIP: {}", added.error().what);
  return want;
}

}  // namespace tombolo::controller
