// The judgement of another cluster: a table of what is heard of it. Pure; link's thread.
#include "servicesync/mesh/judge.h"

#include <array>

namespace tombolo::mesh {

RemoteState judge(const Evidence& evidence, const JudgeLimits& limits) {
  bool silent = evidence.silent > limits.silence;
  if (!silent) {
    // Until something is heard, what was known before holds.
    if (!evidence.heard || !evidence.current) return evidence.before;
    if (evidence.before == RemoteState::kLost && evidence.steady < limits.steady)
      return RemoteState::kLost;
    return RemoteState::kReady;
  }
  // Nothing of it was ever known: there is nothing to lose.
  if (evidence.before == RemoteState::kConnecting) return RemoteState::kConnecting;
  if (evidence.nodes.asked == 0)
    return evidence.before == RemoteState::kLost ? RemoteState::kLost
                                                 : RemoteState::kControlPlaneAway;
  if (evidence.nodes.answered == 0) return RemoteState::kLost;
  // Links come up one after the other: the first node that answers does not speak for the rest.
  if (evidence.before == RemoteState::kLost && evidence.nodes_steady < limits.steady)
    return RemoteState::kLost;
  return RemoteState::kControlPlaneAway;
}

std::optional<RemoteState> parse_remote_state(std::string_view text) {
  static constexpr std::array kStates{RemoteState::kConnecting, RemoteState::kReady,
                                      RemoteState::kControlPlaneAway, RemoteState::kLost};
  for (RemoteState state : kStates)
    if (to_string(state) == text) return state;
  return std::nullopt;
}

}  // namespace tombolo::mesh
