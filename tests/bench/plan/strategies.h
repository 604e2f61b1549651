// The planner and the ways of others, behind one interface: a cluster joins, changes, or leaves,
// and gets ranges or does not. The others are written from the descriptions of what they do:
// consecutive ranges that are never given back (Terraform's cidrsubnets), the lowest free range
// (NetBox), a random free range and the smallest hole that fits (GCP's strategies).
#pragma once

#include <memory>

#include "tests/bench/plan/traces.h"

namespace tombolo::bench {

class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual std::string name() const = 0;
  // False when there was no room; nothing has changed then.
  virtual bool join(const FleetCluster& cluster) = 0;
  virtual bool change(const FleetCluster& cluster) = 0;
  virtual void leave(const std::string& name) = 0;
  virtual Plan plan() const = 0;
};

// All of them, for one trace. `fleet` has no clusters and outlives them.
std::vector<std::unique_ptr<Strategy>> strategies_for(const Fleet& fleet, std::uint64_t seed);
std::unique_ptr<Strategy> planner_for(const Fleet& fleet);
// The planner with every cluster's largest size of the trace from the day it joins, where that has
// room then: what knowing the future is worth. The trace outlives it.
std::unique_ptr<Strategy> foreseeing_for(const Trace& trace);

enum class Pick { kNext, kLowest, kRandom, kSmallest };
std::unique_ptr<Strategy> other_for(const Fleet& fleet, Pick pick, std::uint64_t seed);

}  // namespace tombolo::bench
