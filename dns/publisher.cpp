// ZonePublisher: the reconciler whose world is the newest snapshot. Control thread.
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "dns/dns.h"

namespace tombolo::dns {

Result<std::unique_ptr<ZonePublisher>> ZonePublisher::make(ZoneSettings settings, Clock& clock,
                                                           Publish publish, Logger log) {
  TRY(builder, ZoneBuilder::make(std::move(settings)));
  return std::unique_ptr<ZonePublisher>(
      new ZonePublisher(std::move(builder), clock, std::move(publish), std::move(log)));
}

ZonePublisher::ZonePublisher(ZoneBuilder builder, Clock& clock, Publish publish, Logger log)
    : builder_(std::move(builder)),
      clock_(clock),
      publish_(std::move(publish)),
      log_(std::move(log)),
      rejected_(metrics::counter("tombolo_dns_rejected_names_total",
                                 "Services, ports and endpoints that cannot be DNS names")),
      publish_seconds_(metrics::latency_histogram("tombolo_dns_publish_duration_seconds",
                                                  "Making one snapshot from changed services")) {}

void ZonePublisher::apply_row(const std::string& key, const Frontend* row) {
  for (const std::string& problem : builder_.apply(key, row)) {
    rejected_.increment();
    log_.warning("not in DNS: {}", problem);
  }
}

void ZonePublisher::publish_snapshot() {
  if (!builder_.synced()) return;
  auto unix_s =
      std::chrono::duration_cast<std::chrono::seconds>(clock_.wall_now().time_since_epoch());
  publish_(builder_.snapshot(static_cast<std::uint32_t>(unix_s.count())));
}

asio::awaitable<std::vector<Result<void>>> ZonePublisher::apply(std::vector<Change> changes) {
  // A first list of thousands of services comes in batches: others have their turn between them.
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  MonotonicTime begun = clock_.now();
  for (const Change& change : changes) apply_row(change.key, change.row ? &*change.row : nullptr);
  publish_snapshot();
  publish_seconds_.observe(std::chrono::duration<double>(clock_.now() - begun).count());
  co_return std::vector<Result<void>>(changes.size());
}

asio::awaitable<Result<void>> ZonePublisher::update(Frontend row) {
  apply_row(row.key(), &row);
  publish_snapshot();
  co_return Result<void>{};
}

asio::awaitable<Result<void>> ZonePublisher::erase(std::string key) {
  apply_row(key, nullptr);
  publish_snapshot();
  co_return Result<void>{};
}

// The builder starts empty with the process, so there is nothing to remove: being synced is what
// changes the answers.
asio::awaitable<Result<void>> ZonePublisher::prune(std::vector<Frontend> rows) {
  builder_.mark_synced();
  publish_snapshot();
  log_.info("serving {} services", rows.size());
  co_return Result<void>{};
}

void ZonePublisher::serve_known(const std::vector<Frontend>& rows) {
  for (const Frontend& row : rows) apply_row(row.key(), &row);
  builder_.mark_synced();
  publish_snapshot();
  log_.info("serving {} services as they were last known", rows.size());
}

void ZonePublisher::set_namespace(const std::string& name, bool exists) {
  builder_.apply_namespace(name, exists);
  publish_snapshot();
}

}  // namespace tombolo::dns
