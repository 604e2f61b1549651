// What each cluster says, in one form and in the order of precedence.
#include <algorithm>
#include <limits>

#include "servicesync/merge/internal.h"

namespace tombolo::merge {
namespace {

std::int64_t known_or_last(std::int64_t created_unix_s) {
  return created_unix_s == 0 ? std::numeric_limits<std::int64_t>::max() : created_unix_s;
}

void add_family(std::vector<Family>& families, Family family) {
  if (std::ranges::find(families, family) == families.end()) families.push_back(family);
}

View view_of(const Input& input, const Intent& intent, bool exports) {
  const Service& service = *input.service;
  View view;
  view.cluster = input.cluster;
  view.cluster_id = input.cluster_id;
  view.created_unix_s = known_or_last(service.created_unix_s);
  view.local = true;
  view.exports = exports;
  view.headless = service.headless;
  view.intent = intent;
  for (const ServicePort& port : service.ports)
    view.ports.push_back({port.name, port.protocol, port.port});
  view.families = service.families;
  view.clusterset_ips = input.clusterset_ips;
  return view;
}

View view_of(const cilium::ClusterService& service) {
  View view;
  view.cluster = service.cluster;
  view.cluster_id = service.cluster_id;
  view.created_unix_s = known_or_last(service.extras ? service.extras->created_unix_s : 0);
  view.exports = service.include_external && service.shared;
  view.headless = service.extras ? service.extras->headless : service.frontends.empty();
  view.intent_known = service.extras.has_value();
  if (service.extras) {
    view.intent = read_intent(service.extras->annotations);
    view.clusterset_ips = service.extras->clusterset_ips;
  }
  // A headless service has no frontend: its backends' ports are its ports.
  const auto& by_ip = service.frontends.empty() ? service.backends : service.frontends;
  std::map<std::string, cilium::PortNumber> ports;
  for (const auto& [ip, map] : by_ip) {
    add_family(view.families, ip.family());
    for (const auto& [name, number] : map) ports.emplace(name, number);
  }
  for (const auto& [name, number] : ports)
    view.ports.push_back({name, number.protocol, number.port});
  return view;
}

}  // namespace

std::vector<View> collect_views(const Input& input, const Intent& intent, bool exports) {
  std::vector<View> views;
  if (input.service != nullptr) views.push_back(view_of(input, intent, exports));
  for (const Remote& remote : input.remotes) views.push_back(view_of(*remote.service));
  std::ranges::sort(views, {}, [](const View& view) {
    return std::tuple(view.created_unix_s, view.cluster_id, view.cluster);
  });
  return views;
}

}  // namespace tombolo::merge
