// Shared by the checks of this folder.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "app/join/join.h"

namespace tombolo::join {

// Findings, of each kind and severity at most kMost, and how many more there were.
class Findings {
 public:
  void conflict(std::string kind, std::string here, std::string there, std::string fix) {
    add({JoinSeverity::kConflict, std::move(kind), std::move(here), std::move(there),
         std::move(fix)});
  }
  void warning(std::string kind, std::string here, std::string there, std::string fix) {
    add({JoinSeverity::kWarning, std::move(kind), std::move(here), std::move(there),
         std::move(fix)});
  }
  std::vector<JoinFinding> take();

 private:
  static constexpr std::size_t kMost = 100;
  void add(JoinFinding finding);

  std::vector<JoinFinding> found_;
  std::map<std::pair<JoinSeverity, std::string>, std::size_t> counts_;
};

void check_ranges(const JoinFacts& here, const JoinFacts& there, Findings& findings);
void check_services(const JoinFacts& here, const JoinFacts& there, Findings& findings);

}  // namespace tombolo::join
