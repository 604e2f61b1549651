// What is true in the fleet, as its users made it, and what follows from it: a naive model that
// shares no code with the daemon. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/ip.h"

namespace tombolo::sim {

enum class Affinity { kNone, kLocal, kRemote };

// A Service of one cluster: selector app=NAME, port 80 to 8080.
struct TrueService {
  bool global = false;
  bool shared = true;
  bool keep_lost = false;
  Affinity affinity = Affinity::kNone;
  bool operator==(const TrueService&) const = default;
};

struct TruePod {
  std::string node;
  std::string app;
  bool ready = true;
  std::string pool;     // that its address is to come from; empty: the node's own block
  bool fixed = false;   // it keeps its address when it is made again
  std::vector<Ip> ips;  // of the attachment that the runtime knows of; none: not attached
  bool operator==(const TruePod&) const = default;
};

// A NetworkPolicy: pods with app=SUBJECT are isolated in one direction; pods of `peers` may talk to
// them (ingress) or be talked to (egress), in every cluster.
struct TruePolicy {
  bool ingress = true;
  std::string subject;
  std::set<std::string> peers;
  int port = 0;  // 0: all
  bool operator==(const TruePolicy&) const = default;
};

struct TrueCluster {
  std::map<std::string, TrueService> services;
  std::map<std::string, TruePod> pods;
  std::map<std::string, TruePolicy> policies;
};

class Truth {
 public:
  std::map<std::string, TrueCluster> clusters;

  // "CLUSTER 10.1.0.5:8080" of every backend that `cluster` should use for its service.
  std::set<std::string> backends(const std::string& cluster, const std::string& service,
                                 const std::set<std::string>& lost = {}) const;
  // Whether policies of `cluster` let pods of `subject` there and pods of `peer` anywhere talk, in
  // the direction as the subject sees it.
  bool permits(const std::string& cluster, bool ingress, const std::string& subject,
               const std::string& peer, int port) const;

 private:
  std::set<std::string> own_backends(const std::string& cluster, const std::string& service) const;
};

}  // namespace tombolo::sim
