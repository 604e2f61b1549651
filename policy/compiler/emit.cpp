// The last step of the compiler: what differs from what was answered before.
#include <algorithm>

#include "policy/compiler/state.h"

namespace tombolo::policy {

bool Changes::empty() const {
  return rules.empty() && erased_rules.empty() && sets.empty() && erased_sets.empty() &&
         peers.empty() && erased_peers.empty() && pods.empty() && erased_pods.empty();
}

// Anew each time, of everything that is in force: an error stays told for as long as it holds.
void Compiler::State::tell_errors() {
  errors.clear();
  if (book.refused() > 0)
    errors["peers"] = fmt::format(
        "{} addresses have no peer number and are denied where policies "
        "isolate: more than {} peers",
        book.refused(), limits.peers - 2);
  std::size_t unnumbered = 0;
  for (const auto& [key, set] : sets) {
    if (set.numbers.contains(0)) ++unnumbered;
    if (set.error.empty()) continue;
    std::string names;
    for (const auto& [name, revision] : key.policies)
      names += fmt::format("{}{}", names.empty() ? "" : " + ", name);
    errors[names.substr(0, 200)] = set.error;
  }
  if (unnumbered > 0)
    errors["rules"] = fmt::format(
        "{} groups of pods have rules that are in force without a number, so that flows cannot "
        "name them: more than {} rules",
        unnumbered, limits.rules);
}

std::string Compiler::State::id_of(const std::optional<SetKey>& key) const {
  return key ? sets.at(*key).builder->row().id : std::string();
}

// ---- what changed

void Compiler::State::emit_rules(Changes& changes) {
  std::set<RuleNumber> used;
  for (const auto& [key, set] : sets) used.insert(set.numbers.begin(), set.numbers.end());
  changes.erased_rules = rule_numbers.keep(used, now);
  changes.rules = rule_numbers.take_new();
  // One that came and went between two calls was never told of.
  std::erase_if(changes.rules,
                [&](const NumberedRule& rule) { return !used.contains(rule.number); });
}

void Compiler::State::emit_sets(Changes& changes, std::set<std::string>& ids) {
  for (const auto& [key, set] : sets) {
    const VerdictSet& row = set.builder->row();
    if (!ids.insert(row.id).second || sent_sets.contains(row.id)) continue;
    sent_sets.insert(row.id);
    changes.sets.push_back(row);
  }
}

// Pods go from their sets to the same rules' sets that know the new numbers. Nothing is taken away:
// that is compile()'s.
void Compiler::State::emit_prepared(Changes& changes) {
  std::set<std::string> ids;
  emit_sets(changes, ids);
  for (auto& [attachment, row] : sent_pods) {
    auto known = pods.find(attachment);
    if (known == pods.end()) continue;
    std::string ingress = id_of(known->second.ingress);
    std::string egress = id_of(known->second.egress);
    if (row.ingress == ingress && row.egress == egress) continue;
    row.ingress = std::move(ingress);
    row.egress = std::move(egress);
    changes.pods.push_back(row);
  }
}

void Compiler::State::emit(Changes& changes) {
  emit_rules(changes);
  std::set<std::string> ids;
  emit_sets(changes, ids);
  for (auto at = sent_sets.begin(); at != sent_sets.end();) {
    if (ids.contains(*at)) {
      ++at;
      continue;
    }
    changes.erased_sets.push_back(*at);
    at = sent_sets.erase(at);
  }
  for (const auto& [attachment, known] : pods) {
    GuardedPod row{attachment,         known.pod.host_interface, known.pod.pod,      known.pod.ips,
                   known.pod.identity, id_of(known.ingress),     id_of(known.egress)};
    auto [at, fresh] = sent_pods.try_emplace(attachment);
    if (!fresh && at->second == row) continue;
    at->second = row;
    changes.pods.push_back(std::move(row));
  }
  for (auto at = sent_pods.begin(); at != sent_pods.end();) {
    if (pods.contains(at->first)) {
      ++at;
      continue;
    }
    changes.erased_pods.push_back(at->first);
    at = sent_pods.erase(at);
  }
}

}  // namespace tombolo::policy
