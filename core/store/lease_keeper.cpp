// The keep-alive loop.
#include "core/store/lease_keeper.h"

namespace tombolo {

LeaseKeeper::LeaseKeeper(LeaseKeeperOptions options, Kv& kv, TaskGroup& tasks, Clock& clock,
                         Rng& rng, Logger log)
    : options_(std::move(options)),
      kv_(kv),
      tasks_(tasks),
      clock_(clock),
      rng_(rng),
      log_(log.with("lease", options_.name)) {}

void LeaseKeeper::on_grant(std::function<void(std::int64_t)> callback) {
  if (lease_ != 0) callback(lease_);
  callbacks_.push_back(std::move(callback));
}

asio::awaitable<void> LeaseKeeper::run() {
  std::uint32_t attempts = 0;
  std::string last_error;
  while (!tasks_.cancelled()) {
    Result<void> done;
    MonotonicTime asked = clock_.now();
    if (lease_ == 0)
      done = co_await grant();
    else
      done = co_await kv_.lease_keep_alive(lease_);
    Duration pause = std::chrono::duration_cast<Duration>(options_.ttl) / 3;
    if (done) {
      kept_until_ = asked + options_.ttl;
      attempts = 0;
      last_error.clear();
    } else {
      const Error& error = done.error();
      if (last_error != error.what) log_.warning("{}", error.text());
      last_error = error.what;
      if (lease_ != 0 && error.code == Code::kNotFound) {
        lease_ = 0;
        continue;
      }
      pause = std::min(pause, backoff(attempts++, options_.retry_base, options_.retry_cap, rng_));
    }
    if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
  }
}

asio::awaitable<Result<void>> LeaseKeeper::grant() {
  CO_TRY(lease, co_await kv_.lease_grant(options_.ttl));
  lease_ = lease;
  for (const auto& callback : callbacks_) callback(lease);
  co_return Result<void>{};
}

asio::awaitable<Result<void>> LeaseKeeper::release() {
  std::int64_t lease = std::exchange(lease_, 0);
  if (lease == 0) co_return Result<void>{};
  co_return co_await kv_.lease_revoke(lease);
}

}  // namespace tombolo
