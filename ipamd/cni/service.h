// The agent's side of CNI: addresses from the lease book, interfaces through the Net port, rows in
// the attachments table. Control thread; the kernel and the disk on workers.
//
// A pod gets /32 and /128 addresses and one next hop per family, 169.254.1.1 and fe80::1, which
// the host's end of its veth pair stands for (permanent neighbours on both ends: no ARP or ND is
// needed, and no address of the block is spent on a gateway). ADD answers when the lease is on the
// disk and the interface is complete; on any failure nothing is left.
//
// Other plugins may make the interface instead: they ask for addresses only (addresses.cpp), or are
// followed by this one, which then looks after what they made (chained.cpp). A device of the node
// may be the interface (lending.cpp). What is lost without a DEL comes back by itself
// (recovery.cpp).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/device_net.h"
#include "core/log.h"
#include "core/net.h"
#include "core/table.h"
#include "core/tables.h"
#include "core/task_group.h"
#include "core/worker.h"
#include "ipamd/allocator/lease_book.h"
#include "ipamd/cni/call.h"
#include "ipamd/cni/listener.h"
#include "ipamd/cni/pool_directory.h"
#include "ipamd/cni/runtime.h"
#include "ipamd/probe/probe.h"

namespace tombolo {

// What others do with an interface before it carries its first packet and after its last.
class InterfaceHooks {
 public:
  virtual ~InterfaceHooks() = default;
  // Both ends exist and are down. An error undoes the ADD.
  virtual asio::awaitable<Result<void>> before_up(Attachment attachment);
  // The interface is gone, its addresses are not yet free. Also when before_up failed or was not
  // reached.
  virtual asio::awaitable<void> removed(Attachment attachment);
  // For CHECK: an error says what is missing at an interface that is up.
  virtual asio::awaitable<Result<void>> verify(Attachment attachment);
};

// A device of the node that is the interface of an attachment: where it is, under an index that no
// interface on the node has.
struct DeviceInPod {
  std::string device;
  NetnsPath netns;
  std::uint32_t index = 0;
};

struct CniSettings {
  std::string node;
  std::string cluster;
  std::string socket_path;        // empty: none is opened, calls come by handle()
  std::vector<Ip> dns_addresses;  // the nameservers of pods; none: the pod keeps its own
  std::uint32_t mtu = 0;          // 0: that of the node's uplink
  std::string cluster_zone = "cluster.local";
  std::string clusterset_zone = "clusterset.local";
  std::vector<Family> families;          // that each pod gets; empty: those of the node's blocks
  std::string interface_prefix = "tbo";  // of interfaces in the node's namespace, up to 3 bytes
};

namespace cni {
class Adoptions;
struct DeviceRecord;
struct InterfaceExtras;
}  // namespace cni
class Claims;
class ClaimsUnderWay;
class OverlayBlocks;
struct ClaimedLease;

// Pools beside the node's own blocks. All referred to outlive the service.
struct CniPools {
  PoolDirectory* directory = nullptr;
  Claims* claims = nullptr;
  OverlayBlocks* blocks = nullptr;
  StringMap node_labels;
  // Addresses of pools that this node has on interfaces of its own making: other nodes reach them
  // by it.
  Table<NodeBlock>::Writer* routed = nullptr;
};

class CniService {
 public:
  // Makes the workers that run what blocks: with threads of their own, or on the queue of a
  // simulation.
  using MakeWorker = std::function<std::unique_ptr<Worker>()>;
  static std::unique_ptr<Worker> own_thread() { return std::make_unique<Worker>(); }

  // Everything must outlive the join of `tasks`.
  CniService(CniSettings settings, Net& net, LeaseStore& store, Table<NodeBlock>& node_blocks,
             Table<Attachment>::Writer attachments, InterfaceHooks& hooks, TaskGroup& tasks,
             Clock& clock, Logger log, const MakeWorker& make_worker = own_thread);
  ~CniService();

  // Where chained mode keeps what it looks after; without it that mode is refused. Before start();
  // a file of its own, not that of the leases.
  void keep_adoptions_in(LeaseStore& store);
  // Lends devices of the node to pods; what they were is kept in `folder`. Without it a
  // configuration with "deviceID" is refused. Before start().
  void lend_devices(DeviceNet& net, std::string folder);
  // Who asks the network before an address is answered, where a configuration wants that; without
  // it nobody is asked. Before start().
  void probe_with(AddressProber& prober);

  // Who says which sandboxes there are; without it the kernel alone is asked what is lost. Before
  // start().
  void ask_runtime(ContainerRuntime& runtime);

  // Gives out of pools, too, while there are any. Without it, and without pools, out of the node's
  // blocks alone. Before start().
  void use_pools(CniPools pools);

  // Takes up the leases of an earlier life, compares them with the kernel (an ADD that a crash
  // interrupted is finished or undone, interfaces without a lease are removed), fills the
  // attachments table and opens the socket. Once. Serves in the task group from then on.
  asio::awaitable<Result<void>> start();

  // One call, as the socket gets it. The object is what the plugin prints; {} for nothing.
  asio::awaitable<cni::Answer<json::object>> handle(cni::Call call);

  // Links of this node came or went: what is lost is looked for now. Otherwise every half second.
  void links_changed();

  // Of an attachment by its key; also while it is being made, from before its hooks are called.
  std::optional<DeviceInPod> device_in_pod(const std::string& key) const;

  const LeaseBook& book() const { return book_; }
  // Of a lease: it holds addresses, the interface is another plugin's (or a block's gateway).
  static bool is_reservation(const Lease& lease) { return lease.attachment.host_interface.empty(); }
  // A reservation is complete once it is on the disk; whether the runtime heard of it, it says by
  // DEL, or recovery finds out.
  // One that waits for the ADD of its interface is not.
  static bool is_complete(const Lease& lease) {
    if (is_waiting(lease)) return false;
    return is_reservation(lease) || lease.state == LeaseState::kAttached;
  }
  static bool is_waiting(const Lease& lease);

 private:
  struct Held;     // recovery.cpp
  struct Granted;  // pooled.h
  struct Pooled;
  struct Interface;  // pooled.h

  // pooled.cpp
  bool asks_pools() const;
  static bool is_pooled(const Lease& lease);
  asio::awaitable<cni::Answer<std::vector<InterfaceChoice>>> choose(cni::Call call);
  asio::awaitable<cni::Answer<Granted>> grant(cni::Call call, Lease wanted);
  asio::awaitable<cni::Answer<ClaimsUnderWay>> claim(std::string container_id, std::string pod,
                                                     std::vector<InterfaceChoice>& choices);
  asio::awaitable<cni::Answer<Granted>> grant_probed(cni::Call call, Lease wanted,
                                                     std::vector<InterfaceChoice> choices);
  asio::awaitable<cni::Answer<Granted>> grant_new(cni::Call call, Lease wanted,
                                                  std::vector<InterfaceChoice> choices);
  asio::awaitable<cni::Answer<LeaseBook::Reservation>> reserve_from_blocks(bool with_gateways,
                                                                           Lease wanted);
  Result<LeaseBook::Reservations> reserve_choices(const cni::Call& call, const Lease& wanted,
                                                  const std::vector<InterfaceChoice>& choices,
                                                  bool first_is_apart);
  cni::InterfaceExtras extras_of(const Lease& lease, bool clean_gateway) const;
  cni::GrantedAddresses places_of(const Lease& lease, bool default_routes) const;
  cni::InterfaceExtras extras_to_check(const Lease& lease,
                                       const cni::PreviousResult& previous) const;
  void take_back(const std::vector<LeaseBook::Held>& others);

  // pool_blocks.cpp
  void take_blocks_of(const IpPool& pool);
  void take_all_blocks();
  asio::awaitable<Result<void>> grow(AddressWish wish);
  std::vector<AddressWish> unfulfilled(const std::vector<InterfaceChoice>& choices) const;
  asio::awaitable<void> compare_blocks();
  asio::awaitable<void> release_closing();

  // pool_claims.cpp
  void take_pools();
  void note_waiting(const Lease& lease);
  void forget_waiting(const Lease& lease);
  class KeyHeld;  // gives a key back at the end of its scope
  asio::awaitable<void> release_waiting(std::string container_id, std::unique_ptr<KeyHeld> own);
  asio::awaitable<void> release_one_waiting(std::string key);
  void free_claims(const Lease& lease);
  void free_claims_of(const std::vector<std::string>& keys);
  asio::awaitable<void> wait_until_freed(std::vector<std::string> keys);
  std::vector<ClaimedLease> claimed_leases() const;
  asio::awaitable<void> keep_claims();
  asio::awaitable<void> reconcile_regularly();
  void show_routed(const std::string& key, const Lease* lease);
  std::optional<std::string> lack_of_pools();

  asio::awaitable<Result<void>> reconcile_with_kernel();
  asio::awaitable<Result<bool>> in_kernel(Lease lease);
  asio::awaitable<void> follow_blocks();
  void take_blocks();

  asio::awaitable<cni::Answer<json::object>> dispatch(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> add(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> remove(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> check(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> collect_garbage(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> status(cni::Call call);
  std::vector<std::string> garbage(const cni::Call& call) const;
  std::string lack_of_addresses();

  asio::awaitable<cni::Answer<json::object>> add_addresses(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> check_addresses(cni::Call call);
  asio::awaitable<cni::Answer<LeaseBook::Reservation>> reserve_with_gateways(Lease lease);
  asio::awaitable<cni::Answer<void>> reserve_gateway(Family family);
  asio::awaitable<cni::Answer<LeaseBook::Reservation>> reserve_probed(cni::Call call, Lease lease);
  asio::awaitable<cni::Answer<std::map<Ip, std::string>>> ask_network(ProbeQuestion question);
  asio::awaitable<cni::Answer<std::map<Ip, std::string>>> ask_for_pools(cni::Call call,
                                                                        Lease lease);
  void set_aside(const Lease& lease, const std::map<Ip, std::string>& conflicts);
  void note_conflict(const Lease& lease);
  void free_rested_conflicts();
  static bool is_conflict(const Lease& lease);
  cni::GrantedAddresses places_in_blocks(const Lease& lease) const;
  static bool is_gateway(const Lease& lease);
  std::optional<Family> family_without_gateway() const;
  std::optional<Prefix> block_of(const Ip& ip) const;
  std::optional<Ip> gateway_of(const Prefix& block) const;

  asio::awaitable<cni::Answer<json::object>> adopt(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> check_adopted(cni::Call call);
  asio::awaitable<cni::Answer<void>> release_adopted(cni::Call call);
  asio::awaitable<cni::Answer<void>> let_go(std::string key, std::uint64_t sequence);

  // lending.cpp
  struct Devices;
  const cni::DeviceRecord* device_of(const std::string& key) const;
  asio::awaitable<cni::Answer<cni::DeviceRecord>> free_device(cni::Call call);
  asio::awaitable<cni::Answer<Granted>> reserve_for_device(cni::Call call, std::string mac);
  cni::GrantedAddresses places_for_device(const Granted& granted) const;
  asio::awaitable<cni::Answer<void>> move_device(Attachment attachment, DeviceMove move,
                                                 cni::GrantedAddresses places);
  asio::awaitable<cni::Answer<void>> lend(cni::Call call, cni::DeviceRecord record,
                                          Granted& granted);
  asio::awaitable<cni::Answer<json::object>> add_device(cni::Call call);
  asio::awaitable<cni::Answer<json::object>> check_device(cni::Call call, Lease lease);
  asio::awaitable<Result<void>> return_device(cni::DeviceRecord record);
  asio::awaitable<Result<void>> take_away(std::string key, std::string host_interface);
  asio::awaitable<Result<void>> expect_silent(cni::DeviceRecord record);
  asio::awaitable<Result<void>> load_devices();
  asio::awaitable<void> look_for_devices();
  asio::awaitable<Result<bool>> device_in_kernel(cni::DeviceRecord record);

  asio::awaitable<void> recover_lost();
  asio::awaitable<void> recover(Held lost, std::string_view witnesses);
  void note_caller(const cni::Call& call);
  asio::awaitable<void> note_runtime(Attachment attachment);
  asio::awaitable<void> note_runtime_of_all();
  asio::awaitable<void> follow_runtime();
  void heard_from_runtime(const Result<ContainerRuntime::Sandboxes>& answer);
  asio::awaitable<void> look_regularly();
  std::vector<Held> everything_held();
  asio::awaitable<void> undo_untold(cni::Mode mode, std::string key, std::uint64_t sequence);

  asio::awaitable<cni::Answer<Granted>> reserve(cni::Call call);
  asio::awaitable<cni::Answer<void>> make_interface(Interface interface);
  asio::awaitable<void> undo(Lease lease);
  asio::awaitable<Result<LeaseBook::Reservation>> reserve_from_node(Lease lease);
  // The caller holds the key.
  asio::awaitable<cni::Answer<void>> detach(std::string key);
  asio::awaitable<cni::Answer<std::optional<Lease>>> take_down(std::string key);
  asio::awaitable<cni::Answer<void>> detach_for_del(std::unique_ptr<KeyHeld> held);
  asio::awaitable<void> finish_release(std::unique_ptr<KeyHeld> held, LeaseBook::Held what,
                                       LeaseJournal::Ticket ticket, bool pooled);
  asio::awaitable<Result<std::uint32_t>> mtu_of_path();
  asio::awaitable<cni::Listener::Reply> answer(std::string request);
  std::function<void()> undoer(cni::Mode mode, const std::string& key);
  static std::string key_of(const cni::Call& call);
  Lease lease_of(const cni::Call& call) const;
  std::optional<Lease> held_lease(const std::string& key) const;
  // Makes the attachment's row what is held by now.
  void show(const std::string& key);

  asio::awaitable<Result<void>> take_key(std::string key);

  CniSettings settings_;
  Net& net_;
  Table<NodeBlock>& node_blocks_;
  Table<Attachment>::Writer attachments_;
  InterfaceHooks& hooks_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  std::unique_ptr<Worker> store_worker_;
  std::unique_ptr<Worker> net_worker_;
  // Deleting a veth pair waits for a grace period of the kernel, some 10 ms: not in the way of ADD.
  std::unique_ptr<Worker> removal_worker_;
  std::unique_ptr<Worker> runtime_worker_;  // a runtime may take its time
  LeaseBook book_;
  std::set<std::string> busy_;  // attachments with an operation under way
  Signal key_free_;
  std::size_t releases_under_way_ = 0;  // answered, and on their way to the disk
  Signal released_;
  Signal blocks_changed_;
  std::unique_ptr<Table<NodeBlock>::Tracker> block_tracker_;
  std::uint32_t known_mtu_ = 0;
  MonotonicTime mtu_read_at_{};
  std::unique_ptr<cni::Listener> listener_;
  std::unique_ptr<cni::Adoptions> adoptions_;
  std::unique_ptr<Devices> devices_;
  // By whether it is adopted, and its sequence number.
  std::map<std::pair<bool, std::uint64_t>, std::uint64_t> netns_numbers_;
  ContainerRuntime* runtime_ = nullptr;  // null: none is asked
  cni::RuntimeMemory runtime_memory_;
  bool runtime_wanted_ = false;
  AddressProber* prober_ = nullptr;
  struct Conflict {
    std::uint64_t sequence = 0;
    MonotonicTime until;
  };
  std::map<std::string, Conflict> conflicts_;  // addresses set aside, by the keys of their leases
  std::set<Ip> gateways_;  // of blocks, for pods whose interface another plugin makes
  Signal look_;
  bool look_wanted_ = false;
  std::unique_ptr<Pooled> pooled_;  // null: no pools
};

}  // namespace tombolo
