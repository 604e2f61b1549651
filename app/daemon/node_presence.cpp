// One key, its lease, and its repair.
#include "app/daemon/node_presence.h"

namespace tombolo {
namespace {

PublishOptions publish_options(const std::string& node) {
  PublishOptions options;
  options.name = "alive";
  options.prefix = fmt::format("{}{}/", kAlivePrefix, node);
  options.leased = true;
  return options;
}

LeaseKeeperOptions lease_options(std::chrono::seconds ttl) {
  LeaseKeeperOptions options;
  options.name = "alive";
  options.ttl = ttl;
  return options;
}

}  // namespace

std::string alive_key(std::string_view node) {
  return fmt::format("{}{}/agent", kAlivePrefix, node);
}

NodePresence::NodePresence(const std::string& node, RoleContext context,
                           std::chrono::seconds lease_ttl)
    : key_(alive_key(node)),
      context_(context),
      publisher_(publish_options(node), context.kv, context.tasks, context.clock, context.rng,
                 context.log),
      lease_(lease_options(lease_ttl), context.kv, context.tasks, context.clock, context.rng,
             context.log) {
  lease_.on_grant([this](std::int64_t lease) { publisher_.use_lease(lease); });
}

void NodePresence::start() {
  context_.tasks.spawn("alive lease", lease_.run());
  context_.tasks.spawn("alive repair", publisher_.run());
  context_.tasks.spawn("alive", say());
}

// What cannot be written now, the publisher's own loop writes later, and again under every lease.
asio::awaitable<void> NodePresence::say() {
  std::vector<KeyPublisher::Change> changes;
  KeyPublisher::Change change{key_, std::string()};
  changes.push_back(std::move(change));
  if (auto said = co_await publisher_.apply(std::move(changes)); !said)
    context_.log.debug("{}: later: {}", key_, said.error().text());
  if (auto pruned = co_await publisher_.prune(); !pruned)
    context_.log.debug("{}: later: {}", key_, pruned.error().text());
}

}  // namespace tombolo
