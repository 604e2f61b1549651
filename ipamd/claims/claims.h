// Addresses and blocks of pools that many nodes share, so that no two of them hold one address.
//
//   AddressWish of each interface --take()--> one transaction in the cluster's store -->
//   AddressClaim the caller then writes its lease (LeaseBook, that pool and that exact address)
//   interface gone --> lease erased --> release(); what got lost between: reconcile()
//
// An underlay pool is claimed address by address (tombolo/v1/claims/POOL/IP), an overlay pool block
// by block (tombolo/v1/poolblocks/POOL/PREFIX). Which one is wanted is decided here, from what the
// store said last; that it is still free is decided by the store, which compares. A claim never
// expires: it ends with its holder's release, so a partition gives nothing to a second node.
// Control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/tables.h"
#include "core/task_group.h"
#include "ipamd/allocator/allocator.h"
#include "ipamd/grants/grants.h"

namespace tombolo {

// What is shared of a pool (PoolCatalog::usable says the ranges).
struct ClaimPool {
  std::string name;
  std::vector<IpRange> ranges;
  int block_length = 0;  // 0: underlay, claimed address by address; else the blocks of an overlay
  Rest rest;             // of an address; of an overlay, of a block
  // Shared with other clusters: claimed only in the parts that this one has (ipamd/grants).
  bool granted = false;
  // Overlay only: how many one node may have, and how long one is kept that has no lease.
  std::size_t most_blocks = 64;
  Duration block_idle = std::chrono::minutes(5);
};

// One interface that wants addresses. At most one of each family when it has an identity.
struct ClaimWanted {
  std::string holder;                  // key of the attachment, never used again
  std::string pod;                     // "NAMESPACE/NAME", for people
  std::string identity;                // of a fixed address; empty: any will do
  std::size_t room = 1;                // how many addresses of a family the identity may have
  std::vector<AddressWish> addresses;  // each of the first pool that has a rested one, else any
};

class Claims;
class LastKnown;

// While it lives, reconcile() leaves the claims of these holders alone, though no lease has them
// yet. Keep it until the lease is written.
class ClaimsUnderWay {
 public:
  ClaimsUnderWay() = default;
  ClaimsUnderWay(Claims& claims, std::vector<std::string> holders);
  ClaimsUnderWay(ClaimsUnderWay&& other) noexcept;
  ClaimsUnderWay& operator=(ClaimsUnderWay&& other) noexcept;
  ~ClaimsUnderWay();

 private:
  void end();
  Claims* claims_ = nullptr;
  std::vector<std::string> holders_;
};

struct ClaimsTaken {
  std::vector<std::vector<AddressClaim>>
      claims;  // per wanted interface, in the order of its wishes
  ClaimsUnderWay under_way;
};

// What a lease of this node has of shared pools.
struct ClaimedLease {
  std::string holder;
  std::string pod;
  std::string identity;  // whose the addresses stay; empty: nobody's
  std::vector<PooledIp> addresses;
  std::int64_t since_unix_ms = 0;  // 0: unknown
};

// What is in the parts of a shared pool that are held.
std::vector<IpRange> held_ranges(const grants::PoolParts& parts,
                                 const std::vector<IpRange>& ranges);

struct ClaimsReconciled {
  std::size_t freed = 0;       // claims of this node that no lease has
  std::size_t taken_back = 0;  // of leases, that the store had lost or did not have yet
  // Leases whose address another one claims: one line each, naming both. Nothing is changed.
  std::vector<std::string> conflicts;
};

struct ClaimsOptions {
  std::string node;
  // An attempt that lost against another node looks again; then kAborted.
  std::uint32_t attempts = 24;
  Duration retry_base = std::chrono::milliseconds(2);
  Duration retry_cap = std::chrono::milliseconds(250);
  Duration follow_retry_cap = std::chrono::seconds(10);
  // After another store answered, as one that was restored from a backup, nothing new is claimed
  // for so long: what the nodes hold and the backup does not know is claimed again first.
  Duration settle = std::chrono::seconds(30);
  // Remembers which store this was, and how far, so that a life that begins after a restore knows
  // of it. A node that remembers nothing waits as well, when others hold something. Without one,
  // only what happens in this life is noticed.
  LastKnown* known = nullptr;
};

class ClaimView;
struct Verified;
class BlockView;
class SharedRecords;

class Claims {
 public:
  static constexpr std::size_t kMaxAddresses = 48;  // of one take()

  // Everything referred to outlives the tasks of the group.
  Claims(ClaimsOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng, Logger log);
  ~Claims();

  // Follows the store until the group is cancelled.
  asio::awaitable<void> run();
  // The claims have been read once. Before it take() and release() answer kUnavailable.
  bool synced() const;

  // kInvalidArgument: ranges of one pool overlap, or two pools have one name. Nothing changes then.
  Result<void> set_pools(std::vector<ClaimPool> pools);

  // Every address of every interface in one transaction, or none. A holder that has claims already
  // (an ADD whose answer was lost) gets those that fit and gives the others back.
  //   kResourceExhausted   no address is free, or none has rested enough (with the time), or of a
  //                        pool of several clusters this one has no part
  //   kAlreadyExists, kOutOfRange   of an exact address
  //   kFailedPrecondition  none of a wish's pools is known or has the family
  //   kUnavailable         the store is away, has not been read or was just restored; the claim may
  //                        have been written
  //   kAborted             try again later: another pod of the identity still holds its address, or
  //                        others were faster every time
  //   kInvalidArgument     no wish, one holder or identity twice, more than kMaxAddresses
  asio::awaitable<Result<ClaimsTaken>> take(std::vector<ClaimWanted> wanted);

  // Ends what these holders have on this node; absent ones are done already. A claim that is
  // another's by now is not touched. kUnavailable: reconcile() will do it.
  asio::awaitable<Result<void>> release(std::vector<std::string> holders);

  // Makes the claims of this node equal to its leases: `leases` is read when the store has
  // answered last, without a pause before it is used.
  asio::awaitable<Result<ClaimsReconciled>> reconcile(
      std::function<std::vector<ClaimedLease>()> leases);

  // Of this node (of all nodes), as the store said last; by pool and address.
  std::vector<AddressClaim> claims_of_node() const;
  // Of an underlay pool; zeros when there is none of that name.
  FamilyUsage usage(std::string_view pool, Family family) const;

 private:
  friend class ClaimsUnderWay;
  asio::awaitable<Result<std::map<std::string, Verified>>> verify(
      std::map<std::string, Verified> behind);
  asio::awaitable<Result<std::size_t>> give_back(std::vector<AddressClaim> claims);
  asio::awaitable<Result<void>> take_back(ClaimedLease lease, ClaimsReconciled& report);
  bool is_older(const AddressClaim& claim, std::int64_t revision, const ClaimedLease& lease) const;
  std::optional<Claimant> claimant_with(const std::string& identity,
                                        std::vector<Claimant::Address> addresses) const;

  ClaimsOptions options_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  std::unique_ptr<ClaimView> view_;
  std::unique_ptr<SharedRecords> records_;
  std::multiset<std::string, std::less<>> under_way_;
};

// A node's blocks of overlay pools. A block that is claimed is used like the node's own blocks, by
// the local lease book alone.
class OverlayBlocks {
 public:
  OverlayBlocks(ClaimsOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
                Logger log);
  ~OverlayBlocks();

  asio::awaitable<void> run();
  bool synced() const;
  // Called when the blocks of this node are others than before, while synced.
  void on_change(std::function<void()> changed);
  // kInvalidArgument: two pools of one name, or a block length that a family does not have. Nothing
  // changes then. Blocks of pools that are gone stay claimed until they are released.
  Result<void> set_pools(std::vector<ClaimPool> pools);

  // Of this node, ascending. Of a block, only what is in the pool's ranges may be given out, and of
  // one that is doubted, nothing.
  std::vector<PoolBlock> blocks_of_node(std::string_view pool) const;
  // The store says so since before this life, or since its backup: it may have become another
  // node's in between, unless a lease of this node is in it.
  bool doubted(const PoolBlock& block) const;

  // One more block for this node. kResourceExhausted: there is none, none has rested enough, or
  // this node has its most; kFailedPrecondition: no such pool; kUnavailable, kAborted as
  // Claims::take.
  asio::awaitable<Result<PoolBlock>> claim(std::string pool);

  // Blocks of this node without a lease for as long as the pool's block_idle, as seen by these
  // calls; doubted ones at once, but not while others of a restored store say what they hold.
  // Those with a lease are doubted no more. The caller gives out nothing of the answered ones any
  // more before it calls release().
  std::vector<PoolBlock> idle(const std::function<bool(const PoolBlock&)>& in_use);
  // One that is not this node's is released already. kUnavailable, kAborted: later; it may be
  // released all the same, or be so later on: nothing of it is given out until this has answered
  // otherwise, whatever the store says of it meanwhile.
  asio::awaitable<Result<void>> release(PoolBlock block);

  // Blocks that leases of this node are in (since_unix_ms: the oldest of them): claims what the
  // store has lost, also from the node that a restored store says had it before the leases. The
  // answer is one line for each that another node has.
  asio::awaitable<Result<std::vector<std::string>>> take_back(std::vector<PoolBlock> used);

 private:
  struct Pool;
  Result<PoolBlock> choose(const std::string& name, std::uint32_t attempt) const;
  std::set<Prefix>* pending_of(std::string_view pool);

  ClaimsOptions options_;
  Clock& clock_;
  Rng& rng_;
  std::unique_ptr<BlockView> view_;
  std::unique_ptr<SharedRecords> records_;
  std::uint64_t told_ = 0;  // of the view's changes
  // Blocks that leases were seen in, by key, and the revisions of their records.
  std::map<std::string, std::int64_t> trusted_;
  std::map<std::string, Pool, std::less<>> pools_;
};

// What is known of the workload that an identity's addresses are kept for.
struct KeptFor {
  std::size_t room = 0;  // how many addresses of a family it may have; 0: none any more
  // The workload says so itself (it was scaled down), or its namespace was deleted. Else it is
  // merely not written, as while its manifest is being replaced.
  bool said = false;
};

struct JanitorOptions {
  // An address is freed that had nobody to be kept for during so long, as seen by the sweeps.
  Duration grace = std::chrono::seconds(60);
  Duration said_grace = std::chrono::seconds(1);  // where that was said
  // The record of a free address goes after so long: it is then as good as never used.
  Duration forget_free_after = std::chrono::hours(1);
  Duration follow_retry_cap = std::chrono::seconds(10);
};

struct ClaimsSwept {
  std::size_t freed = 0;
  std::size_t forgotten = 0;
  std::optional<Duration> next_due;  // until another one may be freed; nullopt: nothing is waiting
  // Identities whose record cannot be read: nothing that is kept for them is freed.
  std::size_t unreadable = 0;
};

// The controller's part: kept addresses whose workload is gone. It never touches one that is held.
class ClaimJanitor {
 public:
  ClaimJanitor(JanitorOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
               Logger log);
  ~ClaimJanitor();

  asio::awaitable<void> run();
  bool synced() const;

  // `kept_for` is asked for each identity. Call it every few seconds and when workloads changed,
  // and only while what it knows of workloads is complete. kUnavailable: the store is away.
  asio::awaitable<Result<ClaimsSwept>> sweep(std::function<KeptFor(const std::string&)> kept_for);

  // Releases what these nodes hold, as their agents would: how many. Only for nodes that are known
  // to be gone for ever with all their pods. What does not hold in the store (`only_if`) stops it.
  // kUnavailable, kAborted: later.
  asio::awaitable<Result<std::size_t>> release_nodes(std::set<std::string> nodes,
                                                     std::vector<Compare> only_if = {});

  // An operator gives up an address that is kept: what it was. kNotFound: it is kept for nobody;
  // kFailedPrecondition: an interface holds it, which the error names; kAborted: it changed
  // meanwhile.
  asio::awaitable<Result<AddressClaim>> give_up(Ip ip);

 private:
  asio::awaitable<Result<std::size_t>> free_of(std::string identity,
                                               std::vector<AddressClaim> claims);
  asio::awaitable<Result<std::size_t>> forget();
  std::size_t count_unreadable();

  JanitorOptions options_;
  Clock& clock_;
  Logger log_;
  std::unique_ptr<ClaimView> view_;
  std::unique_ptr<SharedRecords> records_;
  std::map<std::string, MonotonicTime> beyond_since_;
  std::size_t unreadable_ = 0;
};

}  // namespace tombolo
