// What is kept for nobody any more, and what was free for so long that it is as good as never used.
#include <algorithm>

#include "core/records/records.h"
#include "ipamd/claims/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kForgetAtOnce = 10'000;

AddressClaim freed(AddressClaim claim) {
  claim.identity.clear();
  return claim;
}

}  // namespace

// Of each family the ones that are kept for the longest time, down to the room. Nothing of an
// identity whose record cannot be read: it may know of them all.
std::vector<BeyondRoom> beyond_room(const ClaimView& view,
                                    const std::function<KeptFor(const std::string&)>& kept_for) {
  std::map<std::pair<std::string, Family>, std::vector<AddressClaim>> owned;
  std::vector<BeyondRoom> beyond;
  for (const AddressClaim& claim : view.fixed()) {
    ClaimView::SeenClaimant seen = view.claimant(claim.identity);
    if (!seen.refused.empty()) continue;
    const auto& listed = seen.claimant.addresses;
    // Its identity does not know of it, and so will never take it.
    if (claim.kept() &&
        !std::ranges::binary_search(listed, Claimant::Address{claim.pool, claim.ip}))
      beyond.push_back({claim, false});
    else
      owned[{claim.identity, claim.ip.family()}].push_back(claim);
  }
  for (auto& [whose, claims] : owned) {
    KeptFor known = kept_for(whose.first);
    std::size_t has = claims.size();
    std::erase_if(claims, [](const AddressClaim& claim) { return claim.held(); });
    std::ranges::sort(claims, {}, [](const AddressClaim& claim) {
      return std::tie(claim.released_unix_ms, claim.pool, claim.ip);
    });
    for (const AddressClaim& claim : claims)
      if (has > known.room) {
        beyond.push_back({claim, known.said});
        --has;
      }
  }
  return beyond;
}

ClaimJanitor::ClaimJanitor(JanitorOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
                           Logger log)
    : options_(options),
      clock_(clock),
      log_(log),
      view_(std::make_unique<ClaimView>("")),
      records_(std::make_unique<SharedRecords>(
          SharedRecords::Settings{"claim janitor", kClaimRecordsPrefix, options.follow_retry_cap},
          *view_, kv, tasks, clock, rng, log)) {}

ClaimJanitor::~ClaimJanitor() = default;

asio::awaitable<void> ClaimJanitor::run() {
  return records_->run();
}

bool ClaimJanitor::synced() const {
  return records_->synced();
}

asio::awaitable<Result<ClaimsSwept>> ClaimJanitor::sweep(
    std::function<KeptFor(const std::string&)> kept_for) {
  CO_TRY_OK(records_->ready());
  ClaimsSwept swept;
  swept.unreadable = count_unreadable();
  MonotonicTime now = clock_.now();
  std::map<std::string, MonotonicTime> before = std::exchange(beyond_since_, {});
  std::map<std::string, std::vector<AddressClaim>> due;  // by identity
  for (auto& [claim, said] : beyond_room(*view_, kept_for)) {
    // One that was taken over meanwhile begins anew.
    std::string name = fmt::format("{}@{}", claim.key(), claim.sequence);
    auto known = before.find(name);
    MonotonicTime since = known == before.end() ? now : known->second;
    beyond_since_.emplace(std::move(name), since);
    Duration waits = (said ? options_.said_grace : options_.grace) - (now - since);
    if (waits <= Duration::zero())
      due[claim.identity].push_back(std::move(claim));
    else
      swept.next_due = std::min(waits, swept.next_due.value_or(waits));
  }
  for (auto& [identity, claims] : due) {
    CO_TRY(count, co_await free_of(identity, std::move(claims)));
    swept.freed += count;
  }
  CO_TRY(forgotten, co_await forget());
  swept.forgotten = forgotten;
  co_return swept;
}

std::size_t ClaimJanitor::count_unreadable() {
  auto refused = [](const auto& entry) { return !entry.second.refused.empty(); };
  auto count = static_cast<std::size_t>(std::ranges::count_if(view_->claimants(), refused));
  if (std::exchange(unreadable_, count) != count && count > 0)
    log_.warning("what is kept for {} identities stays kept: their records cannot be read", count);
  return count;
}

// One transaction: what has changed meanwhile waits for the next sweep.
asio::awaitable<Result<std::size_t>> ClaimJanitor::free_of(std::string identity,
                                                           std::vector<AddressClaim> claims) {
  ComparedWrites writes;
  ClaimView::SeenClaimant seen_claimant = view_->claimant(identity);
  if (!seen_claimant.refused.empty()) co_return std::size_t{0};
  Claimant claimant = std::move(seen_claimant.claimant);
  claimant.identity = identity;
  std::size_t count = 0;
  for (const AddressClaim& claim : claims) {
    if (writes.full(2)) break;
    ClaimView::Seen seen = view_->find({claim.pool, claim.ip});
    if (seen.occupied == nullptr || seen.revision != claim.sequence) continue;
    writes.put(*view_, freed(claim));
    std::erase(claimant.addresses, Claimant::Address{claim.pool, claim.ip});
    ++count;
  }
  if (count == 0) co_return std::size_t{0};
  // Also when it does not change: it must be the one that was looked at.
  writes.put(*view_, claimant);
  TxnRequest request = writes.take();
  CO_TRY(done, co_await records_->write(std::move(request)));
  co_return done ? count : 0;
}

asio::awaitable<Result<AddressClaim>> ClaimJanitor::give_up(Ip ip) {
  CO_TRY_OK(records_->ready());
  std::vector<AddressClaim> fixed = view_->fixed();
  auto claim = std::ranges::find(fixed, ip, &AddressClaim::ip);
  if (claim == fixed.end()) co_return fail(Code::kNotFound, "{} is kept for nobody", ip.str());
  if (claim->held())
    co_return fail(Code::kFailedPrecondition, "{} is in use, fixed for {}: {}", ip.str(),
                   claim->identity, holder_text(*claim));
  std::vector<AddressClaim> one{*claim};
  CO_TRY(count, co_await free_of(claim->identity, std::move(one)));
  if (count == 0)
    co_return fail(Code::kAborted, "{} changed meanwhile, or the record of {} cannot be read",
                   ip.str(), claim->identity);
  log_.info("{} is kept for {} no more: an operator says so", ip.str(), claim->identity);
  co_return std::move(*claim);
}

asio::awaitable<Result<std::size_t>> ClaimJanitor::forget() {
  auto after_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(options_.forget_free_after).count();
  auto old = view_->free_before(unix_ms(clock_) - after_ms, kForgetAtOnce);
  std::size_t forgotten = 0;
  for (std::size_t next = 0; next < old.size();) {
    ComparedWrites writes;
    for (; next < old.size() && !writes.full(1); ++next)
      writes.erase(old[next].first, old[next].second);
    std::size_t count = writes.size();
    TxnRequest request = writes.take();
    CO_TRY(done, co_await records_->write(std::move(request)));
    if (done) forgotten += count;
  }
  co_return forgotten;
}

asio::awaitable<Result<std::size_t>> ClaimJanitor::release_nodes(std::set<std::string> nodes,
                                                                 std::vector<Compare> only_if) {
  CO_TRY_OK(records_->ready());
  std::vector<AddressClaim> claims = view_->claims_of_nodes(nodes);
  std::size_t count = 0;
  for (std::size_t next = 0; next < claims.size();) {
    ComparedWrites writes;
    std::int64_t now_ms = unix_ms(clock_);
    for (; next < claims.size() && !writes.full(1); ++next) {
      const AddressClaim& claim = claims[next];
      if (view_->find({claim.pool, claim.ip}).revision == claim.sequence)
        writes.put(*view_, released(claim, now_ms));
    }
    if (writes.empty()) continue;
    std::size_t these = writes.size();
    TxnRequest request = writes.take();
    for (const Compare& compare : only_if) request.compares.push_back(compare);
    CO_TRY(done, co_await records_->write(std::move(request)));
    if (!done)
      co_return fail(Code::kAborted, "claims of nodes that are gone changed: {} are released",
                     count);
    count += these;
  }
  co_return count;
}

}  // namespace tombolo
