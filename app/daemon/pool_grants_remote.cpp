// Two followers over one connection.
#include "app/daemon/pool_grants_remote.h"

namespace tombolo {
namespace {

FollowOptions follow_options(const std::string& cluster, std::string_view prefix,
                             Duration retry_cap) {
  FollowOptions options;
  options.name = fmt::format("{} {}", cluster, prefix);
  options.prefix = prefix;
  options.retry_cap = retry_cap;
  return options;
}

}  // namespace

PoolGrants::Remote::Remote(std::string cluster, std::unique_ptr<Kv> store, Duration retry_cap,
                           RoleContext context)
    : store_(std::move(store)),
      tasks_(context.tasks),
      ledgers_(grants::decode_ledger, grants::kLedgersPrefix, false,
               context.log.with("remote", cluster)),
      parts_(grants::decode_parts, grants::kPartsPrefix, true, context.log.with("remote", cluster)),
      ledger_follower_(follow_options(cluster, grants::kLedgersPrefix, retry_cap), *store_,
                       ledgers_, tasks_, context.clock, context.rng, context.log),
      parts_follower_(follow_options(cluster, grants::kPartsPrefix, retry_cap), *store_, parts_,
                      tasks_, context.clock, context.rng, context.log) {}

void PoolGrants::Remote::start() {
  started_ = true;
  tasks_.spawn("remote ledgers", ledger_follower_.run());
  tasks_.spawn("remote parts", parts_follower_.run());
}

asio::awaitable<void> PoolGrants::Remote::stop() {
  tasks_.cancel();
  co_await tasks_.join();
}

}  // namespace tombolo
