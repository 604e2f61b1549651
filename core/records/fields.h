// Fields that records have in common, out of protobuf messages: checked, and refused with the
// record's key in the error. Private to core/records.
#pragma once

#include "core/records/records.h"
#include "schema/state/v1/state.pb.h"

namespace tombolo::records {

template <class Message>
std::string bytes_of(const Message& message) {
  std::string bytes;
  ENSURE(message.SerializeToString(&bytes), "a record of over 2 GiB");
  return bytes;
}

template <class Message>
Result<Message> parse(const KeyValue& kv) {
  Message message;
  if (!message.ParseFromString(kv.value))
    return fail(Code::kInvalidArgument, "{}: not a {}", kv.key, Message::descriptor()->name());
  return message;
}

Result<Ip> ip_of(const KeyValue& kv, const std::string& bytes);
Result<Port> port_of(const KeyValue& kv, std::uint32_t number);
Result<Protocol> protocol_of(const KeyValue& kv, state::v1::Protocol protocol);
// Bits behind the length are refused.
Result<Prefix> prefix_of(const KeyValue& kv, const state::v1::Prefix& message);
void set_prefix(state::v1::Prefix* message, const Prefix& prefix);

}  // namespace tombolo::records
