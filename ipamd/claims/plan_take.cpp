// Which addresses a take asks the store for: those that the holder has already, those that are kept
// for its identity, else new ones.
#include <algorithm>
#include <boost/algorithm/string/join.hpp>

#include "core/records/records.h"
#include "ipamd/claims/internal.h"

namespace tombolo {

AddressClaim released(AddressClaim claim, std::int64_t now_ms) {
  claim.holder.clear();
  claim.node.clear();
  claim.pod.clear();
  claim.released_unix_ms = now_ms;
  claim.since_unix_ms = 0;
  return claim;
}

std::string holder_text(const AddressClaim& claim) {
  if (claim.kept()) return fmt::format("kept for {}", claim.identity);
  return fmt::format("held by {} on node {}", claim.pod.empty() ? claim.holder : claim.pod,
                     claim.node.empty() ? "(unknown)" : claim.node);
}

namespace {

bool is_in(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

class TakePlanner {
 public:
  TakePlanner(ClaimView& view, std::int64_t now_ms, std::uint32_t attempt,
              const VerifiedClaimants& verified)
      : view_(view),
        now_ms_(now_ms),
        place_(place_of_name(view.node()) + attempt),
        verified_(verified) {}

  Result<TakePlan> run(const std::vector<ClaimWanted>& wanted) {
    for (const ClaimWanted& one : wanted) {
      if (auto planned = plan_one(one); !planned) {
        for (const PooledIp& address : plan_.chosen) view_.end_pending(address);
        if (!plan_.behind.empty()) return TakePlan{{}, std::move(plan_.behind), {}, {}};
        return std::unexpected(std::move(planned).error());
      }
    }
    for (const auto& [address, claim] : written_) writes_.put(view_, claim);
    for (const auto& [identity, claimant] : claimants_)
      if (claimant != view_.claimant(identity).claimant) writes_.put(view_, claimant);
    // A part of a shared pool that is given back meanwhile stops this.
    for (const auto& [key, revision] : guards_) writes_.guard(key, revision);
    if (writes_.size() > ComparedWrites::kMaxKeys) {
      for (const PooledIp& address : plan_.chosen) view_.end_pending(address);
      return fail(Code::kInvalidArgument, "{} records would change in one transaction, over {}",
                  writes_.size(), ComparedWrites::kMaxKeys);
    }
    plan_.request = writes_.take();
    return std::move(plan_);
  }

 private:
  // The claims of an identity of one family, as they are before this take.
  struct Owned {
    std::vector<AddressClaim> here;       // kept, in a wished pool; longest kept first
    std::vector<AddressClaim> elsewhere;  // kept, in another pool; longest kept first
    std::vector<AddressClaim> held;
    std::size_t size() const { return here.size() + elsewhere.size() + held.size(); }
  };

  // First what the holder has already, then what is kept for the identity, else a new one.
  Result<void> plan_one(const ClaimWanted& wanted) {
    std::vector<AddressClaim> left = view_.claims_of(wanted.holder);
    std::vector<std::optional<PooledIp>> addresses;
    for (const AddressWish& wish : wanted.addresses) {
      auto fits = std::ranges::find_if(
          left, [&](const AddressClaim& claim) { return answers(claim, wish, wanted.identity); });
      std::optional<PooledIp>& address = addresses.emplace_back();
      if (fits == left.end()) continue;
      address = PooledIp{fits->pool, fits->ip};
      left.erase(fits);
    }
    for (const AddressClaim& claim : left) put(released(claim, now_ms_));
    std::vector<AddressClaim> answer;
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      if (!addresses[i]) {
        TRY(chosen, wanted.identity.empty() ? choose(wanted.addresses[i], "")
                                            : choose_of_identity(wanted.addresses[i], wanted));
        addresses[i] = chosen;
      }
      answer.push_back(hold(*addresses[i], wanted));
    }
    plan_.claims.push_back(std::move(answer));
    return {};
  }

  static bool answers(const AddressClaim& claim, const AddressWish& wish,
                      const std::string& identity) {
    return claim.identity == identity && claim.ip.family() == wish.family &&
           is_in(wish.pools, claim.pool) && (!wish.exact || *wish.exact == claim.ip);
  }

  AddressClaim hold(const PooledIp& address, const ClaimWanted& wanted) {
    AddressClaim claim;
    claim.pool = address.pool;
    claim.ip = address.ip;
    claim.identity = wanted.identity;
    claim.holder = wanted.holder;
    claim.node = view_.node();
    claim.pod = wanted.pod;
    claim.since_unix_ms = now_ms_;
    put(claim);
    view_.set_pending(address);
    plan_.chosen.push_back(address);
    return claim;
  }

  void put(AddressClaim claim) {
    PooledIp address{claim.pool, claim.ip};
    written_.insert_or_assign(std::move(address), std::move(claim));
  }

  // A free address: of the first pool that has a rested one, else of the first that has any.
  Result<PooledIp> choose(const AddressWish& wish, const std::string& identity) {
    using Patience = AddressPool::Patience;
    std::optional<Error> why;  // of the first pool: the one that was wanted most
    for (Patience patience : {Patience::kRested, Patience::kNone}) {
      if (patience == Patience::kRested && (wish.pools.size() == 1 || wish.exact)) continue;
      for (const std::string& name : wish.pools) {
        PoolOrder* pool = view_.pool(name);
        if (pool == nullptr) continue;
        auto guard = view_.guard(name);
        if (!pool->has(wish.family)) {
          if (guard && !why)
            why = fail(Code::kResourceExhausted,
                       "pool {}: its home has granted this cluster no part of it yet", name)
                      .error();
          continue;
        }
        Result<Ip> ip = wish.exact ? exact(name, *pool, *wish.exact, identity)
                                   : pool->choose(wish.family, now_ms_, patience, place_);
        if (ip && guard) guards_.insert(*guard);
        if (ip) return PooledIp{name, *ip};
        if (patience == Patience::kNone && !why)
          why = std::move(ip).error().with_context(fmt::format("pool {}", name));
      }
    }
    if (why) return std::unexpected(std::move(*why));
    return fail(Code::kFailedPrecondition, "pool {}: no range of {} addresses is known",
                boost::join(wish.pools, ", "), to_string(wish.family));
  }

  Result<Ip> exact(const std::string& name, const PoolOrder& pool, Ip ip,
                   const std::string& identity) const {
    if (!pool.contains(ip) && view_.is_of_pool(name, ip))
      return fail(Code::kResourceExhausted, "{} is in no part of the pool that this cluster has",
                  ip.str());
    if (!pool.contains(ip))
      return fail(Code::kOutOfRange, "{} is in no range of the pool", ip.str());
    ClaimView::Seen seen = view_.find({name, ip});
    if (seen.occupied != nullptr && !(seen.occupied->kept() && seen.occupied->identity == identity))
      return fail(Code::kAlreadyExists, "{} is {}", ip.str(), holder_text(*seen.occupied));
    if (written_.contains({name, ip}))
      return fail(Code::kAlreadyExists, "{} is wanted twice", ip.str());
    return ip;
  }

  Result<Claimant*> claimant_of(const std::string& identity) {
    auto at = claimants_.find(identity);
    if (at != claimants_.end()) return &at->second;
    ClaimView::SeenClaimant seen = view_.claimant(identity);
    if (!seen.refused.empty()) return fail(Code::kDataLoss, "{}", seen.refused);
    return &claimants_.emplace(identity, std::move(seen.claimant)).first->second;
  }

  // An address that the claimant's record names though its claim says otherwise is dropped, but
  // only when both were read together: else it is `behind`.
  bool is_gone(const std::string& identity, const PooledIp& address) {
    std::int64_t revision = view_.claimant(identity).revision;
    auto verified = verified_.find(identity);
    if (verified != verified_.end() && verified->second.revision == revision &&
        verified->second.addresses.contains(address))
      return true;
    Verified& behind = plan_.behind[identity];
    behind.revision = revision;
    behind.addresses.insert(address);
    return false;
  }

  Owned owned_by(Claimant& claimant, const AddressWish& wish) {
    Owned owned;
    std::erase_if(claimant.addresses, [&](const Claimant::Address& address) {
      auto mine = written_.find({address.pool, address.ip});
      const AddressClaim* claim =
          mine != written_.end() ? &mine->second : view_.find({address.pool, address.ip}).occupied;
      if (claim == nullptr || claim->identity != claimant.identity)
        return is_gone(claimant.identity, {address.pool, address.ip});
      if (address.ip.family() != wish.family) return false;
      const PoolOrder* pool = view_.pool(address.pool);
      if (claim->held())
        owned.held.push_back(*claim);
      else if (pool != nullptr && pool->contains(claim->ip) && is_in(wish.pools, claim->pool))
        owned.here.push_back(*claim);
      else
        owned.elsewhere.push_back(*claim);
      return false;
    });
    auto order = [](const AddressClaim& claim) {
      return std::tie(claim.released_unix_ms, claim.pool, claim.ip);
    };
    std::ranges::sort(owned.here, {}, order);
    std::ranges::sort(owned.elsewhere, {}, order);
    return owned;
  }

  Result<PooledIp> choose_of_identity(const AddressWish& wish, const ClaimWanted& wanted) {
    TRY(claimant, claimant_of(wanted.identity));
    Owned owned = owned_by(*claimant, wish);
    if (!plan_.behind.empty())
      return fail(Code::kAborted, "{}: its claims have to be read again", wanted.identity);
    auto kept = owned.here.begin();
    if (wish.exact) kept = std::ranges::find(owned.here, *wish.exact, &AddressClaim::ip);
    if (kept != owned.here.end()) {
      if (auto guard = view_.guard(kept->pool)) guards_.insert(*guard);
      return PooledIp{kept->pool, kept->ip};
    }
    if (owned.held.size() >= wanted.room) {
      const AddressClaim& claim = owned.held.front();
      return fail(Code::kAborted, "{}: {} is still {}: try again later", wanted.identity,
                  claim.ip.str(), holder_text(claim));
    }
    TRY(address, choose(wish, wanted.identity));
    make_room(*claimant, owned, wanted.room);
    claimant->addresses.push_back({address.pool, address.ip});
    std::ranges::sort(claimant->addresses);
    return address;
  }

  // The identity may have one more: what is kept for it in other pools goes first.
  void make_room(Claimant& claimant, const Owned& owned, std::size_t room) {
    std::size_t size = owned.size();
    auto free_one = [&](const AddressClaim& claim) {
      if (size < room) return;
      AddressClaim freed = claim;
      freed.identity.clear();
      put(std::move(freed));
      std::erase(claimant.addresses, Claimant::Address{claim.pool, claim.ip});
      --size;
    };
    std::ranges::for_each(owned.elsewhere, free_one);
    std::ranges::for_each(owned.here, free_one);
  }

  ClaimView& view_;
  std::int64_t now_ms_;
  std::uint64_t place_;
  const VerifiedClaimants& verified_;
  TakePlan plan_;
  ComparedWrites writes_;
  std::map<PooledIp, AddressClaim> written_;
  std::map<std::string, Claimant> claimants_;
  std::map<std::string, std::int64_t> guards_;  // key and revision
};

}  // namespace

Result<TakePlan> plan_take(ClaimView& view, const std::vector<ClaimWanted>& wanted,
                           std::int64_t now_ms, std::uint32_t attempt,
                           const VerifiedClaimants& verified) {
  return TakePlanner(view, now_ms, attempt, verified).run(wanted);
}

}  // namespace tombolo
