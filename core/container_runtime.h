// The node's container runtime, as the agent uses it: which sandboxes (pods) there are. The port is
// blocking; callers run it on a Worker. The real one is app/cri.
#pragma once

#include <map>
#include <set>
#include <string>

#include "core/error.h"

namespace tombolo {

class ContainerRuntime {
 public:
  virtual ~ContainerRuntime() = default;

  // Which processes listen: another text after every start of a runtime, where that can be told.
  struct Life {
    bool present = false;             // false: this node has no runtime
    std::set<std::string> processes;  // fewer than runtimes while one is away
    bool operator==(const Life&) const = default;
  };
  // Cheap. kUnavailable: that cannot be told now.
  virtual Result<Life> life() = 0;

  struct Sandboxes {
    Life life;                          // whose answer this is
    std::map<std::string, bool> ready;  // by id; false: stopped, its end is under way
  };
  // All of them, never a part. kUnavailable: one is away or does not answer.
  virtual Result<Sandboxes> list() = 0;
};

}  // namespace tombolo
