// The grantee: takes over what the ledger grants it, uses it, gives it back.
#include <algorithm>
#include <ranges>

#include "ipamd/grants/grants.h"

namespace tombolo::grants {
namespace {

class Grantee {
 public:
  Grantee(PoolParts parts, const GranteeFacts& facts) : facts_(facts), step_{std::move(parts), {}} {
    for (const Part& part : step_.parts.parts)
      if (part.state == PartState::kReturning) returning_before_.insert(part.id);
  }

  GranteeStep run(bool is_new) {
    PoolParts& own = step_.parts;
    if (is_new) {
      own.pool = facts_.pool;
      own.home = facts_.home;
      own.store_id = facts_.store_id;
      own.generation = {1, facts_.random};
    } else if (own.home != facts_.home && own.parts.empty()) {
      // Another pool of that name.
      own.home = facts_.home;
      own.home_generation = {};
      forget(own.generation.number);
    } else if (own.home != facts_.home) {
      step_.problems.push_back(
          fmt::format("the home is {}, but the parts are of {}: nothing is taken over and nothing "
                      "given back",
                      facts_.home, own.home));
      return std::move(step_);
    } else if (own.store_id != facts_.store_id) {
      forget(own.generation.number);
    }
    own.wanted = facts_.leaving ? 0 : facts_.wanted;
    if (facts_.ledger) listen(*facts_.ledger);
    give_back();
    find_stray();
    return std::move(step_);
  }

 private:
  // What it had before is not known to be true any more: the ledger says it anew.
  void forget(std::int64_t number) {
    PoolParts& own = step_.parts;
    own.store_id = facts_.store_id;
    own.generation = {number + 1, facts_.random};
    own.forgetful = true;
    own.seen = 0;
    own.parts.clear();
  }

  void listen(const GrantLedger& ledger) {
    PoolParts& own = step_.parts;
    if (ledger.home != own.home || ledger.generation < own.home_generation) return;
    if (ledger.generation > own.home_generation) {
      own.home_generation = ledger.generation;
      own.seen = ledger.sequence;
    }
    if (ledger.sequence < own.seen) return;
    auto me = ledger.members.find(facts_.self);
    if (me == ledger.members.end()) {
      step_.problems.push_back(
          fmt::format("{} does not share the pool with {}", own.home, facts_.self));
      return;
    }
    // The home has seen more of us than we know: this store was put back unnoticed.
    if (me->second.generation > own.generation) return forget(me->second.generation.number);
    if (me->second.gone_at > own.seen) own.seen = ledger.sequence;
    if (me->second.generation < own.generation) return;
    if (ledger.recovering) {
      step_.problems.push_back(
          fmt::format("{} waits until every cluster has said what it has", own.home));
      return;
    }
    follow(ledger);
    // Rarely used when nobody else wants it is no reason to give it back.
    if (ledger.scarce || facts_.leaving) shrink();
  }

  // The ledger knows this generation, and is not older than the one that was followed before.
  void follow(const GrantLedger& ledger) {
    PoolParts& own = step_.parts;
    const std::vector<Part> before = std::exchange(own.parts, {});
    std::map<std::int64_t, const Part*> known;
    for (const Part& part : before) known[part.id] = &part;
    std::set<std::int64_t> listed;
    for (const Grant& grant : ledger.grants) {
      if (grant.cluster != facts_.self) continue;
      listed.insert(grant.id);
      auto part = known.find(grant.id);
      own.parts.push_back(part != known.end() ? *part->second
                                              : Part{grant.id, grant.range, PartState::kHeld});
    }
    std::size_t fenced = 0;
    for (Part part : before) {
      if (listed.contains(part.id) || part.state == PartState::kReturned) continue;
      // An operator has said that we were gone. What is used there may be another's too.
      part.state = PartState::kReturning;
      fenced += facts_.busy.contains(part.range) ? 1U : 0U;
      own.parts.push_back(part);
    }
    if (fenced > 0)
      step_.problems.push_back(
          fmt::format("{} has taken {} parts back in which addresses are still in use: they may be "
                      "in use in another cluster too",
                      own.home, fenced));
    std::ranges::sort(own.parts, {},
                      [](const Part& part) { return std::tie(part.range, part.id); });
    own.forgetful = false;
    hold_again(listed);
    if (own.parts != before) own.seen = ledger.sequence;
  }

  std::int64_t held() const {
    return std::ranges::count(step_.parts.parts, PartState::kHeld, &Part::state);
  }

  // The emptiest first, of them the last one; also one with pods: no new ones come, and the ones
  // that are there go in time. A fixed address is kept, so its part is.
  void shrink() {
    std::multimap<std::size_t, Part*> surplus;  // by the addresses in use; one that rests counts
    for (Part& part : step_.parts.parts | std::views::reverse) {
      if (part.state != PartState::kHeld || facts_.pinned.contains(part.range)) continue;
      auto used = facts_.in_use.find(part.range);
      std::size_t least = facts_.busy.contains(part.range) ? 1 : 0;
      surplus.emplace(used == facts_.in_use.end() ? least : used->second, &part);
    }
    std::int64_t many = held() - step_.parts.wanted;
    for (auto& [used, part] : surplus)
      if (many-- > 0) part->state = PartState::kReturning;
  }

  // One that was marked and is needed again: the home has not heard that it was returned, as it
  // was not. Not one that an operator gave to others.
  void hold_again(const std::set<std::int64_t>& listed) {
    std::int64_t lacks = step_.parts.wanted - held();
    for (Part& part : step_.parts.parts)
      if (lacks > 0 && part.state == PartState::kReturning && listed.contains(part.id) &&
          facts_.busy.contains(part.range)) {
        part.state = PartState::kHeld;
        --lacks;
      }
  }

  // Not one that is marked in this step: until that is written, it may get a claim.
  void give_back() {
    for (Part& part : step_.parts.parts)
      if (part.state == PartState::kReturning && returning_before_.contains(part.id) &&
          !facts_.busy.contains(part.range))
        part.state = PartState::kReturned;
  }

  void find_stray() {
    PoolParts& own = step_.parts;
    own.stray.clear();
    for (const Prefix& busy : facts_.busy)
      if (std::ranges::none_of(own.parts, [&](const Part& part) {
            return part.state != PartState::kReturned && part.range.overlaps(busy);
          }))
        own.stray.push_back(busy);
  }

  const GranteeFacts& facts_;
  GranteeStep step_;
  std::set<std::int64_t> returning_before_;
};

}  // namespace

std::string_view to_string(PartState state) {
  switch (state) {
    case PartState::kHeld:
      return "held";
    case PartState::kReturning:
      return "returning";
    case PartState::kReturned:
      return "returned";
  }
  ENSURE(false, "part of state {}", static_cast<int>(state));
}

bool allows(const PoolParts& parts, std::uint64_t store_id, const Ip& ip) {
  if (parts.store_id != store_id) return false;
  return std::ranges::any_of(parts.parts, [&](const Part& part) {
    return part.state == PartState::kHeld && part.range.contains(ip);
  });
}

GranteeStep next_parts(const std::optional<PoolParts>& before, const GranteeFacts& facts) {
  return Grantee(before.value_or(PoolParts{}), facts).run(!before);
}

std::int64_t wanted_parts(std::size_t in_use, const Prefix& part) {
  auto size = static_cast<std::size_t>(std::min<uint128>(part.size(), 1U << 20U));
  std::size_t spare = std::max<std::size_t>(1, size / 2);
  return static_cast<std::int64_t>((in_use + spare + size - 1) / size);
}

}  // namespace tombolo::grants
