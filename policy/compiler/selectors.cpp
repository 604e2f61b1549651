// Selectors and the identities that they choose, changed one identity or one selector at a time.
#include "policy/compiler/selectors.h"

#include "policy/rules/rules.h"

namespace tombolo::policy {
namespace {

// Separators that no label can hold.
std::string key_of(const LabelSelector& selector) {
  std::string key;
  for (const LabelRequirement& requirement : selector.requirements)
    key += fmt::format("{}\x1f{}\x1f{}\x1e", requirement.key, static_cast<int>(requirement.op),
                       fmt::join(requirement.values, "\x1d"));
  return key;
}

std::string key_of(const PolicyPeerMatch& match) {
  return fmt::format("{}\x1c{}\x1c{}", match.name_space, key_of(match.namespaces),
                     key_of(match.pods));
}

bool selects(const PolicyPeerMatch& match, const Identity& identity) {
  Party party;
  party.identity = &identity;
  return matches(match, party);
}

}  // namespace

std::shared_ptr<const SelectorIndex::Entry> SelectorIndex::find(
    const PolicyPeerMatch& match, const std::map<std::uint32_t, Identity>& identities) {
  std::weak_ptr<Entry>& slot = entries_[key_of(match)];
  if (auto known = slot.lock()) return known;
  auto entry = std::make_shared<Entry>();
  entry->match = match;
  for (const auto& [number, identity] : identities)
    if (selects(match, identity)) entry->identities.insert(entry->identities.end(), number);
  slot = entry;
  if (entries_.size() >= sweep_at_) sweep();
  return entry;
}

void SelectorIndex::add(const Identity& identity) {
  for (auto& [key, slot] : entries_)
    if (auto entry = slot.lock(); entry && selects(entry->match, identity))
      entry->identities.insert(identity.number);
}

void SelectorIndex::remove(std::uint32_t number) {
  for (auto& [key, slot] : entries_)
    if (auto entry = slot.lock()) entry->identities.erase(number);
}

void SelectorIndex::sweep() {
  std::erase_if(entries_, [](const auto& entry) { return entry.second.expired(); });
  sweep_at_ = std::max<std::size_t>(1024, entries_.size() * 2);
}

}  // namespace tombolo::policy
