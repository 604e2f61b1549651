// Fuzzes the message parser: what it takes must survive the wire, and show as text.
#include <cstdint>

#include "dns/message.h"
#include "dns/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo::dns;
  auto message = parse_message({data, size});
  if (!message) return 0;
  for (const auto* section : {&message->answers, &message->authorities, &message->additionals})
    for (const Record& record : *section) (void)record_text(record);
  std::string packet = encode_message(*message, kMaxMessageSize);
  auto again = parse_message({reinterpret_cast<const std::uint8_t*>(packet.data()), packet.size()});
  ENSURE(again.has_value(), "an encoded message does not parse: {}", again.error().what);
  bool whole = (again->flags & kFlagTc) == (message->flags & kFlagTc);
  ENSURE(!whole || again->answers.size() == message->answers.size());
  ENSURE(encode_message(*again, kMaxMessageSize) == packet);
  return 0;
}
