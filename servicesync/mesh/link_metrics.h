// How another cluster stands, as metrics of the process. Private to servicesync/mesh.
#pragma once

#include <string>

#include "core/clock.h"
#include "core/tables.h"

namespace tombolo::mesh {

class LinkMetrics {
 public:
  explicit LinkMetrics(std::string cluster) : cluster_(std::move(cluster)) {}
  // tombolo_remote_state{remote_cluster,state}: 1 for the state it is in, 0 for the others.
  void set_state(RemoteState state) const;
  // tombolo_remote_transitions_total{remote_cluster,to}
  void count_transition(RemoteState to) const;
  // tombolo_remote_silence_seconds{remote_cluster}: since its store answered last, or since the
  // link was made.
  void set_silence(Duration silent) const;
  // The cluster has left: in no state.
  void clear() const;

 private:
  std::string cluster_;
};

}  // namespace tombolo::mesh
