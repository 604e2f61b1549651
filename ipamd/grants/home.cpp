// The home: hears what the grantees have and give back, and grants what is free.
#include <algorithm>

#include "ipamd/grants/grants.h"

namespace tombolo::grants {
namespace {

void sort(std::vector<Grant>& grants) {
  std::ranges::sort(grants, {}, [](const Grant& grant) { return std::tie(grant.range, grant.id); });
}

class Home {
 public:
  Home(GrantLedger ledger, const HomeFacts& facts) : facts_(facts), step_{std::move(ledger), {}} {}

  HomeStep run(bool is_new) {
    GrantLedger& own = step_.ledger;
    if (is_new) {
      own.pool = facts_.pool;
      own.home = facts_.self;
      start_over(0);
    } else if (own.store_id != facts_.store_id) {
      start_over(own.generation.number);
    }
    for (const std::string& cluster : facts_.members) {
      auto [at, added] = own.members.try_emplace(cluster);
      if (added) at->second.reported = !own.recovering;
    }
    for (const auto& [cluster, copy] : facts_.copies) notice_later_life(cluster, copy);
    for (auto& [cluster, member] : own.members) hear(cluster, member);
    if (own.recovering) finish_recovery();
    if (!facts_.other_homes.empty()) {
      for (const std::string& other : facts_.other_homes)
        step_.problems.push_back(
            fmt::format("{} says that it is the home of this pool too: nothing is granted", other));
    } else if (!own.recovering) {
      grant();
    }
    sort(own.grants);
    return std::move(step_);
  }

 private:
  void start_over(std::int64_t number) {
    GrantLedger& own = step_.ledger;
    own.store_id = facts_.store_id;
    own.generation = {number + 1, facts_.random};
    own.recovering = true;
    own.scarce = false;
    for (auto& [cluster, member] : own.members) member.reported = false;
  }

  // A grantee has heard more of this home than it knows itself: its store was put back.
  void notice_later_life(const std::string& cluster, const PoolParts& copy) {
    GrantLedger& own = step_.ledger;
    if (copy.home != own.home || !own.members.contains(cluster)) return;
    if (copy.home_generation > own.generation) start_over(copy.home_generation.number);
    if (copy.home_generation == own.generation && copy.seen > own.sequence)
      start_over(own.generation.number);
  }

  void hear(const std::string& cluster, GrantLedger::Member& member) {
    GrantLedger& own = step_.ledger;
    auto found = facts_.copies.find(cluster);
    if (found == facts_.copies.end() || found->second.home != own.home) return;
    const PoolParts& copy = found->second;
    bool knows_us = copy.home_generation == own.generation;
    if (member.gone_at > 0 && knows_us && copy.seen >= member.gone_at) {
      member.gone_at = 0;
      member.reported = !own.recovering;
    }
    if (own.recovering && !member.reported) return take_report(cluster, copy, member);
    member.generation = std::max(member.generation, copy.generation);
    if (copy.generation != member.generation || !knows_us) return;
    std::erase_if(own.grants, [&](const Grant& grant) {
      return grant.cluster == cluster && std::ranges::any_of(copy.parts, [&](const Part& part) {
               return part.id == grant.id && part.state == PartState::kReturned;
             });
    });
  }

  void take_report(const std::string& cluster, const PoolParts& copy, GrantLedger::Member& member) {
    GrantLedger& own = step_.ledger;
    if (cluster == own.home) return;  // its parts were lost with the ledger
    if (copy.home_generation != own.generation || copy.generation < member.generation) return;
    if (copy.forgetful && member.generation == copy.generation) {
      // It has followed no ledger in this life: what this one remembers is what it had before.
      member.reported = true;
      return;
    }
    // One that never had anything has nothing to forget.
    if (copy.forgetful && (member.generation != Generation{} || owns_any(cluster))) {
      step_.problems.push_back(
          fmt::format("the stores of {} and of this cluster were both put back: say what is to "
                      "become of its parts",
                      cluster));
      return;
    }
    std::erase_if(own.grants, [&](const Grant& grant) { return grant.cluster == cluster; });
    for (const Part& part : copy.parts) {
      if (part.state == PartState::kReturned) continue;
      // A list that is only remembered makes way for one that is known.
      std::erase_if(own.grants, [&](const Grant& grant) {
        return grant.range.overlaps(part.range) && !own.members[grant.cluster].reported;
      });
      for (const Grant& grant : own.grants)
        if (grant.range.overlaps(part.range) && grant.cluster != cluster)
          step_.problems.push_back(
              fmt::format("{} and {} both have {}", grant.cluster, cluster, part.range));
      own.grants.push_back({part.id, part.range, cluster});
    }
    member.generation = copy.generation;
    member.reported = true;
  }

  bool owns_any(const std::string& cluster) const {
    return std::ranges::any_of(step_.ledger.grants,
                               [&](const Grant& grant) { return grant.cluster == cluster; });
  }

  // What nobody else has may be the home's own: what is used there, it grants itself first of all.
  void finish_recovery() {
    GrantLedger& own = step_.ledger;
    std::string missing;
    for (const auto& [cluster, member] : own.members)
      if (!member.reported && cluster != own.home)
        missing += (missing.empty() ? "" : ", ") + cluster;
    if (!missing.empty()) {
      step_.problems.push_back(
          fmt::format("this store is new or was put back: nothing is granted before what {} has is "
                      "known",
                      missing));
      return;
    }
    own.recovering = false;
    for (auto& [cluster, member] : own.members) member.reported = true;
  }

  void grant() {
    GrantLedger& own = step_.ledger;
    std::vector<Prefix> free;
    for (const Prefix& part : facts_.parts)
      if (std::ranges::none_of(own.grants,
                               [&](const Grant& grant) { return grant.range.overlaps(part); }))
        free.push_back(part);
    take_in(own.home, facts_.used_here, free);
    for (const auto& [cluster, copy] : facts_.copies)
      if (cluster != own.home && speaks(cluster, copy))
        take_in(cluster, {copy.stray.begin(), copy.stray.end()}, free);
    std::map<std::string, std::int64_t> lacks = demand();
    auto next = free.begin();
    for (; next != free.end() && own.grants.size() < kMaxGrants && !lacks.empty(); ++next) {
      // One by one, to the one that has the fewest.
      auto fewest = std::ranges::min_element(
          lacks, {}, [&](const auto& entry) { return std::pair(has(entry.first), entry.first); });
      add(*next, fewest->first);
      if (--fewest->second == 0) lacks.erase(fewest);
    }
    own.scarce = !lacks.empty();
  }

  // What a cluster uses becomes its own before anything else is granted.
  void take_in(const std::string& cluster, const std::set<Prefix>& used,
               std::vector<Prefix>& free) {
    for (const Prefix& part : used)
      for (const Grant& grant : step_.ledger.grants)
        if (grant.range.overlaps(part) && grant.cluster != cluster)
          step_.problems.push_back(
              fmt::format("addresses in {} are in use in {}, but the part is "
                          "{}'s",
                          part, cluster, grant.cluster));
    std::erase_if(free, [&](const Prefix& part) {
      if (std::ranges::none_of(used, [&](const Prefix& one) { return one.overlaps(part); }))
        return false;
      add(part, cluster);
      return true;
    });
  }

  // What this copy says is of now, as far as generations can tell.
  bool speaks(const std::string& cluster, const PoolParts& copy) const {
    auto member = step_.ledger.members.find(cluster);
    return facts_.members.contains(cluster) && member != step_.ledger.members.end() &&
           copy.home == step_.ledger.home && copy.generation == member->second.generation &&
           copy.home_generation == step_.ledger.generation && member->second.gone_at == 0;
  }

  std::map<std::string, std::int64_t> demand() const {
    std::map<std::string, std::int64_t> lacks;
    for (const auto& [cluster, copy] : facts_.copies) {
      if (!speaks(cluster, copy)) continue;
      std::int64_t more = copy.wanted - has(cluster);
      if (more > 0) lacks[cluster] = more;
    }
    return lacks;
  }

  std::int64_t has(const std::string& cluster) const {
    return std::ranges::count(step_.ledger.grants, cluster, &Grant::cluster);
  }

  void add(const Prefix& part, const std::string& cluster) {
    // Of one step, ids differ by their count; of two, by the caller's number.
    auto id = static_cast<std::int64_t>(
        (static_cast<std::uint64_t>(facts_.random) + 0x9e3779b97f4a7c15ULL * ++added_) >> 1U);
    step_.ledger.grants.push_back({id, part, cluster});
  }

  const HomeFacts& facts_;
  HomeStep step_;
  std::uint64_t added_ = 0;
};

}  // namespace

std::vector<Prefix> cut(const std::vector<std::pair<Ip, Ip>>& addresses, int length) {
  std::set<Prefix> parts;
  for (const auto& [first, last] : addresses)
    for (Prefix part(first, length); parts.size() < kMaxGrants;) {
      parts.insert(part);
      if (part.last() >= last) break;
      Result<Ip> next = part.last().plus(1);
      if (!next) break;
      part = Prefix(*next, length);
    }
  return {parts.begin(), parts.end()};
}

HomeStep next_ledger(const std::optional<GrantLedger>& before, const HomeFacts& facts) {
  HomeStep step = Home(before.value_or(GrantLedger{}), facts).run(!before);
  if (!before || step.ledger != *before) ++step.ledger.sequence;
  return step;
}

Result<GrantLedger> without_cluster(GrantLedger ledger, const std::string& cluster) {
  auto member = ledger.members.find(cluster);
  if (cluster == ledger.home)
    return fail(Code::kInvalidArgument, "{} is the home of the pool {}", cluster, ledger.pool);
  bool owns = std::erase_if(ledger.grants,
                            [&](const Grant& grant) { return grant.cluster == cluster; }) > 0;
  if (member == ledger.members.end() || (!owns && (member->second.reported || !ledger.recovering)))
    return fail(Code::kNotFound, "{} has nothing of the pool {}", cluster, ledger.pool);
  ++ledger.sequence;
  member->second.reported = true;
  member->second.gone_at = ledger.sequence;
  return ledger;
}

}  // namespace tombolo::grants
