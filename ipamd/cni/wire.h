// What goes over the agent's unix socket: one request and one reply per connection, each a length
// of four bytes (network order) and that many bytes of JSON. Pure. Any thread.
//
//   {"protocol": 1, "environment": {"command": "ADD", …}, "config": {…}, "acknowledges": true}
//   {"protocol": 1, "result": {…}}     result is what goes to standard output; {} for nothing
//   {"protocol": 1, "error": {"cniVersion": …, "code": …, "msg": …}}
//
// A plugin that says so sends one more byte when it has printed the result of an ADD: the runtime
// has it. A connection that ends without it means a plugin that died, and the ADD is undone.
//
// Plugin and agent may differ by one version: unknown members are ignored, a greater protocol
// number is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ipamd/cni/call.h"

namespace tombolo::cni {

inline constexpr int kProtocol = 1;
inline constexpr std::size_t kHeaderBytes = 4;
inline constexpr char kAcknowledgement = '!';
inline constexpr std::size_t kLongestFrame = (1U << 20U) + 16'384;  // a configuration and its frame

// Header and body. ENSUREs that the body fits.
std::string encode_frame(std::string_view body);
// The length that follows a header of kHeaderBytes; kInvalidArgument when it is 0 or too long.
Result<std::size_t> decode_header(std::string_view header);

// `config` is a JSON text that was parsed before; it is passed on as it is.
std::string encode_request(const Environment& environment, std::string_view config);
struct Request {
  Call call;
  bool acknowledges = false;
};
Answer<Request> decode_request(std::string_view body);

std::string encode_reply(const Answer<json::object>& answer, std::string_view cni_version);
// The JSON to print: a result (empty when there is nothing to print) or a failure's object.
struct Reply {
  bool ok = false;
  std::string output;
};
Result<Reply> decode_reply(std::string_view body);

}  // namespace tombolo::cni
