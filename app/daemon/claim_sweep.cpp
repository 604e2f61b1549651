// The loop around ClaimJanitor::sweep.
#include "app/daemon/claim_sweep.h"

#include <algorithm>
#include <optional>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

// How often addresses that are kept for nobody are looked for: at least, and at most, which is when
// workloads, namespaces or claims changed.
constexpr Duration kSweepEvery = std::chrono::seconds(10);
constexpr Duration kSweepSoon = std::chrono::milliseconds(200);
// A sweep is followed by a pause of so many times its length: it is linear in what is kept.
constexpr int kSweepPauseFactor = 20;
// Namespaces that are remembered as deleted; beyond that, their workloads are merely not written.
constexpr std::size_t kMostDeleted = 10'000;

// Of "KIND/NAMESPACE/…".
std::string_view namespace_of_identity(std::string_view identity) {
  std::string_view rest = identity.substr(std::min(identity.find('/'), identity.size() - 1) + 1);
  return rest.substr(0, rest.find('/'));
}

}  // namespace

std::vector<PoolUse> claimed_uses(const ControllerTables& tables) {
  std::vector<PoolUse> uses;
  for (const auto& [key, versioned] : tables.claims.rows())
    if (!versioned.row.free()) uses.push_back({versioned.row.pool, Prefix::host(versioned.row.ip)});
  for (const auto& [key, versioned] : tables.pool_blocks.rows())
    if (!versioned.row.node.empty()) uses.push_back({versioned.row.pool, versioned.row.prefix});
  return uses;
}

ClaimSweep::ClaimSweep(ClaimJanitor& janitor, ControllerTables& tables, RoleContext context)
    : janitor_(janitor),
      tables_(tables),
      context_(context),
      kept_workloads_(context.kv),
      info_changes_(tables.pod_infos.track([] {})),
      claim_changes_(tables.claims.track([] {})),
      namespace_changes_(tables.namespaces.track([] {})) {}

// What an identity's addresses are kept for, by what workloads and namespaces say now.
std::function<KeptFor(const std::string&)> ClaimSweep::kept_for(
    const std::vector<PodInfo>& infos) const {
  auto alive = std::make_shared<AliveIdentities>(infos);
  return [this, alive](const std::string& identity) {
    if (!alive->knows(identity) && kept_workloads_.keeps(identity)) return KeptFor{SIZE_MAX, false};
    bool deleted = deleted_namespaces_.contains(namespace_of_identity(identity));
    return KeptFor{alive->room(identity), alive->knows(identity) || deleted};
  };
}

asio::awaitable<Result<void>> ClaimSweep::follow_kept_workloads(std::vector<PodInfo> infos) {
  std::optional<std::set<std::string>> identities;
  if (tables_.claims.synced()) {
    identities.emplace();
    for (const auto& [key, versioned] : tables_.claims.rows())
      if (!versioned.row.identity.empty()) identities->insert(versioned.row.identity);
  }
  co_return co_await kept_workloads_.follow(std::move(infos), std::move(identities));
}

void ClaimSweep::note_namespaces() {
  for (const std::string& name : namespace_changes_->take()) {
    if (tables_.namespaces.find(name) != nullptr)
      deleted_namespaces_.erase(name);
    else if (deleted_namespaces_.size() < kMostDeleted)
      deleted_namespaces_.insert(name);
  }
}

// True when something may be due: nobody looks at every claim without a reason.
bool ClaimSweep::is_due(MonotonicTime next) {
  bool changed = !info_changes_->take().empty();
  changed |= !claim_changes_->take().empty();
  changed |= namespace_changes_->pending();
  note_namespaces();
  wanted_ |= changed;
  return wanted_ || context_.clock.now() >= next;
}

asio::awaitable<void> ClaimSweep::run() {
  Duration pause = kSweepSoon;
  MonotonicTime next = context_.clock.now() + kSweepEvery;
  while (!context_.tasks.cancelled()) {
    if (auto slept = co_await context_.clock.sleep_for(pause); !slept) co_return;
    pause = kSweepSoon;
    if (!tables_.pod_infos.synced() || !janitor_.synced() || !is_due(next)) continue;
    wanted_ = false;
    MonotonicTime began = context_.clock.now();
    std::vector<PodInfo> infos;
    for (const auto& [key, versioned] : tables_.pod_infos.rows()) infos.push_back(versioned.row);
    if (auto known = co_await follow_kept_workloads(infos); !known) {
      context_.log.warning("kept addresses are looked at later: {}", known.error().what);
      wanted_ = true;
      pause = kSweepEvery;
      continue;
    }
    auto swept = co_await janitor_.sweep(kept_for(infos));
    MonotonicTime now = context_.clock.now();
    pause = std::clamp<Duration>((now - began) * kSweepPauseFactor, kSweepSoon, kSweepEvery);
    next = now + kSweepEvery;
    if (!swept) {
      context_.log.warning("kept addresses are looked at later: {}", swept.error().what);
      continue;
    }
    if (swept->next_due) next = now + std::min(*swept->next_due, kSweepEvery);
    if (swept->freed > 0)
      context_.log.info("{} addresses are kept no more: their pods are gone", swept->freed);
  }
}

}  // namespace tombolo
