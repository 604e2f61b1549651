// Plain walks over what was registered.
#include "app/daemon/settling.h"

#include <algorithm>

namespace tombolo {

std::vector<std::string> Settling::busy(const std::vector<std::string>& only) const {
  std::vector<std::string> names;
  auto wanted = [&](const std::string& name) {
    return only.empty() || std::ranges::find(only, name) != only.end();
  };
  for (const ReconcilerView* reconciler : reconcilers_)
    if (!reconciler->settled() && wanted(reconciler->name())) names.push_back(reconciler->name());
  for (const Derivation& derivation : derivations_)
    if (!derivation.idle()) names.push_back(derivation.name);
  return names;
}

std::vector<std::string> Settling::behind(std::int64_t store_revision) const {
  std::vector<std::string> names;
  for (const PrefixFollower* follower : followers_)
    if (follower->revision() < store_revision) {
      names.push_back(follower->options().name);
      follower->ask_now();
    }
  return names;
}

std::vector<std::string> Settling::unlisted() const {
  std::vector<std::string> names;
  for (const PrefixFollower* follower : followers_)
    if (follower->lists() == 0) names.push_back(follower->options().name);
  return names;
}

}  // namespace tombolo
