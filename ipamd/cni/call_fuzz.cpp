// Fuzzes what reaches the plugin and the agent from outside: standard input under each command,
// and the frames of the unix socket. Whatever is accepted must survive the way to the agent.
#include <cstddef>
#include <cstdint>

#include "ipamd/cni/device_records.h"
#include "ipamd/cni/wire.h"

using namespace tombolo;
using namespace tombolo::cni;

// libFuzzer's entry point: its name and form are given.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr std::array kCommands{Command::kAdd, Command::kDel,    Command::kCheck,
                                 Command::kGc,  Command::kStatus, Command::kVersion};
  Environment environment{std::string(to_string(kCommands.at(data[0] % kCommands.size()))), "c1",
                          "/run/netns/x", "eth0", ""};
  if (data[0] >= 128) {
    // The other half of the inputs: hostile frames and CNI_ARGS.
    auto request = decode_request(input);
    auto reply = decode_reply(input);
    if (input.size() >= kHeaderBytes) {
      auto length = decode_header(input.substr(0, kHeaderBytes));
      ENSURE(!length || (*length > 0 && *length <= kLongestFrame));
    }
    auto record = decode_device_record("f", input);
    ENSURE(record || record.error().text().find('f') != std::string::npos);
    if (record) ENSURE(decode_device_record("f", encode_device_record(*record)) == *record);
    environment.args = input;
    auto call = decode_call(environment, R"({"cniVersion":"1.1.0","name":"p","type":"t"})");
    ENSURE(request || request.error().code > 0);
    ENSURE(!reply || reply->ok || !reply->output.empty());
    ENSURE(call || call.error().code > 0);
    return 0;
  }
  auto call = decode_call(environment, input);
  if (!call) {
    ENSURE(call.error().code > 0 && !call.error().message.empty());
    return 0;
  }
  auto again = decode_request(encode_request(environment, input));
  ENSURE(again, "{}", again.error().message);
  const Call& arrived = again->call;
  ENSURE(arrived.network == call->network && arrived.previous == call->previous &&
         arrived.mode == call->mode && arrived.routes == call->routes);
  return 0;
}
