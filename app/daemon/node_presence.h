// The sign that this node's agent lives: tombolo/v1/alive/NODE/agent, under a lease that it renews.
// When the agent is gone for the time to live, the store drops the key. `tombolo node forget` asks
// for it; nothing else hangs on it, for a silent agent's pods may well go on. Control thread.
#pragma once

#include <chrono>
#include <string>

#include "app/daemon/published.h"
#include "core/store/key_publisher.h"
#include "core/store/lease_keeper.h"

namespace tombolo {

inline constexpr std::string_view kAlivePrefix = "tombolo/v1/alive/";  // NODE/agent
std::string alive_key(std::string_view node);

class NodePresence {
 public:
  NodePresence(const std::string& node, RoleContext context,
               std::chrono::seconds lease_ttl = std::chrono::seconds(15));
  void start();

 private:
  asio::awaitable<void> say();

  std::string key_;
  RoleContext context_;
  KeyPublisher publisher_;
  LeaseKeeper lease_;
};

}  // namespace tombolo
