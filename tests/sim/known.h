// What a node's disk keeps of the store for the agent's next life: the port of
// core/store/last_known without its file, which has tests of its own. A crash loses what was not
// written yet, in order.
#pragma once

#include <map>
#include <set>
#include <string>

#include "core/store/last_known.h"
#include "tests/sim/kernel.h"

namespace tombolo::sim {

class SimKnown final : public LastKnown {
 public:
  explicit SimKnown(World& world) : world_(world) {}
  void attach(Alive user) { user_ = std::move(user); }
  bool full = false;  // what was to be written is lost; the file no longer passes for complete

  KnownPrefix load(const std::string& prefix) override;
  void put(const std::string& key, const std::string& value) override;
  void erase(const std::string& key) override;
  void listed(const std::string& prefix) override;

 private:
  void later(std::function<void()> write);

  World& world_;
  Alive user_;
  std::map<std::string, std::string> rows_;
  std::set<std::string> complete_;
};

}  // namespace tombolo::sim
