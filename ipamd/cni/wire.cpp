// Frames, requests and replies.
#include "ipamd/cni/wire.h"

namespace tombolo::cni {

std::string encode_frame(std::string_view body) {
  ENSURE(!body.empty() && body.size() <= kLongestFrame, "a frame of {} bytes", body.size());
  auto length = static_cast<std::uint32_t>(body.size());
  std::string frame;
  frame.reserve(kHeaderBytes + body.size());
  for (int shift = 24; shift >= 0; shift -= 8)
    frame.push_back(static_cast<char>(length >> static_cast<unsigned>(shift)));
  frame += body;
  return frame;
}

Result<std::size_t> decode_header(std::string_view header) {
  ENSURE(header.size() == kHeaderBytes);
  std::size_t length = 0;
  for (char byte : header) length = length << 8U | static_cast<unsigned char>(byte);
  if (length == 0 || length > kLongestFrame)
    return fail(Code::kInvalidArgument, "a frame of {} bytes; from 1 to {} are allowed", length,
                kLongestFrame);
  return length;
}

std::string encode_request(const Environment& environment, std::string_view config) {
  json::object variables{{"command", environment.command},
                         {"containerId", environment.container_id},
                         {"netns", environment.netns},
                         {"interface", environment.interface_name},
                         {"args", environment.args}};
  return fmt::format(R"({{"protocol":{},"environment":{},"config":{},"acknowledges":true}})",
                     kProtocol, to_json(json::value(std::move(variables))), config);
}

Answer<Request> decode_request(std::string_view body) {
  auto mismatch = [](std::string_view what) {
    return std::unexpected(
        Failure{kAgentMismatch, fmt::format("the agent cannot read the request: {}", what), ""});
  };
  auto parsed = parse_json(body, {kLongestFrame, 36});
  if (!parsed) return mismatch(parsed.error().what);
  DocumentPlace place{"request", {}};
  Cursor root(*parsed, place);
  auto protocol = root["protocol"].integer(1, kProtocol);
  if (!protocol) return mismatch(protocol.error().what);
  Environment environment;
  Cursor variables = root["environment"];
  struct Field {
    std::string_view name;
    std::string& into;
  };
  for (const auto& [name, into] :
       {Field{"command", environment.command}, Field{"containerId", environment.container_id},
        Field{"netns", environment.netns}, Field{"interface", environment.interface_name},
        Field{"args", environment.args}}) {
    auto text = variables[name].string_or("");
    if (!text) return mismatch(text.error().what);
    into = std::move(*text);
  }
  if (!root["config"].present()) return mismatch("request: config: is required");
  auto acknowledges = root["acknowledges"].boolean_or(false);
  if (!acknowledges) return mismatch(acknowledges.error().what);
  TRY(call, decode_parsed_call(environment, root["config"].value()));
  return Request{std::move(call), *acknowledges};
}

std::string encode_reply(const Answer<json::object>& answer, std::string_view cni_version) {
  json::object reply{{"protocol", kProtocol}};
  if (answer)
    reply["result"] = *answer;
  else
    reply["error"] = encode_failure(answer.error(), cni_version);
  return to_json(json::value(std::move(reply)));
}

Result<Reply> decode_reply(std::string_view body) {
  TRY(parsed, parse_json(body, {kLongestFrame, 36}));
  DocumentPlace place{"reply", {}};
  Cursor root(parsed, place);
  TRY_OK(root["protocol"].integer(1, kProtocol));
  Cursor error = root["error"];
  if (!error.is_null()) {
    TRY_OK(error.expect_object());
    TRY_OK(error["code"].integer(1, 65'535));
    return Reply{false, to_json(error.value())};
  }
  Cursor result = root["result"];
  TRY_OK(result.expect_object());
  return Reply{true, result.keys().empty() ? "" : to_json(result.value())};
}

}  // namespace tombolo::cni
