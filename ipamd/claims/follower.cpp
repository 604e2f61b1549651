// From the watch into the view.
#include "core/records/records.h"
#include "ipamd/claims/internal.h"

namespace tombolo {
namespace {

// What "tombolo/v1/claims/" and "tombolo/v1/claimants/" have in common.
constexpr std::string_view kBoth = "tombolo/v1/claim";
static_assert(records::kClaimsPrefix.starts_with(kBoth));
static_assert(records::kClaimantsPrefix.starts_with(kBoth));

FollowOptions follow_options(std::string name, Duration retry_cap) {
  FollowOptions options;
  options.name = std::move(name);
  options.prefix = kBoth;
  options.retry_cap = retry_cap;
  return options;
}

std::int64_t unix_ms(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock.wall_now().time_since_epoch())
      .count();
}

}  // namespace

ClaimFollower::ClaimFollower(std::string name, Duration retry_cap, ClaimView& view, Kv& kv,
                             TaskGroup& tasks, Clock& clock, Rng& rng, Logger log)
    : view_(view),
      clock_(clock),
      log_(log.with("claims", name)),
      refused_total_(metrics::counter("tombolo_claims_refused_total",
                                      "Records of shared addresses that cannot be read")),
      follower_(follow_options(name, retry_cap), kv, *this, tasks, clock, rng, log) {}

void ClaimFollower::on_listing(std::int64_t revision, std::uint64_t cluster_id) {
  // Revisions of another store mean nothing beside those of this one.
  if (cluster_id_ != cluster_id && cluster_id_ != 0) view_.clear();
  synced_ = false;
  cluster_id_ = cluster_id;
  listing_ = revision;
}

void ClaimFollower::on_put(const KeyValue& kv) {
  if (auto put = view_.put(kv, unix_ms(clock_)); !put) {
    refused_total_.increment();
    log_.warning("refused {}: {}", kv.key, put.error().text());
  }
}

void ClaimFollower::on_delete(const std::string& key) {
  view_.erase(key, listing_);
}

void ClaimFollower::on_delete_at(const std::string& key, std::int64_t revision) {
  view_.erase(key, revision);
}

void ClaimFollower::on_listed(const std::set<std::string>& keys) {
  view_.keep_only(keys, listing_);
  synced_ = true;
}

}  // namespace tombolo
