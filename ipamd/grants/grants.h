// An underlay pool that several clusters share: which cluster may use which part of it. Pure: what
// a controller does with its own record, from what it reads of the others'. Any thread.
//
//   home:     GrantLedger    tombolo/v1/poolgrants/POOL   which part is whose
//   grantee:  PoolParts      tombolo/v1/claimparts/POOL   what it took over, uses and gives back
//
// Each record has one writer, in its own store, and is read by the other side late, out of order or
// not at all; a store may be put back to what it was. Nothing here believes in time. That no
// address is ever two clusters' rests on this:
//   - a part has an id that is never used again, and is in the ledger before it is in PoolParts;
//   - PoolParts says "returned" when nothing is left in the part, and never takes it back; only
//     that, or an operator's word, takes it from the ledger;
//   - every claim of an address compares PoolParts in its transaction (ipamd/claims);
//   - each record has a generation, which is a new one after its store was put back, and names the
//     generation of the other's that it has seen. A ledger that does not know my generation, and
//     PoolParts that do not know mine, decide nothing;
//   - a home that was put back grants nothing before every grantee has said what it has.
// docs/adr/0009 says why.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip.h"
#include "core/kv.h"

namespace tombolo::grants {

inline constexpr std::string_view kLedgersPrefix = "tombolo/v1/poolgrants/";  // POOL
// Below "tombolo/v1/claim" and so of one watch with claims, in the order of revisions.
inline constexpr std::string_view kPartsPrefix = "tombolo/v1/claimparts/";  // POOL

// Of a record: greater is later. `life` is random, so that two lives that go on from one backup
// never have the same.
struct Generation {
  std::int64_t number = 0;
  std::int64_t life = 0;
  auto operator<=>(const Generation&) const = default;
};

struct Grant {
  std::int64_t id = 0;
  Prefix range;
  std::string cluster;
  bool operator==(const Grant&) const = default;
};

// The home's record.
struct GrantLedger {
  struct Member {
    Generation generation;     // of its PoolParts, the last that was seen
    bool reported = false;     // while recovering: what it has is in `grants`
    std::int64_t gone_at = 0;  // an operator said at that sequence that it is gone; 0: no
    bool operator==(const Member&) const = default;
  };
  std::string pool;
  std::string home;
  std::uint64_t store_id = 0;  // that it was written in
  Generation generation;
  std::int64_t sequence = 0;  // of the record, within its generation
  bool recovering = true;     // it may have forgotten grants: nothing of it is taken over
  bool scarce = false;        // somebody wants a part and there is none: return what you can
  std::map<std::string, Member> members;
  std::vector<Grant> grants;  // by range, apart
  bool operator==(const GrantLedger&) const = default;
};

enum class PartState {
  kHeld,       // the cluster's nodes claim in it
  kReturning,  // no new claims; what is used stays until it is free
  kReturned,   // for ever
};
std::string_view to_string(PartState state);  // "held", "returning", "returned"

struct Part {
  std::int64_t id = 0;
  Prefix range;
  PartState state = PartState::kHeld;
  bool operator==(const Part&) const = default;
};

// A grantee's record; the home is one of its own grantees.
struct PoolParts {
  std::string pool;
  std::string home;
  std::uint64_t store_id = 0;  // that it was written in: in another store it allows no claim
  Generation generation;
  Generation home_generation;  // of the ledger that it goes by
  std::int64_t seen = 0;       // sequence of that ledger when it was last acted on
  bool forgetful = true;       // it may have had parts that it does not know of
  std::int64_t wanted = 0;     // how many parts it has use for
  std::vector<Part> parts;     // by range
  std::vector<Prefix> stray;   // in use here though no part of ours: by an earlier life, or before
                               // the pool was shared. What is free of it becomes ours
  bool operator==(const PoolParts&) const = default;
};

// Addresses of a claim: may a new one be made in this store?
bool allows(const PoolParts& parts, std::uint64_t store_id, const Ip& ip);

// ---- records: JSON. Errors name the key.

std::string ledger_key(std::string_view pool);
std::string parts_key(std::string_view pool);
std::string encode(const GrantLedger& ledger);
std::string encode(const PoolParts& parts);
Result<GrantLedger> decode_ledger(const KeyValue& kv);
Result<PoolParts> decode_parts(const KeyValue& kv);

// ---- decisions

inline constexpr std::size_t kMaxGrants = 4096;  // of one pool

// Aligned ranges of that length which the pool's addresses are in, ascending; at most kMaxGrants.
std::vector<Prefix> cut(const std::vector<std::pair<Ip, Ip>>& addresses, int length);

struct HomeFacts {
  std::string pool;
  std::string self;
  std::uint64_t store_id = 0;
  std::set<std::string> members;            // that share it, this cluster too
  std::map<std::string, PoolParts> copies;  // as last read, of whomever
  std::set<std::string> other_homes;        // clusters that have a ledger of this pool too
  std::vector<Prefix> parts;                // what the pool is cut into
  // Parts in which this cluster has addresses in use: they are its own before all others'.
  std::set<Prefix> used_here;
  std::int64_t random = 1;  // positive, never twice
};

struct HomeStep {
  GrantLedger ledger;
  // What stops it, for operators: one line each.
  std::vector<std::string> problems;
};
// What the home's record should be next; equal to `before`: nothing to write. The caller compares
// `before` when it writes.
HomeStep next_ledger(const std::optional<GrantLedger>& before, const HomeFacts& facts);

// An operator says that a cluster is gone for ever with all its pods: its parts are free.
// kNotFound: it has none and owes no report.
Result<GrantLedger> without_cluster(GrantLedger ledger, const std::string& cluster);

struct GranteeFacts {
  std::string pool;
  std::string self;
  std::string home;
  std::uint64_t store_id = 0;
  std::optional<GrantLedger> ledger;  // as last read
  // Read after PoolParts: of its parts, and of those that the pool is cut into, the ones in which
  // an address is in use, kept, or must rest.
  std::set<Prefix> busy;
  std::map<Prefix, std::size_t> in_use;  // of its parts: how many addresses pods have; absent: none
  std::set<Prefix> pinned;               // parts with an address that is fixed for somebody
  std::int64_t wanted = 0;
  bool leaving = false;  // the pool gives out nothing any more
  std::int64_t random = 1;
};

struct GranteeStep {
  PoolParts parts;
  std::vector<std::string> problems;
};
GranteeStep next_parts(const std::optional<PoolParts>& before, const GranteeFacts& facts);

// How many parts a cluster has use for: those of its addresses, and half a part to spare.
std::int64_t wanted_parts(std::size_t in_use, const Prefix& part);

}  // namespace tombolo::grants
