// Numbers of rules: given by digest, kept as long as the text of the rule stays.
#include "policy/compiler/rule_numbers.h"

namespace tombolo::policy {

// FNV-1a, 64 bits. Two different rules of one digest would share a number: at 2^20 rules that is a
// chance of 1 in 2^25.
std::uint64_t digest_of(const NumberedRule& rule) {
  std::string text =
      fmt::format("{}\x1f{}\x1f{}\x1f{}", to_string(rule.direction), to_string(rule.action),
                  fmt::join(rule.policies, "\x1e"), rule.rule);
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  return hash;
}

void RuleNumbers::seed(RuleNumber number, std::uint64_t digest) {
  if (number == 0) return;
  seeds_[digest] = number;
  numbers_.reserve(number);
}

RuleNumber RuleNumbers::number_of(NumberedRule rule, MonotonicTime now) {
  rule.digest = digest_of(rule);
  if (auto known = rules_.find(rule.digest); known != rules_.end()) return known->second.number;
  if (auto seed = seeds_.find(rule.digest); seed != seeds_.end()) {
    rule.number = seed->second;
    seeds_.erase(seed);
  } else if (auto number = numbers_.take(now)) {
    rule.number = *number;
  } else {
    return 0;
  }
  new_.push_back(rule);
  RuleNumber number = rule.number;
  rules_.emplace(rule.digest, std::move(rule));
  return number;
}

std::vector<RuleNumber> RuleNumbers::keep(const std::set<RuleNumber>& used, MonotonicTime now) {
  for (const auto& [digest, number] : seeds_) numbers_.release(number, now);
  seeds_.clear();
  std::vector<RuleNumber> gone;
  for (auto at = rules_.begin(); at != rules_.end();) {
    if (used.contains(at->second.number)) {
      ++at;
      continue;
    }
    gone.push_back(at->second.number);
    numbers_.release(at->second.number, now);
    at = rules_.erase(at);
  }
  return gone;
}

std::vector<NumberedRule> RuleNumbers::take_new() {
  return std::exchange(new_, {});
}

}  // namespace tombolo::policy
