// BIRD 2: a bird.conf with the same sessions and filters as frr.cpp. Summaries are static routes,
// as BIRD 2.0 makes none of others; they stay announced while a cluster is away.
#include <set>

#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

std::string announced(Family family) {
  return fmt::format("announced_{}", lower(family));
}

std::string set_of(std::string_view name, const std::vector<Prefix>& prefixes) {
  if (prefixes.empty()) return fmt::format("function {}() {{ return false; }}\n", name);
  return fmt::format("function {}() {{ return net ~ [ {} ]; }}\n", name, joined(prefixes, ", "));
}

std::string filters(const BgpSpeaker& speaker) {
  std::string text;
  std::set<std::string> written;
  for (const BgpNeighbour& neighbour : speaker.neighbours) {
    Family family = neighbour.address.family();
    if (written.insert(announced(family)).second)
      text += set_of(announced(family), of_family(speaker.announces, family));
    if (written.insert(neighbour.filter).second)
      text += set_of(neighbour.filter, neighbour.accepts);
  }
  return text;
}

// Routes of our own, and what the kernel is told.
std::string local(const BgpSpeaker& speaker, Family family) {
  std::vector<Prefix> own = of_family(speaker.discards, family);
  for (const Prefix& prefix : of_family(speaker.summarises, family)) own.push_back(prefix);
  std::string routes;
  for (const Prefix& prefix : own) routes += fmt::format("  route {} unreachable;\n", prefix);
  return fmt::format(
      "protocol static own_{0} {{\n"
      "  {0};\n"
      "{1}"
      "}}\n"
      "protocol kernel kernel_{0} {{\n"
      "  merge paths on;\n"
      "  {0} {{\n"
      "    import none;\n"
      "    export where source = RTS_BGP || source = RTS_STATIC;\n"
      "  }};\n"
      "}}\n",
      lower(family), routes);
}

std::string session(const BgpSpeaker& speaker, const BgpNeighbour& neighbour) {
  Family family = neighbour.address.family();
  return fmt::format(
      "protocol bgp {0} {{\n"
      "  description \"{1}\";\n"
      "  local as {2};\n"
      "  neighbor {3} as {4};\n"
      "  bfd on;\n"
      "  {5} {{\n"
      "    import where {6}();\n"
      "    export where {7}();\n"
      "    receive limit {8} action disable;\n"
      "  }};\n"
      "}}\n",
      neighbour.name, neighbour.description, speaker.as, neighbour.address, neighbour.as,
      lower(family), neighbour.filter, announced(family), neighbour.most);
}

bool speaks(const BgpSpeaker& speaker, Family family) {
  for (const BgpNeighbour& neighbour : speaker.neighbours)
    if (neighbour.address.family() == family) return true;
  return false;
}

}  // namespace

Result<std::string> bird(const Job& job) {
  TRY(speaker, bgp_speaker(job));
  std::string text = heading(job, "bird");
  text += fmt::format(
      "router id {};\n"
      "protocol device {{ }}\n"
      "protocol direct {{ ipv4; ipv6; }}\n"
      "protocol bfd {{ }}\n",
      speaker.router_id);
  text += filters(speaker);
  for (Family family : {Family::kV4, Family::kV6})
    if (speaks(speaker, family)) text += local(speaker, family);
  for (const BgpNeighbour& neighbour : speaker.neighbours) text += session(speaker, neighbour);
  return text;
}

}  // namespace tombolo::exports
