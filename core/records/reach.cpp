// What an agent hears of another cluster's nodes.
#include "core/records/fields.h"

namespace tombolo::records {

std::string reach_key(const NodeReach& reach) {
  return fmt::format("{}{}", kReachPrefix, reach.key());
}

std::string encode(const NodeReach& reach) {
  state::v1::NodeReach message;
  message.set_node(reach.node);
  message.set_cluster(reach.cluster);
  message.set_asked(reach.asked);
  message.set_answered(reach.answered);
  return bytes_of(message);
}

Result<NodeReach> decode_reach(const KeyValue& kv) {
  TRY(message, parse<state::v1::NodeReach>(kv));
  if (message.answered() > message.asked())
    return fail(Code::kInvalidArgument, "{}: {} of {} nodes answered", kv.key, message.answered(),
                message.asked());
  NodeReach reach{message.node(), message.cluster(), message.asked(), message.answered()};
  if (reach_key(reach) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the report of another key, {}", kv.key,
                reach_key(reach));
  return reach;
}

}  // namespace tombolo::records
