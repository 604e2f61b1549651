// What the store says about shared addresses, and the decisions made from it. No I/O in here but
// ClaimFollower's. Private to ipamd/claims. Control thread.
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <optional>
#include <set>

#include "core/metrics.h"
#include "core/store/follow.h"
#include "ipamd/claims/claims.h"
#include "ipamd/grants/grants.h"

namespace tombolo {

// The same number for the same text in every process (FNV-1a, 64 bits).
std::uint64_t place_of_name(std::string_view name);

// Which address of a pool comes next: one that was never used; when there is none, one of those
// that have been free for the longest time. AddressPool's order, for a pool that others take from
// as well: every node begins at a place of its own, and takes not the first of the longest-free but
// one of the first few, so that nodes which choose at the same time seldom choose the same.
// Choosing changes nothing: what is taken is told by occupy().
class PoolOrder {
 public:
  // So many of the longest-free addresses are as good as the first.
  static constexpr std::size_t kOldest = 16;

  // kInvalidArgument when two ranges overlap. What is occupied or free is forgotten.
  Result<void> set_ranges(std::vector<IpRange> ranges);
  void set_rest(Rest rest) { rest_ = rest; }

  // What an address is now; it may have been anything before.
  void occupy(Ip ip);
  void set_free(Ip ip, std::int64_t released_unix_ms);
  void set_fresh(Ip ip);

  bool contains(Ip ip) const;
  bool has(Family family) const { return !of(family).ranges.empty(); }
  FamilyUsage usage(Family family) const { return {of(family).total, of(family).in_use}; }
  // kResourceExhausted as AddressPool::take.
  Result<Ip> choose(Family family, std::int64_t now_ms, AddressPool::Patience patience,
                    std::uint64_t place);

 private:
  struct PerFamily {
    std::vector<IpRange> ranges;  // ascending, apart
    std::set<std::pair<std::int64_t, Ip>> freed;
    std::uint64_t total = 0;
    std::uint64_t in_use = 0;
    std::optional<Ip> cursor;  // the last fresh address that was chosen
    bool fresh_left = true;
  };
  PerFamily& of(Family family) { return families_[family == Family::kV4 ? 0 : 1]; }
  const PerFamily& of(Family family) const { return families_[family == Family::kV4 ? 0 : 1]; }
  void leave(PerFamily& addresses, Ip ip);
  std::optional<Ip> find_fresh(PerFamily& addresses, std::uint64_t place) const;

  std::array<PerFamily, 2> families_;
  boost::unordered_flat_map<Ip, std::int64_t, std::hash<Ip>> freed_at_;
  AddressBits bits_;
  Rest rest_;
};

// Unix time.
std::int64_t unix_ms(const Clock& clock);

// Records of a prefix, as last heard or written, whichever is newer.
class RecordView {
 public:
  virtual ~RecordView() = default;
  // The answer is why the record is refused.
  virtual Result<void> put(const KeyValue& kv, std::int64_t now_ms) = 0;
  // There is no such key at that revision.
  virtual void erase(const std::string& key, std::int64_t revision) = 0;
  // That is known of a key; 0: there is no such record.
  virtual std::int64_t revision_of(const std::string& key) const = 0;
  // Something is in the hands of another node.
  virtual bool others_hold() const = 0;
  // Erases what is not in `keys` and not newer than the list.
  virtual void keep_only(const std::set<std::string>& keys, std::int64_t revision) = 0;
  virtual void clear() = 0;
  // Everything that is put from now on is of this store.
  virtual void use_store(std::uint64_t) {}
};

// Claims and claimants.
class ClaimView final : public RecordView {
 public:
  explicit ClaimView(std::string node) : node_(std::move(node)) {}

  struct Seen {
    std::int64_t revision = 0;  // 0: the store has no such record
    std::int64_t released_unix_ms = 0;
    const AddressClaim* occupied = nullptr;  // held or kept; null: free
  };
  struct SeenClaimant {
    std::int64_t revision = 0;
    Claimant claimant;
    std::string refused;  // why the record cannot be read
  };

  // kInvalidArgument as Claims::set_pools.
  Result<void> set_pools(std::vector<ClaimPool> pools);
  // The address of a record that is refused counts as held by nobody known.
  Result<void> put(const KeyValue& kv, std::int64_t now_ms) override;
  void erase(const std::string& key, std::int64_t revision) override;
  void keep_only(const std::set<std::string>& keys, std::int64_t revision) override;
  void clear() override;
  std::int64_t revision_of(const std::string& key) const override;
  bool others_hold() const override;
  void use_store(std::uint64_t cluster_id) override { store_id_ = cluster_id; }

  // Of a pool that several clusters share: the record that a new claim must compare, and its
  // revision, 0 when there is none. Nothing: the pool is this cluster's alone.
  std::optional<std::pair<std::string, std::int64_t>> guard(std::string_view pool) const;
  // In the pool, also where the part is another cluster's.
  bool is_of_pool(std::string_view pool, Ip ip) const;

  Seen find(const PooledIp& address) const;
  SeenClaimant claimant(const std::string& identity) const;
  const std::map<std::string, SeenClaimant>& claimants() const { return claimants_; }
  std::vector<AddressClaim> claims_of(const std::string& holder) const;  // on this node
  std::vector<AddressClaim> claims_of_node() const;
  std::vector<AddressClaim> claims_of_nodes(const std::set<std::string>& nodes) const;
  std::vector<AddressClaim> fixed() const;  // that have an identity
  // Free records with their revisions, released before that time; at most `limit`.
  std::vector<std::pair<std::string, std::int64_t>> free_before(std::int64_t unix_ms,
                                                                std::size_t limit) const;
  const std::string& node() const { return node_; }

  // A pool of ours; nullptr when there is none of that name.
  PoolOrder* pool(std::string_view name);
  const PoolOrder* pool(std::string_view name) const;

  // Chosen for a transaction that is under way: nobody else of this node chooses it.
  void set_pending(const PooledIp& address);
  void end_pending(const PooledIp& address);

 private:
  struct Record {
    std::int64_t revision = 0;
    std::int64_t released_unix_ms = 0;
    std::unique_ptr<AddressClaim> occupied;
  };
  struct Pool {
    boost::unordered_flat_map<Ip, Record, std::hash<Ip>> records;
    std::set<Ip> pending;
    std::optional<PoolOrder> order;  // of a pool of ours
    std::vector<IpRange> ranges;     // of it
    Rest rest;
    bool granted = false;
  };
  struct SeenParts {
    std::int64_t revision = 0;
    std::optional<grants::PoolParts> parts;  // nothing: it cannot be read
  };
  std::vector<IpRange> ranges_of(const std::string& name, const Pool& pool) const;
  void reorder(const std::string& name);
  void set(const PooledIp& address, Record record);
  void forget(const PooledIp& address, std::int64_t revision);
  static void settle(Pool& pool, Ip ip);
  void put_claimant(const KeyValue& kv, Result<Claimant> claimant);

  std::string node_;
  std::uint64_t store_id_ = 0;
  std::map<std::string, Pool, std::less<>> pools_;
  std::map<std::string, SeenParts, std::less<>> parts_;
  std::map<std::string, SeenClaimant> claimants_;
  std::map<std::string, std::set<PooledIp>, std::less<>> mine_;  // by holder
};

// Blocks of overlay pools.
class BlockView final : public RecordView {
 public:
  explicit BlockView(std::string node) : node_(std::move(node)) {}
  Result<void> put(const KeyValue& kv, std::int64_t now_ms) override;
  void erase(const std::string& key, std::int64_t revision) override;
  void keep_only(const std::set<std::string>& keys, std::int64_t revision) override;
  void clear() override;
  std::int64_t revision_of(const std::string& key) const override;
  bool others_hold() const override;

  // Rises with each list, with each record of a block of this node, and when it is no longer this
  // node's.
  std::uint64_t changes_of_node() const { return changes_of_node_; }
  const std::map<Prefix, PoolBlock>& blocks(std::string_view pool) const;
  const std::map<std::string, std::map<Prefix, PoolBlock>, std::less<>>& pools() const {
    return pools_;
  }
  std::int64_t revision(const PoolBlock& block) const;  // 0: there is no record
  // A clock that went back: blocks of the pool that were released later than now rest from now on.
  void rest_from_now(std::string_view pool, std::int64_t now_ms);

 private:
  void set(PoolBlock block);
  void refuse(const KeyValue& kv);
  static std::pair<std::string, Prefix> block_of(std::string_view key);

  std::string node_;
  std::uint64_t changes_of_node_ = 0;
  std::map<std::string, std::map<Prefix, PoolBlock>, std::less<>> pools_;
};

// A view's ear and hand: follows its prefix, and writes by transactions that compare.
//
// The first list of another store is a new beginning: what the view knows is forgotten, and nothing
// new is claimed until the nodes have said what they hold. Another store is one of another cluster
// id, one whose revision went back, one with a record that is older than it was; for a node that
// remembers no store, any in which others hold something.
class SharedRecords final : private FollowHandler {
 public:
  struct Settings {
    std::string name;
    std::string_view prefix;
    Duration retry_cap;
    Duration settle{};
    LastKnown* known = nullptr;  // keeps for the next life which store this was
  };
  SharedRecords(Settings settings, RecordView& view, Kv& kv, TaskGroup& tasks, Clock& clock,
                Rng& rng, Logger log);
  asio::awaitable<void> run() { return follower_.run(); }
  // Called after each list, and after each change since.
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }
  bool synced() const { return synced_; }
  Result<void> ready() const;  // kUnavailable while not synced
  // kUnavailable also for a while after another store answered.
  Result<void> settled() const;
  // Of the first list of this life, or of the first of another store: what is not newer is from
  // before this was known.
  std::int64_t begun_at() const { return begun_at_; }
  // Another store answered, and a record of that revision is from its backup: what happened since
  // may have made it wrong.
  bool from_backup(std::int64_t revision) const { return restored_ && revision <= begun_at_; }
  // True: it is written. False: a comparison failed. Either way the view knows the records
  // afterwards. The request is one of ComparedWrites. kUnavailable: it may be written.
  asio::awaitable<Result<bool>> write(TxnRequest request);
  // The view knows these records as they are now, all of one revision. At most kMaxKeys.
  asio::awaitable<Result<void>> read(std::vector<std::string> keys);

 private:
  void on_listing(std::int64_t revision, std::uint64_t cluster_id) override;
  void on_put(const KeyValue& kv) override;
  void on_delete(const std::string& key) override;
  void on_delete_at(const std::string& key, std::int64_t revision) override;
  void on_listed(const std::set<std::string>& keys) override;
  void on_revision(std::int64_t revision) override;
  void recall();
  void remember();
  bool is_settling() const;
  void put(const KeyValue& kv);
  void tell() const;
  void learn(const TxnResult& result, std::vector<Operation> operations);
  void relearn(const TxnResult& result, const std::vector<std::string>& keys);
  void learn(const RangeResult& range, const std::string& key, std::int64_t revision);
  asio::awaitable<Result<TxnResult>> ask(TxnRequest request);

  // A store and how far it was.
  struct Seen {
    std::uint64_t cluster_id = 0;  // 0: none
    std::int64_t revision = 0;
    bool operator==(const Seen&) const = default;
  };

  Settings settings_;
  RecordView& view_;
  Kv& kv_;
  Clock& clock_;
  Logger log_;
  metrics::Counter refused_total_;
  metrics::Counter conflicts_total_;
  std::function<void()> changed_;
  bool synced_ = false;
  bool in_list_ = false;
  bool went_back_ = false;  // as a record of the list under way says
  std::uint64_t stores_ = 0;
  std::int64_t listing_ = 0;
  std::uint64_t cluster_id_ = 0;  // 0: before the first list
  Seen seen_;                     // of this life or the one before
  Seen remembered_;
  MonotonicTime remembered_at_{};
  std::optional<MonotonicTime> restored_;  // another store answered
  std::int64_t begun_at_ = 0;
  PrefixFollower follower_;
};

// What "tombolo/v1/claims/" and "tombolo/v1/claimants/" have in common: one watch.
inline constexpr std::string_view kClaimRecordsPrefix = "tombolo/v1/claim";

// ---- decisions
// -----------------------------------------------------------------------------------

// A transaction that compares every record it writes, and reads them when a comparison fails.
// Every record at most once.
class ComparedWrites {
 public:
  // How many keys one transaction has: compares, writes and reads are each below etcd's 128.
  static constexpr std::size_t kMaxKeys = 120;

  // `revision`: that the record has now, 0 when there is none.
  void put(std::string key, std::int64_t revision, std::string value);
  void erase(std::string key, std::int64_t revision);
  void put(const ClaimView& view, const AddressClaim& claim);
  void put(const ClaimView& view, const Claimant& claimant);  // without addresses: deletes it
  // Compares, and writes nothing.
  void guard(const std::string& key, std::int64_t revision) { compare(key, revision); }
  bool full(std::size_t more) const { return request_.compares.size() + more > kMaxKeys; }
  bool empty() const { return request_.compares.empty(); }
  std::size_t size() const { return request_.compares.size(); }
  TxnRequest take() { return std::exchange(request_, {}); }

 private:
  void compare(const std::string& key, std::int64_t revision);
  TxnRequest request_;
};

// Addresses of a claimant, by its record of that revision, whose claims were read since.
struct Verified {
  std::int64_t revision = 0;
  std::set<PooledIp> addresses;
};
using VerifiedClaimants = std::map<std::string, Verified>;  // by identity

struct TakePlan {
  TxnRequest request;
  // Addresses whose claims are not known as their claimant's record says: the view heard of one
  // before the other. They are to be read; there is no request then.
  VerifiedClaimants behind;
  std::vector<std::vector<AddressClaim>> claims;  // without their sequence
  std::vector<PooledIp> chosen;                   // pending in the view: the caller ends that
};

// Errors of Claims::take(); then nothing is pending. `attempt` moves the place in the order.
Result<TakePlan> plan_take(ClaimView& view, const std::vector<ClaimWanted>& wanted,
                           std::int64_t now_ms, std::uint32_t attempt,
                           const VerifiedClaimants& verified = {});

// As released: kept for its identity, or free.
AddressClaim released(AddressClaim claim, std::int64_t now_ms);

// "held by shop/db-0 on node n2", "kept for Deployment/…".
std::string holder_text(const AddressClaim& claim);

// Claims of this node that neither a lease has nor an ADD under way.
std::vector<AddressClaim> without_lease(const ClaimView& view,
                                        const std::vector<ClaimedLease>& leases,
                                        const std::multiset<std::string, std::less<>>& under_way);

// The lease's addresses of pools of ours are claimed by its holder on this node.
bool is_claimed(const ClaimView& view, const ClaimedLease& lease);

// Claims that are kept for an identity that may have fewer, or that does not know of them.
struct BeyondRoom {
  AddressClaim claim;
  bool said = false;  // as in KeptFor
};
std::vector<BeyondRoom> beyond_room(const ClaimView& view,
                                    const std::function<KeptFor(const std::string&)>& kept_for);

// The blocks that a pool's ranges are cut into, ascending; one that has an address of a range is
// one of them.
class BlockSpace {
 public:
  // kInvalidArgument: a length that the family does not have.
  static Result<BlockSpace> make(const ClaimPool& pool);
  std::uint64_t size() const;
  Prefix at(std::uint64_t index) const;  // ENSUREs index < size()
  bool contains(const Prefix& block) const;

 private:
  struct Span {
    Prefix first;
    Prefix last;
  };
  static std::uint64_t size_of(const Span& span);
  std::vector<Span> spans_;
  int length_ = 0;
};

// One that was never used, from the place on; else one of the longest released that has rested.
// kResourceExhausted.
Result<Prefix> choose_block(const BlockSpace& space, const std::map<Prefix, PoolBlock>& records,
                            const std::set<Prefix>& pending, const Rest& rest, std::int64_t now_ms,
                            std::uint64_t place);

}  // namespace tombolo
