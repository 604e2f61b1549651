// Takes, releases and reconciles: decisions on the view, one comparing transaction each, and
// another look when it was lost.
#include "ipamd/claims/claims.h"

#include <algorithm>
#include <ranges>

#include "core/records/records.h"
#include "core/spiffe.h"
#include "ipamd/claims/internal.h"

namespace tombolo {
namespace {

metrics::Counter healed_total(const std::string& how) {
  return metrics::counter("tombolo_claims_healed_total",
                          "Shared addresses whose claim did not agree with this node's leases",
                          {{"how", how}});
}

// Texts become parts of keys and of messages that take nothing but UTF-8.
Result<void> check_text(std::string_view what, const std::string& text) {
  constexpr std::size_t kMost = 1024;
  auto plain = [](char byte) { return byte > ' ' && byte < 0x7f; };
  if (text.size() <= kMost && std::ranges::all_of(text, plain)) return {};
  return fail(Code::kInvalidArgument, "{} '{}': over {} bytes, or not of visible ASCII characters",
              what, printable(std::string_view(text).substr(0, 64)), kMost);
}

Result<void> check(const std::vector<ClaimWanted>& wanted) {
  std::set<std::string_view> holders;
  std::set<std::string_view> identities;
  std::size_t addresses = 0;
  for (const ClaimWanted& one : wanted) {
    TRY_OK(check_text("holder", one.holder));
    TRY_OK(check_text("pod", one.pod));
    TRY_OK(check_text("identity", one.identity));
    if (one.holder.empty() || !holders.insert(one.holder).second)
      return fail(Code::kInvalidArgument, "holder '{}' is empty or there twice", one.holder);
    if (!one.identity.empty() && !identities.insert(one.identity).second)
      return fail(Code::kInvalidArgument, "identity {} is there twice", one.identity);
    std::set<Family> families;
    for (const AddressWish& wish : one.addresses)
      if (!families.insert(wish.family).second && !one.identity.empty())
        return fail(Code::kInvalidArgument, "{}: two {} addresses for one identity", one.identity,
                    to_string(wish.family));
    addresses += one.addresses.size();
  }
  if (addresses == 0 || addresses > Claims::kMaxAddresses)
    return fail(Code::kInvalidArgument, "{} addresses in one transaction: 1 to {} are possible",
                addresses, Claims::kMaxAddresses);
  return {};
}

// What was chosen is no longer pending, however the coroutine ends.
class Pending {
 public:
  Pending(ClaimView& view, std::vector<PooledIp> addresses)
      : view_(view), addresses_(std::move(addresses)) {}
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending() { end(); }
  void end() {
    for (const PooledIp& address : addresses_) view_.end_pending(address);
    addresses_.clear();
  }

 private:
  ClaimView& view_;
  std::vector<PooledIp> addresses_;
};

}  // namespace

ClaimsUnderWay::ClaimsUnderWay(Claims& claims, std::vector<std::string> holders)
    : claims_(&claims), holders_(std::move(holders)) {
  for (const std::string& holder : holders_) claims_->under_way_.insert(holder);
}

ClaimsUnderWay::ClaimsUnderWay(ClaimsUnderWay&& other) noexcept
    : claims_(std::exchange(other.claims_, nullptr)), holders_(std::move(other.holders_)) {}

ClaimsUnderWay& ClaimsUnderWay::operator=(ClaimsUnderWay&& other) noexcept {
  if (this == &other) return *this;
  end();
  claims_ = std::exchange(other.claims_, nullptr);
  holders_ = std::move(other.holders_);
  return *this;
}

ClaimsUnderWay::~ClaimsUnderWay() {
  end();
}

void ClaimsUnderWay::end() {
  if (claims_ == nullptr) return;
  for (const std::string& holder : holders_) {
    auto at = claims_->under_way_.find(holder);
    if (at != claims_->under_way_.end()) claims_->under_way_.erase(at);
  }
  claims_ = nullptr;
}

Claims::Claims(ClaimsOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng, Logger log)
    : options_(std::move(options)),
      clock_(clock),
      rng_(rng),
      log_(log),
      view_(std::make_unique<ClaimView>(options_.node)),
      records_(std::make_unique<SharedRecords>(
          SharedRecords::Settings{"claims", kClaimRecordsPrefix, options_.follow_retry_cap,
                                  options_.settle, options_.known},
          *view_, kv, tasks, clock, rng, log)) {}

Claims::~Claims() = default;

asio::awaitable<void> Claims::run() {
  return records_->run();
}

bool Claims::synced() const {
  return records_->synced();
}

Result<void> Claims::set_pools(std::vector<ClaimPool> pools) {
  return view_->set_pools(std::move(pools));
}

std::vector<AddressClaim> Claims::claims_of_node() const {
  return view_->claims_of_node();
}

FamilyUsage Claims::usage(std::string_view pool, Family family) const {
  const PoolOrder* order = view_->pool(pool);
  return order == nullptr ? FamilyUsage{} : order->usage(family);
}

asio::awaitable<Result<ClaimsTaken>> Claims::take(std::vector<ClaimWanted> wanted) {
  CO_TRY_OK(check(wanted));
  std::vector<std::string> holders;
  for (const ClaimWanted& one : wanted) holders.push_back(one.holder);
  ClaimsTaken taken{{}, ClaimsUnderWay(*this, std::move(holders))};
  VerifiedClaimants verified;
  for (std::uint32_t attempt = 0; attempt < options_.attempts; ++attempt) {
    CO_TRY_OK(records_->settled());
    CO_TRY(plan, plan_take(*view_, wanted, unix_ms(clock_), attempt, verified));
    if (!plan.behind.empty()) {
      CO_TRY(read, co_await verify(std::move(plan.behind)));
      verified = std::move(read);
      continue;
    }
    Pending pending(*view_, std::move(plan.chosen));
    CO_TRY(done, co_await records_->write(std::move(plan.request)));
    if (done) {
      for (auto& claims : plan.claims)
        for (AddressClaim& claim : claims)
          claim.sequence = view_->find({claim.pool, claim.ip}).revision;
      taken.claims = std::move(plan.claims);
      co_return std::move(taken);
    }
    pending.end();
    // The first look again costs nothing; then the others are given time.
    if (attempt == 0) continue;
    Duration pause = backoff(attempt - 1, options_.retry_base, options_.retry_cap, rng_);
    CO_TRY_OK(co_await clock_.sleep_for(pause));
  }
  co_return fail(Code::kAborted, "others were faster {} times: try again later", options_.attempts);
}

// Reads what the view does not know as the claimants say it. An address counts as verified when the
// claimant's record was the same with every page.
asio::awaitable<Result<VerifiedClaimants>> Claims::verify(VerifiedClaimants behind) {
  VerifiedClaimants verified;
  for (auto& [identity, unknown] : behind) {
    std::vector<PooledIp> addresses(unknown.addresses.begin(), unknown.addresses.end());
    std::string claimant = records::claimant_key({identity, {}});
    std::set<std::int64_t> revisions;
    for (std::size_t next = 0; next < addresses.size();) {
      std::vector<std::string> keys{claimant};
      for (; next < addresses.size() && keys.size() < ComparedWrites::kMaxKeys; ++next)
        keys.push_back(fmt::format("{}{}/{}", records::kClaimsPrefix, addresses[next].pool,
                                   addresses[next].ip.str()));
      CO_TRY_OK(co_await records_->read(std::move(keys)));
      revisions.insert(view_->claimant(identity).revision);
    }
    if (revisions.size() == 1) verified[identity] = {*revisions.begin(), unknown.addresses};
  }
  co_return verified;
}

// How many are given back; those that have changed meanwhile are not.
asio::awaitable<Result<std::size_t>> Claims::give_back(std::vector<AddressClaim> claims) {
  std::size_t given = 0;
  std::uint32_t lost = 0;
  for (std::size_t next = 0; next < claims.size();) {
    ComparedWrites writes;
    std::size_t end = next;
    std::int64_t now_ms = unix_ms(clock_);
    std::size_t in_this = 0;
    for (; end < claims.size() && !writes.full(1); ++end) {
      ClaimView::Seen seen = view_->find({claims[end].pool, claims[end].ip});
      if (seen.occupied == nullptr || seen.revision != claims[end].sequence) continue;
      writes.put(*view_, released(claims[end], now_ms));
      ++in_this;
    }
    bool done = true;
    if (!writes.empty()) {
      TxnRequest request = writes.take();
      CO_TRY(written, co_await records_->write(std::move(request)));
      done = written;
    }
    if (done) {
      given += in_this;
      next = end;
    } else if (++lost > options_.attempts) {
      co_return fail(Code::kAborted, "claims of this node changed {} times", lost);
    }
  }
  co_return given;
}

asio::awaitable<Result<void>> Claims::release(std::vector<std::string> holders) {
  CO_TRY_OK(records_->ready());
  std::vector<AddressClaim> claims;
  for (const std::string& holder : holders)
    for (AddressClaim& claim : view_->claims_of(holder)) claims.push_back(std::move(claim));
  CO_TRY_OK(co_await give_back(std::move(claims)));
  co_return Result<void>{};
}

asio::awaitable<Result<ClaimsReconciled>> Claims::reconcile(
    std::function<std::vector<ClaimedLease>()> leases) {
  CO_TRY_OK(records_->ready());
  ClaimsReconciled report;
  // What is to be done is decided in one turn: a lease that is made later is of another sequence.
  std::vector<ClaimedLease> held = leases();
  std::vector<AddressClaim> superfluous = without_lease(*view_, held, under_way_);
  std::erase_if(held, [&](const ClaimedLease& lease) { return is_claimed(*view_, lease); });
  for (ClaimedLease& lease : held) {
    CO_TRY_OK(co_await take_back(std::move(lease), report));
  }
  CO_TRY(freed, co_await give_back(std::move(superfluous)));
  report.freed = freed;
  if (report.freed > 0) healed_total("freed").increment(static_cast<double>(report.freed));
  if (report.taken_back > 0)
    healed_total("taken back").increment(static_cast<double>(report.taken_back));
  for (const std::string& conflict : report.conflicts) log_.error("{}", conflict);
  co_return report;
}

// What the store says is older than the lease: the address is kept for the lease's own identity,
// or the record is of the backup from which the store was restored, and whoever had the address
// then had given it back before the lease was made.
bool Claims::is_older(const AddressClaim& claim, std::int64_t revision,
                      const ClaimedLease& lease) const {
  if (claim.kept() && claim.identity == lease.identity) return true;
  std::int64_t since = claim.kept() ? claim.released_unix_ms : claim.since_unix_ms;
  return records_->from_backup(revision) && since <= lease.since_unix_ms;
}

// The identity's record when it knows of these, too. Nothing when it knows of them already; also
// when it cannot be read: it is left alone then.
std::optional<Claimant> Claims::claimant_with(const std::string& identity,
                                              std::vector<Claimant::Address> addresses) const {
  ClaimView::SeenClaimant seen = view_->claimant(identity);
  if (!seen.refused.empty()) return std::nullopt;
  bool changes = false;
  for (Claimant::Address& address : addresses) {
    auto at = std::ranges::lower_bound(seen.claimant.addresses, address);
    if (at != seen.claimant.addresses.end() && *at == address) continue;
    seen.claimant.addresses.insert(at, std::move(address));
    changes = true;
  }
  if (!changes) return std::nullopt;
  return std::move(seen.claimant);
}

// A lease whose claim the store does not have: it was restored from a backup, or an operator
// removed the record.
asio::awaitable<Result<void>> Claims::take_back(ClaimedLease lease, ClaimsReconciled& report) {
  for (std::uint32_t attempt = 0; attempt < options_.attempts; ++attempt) {
    ComparedWrites writes;
    std::size_t wanted = 0;
    std::map<std::string, std::vector<Claimant::Address>> claimants;  // by identity
    std::vector<std::string> conflicts;
    for (const PooledIp& address : lease.addresses) {
      if (view_->pool(address.pool) == nullptr) continue;
      ClaimView::Seen seen = view_->find(address);
      const AddressClaim* claim = seen.occupied;
      bool other = claim != nullptr && claim->holder != lease.holder;
      if (claim != nullptr && !other && claim->node == options_.node) continue;
      if (other && !is_older(*claim, seen.revision, lease)) {
        conflicts.push_back(fmt::format(
            "{} of pool {} is in the hands of {} (pod {}) on this node, "
            "but {}",
            address.ip.str(), address.pool, lease.holder, lease.pod, holder_text(*claim)));
        continue;
      }
      AddressClaim again;
      again.pool = address.pool;
      again.ip = address.ip;
      again.holder = lease.holder;
      again.node = options_.node;
      again.pod = lease.pod;
      again.identity = claim != nullptr && !other ? claim->identity : lease.identity;
      again.since_unix_ms = unix_ms(clock_);
      writes.put(*view_, again);
      ++wanted;
      if (!again.identity.empty()) claimants[again.identity].push_back({again.pool, again.ip});
    }
    for (auto& [identity, addresses] : claimants)
      if (auto claimant = claimant_with(identity, std::move(addresses)))
        writes.put(*view_, *claimant);
    bool done = true;
    if (wanted > 0) {
      TxnRequest request = writes.take();
      CO_TRY(written, co_await records_->write(std::move(request)));
      done = written;
    }
    if (!done) continue;
    report.taken_back += wanted;
    std::ranges::move(conflicts, std::back_inserter(report.conflicts));
    co_return Result<void>{};
  }
  co_return fail(Code::kAborted, "claims of {} changed {} times", lease.holder, options_.attempts);
}

}  // namespace tombolo
