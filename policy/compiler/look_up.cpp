// The kernel's way through the tables, in C++.
#include <algorithm>

#include "policy/compiler/compiler.h"

namespace tombolo::policy {

Verdict look_up(const VerdictSet& set, std::uint32_t peer, std::uint8_t protocol, Port port) {
  if (peer >= set.peer_classes.size()) return set.otherwise;
  bool has_ports = protocol == 6 || protocol == 17 || protocol == 132;
  std::uint8_t row = has_ports ? protocol : 0;
  auto span = std::ranges::find_if(set.ports, [&](const PortSpan& entry) {
    return entry.protocol == row && (!has_ports || (entry.first <= port && port <= entry.last));
  });
  if (span == set.ports.end()) return set.otherwise;
  return set
      .verdicts[std::size_t{set.peer_classes[peer]} * set.port_class_count + span->port_class];
}

}  // namespace tombolo::policy
