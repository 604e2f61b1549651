// Who really reaches whom: every pair of pods and the node to every pod, every port, both families,
// all at the same time. TCP connects, UDP is answered, SCTP arrives (raw sockets: not every kernel
// has SCTP ones). One thread.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "tests/netpol/fabric.h"

namespace tombolo::netpol {

struct Reach {
  Family family = Family::kV4;
  policy::Probe probe;
  std::size_t source = 0;  // slots
  std::size_t destination = 0;
  auto operator<=>(const Reach&) const = default;
};

// What listens in every pod, for as long as the fabric.
class Probes {
 public:
  Probes(const Fabric& fabric, std::set<policy::Probe> probes);
  // Tries all pairs of these slots, and the node to each. Waits until everything in `expected` was
  // seen (5 s at most), then a moment longer for what was not expected. Answers what was seen.
  std::set<Reach> run(const std::set<std::size_t>& slots, const std::set<Reach>& expected);

 private:
  struct Listener {
    policy::Probe probe;
    Descriptor fd;
  };
  struct Attempt {
    Reach reach;
    Descriptor fd;
  };
  using Place = std::pair<std::size_t, Family>;  // slot and family

  void listen_in(std::size_t slot);
  void begin_in(std::size_t slot, const std::set<std::size_t>& slots);
  void begin_tcp(const Reach& reach);
  void begin_udp(const Reach& reach);
  void begin_sctp(const Reach& reach);
  void look();
  void look_at_connects();
  void answer();
  void look_at_answers();
  void look_at_raw(const Place& place, const Descriptor& fd);

  const Fabric& fabric_;
  std::set<policy::Probe> probes_;
  std::vector<Listener> listeners_;
  std::map<Place, Descriptor> raw_;
  std::vector<Attempt> attempts_;
  std::map<Place, Descriptor> askers_;
  std::set<Reach> seen_;
  Port sctp_source_ = 20000;  // another one in each run
};

}  // namespace tombolo::netpol
