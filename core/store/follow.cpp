// The list-and-watch loop.
#include "core/store/follow.h"

#include <algorithm>
#include <utility>

namespace tombolo {

PrefixFollower::PrefixFollower(FollowOptions options, Kv& kv, FollowHandler& handler,
                               TaskGroup& tasks, Clock& clock, Rng& rng, Logger log)
    : options_(std::move(options)),
      kv_(kv),
      handler_(handler),
      tasks_(tasks),
      clock_(clock),
      rng_(rng),
      log_(log.with("mirror", options_.name)) {}

asio::awaitable<void> PrefixFollower::run() {
  tasks_.spawn(options_.name + " progress", ask_for_progress());
  while (!tasks_.cancelled()) {
    Result<void> done;
    std::uint64_t lists_before = lists_;
    if (list_needed_) {
      list_needed_ = false;  // relist() may set it while we list
      done = co_await list();
      if (!done) list_needed_ = true;
      if (done && list_needed_) continue;
    }
    bool listed = done.has_value();
    bool listed_now = lists_ != lists_before;
    if (listed) done = co_await follow();
    watch_.reset();
    if (tasks_.cancelled()) co_return;
    Error error = done.error();
    if (listed && list_needed_ && error.code == Code::kCancelled) continue;  // relist()
    if (error.code == Code::kOutOfRange || error.code == Code::kAborted) {
      list_needed_ = true;
      // A store that says so is there: how long it was away no longer counts. Unless it says so of
      // a list that it has just given.
      if (!listed_now) attempts_ = 0;
    }
    complain(error);
    Duration pause = backoff(attempts_++, options_.retry_base, options_.retry_cap, rng_);
    if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
  }
}

asio::awaitable<Result<void>> PrefixFollower::list() {
  std::set<std::string> keys;
  RangeRequest request;
  request.key = options_.prefix;
  request.range_end = prefix_end(options_.prefix);
  request.limit = options_.page;
  std::uint64_t cluster_id = 0;
  while (true) {
    CO_TRY(page, co_await kv_.range(request));
    hear();
    if (request.revision == 0) {
      request.revision = page.revision;
      cluster_id = page.cluster_id;
      handler_.on_listing(page.revision, page.cluster_id);
    }
    if (page.cluster_id != cluster_id) co_return fail(Code::kAborted, "cluster id changed");
    for (const KeyValue& kv : page.kvs) {
      handler_.on_put(kv);
      keys.insert(kv.key);
    }
    if (!page.more || page.kvs.empty()) break;
    request.key = page.kvs.back().key + '\0';
  }
  handler_.on_listed(keys);
  revision_ = request.revision;
  cluster_id_ = cluster_id;
  ++lists_;
  co_return Result<void>{};
}

asio::awaitable<Result<void>> PrefixFollower::follow() {
  WatchRequest request;
  request.key = options_.prefix;
  request.range_end = prefix_end(options_.prefix);
  request.start_revision = revision_ + 1;
  request.cluster_id = cluster_id_;
  CO_TRY(made, co_await kv_.watch(std::move(request)));
  std::shared_ptr<Watch> watch = std::move(made);
  watch_ = watch;
  std::int64_t announced = 0;
  asked_ = false;
  hear();
  CO_TRY_OK(co_await compare_revisions());
  while (true) {
    CO_TRY(batch, co_await watch->next());
    hear();
    attempts_ = 0;
    if (!last_error_.empty()) log_.info("following {} again", options_.prefix);
    last_error_.clear();
    for (const WatchEvent& event : batch.events) {
      if (event.kind == WatchEvent::Kind::kPut)
        handler_.on_put(event.kv);
      else
        handler_.on_delete_at(event.kv.key, event.kv.mod_revision);
    }
    if (batch.events.empty()) {
      // etcd 3.4 may announce progress before older events are out, so it counts one round later.
      revision_ = std::max(revision_, std::exchange(announced, batch.revision));
      if (std::exchange(asked_, false)) (void)co_await watch->request_progress();
    } else {
      revision_ = std::max(revision_, batch.revision);
    }
    handler_.on_revision(revision_);
  }
}

// A store that was restored from a backup begins at the backup's revision, and etcd gives it the
// cluster id it had when its members and its token are the same. It accepts a watch from a revision
// that it does not have yet and is silent until then. A read, other than what a watch says of
// itself, knows of all that was ever acknowledged (etcd: linearizable). Asked after the watch was
// made: a store that is replaced later ends the watch.
asio::awaitable<Result<void>> PrefixFollower::compare_revisions() {
  RangeRequest request;
  request.key = options_.prefix;
  request.range_end = prefix_end(options_.prefix);
  request.limit = 1;
  request.keys_only = true;
  CO_TRY(now, co_await kv_.range(request));
  hear();
  if (now.cluster_id != cluster_id_) co_return fail(Code::kAborted, "cluster id changed");
  if (now.revision < revision_)
    co_return fail(Code::kAborted, "the store went back from revision {} to {}", revision_,
                   now.revision);
  co_return Result<void>{};
}

asio::awaitable<void> PrefixFollower::ask_for_progress() {
  while (!tasks_.cancelled()) {
    if (auto slept = co_await clock_.sleep_for(options_.progress_interval); !slept) co_return;
    std::shared_ptr<Watch> watch = watch_;
    if (watch == nullptr) continue;
    if (clock_.now() - last_heard_ > options_.silence_limit) {
      log_.warning("the store is silent: watching {} anew", options_.prefix);
      watch->cancel();
      continue;
    }
    // What is wrong with the watch is told to whoever waits in next().
    (void)co_await watch->request_progress();
  }
}

void PrefixFollower::relist() {
  list_needed_ = true;
  if (watch_ != nullptr) watch_->cancel();
}

void PrefixFollower::ask_now() const {
  if (watch_ == nullptr || asked_) return;
  asked_ = true;
  tasks_.spawn(options_.name + " asked", ask_once(watch_));
}

asio::awaitable<void> PrefixFollower::ask_once(std::shared_ptr<Watch> watch) const {
  // As above: whoever waits in next() is told what is wrong.
  (void)co_await watch->request_progress();
}

void PrefixFollower::hear() {
  last_heard_ = clock_.now();
}

void PrefixFollower::complain(const Error& error) {
  if (last_error_ == error.what) return;
  last_error_ = error.what;
  log_.warning("following {}: {}", options_.prefix, error.text());
}

}  // namespace tombolo
