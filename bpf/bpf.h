// The kernel side of Tombolo: loads the eBPF programs, pins them, and makes their maps equal to the
// `frontends` table (services -> backends). Load balancing happens at the socket; what the maps
// look like is in bpf/abi.h, how they change in docs/datapath.md.
//
// Everything that blocks (bpf system calls, netlink) runs on a worker behind co_await; open(),
// check_kernel() and detach() block their caller and belong before or after the control loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bpf/abi.h"
#include "core/log.h"
#include "core/reconciler.h"
#include "core/tables.h"

namespace tombolo::bpf {

struct Settings {
  // cgroup v2 folder whose processes (all below it too) get load balancing; nobody else does.
  std::string cgroup_root;
  // Where maps and links are pinned: a bpffs, or a folder on which one is mounted (its source is
  // then named "tombolo", so that detach() knows to take it away again).
  std::string bpffs_root;
};

// Ok, or one line that names everything that is missing (Linux 6.1, eBPF, cgroup v2, CAP_BPF,
// CAP_NET_ADMIN) and how to get it. Nothing is changed.
Result<void> check_kernel();
// The cgroup v2 mount of this mount namespace (the first in /proc/self/mountinfo).
Result<std::string> cgroup2_mount();
// True when interfaces can take tcx programs (Linux 6.6); asks the kernel, not its version.
bool kernel_has_tcx();

// ---- the port to the maps; the real one is behind LoadBalancer::open
class BpfMaps {
 public:
  virtual ~BpfMaps() = default;
  virtual Result<std::vector<std::pair<abi::lb_endpoint, std::uint32_t>>> frontends() = 0;
  // Adds the key or lets it point to another ring; there is no moment without it.
  virtual Result<void> put_frontend(const abi::lb_endpoint& key, std::uint32_t ring_id) = 0;
  virtual Result<void> erase_frontend(const abi::lb_endpoint& key) = 0;  // of the absent: ok
  // `word` as in abi.h; seen by the programs whole.
  virtual Result<void> put_ring(std::uint32_t ring_id, std::uint64_t word) = 0;
  virtual std::uint64_t ring(std::uint32_t ring_id) const = 0;
  virtual Result<void> put_slots(std::uint32_t offset, std::span<const abi::lb_slot> slots) = 0;
  virtual std::vector<abi::lb_slot> slots(std::uint32_t offset, std::uint32_t count) const = 0;
  virtual Result<void> put_backend(std::uint32_t id, const abi::lb_endpoint& backend) = 0;
  virtual abi::lb_endpoint backend(std::uint32_t id) const = 0;
  // Returns when no program runs any more that began before the call (an RCU grace period, some
  // ms).
  virtual Result<void> wait_for_readers() = 0;
};

// ---- what the kernel has, for `tombolo`
struct EntryBackend {
  Ip ip;
  Port port = 0;
  std::uint32_t slots = 0;  // its share of the ring
  auto operator<=>(const EntryBackend&) const = default;
};
struct Entry {
  std::string service;  // "NAMESPACE/NAME"; empty: left by an earlier life, not yet claimed
  Ip ip;
  Port port = 0;
  Protocol protocol = Protocol::kTcp;
  Selection selection = Selection::kRandom;
  std::vector<EntryBackend> backends;  // sorted; empty: connections are refused
  bool operator==(const Entry&) const = default;
};

// Sums over all CPUs since the maps were made; names as in abi.h.
struct SocketStats {
  std::uint64_t miss = 0;
  std::uint64_t translated = 0;
  std::uint64_t no_backend = 0;
  std::uint64_t stale = 0;
  std::uint64_t reversed = 0;
  std::uint64_t peer_forgotten = 0;
  std::uint64_t peer_not_stored = 0;
};

struct ProgramFacts {
  std::string name;
  std::uint32_t verified_instructions = 0;  // what the verifier walked ("processed N insns")
  std::uint32_t native_bytes = 0;
};

class LoadBalancer {
 public:
  // Mounts the bpffs when needed, takes over pinned maps, loads the programs and attaches them (an
  // existing link gets the new program in one step: no moment without one). What the maps say stays
  // in force until the `frontends` table is synced. Errors: kFailedPrecondition when a pin has
  // another layout or belongs to something else, kAlreadyExists when another process has these pins
  // open.
  static Result<std::unique_ptr<LoadBalancer>> open(Settings settings, Clock& clock, Logger log);
  virtual ~LoadBalancer() = default;

  // For Reconciler<Frontend>; lives as long as this object. update() fails with kResourceExhausted
  // when a service has more backends than fit (the rest is programmed) and with kAlreadyExists when
  // another service has the address.
  virtual ReconcileOperations<Frontend>& operations() = 0;
  // Read from the maps, sorted by address and port.
  virtual asio::awaitable<Result<std::vector<Entry>>> entries() = 0;
  virtual asio::awaitable<Result<SocketStats>> stats() = 0;
  virtual Result<std::vector<ProgramFacts>> programs() = 0;
  // From now on, connected UDP sockets that reached a backend through a service are closed (their
  // owner reads ECONNABORTED) when the backend has left every service. `netns_paths` lists the
  // network namespaces to look in, such as those of the node's attachments; called on the control
  // thread. Blocks for some ms. kFailedPrecondition when the kernel has no BTF: all else works.
  virtual Result<void> close_stuck_udp_in(
      std::function<std::vector<std::string>()> netns_paths) = 0;
};

// Removes links, maps and folders of every ABI version, and the bpffs if it is ours. Of the absent:
// ok. kAlreadyExists while a process has the pins open.
Result<void> detach(const Settings& settings);

}  // namespace tombolo::bpf
