// One sentence of `tombolo status` and `cluster list`.
#include "app/daemon/handlers/standing.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace tombolo {

std::string standing_of(const RemoteCluster& remote, WallTime now) {
  std::string state(to_string(remote.state));
  bool heard = remote.last_heard != WallTime{};
  // A clock that was set back does not make an age negative.
  auto age = std::max(std::chrono::floor<std::chrono::seconds>(now - remote.last_heard),
                      std::chrono::seconds(0))
                 .count();
  if (remote.state == RemoteState::kReady) return state;
  if (!heard) return state + ", never heard";
  if (remote.state == RemoteState::kLost) return fmt::format("{}, heard {}s ago", state, age);
  return fmt::format("{}, silent for {}s", state, age);
}

}  // namespace tombolo
