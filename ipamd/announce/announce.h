// Load balancer addresses on the local link: one node of the cluster answers ARP (IPv4) and
// neighbour discovery (IPv6) for each address of a LoadBalancer service, so that routers and hosts
// of the same link send to it.
//
//   frontends, nodes -> who may -> a record with a lease in the store -> Link (packets)
//
// One node holds an address: it writes tombolo/v1/announcements/ADDRESS under a lease of its own
// and renews that. When it can no longer, another node takes the address and says so on the link.
// Nobody takes an address back: who holds it keeps it. Control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/net.h"
#include "core/reconciler.h"
#include "core/store/lease_keeper.h"
#include "core/tables.h"
#include "core/task_group.h"
#include "core/worker.h"

namespace tombolo::announce {

inline constexpr std::string_view kAnnouncementsPrefix = "tombolo/v1/announcements/";  // ADDRESS

// Who answers for an address.
struct Announcement {
  Ip ip;
  std::string node;
  std::string service;  // "NAMESPACE/NAME"
  std::int64_t since_unix_s = 0;
  // Of the record in the store.
  std::int64_t mod_revision = 0;
  std::int64_t lease = 0;
  std::string key() const { return ip.str(); }
  bool operator==(const Announcement&) const = default;
};

std::string announcement_key(const Ip& ip);
std::string encode(const Announcement& announcement);  // JSON
// Names the key in its errors.
Result<Announcement> decode_announcement(const KeyValue& kv);

// ---- who may, and who is asked first. Pure.

// On a node: it announces nothing (well-known label of Kubernetes).
inline constexpr std::string_view kExcludeLabel =
    "node.kubernetes.io/exclude-from-external-load-balancers";

// Nodes of `cluster` that may announce the service's addresses, in an order that is each address's
// own: by rendezvous hashing, so that a node that comes or goes moves the least. With
// externalTrafficPolicy Local only nodes with a backend that takes new connections.
std::vector<std::string> candidates(const Ip& ip, const Frontend& frontend,
                                    const Table<Node>& nodes, const std::string& cluster);

// ---- the link

// How a node answers on its interfaces; the real one is make_link().
class Link {
 public:
  virtual ~Link() = default;
  // From now on these addresses are answered for, but not after `until`. Those marked true are
  // announced to everybody when they were not, or were false, before; for those marked false the
  // link is asked again and again whether somebody else has them.
  virtual void answer_for(std::map<Ip, bool> addresses, MonotonicTime until) = 0;
  // Called when another MAC address speaks as one of these addresses.
  virtual void on_other(std::function<void(const Ip&, const std::string& mac)> heard) = 0;
  // Until the task group is cancelled.
  virtual asio::awaitable<void> run() = 0;
};

struct LinkSettings {
  // Names of interfaces or shell patterns (fnmatch(3)): "eth0", "bond*".
  std::vector<std::string> interfaces;
  Duration rescan = std::chrono::seconds(2);
  // Announcements after a takeover, and the pause between them (Linux ignores a change of a
  // neighbour within a second of the last one).
  int announcements = 3;
  Duration pause = std::chrono::milliseconds(1100);
  // Answers per interface and address: so many at once, then so many per second; the rest is
  // counted and left unanswered.
  std::uint32_t answers_at_once = 400;
  std::uint32_t answers_per_s = 200;
};

// Sockets in the network namespace of the thread that calls run(). Interfaces that come and go are
// followed. `tasks` gets one reader per interface.
std::unique_ptr<Link> make_link(LinkSettings settings, TaskGroup& tasks, Clock& clock, Logger log);

// ---- the kernel

// Marks the routes below (core/net.h has the others).
inline constexpr std::uint8_t kDeadEndRouteProtocol = 205;

// An address that this node answers for.
struct Answered {
  Ip ip;
  std::string key() const { return ip.str(); }
  bool operator==(const Answered&) const = default;
};

// A dead end for each such address in the kernel's routes: whatever no balancer took would go back
// to the router, which sends it here again, until its hop limit ends. The answer is ICMP
// unreachable. Prune removes those that no row stands for.
class DeadEnds final : public ReconcileOperations<Answered> {
 public:
  DeadEnds(Net& net, Worker& worker) : net_(net), worker_(worker) {}
  asio::awaitable<Result<void>> update(Answered row) override;
  asio::awaitable<Result<void>> erase(std::string key) override;
  asio::awaitable<Result<void>> prune(std::vector<Answered> rows) override;

 private:
  Net& net_;
  Worker& worker_;
};

// ---- the node

struct Settings {
  std::string cluster;
  std::string node;
  std::chrono::seconds lease_ttl{6};
  Duration tick = std::chrono::milliseconds(250);
  // Each further candidate waits so much longer for those before it.
  Duration head_start = std::chrono::milliseconds(500);
  // How long it is told that another MAC address was heard with one of ours.
  Duration dispute = std::chrono::seconds(60);
  // When the lease cannot be renewed: false goes on answering, without a word of its own, until
  // another node is heard; true is silent before another can hold the address.
  bool stop_without_store = false;
};

class Announcer {
 public:
  // `announcements` are the store's records, mirrored; `answered` becomes what this node answers
  // for. Everything referred to outlives the tasks.
  Announcer(Settings settings, Table<Frontend>& frontends, Table<Node>& nodes,
            Table<Announcement>& announcements, Link& link, Table<Answered>::Writer answered,
            Table<ReconcileStatus>::Writer status, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
            Logger log);
  void start();

 private:
  struct Wanted {
    std::string service;
    std::vector<std::string> nodes;  // candidates, in order
  };
  asio::awaitable<void> run();
  void follow();
  void follow_service(const std::string& key);
  bool may_hold(const Ip& ip) const;
  bool proven(const Announcement& record) const;
  void answer();
  void tell_link(std::map<Ip, bool> now, MonotonicTime until);
  asio::awaitable<void> take_and_give();
  asio::awaitable<Result<void>> take(Ip ip, std::string service, std::int64_t known_revision,
                                     std::int64_t since_unix_s);
  asio::awaitable<Result<void>> give_back(Announcement record);
  void heard(const Ip& ip, const std::string& mac);
  void report(const Ip& ip, const std::string& problem);

  Settings settings_;
  Table<Frontend>& frontends_;
  Table<Node>& nodes_;
  Table<Announcement>& announcements_;
  Link& link_;
  Table<Answered>::Writer rows_;
  Table<ReconcileStatus>::Writer status_;
  Kv& kv_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  LeaseKeeper lease_;
  std::unique_ptr<Table<Frontend>::Tracker> frontends_changed_;
  std::unique_ptr<Table<Node>::Tracker> nodes_changed_;
  std::unique_ptr<Table<Announcement>::Tracker> records_changed_;
  std::map<Ip, Wanted> wanted_;
  std::map<std::string, std::vector<Ip>> ips_of_;  // service -> its addresses in wanted_
  std::set<Ip> held_;                              // recorded as this node's
  std::map<Ip, MonotonicTime> free_since_;         // wanted, recorded as nobody's
  std::set<Ip> yielded_;                           // heard from another while unproven
  std::map<Ip, MonotonicTime> disputed_;           // when another was heard, while proven
  std::map<Ip, bool> answered_;
  MonotonicTime until_{};
};

}  // namespace tombolo::announce
