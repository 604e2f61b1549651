// Load balancer addresses as host routes for a router of the operator's own: a fragment to include,
// with routes that nobody follows and a filter to announce them by.
#include <algorithm>

#include "ipamd/export/internal.h"

namespace tombolo {
namespace {

using exports::lower;
using exports::of_family;

std::string title(const HostRoutes& routes, std::string_view mark, std::string_view format) {
  std::string node =
      routes.node.empty() ? "" : fmt::format(" that node {} may receive", routes.node);
  return fmt::format(
      "{0} Load balancer addresses of cluster {1}{2}, written by\n"
      "{0} tombolo service export --format {3}{4}{5}.\n",
      mark, routes.cluster, node, format, routes.node.empty() ? "" : " --node ", routes.node);
}

std::string bird_routes(const std::vector<Prefix>& prefixes, Family family) {
  std::string text = fmt::format("protocol static load_balancers_{0} {{\n  {0};\n", lower(family));
  for (const Prefix& prefix : prefixes) text += fmt::format("  route {} unreachable;\n", prefix);
  text += "}\n";
  if (prefixes.empty())
    return text +
           fmt::format("function is_load_balancer_{}() {{ return false; }}\n", lower(family));
  return text + fmt::format("function is_load_balancer_{}() {{ return net ~ [ {} ]; }}\n",
                            lower(family), exports::joined(prefixes, ", "));
}

std::string frr_routes(const std::vector<Prefix>& prefixes, Family family) {
  std::string_view ip = family == Family::kV4 ? "ip" : "ipv6";
  std::string text;
  for (const Prefix& prefix : prefixes) text += fmt::format("{} route {} reject\n", ip, prefix);
  std::uint32_t sequence = 0;
  for (const Prefix& prefix : prefixes)
    text += fmt::format("{} prefix-list load_balancers_{} seq {} permit {}\n", ip, lower(family),
                        sequence += 5, prefix);
  // A list without entries permits everything.
  if (prefixes.empty())
    text += fmt::format("{} prefix-list load_balancers_{} seq 5 deny any\n", ip, lower(family));
  return text;
}

}  // namespace

Result<std::string> export_host_routes(std::string_view format, const HostRoutes& routes) {
  if (format != "bird" && format != "frr")
    return fail(Code::kNotFound, "there is no format '{}' for services; known: bird, frr",
                format.substr(0, 64));
  std::vector<Prefix> prefixes;
  for (const Ip& ip : routes.ips) prefixes.push_back(Prefix::host(ip));
  std::ranges::sort(prefixes);
  auto repeated = std::ranges::unique(prefixes);
  prefixes.erase(repeated.begin(), repeated.end());
  bool bird = format == "bird";
  std::string text = title(routes, bird ? "#" : "!", format);
  for (Family family : {Family::kV4, Family::kV6}) {
    std::vector<Prefix> own = of_family(prefixes, family);
    text += bird ? bird_routes(own, family) : frr_routes(own, family);
  }
  return text;
}

}  // namespace tombolo
