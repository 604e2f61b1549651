// Rules and isolations -> the numbers that verdicts carry. A rule keeps its number as long as its
// text stays, also over restarts (seeded by digest), so that its counters stay its own. Part of the
// compiler.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/policy.h"
#include "policy/compiler/numbers.h"

namespace tombolo::policy {

class RuleNumbers {
 public:
  RuleNumbers(RuleNumber last, Duration rest) : numbers_(1, last, rest) {}

  void seed(RuleNumber number, std::uint64_t digest);
  // The number of a rule; `rule.number` and `.digest` are filled here. 0 when none is left.
  RuleNumber number_of(NumberedRule rule, MonotonicTime now);
  // Gives up every number that is not in `used`. Answers those given up.
  std::vector<RuleNumber> keep(const std::set<RuleNumber>& used, MonotonicTime now);
  // Rows that are new since the last call.
  std::vector<NumberedRule> take_new();

 private:
  Numbers numbers_;
  std::map<std::uint64_t, NumberedRule> rules_;  // by digest
  std::map<std::uint64_t, RuleNumber> seeds_;
  std::vector<NumberedRule> new_;
};

// Of what a numbered rule says, without its number.
std::uint64_t digest_of(const NumberedRule& rule);

}  // namespace tombolo::policy
