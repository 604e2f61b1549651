// How another cluster stands, from what is heard of it. Pure; asked again with every tick of its
// link.
#pragma once

#include "core/clock.h"
#include "core/tables.h"

namespace tombolo::mesh {

// What this cluster's agents say of the other one's nodes, summed over the agents.
struct NodeAnswers {
  std::uint32_t asked = 0;  // 0: nobody could ask
  std::uint32_t answered = 0;
  bool operator==(const NodeAnswers&) const = default;
};

struct Evidence {
  RemoteState before = RemoteState::kConnecting;
  bool heard = false;    // its store has answered since this link was made
  Duration silent{};     // since its store answered last, or since this link was made
  Duration steady{};     // for how long it has answered without a silence
  bool current = false;  // connected, and everything it publishes was read from this connection
  NodeAnswers nodes;
  Duration nodes_steady{};  // for how long not fewer of them have answered
};

struct JudgeLimits {
  Duration silence = std::chrono::seconds(3);
  Duration steady = std::chrono::seconds(1);  // before a lost one is taken back
};

// Lost needs both: a silent store and nodes that were asked and do not answer. A lost cluster whose
// nodes nobody can ask stays lost; one whose nodes answer again is only without its control plane.
// Who comes and goes, store or nodes, does not bring a lost cluster back before it has been steady.
RemoteState judge(const Evidence& evidence, const JudgeLimits& limits);

// "ready" and so on, as kept in the store; nothing for what this version does not know.
std::optional<RemoteState> parse_remote_state(std::string_view text);

}  // namespace tombolo::mesh
