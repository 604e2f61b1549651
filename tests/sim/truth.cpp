// The rules of docs/services.md, said as plainly as they can be.
#include "tests/sim/truth.h"

#include <fmt/format.h>

namespace tombolo::sim {

std::set<std::string> Truth::own_backends(const std::string& cluster,
                                          const std::string& service) const {
  std::set<std::string> found;
  for (const auto& [name, pod] : clusters.at(cluster).pods)
    if (pod.app == service && pod.ready)
      for (const Ip& ip : pod.ips)
        if (ip.is_v4()) found.insert(fmt::format("{} {}:8080", cluster, ip.str()));
  return found;
}

bool Truth::permits(const std::string& cluster, bool ingress, const std::string& subject,
                    const std::string& peer, int port) const {
  bool isolated = false;
  for (const auto& [name, policy] : clusters.at(cluster).policies) {
    if (policy.ingress != ingress || policy.subject != subject) continue;
    isolated = true;
    if (policy.peers.contains(peer) && (policy.port == 0 || policy.port == port)) return true;
  }
  return !isolated;
}

std::set<std::string> Truth::backends(const std::string& cluster, const std::string& service,
                                      const std::set<std::string>& lost) const {
  const TrueService& here = clusters.at(cluster).services.at(service);
  std::set<std::string> own = own_backends(cluster, service);
  if (!here.global) return own;
  std::set<std::string> others;
  for (const auto& [name, other] : clusters) {
    auto there = other.services.find(service);
    if (name == cluster || there == other.services.end()) continue;
    if (!there->second.global || !there->second.shared) continue;
    if (lost.contains(name) && !here.keep_lost) continue;
    others.merge(own_backends(name, service));
  }
  if (here.affinity == Affinity::kLocal && !own.empty()) return own;
  if (here.affinity == Affinity::kRemote && !others.empty()) return others;
  own.merge(others);
  return own;
}

}  // namespace tombolo::sim
