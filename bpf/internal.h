// Parts of the folder that its files share: rings (pure), room (pure), the state that mirrors the
// maps, and the kernel objects. Everything here belongs to the worker thread of one LoadBalancer.
#pragma once

#include <compare>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "bpf/bpf.h"
#include "core/descriptor.h"

struct bpf_map;

namespace tombolo::abi {
inline std::strong_ordering operator<=>(const lb_endpoint& a, const lb_endpoint& b) {
  return std::memcmp(&a, &b, sizeof(a)) <=> 0;
}
inline bool operator==(const lb_endpoint& a, const lb_endpoint& b) {
  return (a <=> b) == 0;
}
inline bool operator==(const lb_slot& a, const lb_slot& b) {
  return a.backend_id == b.backend_id && a.ring_id == b.ring_id;
}
}  // namespace tombolo::abi

namespace tombolo::bpf {

constexpr std::size_t kMaxBackendsPerService = 4096;  // per port and family
constexpr std::uint32_t kMaxRandomSlots = 4096;       // more weight than that is scaled down

abi::lb_endpoint to_abi(Ip ip, Port port, Protocol protocol);
Ip ip_of(const abi::lb_endpoint& endpoint);
Port port_of(const abi::lb_endpoint& endpoint);
std::string text_of(const abi::lb_endpoint& endpoint);  // "10.0.0.1:80/TCP"

// ---- rings (ring.cpp)
struct RingMember {
  abi::lb_endpoint endpoint;
  std::uint16_t weight = 1;  // at least 1
  auto operator<=>(const RingMember&) const = default;
  bool operator==(const RingMember&) const = default;
};
// Both return, per slot, the index of a member. `members` are distinct; their order has no
// influence on which endpoint a slot gets (maglev) or on how often it appears (random).
//
// Every member appears in proportion to its weight, at least once: exactly, when the weights
// divided by their common divisor fit kMaxRandomSlots; else rounded by largest remainder.
std::vector<std::uint32_t> random_ring(std::span<const RingMember> members);
// Maglev (Eisenbud et al., NSDI 2016, section 3.4), weighted by letting a member skip turns. `size`
// is a prime of at least the number of members.
std::vector<std::uint32_t> maglev_ring(std::span<const RingMember> members, std::uint32_t size);
// The smallest table of 251 … 131071 slots with 100 per member, so that shares are true to about 1
// %.
std::uint32_t maglev_size(std::size_t members);

// ---- from a row to rings (plan.cpp)
struct RingKey {
  std::string service;
  Port port = 0;
  Protocol protocol = Protocol::kTcp;
  Family family = Family::kV4;
  auto operator<=>(const RingKey&) const = default;
};
struct WantedRing {
  RingKey key;
  std::vector<abi::lb_endpoint> addresses;  // every cluster and clusterset address with the port
  std::vector<RingMember> members;          // sorted
  bool maglev = false;
  std::size_t over_bound = 0;  // members left out because of kMaxBackendsPerService
};
// Who takes new connections: active backends of positive weight, else terminating ones (KEP-1669).
// Headless services and protocols other than TCP and UDP have no rings.
std::vector<WantedRing> plan_rings(const Frontend& row);

// ---- room (room.cpp): numbers and extents that readers may still look at rest until settle()
class IdPool {
 public:
  explicit IdPool(std::uint32_t limit) : limit_(limit) {}  // ids 1 … limit-1
  std::optional<std::uint32_t> take();
  void give_back(std::uint32_t id) { free_.insert(id); }     // never shown to a reader
  void retire(std::uint32_t id) { resting_.push_back(id); }  // readers may still have it
  void reserve(std::uint32_t id);                            // found in use
  void settle();
  std::size_t resting() const { return resting_.size(); }

 private:
  std::uint32_t limit_;
  std::uint32_t next_ = 1;  // ids from here on were never used
  std::set<std::uint32_t> free_;
  std::vector<std::uint32_t> resting_;
};

struct Extent {
  std::uint32_t offset = 0;
  std::uint32_t count = 0;
};
class Extents {
 public:
  explicit Extents(std::uint32_t size) { free_.emplace(0, size); }
  std::optional<Extent> take(std::uint32_t count);  // first fit
  bool reserve(Extent extent);                      // false when a part is taken
  void give_back(Extent extent);
  void retire(Extent extent) { resting_.push_back(extent); }
  void settle();
  std::size_t resting() const { return resting_.size(); }
  std::uint32_t used() const { return used_; }

 private:
  std::map<std::uint32_t, std::uint32_t> free_;  // offset -> count, never adjacent
  std::vector<Extent> resting_;
  std::uint32_t used_ = 0;
};

// ---- the mirror of the maps (lb_state.cpp): every write goes through it, in dependency order
class LbState {
 public:
  LbState(BpfMaps& maps, Logger log)
      : maps_(maps),
        log_(std::move(log)),
        ring_ids_(abi::kMaxRings),
        backend_ids_(abi::kMaxBackends),
        extents_(abi::kMaxSlots) {}
  // Takes over what the maps hold. kDataLoss when they contradict themselves.
  Result<void> rebuild();

  // Endpoints that no ring has any more after the change.
  using Gone = std::vector<abi::lb_endpoint>;
  struct Outcome {
    Gone gone;
    Result<void> done;  // the first error; the rest of the row was still programmed
  };
  Outcome update(const Frontend& row);
  Outcome erase(const std::string& service);
  // Removes what nobody claimed and no row wants.
  Outcome prune(const std::vector<Frontend>& rows);
  Result<std::vector<Entry>> entries() const;

 private:
  struct Ring {
    std::optional<RingKey> owner;
    Extent extent;
    std::set<std::uint32_t> backends;
    std::set<abi::lb_endpoint> addresses;  // frontends that point here
  };
  struct BackendUse {
    std::uint32_t id = 0;
    std::size_t rings = 0;
  };
  Result<void> adopt_ring(std::uint32_t ring_id);
  Result<std::uint32_t> ring_for(const WantedRing& wanted);
  Result<void> apply(const WantedRing& wanted, Gone& gone);
  Result<void> set_members(std::uint32_t ring_id, const WantedRing& wanted, Gone& gone);
  Result<Extent> slots_for(std::uint32_t count);
  Result<std::uint32_t> backend_id(const abi::lb_endpoint& endpoint);
  Result<void> point(const abi::lb_endpoint& address, std::uint32_t ring_id);
  Result<void> unpoint(const abi::lb_endpoint& address);
  Result<void> drop_ring(std::uint32_t ring_id, Gone& gone);
  Result<void> drop_unwanted(const std::string& service, const std::vector<WantedRing>& wanted,
                             Gone& gone);
  void release(const std::set<std::uint32_t>& backends, Gone& gone);
  void forget_unused(const std::vector<std::uint32_t>& ids);
  Result<void> settle();
  void publish_metrics() const;

  BpfMaps& maps_;
  Logger log_;
  IdPool ring_ids_;
  IdPool backend_ids_;
  Extents extents_;
  bool hash_dirty_ = false;  // an element of the frontends hash was freed and may still be read
  std::map<abi::lb_endpoint, std::uint32_t> frontends_;
  std::map<std::uint32_t, Ring> rings_;
  std::map<RingKey, std::uint32_t> owned_;
  std::map<abi::lb_endpoint, BackendUse> backends_;
  std::map<std::uint32_t, abi::lb_endpoint> backend_by_id_;
  std::map<std::string, std::size_t> over_bound_;  // service -> backends left out
};

// ---- the kernel's objects (programs.cpp, kernel_maps.cpp, pins.cpp, precheck.cpp)

// Returns when no program runs any more that began before wait() (some ms).
class Grace {
 public:
  static Result<Grace> open();
  Result<void> wait() const;

 private:
  Descriptor inner_;
  Descriptor outer_;
};

// A folder BPFFS_ROOT/PART, mounted and locked for this process.
inline constexpr std::string_view kBalancingPins = "tombolo";
inline constexpr std::string_view kPolicyPins = "tombolo-policy";
class PinFolder {
 public:
  static Result<PinFolder> open(const std::string& bpffs_root, std::string_view part);
  // Like open, but makes nothing: absent is an empty optional.
  static Result<std::optional<PinFolder>> find(const std::string& bpffs_root,
                                               std::string_view part);
  std::string maps() const { return version() + "/maps"; }
  std::string links() const { return version() + "/links"; }
  // Removes what other ABI versions left; returns how many there were.
  Result<int> remove_other_versions() const;
  Result<void> remove_all() const;

 private:
  std::string version() const;
  std::string root_;
  Descriptor lock_;
};
// True when the pin exists and is now the map of the object that is about to be loaded.
Result<bool> take_over_map(bpf_map* map, const std::string& path);
// Takes the bpffs at `root` away when it is ours (source "tombolo") and nobody pinned anything.
Result<void> unmount_if_ours(const std::string& root);

// While it lives, what libbpf says on this thread is kept, not printed.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;
  const std::string& text() const { return text_; }  // its end, when it was long

 private:
  std::string text_;
};

class Programs {
 public:
  virtual ~Programs() = default;
  virtual int map_fd(const std::string& name) const = 0;
  virtual Result<std::vector<ProgramFacts>> facts() const = 0;
};
// Loads, takes over or makes the pins, attaches.
Result<std::unique_ptr<Programs>> load_programs(const PinFolder& pins,
                                                const std::string& cgroup_root);
Result<std::unique_ptr<BpfMaps>> open_kernel_maps(const Programs& programs);
Result<SocketStats> read_counters(int counters_fd);

// ---- stuck UDP sockets (udp_peers.cpp, udp_close.cpp)
class UdpPeers {
 public:
  virtual ~UdpPeers() = default;
  // Sockets of all network namespaces that reached one of `backends` through a service.
  virtual Result<std::vector<abi::lb_udp_peer>> of(const std::set<abi::lb_endpoint>& backends) = 0;
};
// kFailedPrecondition when the kernel has no BTF.
Result<std::unique_ptr<UdpPeers>> open_udp_peers(int sockets_fd);
// Closes those of `peers` that are in the network namespace at `netns_path` and still connected to
// that backend. Returns how many.
Result<int> close_udp_sockets(const std::string& netns_path,
                              const std::vector<abi::lb_udp_peer>& peers);

}  // namespace tombolo::bpf
