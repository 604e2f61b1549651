// The environment of a CNI call, checked in the order of SPEC.md: environment, JSON, version,
// configuration (config.cpp).
#include <algorithm>

#include "ipamd/cni/decode.h"

namespace tombolo::cni {
namespace {

constexpr std::size_t kLongestPath = 4096;
constexpr std::size_t kLongestInterface = 15;  // IFNAMSIZ - 1
constexpr JsonLimits kConfigLimits{1U << 20U, 32};

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// As the kernel's dev_valid_name (net/core/dev.c).
bool is_interface_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestInterface && name != "." && name != ".." &&
         std::ranges::none_of(name, [](char c) {
           return c == '/' || c == ':' || c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
         });
}

Answer<Command> decode_command(const std::string& text) {
  if (text.empty()) return refuse(kInvalidEnvironment, "CNI_COMMAND is not set");
  for (Command command : {Command::kAdd, Command::kDel, Command::kCheck, Command::kGc,
                          Command::kStatus, Command::kVersion})
    if (text == to_string(command)) return command;
  return refuse(kInvalidEnvironment,
                fmt::format("CNI_COMMAND is '{}'; known are ADD, DEL, CHECK, GC, STATUS, VERSION",
                            text.substr(0, 32)));
}

// "K=V;K2=V2". Unknown keys are for other plugins.
Answer<void> decode_args(const std::string& args, Call& call) {
  if (args.size() > kLongestPath)
    return refuse(kInvalidEnvironment,
                  fmt::format("CNI_ARGS has {} bytes; the limit is {}", args.size(), kLongestPath));
  for (std::size_t at = 0; at < args.size();) {
    std::size_t end = std::min(args.find(';', at), args.size());
    std::string pair = args.substr(at, end - at);
    at = end + 1;
    if (pair.empty()) continue;
    std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      return refuse(kInvalidEnvironment, fmt::format("CNI_ARGS: '{}' is not KEY=VALUE", pair));
    std::string key = pair.substr(0, equals);
    std::string value = pair.substr(equals + 1);
    std::string* field = key == "K8S_POD_NAMESPACE" ? &call.pod_namespace
                         : key == "K8S_POD_NAME"    ? &call.pod_name
                         : key == "K8S_POD_UID"     ? &call.pod_uid
                                                    : nullptr;
    if (field == nullptr) continue;
    if (!value.empty() && !is_identifier(value))
      return refuse(kInvalidEnvironment,
                    fmt::format("CNI_ARGS: {}: '{}' is not a Kubernetes name", key, value));
    *field = std::move(value);
  }
  return {};
}

Answer<void> decode_environment(const Environment& environment, Call& call) {
  bool attachment = call.command == Command::kAdd || call.command == Command::kDel ||
                    call.command == Command::kCheck;
  if (!attachment) return {};
  if (environment.container_id.empty())
    return refuse(kInvalidEnvironment, "CNI_CONTAINERID is not set");
  if (!is_identifier(environment.container_id))
    return refuse(kInvalidEnvironment,
                  fmt::format("CNI_CONTAINERID '{}' is not a letter or digit followed by up to {} "
                              "letters, digits, '_', '.' and '-'",
                              environment.container_id.substr(0, 64), kLongestId - 1));
  if (environment.interface_name.empty())
    return refuse(kInvalidEnvironment, "CNI_IFNAME is not set");
  if (!is_interface_name(environment.interface_name))
    return refuse(kInvalidEnvironment,
                  fmt::format("CNI_IFNAME '{}' is not an interface name of 1 to {} bytes",
                              environment.interface_name.substr(0, 32), kLongestInterface));
  if (environment.netns.empty() && call.command != Command::kDel)
    return refuse(kInvalidEnvironment, "CNI_NETNS is not set");
  if (environment.netns.size() > kLongestPath ||
      (!environment.netns.empty() && environment.netns[0] != '/'))
    return refuse(kInvalidEnvironment, fmt::format("CNI_NETNS '{}' is not an absolute path",
                                                   environment.netns.substr(0, 64)));
  call.container_id = environment.container_id;
  call.interface_name = environment.interface_name;
  call.netns_path = environment.netns;
  return decode_args(environment.args, call);
}

}  // namespace

bool is_identifier(std::string_view text) {
  return !text.empty() && text.size() <= kLongestId && is_alnum(text[0]) &&
         std::ranges::all_of(
             text, [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

std::string_view to_string(Command command) {
  switch (command) {
    case Command::kAdd:
      return "ADD";
    case Command::kDel:
      return "DEL";
    case Command::kCheck:
      return "CHECK";
    case Command::kGc:
      return "GC";
    case Command::kStatus:
      return "STATUS";
    case Command::kVersion:
      return "VERSION";
  }
  return "?";
}

Answer<Call> decode_parsed_call(const Environment& environment, const json::value& config) {
  Call call;
  TRY(command, decode_command(environment.command));
  call.command = command;
  TRY_OK(decode_environment(environment, call));
  DocumentPlace place{"stdin", {}};
  Cursor root(config, place);
  TRY_OK(or_invalid(root.expect_object(), kNotDecoded));
  if (command == Command::kVersion) {
    TRY(version, or_invalid(root["cniVersion"].string_or("1.1.0")));
    call.cni_version = std::move(version);
    return call;
  }
  TRY_OK(decode_config(root, call));
  return call;
}

Answer<Call> decode_call(const Environment& environment, std::string_view config) {
  TRY_OK(decode_command(environment.command));
  auto parsed = parse_json(config, kConfigLimits);
  if (!parsed) {
    // The environment comes first, so that one mistake gets one message whatever stdin holds.
    Call call{.command = *decode_command(environment.command)};
    TRY_OK(decode_environment(environment, call));
    return refuse(kNotDecoded, "stdin: " + parsed.error().what);
  }
  return decode_parsed_call(environment, *parsed);
}

}  // namespace tombolo::cni
