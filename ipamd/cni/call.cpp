// Environment and configuration of a CNI call, checked in the order of SPEC.md: environment, JSON,
// version, configuration.
#include "ipamd/cni/call.h"

#include <algorithm>

namespace tombolo::cni {
namespace {

constexpr std::size_t kLongestId = 256;
constexpr std::size_t kLongestPath = 4096;
constexpr std::size_t kLongestInterface = 15;  // IFNAMSIZ - 1
constexpr std::size_t kMostAttachments = 65'536;
constexpr JsonLimits kConfigLimits{1U << 20U, 32};

std::unexpected<Failure> refuse(int code, std::string message) {
  return std::unexpected(Failure{code, std::move(message), ""});
}

// Turns an error of a Cursor into the failure of that code.
template <class T>
Answer<T> or_invalid(Result<T> result, int code = kInvalidConfig) {
  if (!result) return refuse(code, result.error().what);
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return std::move(*result);
}

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// SPEC.md: starts with a letter or digit, then letters, digits, underscore, dot, hyphen.
bool is_identifier(std::string_view text) {
  return !text.empty() && text.size() <= kLongestId && is_alnum(text[0]) &&
         std::ranges::all_of(
             text, [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
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

Answer<void> decode_version(const Cursor& config, Call& call) {
  TRY(version, or_invalid(config["cniVersion"].string_or("0.1.0")));
  if (std::ranges::find(kVersions, version) == kVersions.end())
    return refuse(kIncompatibleVersion,
                  fmt::format("stdin: cniVersion: {} is not supported; supported are 0.4.0, 1.0.0 "
                              "and 1.1.0",
                              version));
  bool needs_latest = call.command == Command::kGc || call.command == Command::kStatus;
  if (needs_latest && version != "1.1.0")
    return refuse(kIncompatibleVersion,
                  fmt::format("stdin: cniVersion: {} needs 1.1.0, the configuration has {}",
                              to_string(call.command), version));
  call.cni_version = std::move(version);
  return {};
}

// Keys that another version of the plugin, or another plugin, would act on: silence would leave
// the pod with less than its operator asked for.
Answer<void> refuse_unsupported(const Cursor& config, const Call& call) {
  auto unsupported = [](const Cursor& at, std::string_view why) {
    std::string value =
        at.value().is_string() ? std::string(at.value().get_string()) : to_json(at.value());
    return refuse(kUnsupportedField,
                  at.error(fmt::format("'{}' {}", value.substr(0, 64), why)).error().what);
  };
  static constexpr std::array<std::string_view, 15> kKnown{
      "cniVersion",    "name",         "type",       "socket",       "mtu",
      "args",          "capabilities", "prevResult", "disableCheck", "disableGC",
      "runtimeConfig", "dns",          "ipMasq",     "ipam",         "loadOnlyInlinedPlugins"};
  for (auto key : config.keys()) {
    bool namespaced = key.find('/') != std::string_view::npos;
    if (!namespaced && std::ranges::find(kKnown, key) == kKnown.end())
      return unsupported(config[key], "is a value of a key that is not known");
  }
  TRY(masquerade, or_invalid(config["ipMasq"].boolean_or(false)));
  if (masquerade)
    return unsupported(config["ipMasq"], "is not supported: the agent masquerades, not the plugin");
  Cursor ipam = config["ipam"];
  if (!ipam.is_null()) {
    TRY_OK(or_invalid(ipam.expect_object()));
    TRY(type, or_invalid(ipam["type"].string_or("tombolo-cni")));
    if (type != "tombolo-cni")
      return unsupported(ipam["type"], "is not supported: the agent allocates the addresses");
  }
  Cursor dns = config["dns"];
  if (dns.is_object() && !dns.keys().empty())
    return unsupported(dns, "is not supported: the agent says which resolver pods use");
  if (call.command == Command::kAdd && !config["prevResult"].is_null())
    return refuse(
        kUnsupportedField,
        config["prevResult"].error("ADD after another plugin is not supported").error().what);
  return {};
}

Answer<PreviousResult> decode_previous(const Cursor& result, const std::string& interface_name) {
  PreviousResult previous;
  TRY_OK(or_invalid(result.expect_object()));
  Cursor interfaces = result["interfaces"];
  if (!interfaces.is_null()) TRY_OK(or_invalid(interfaces.expect_array()));
  Cursor ips = result["ips"];
  if (!ips.is_null()) TRY_OK(or_invalid(ips.expect_array()));
  for (std::size_t i = 0; i < ips.size(); ++i) {
    Cursor ip = ips.at(i);
    TRY(text, or_invalid(ip["address"].string()));
    auto address = InterfaceAddress::parse(text);
    if (!address)
      return refuse(kInvalidConfig, ip["address"].error(address.error().what).error().what);
    if (!ip["interface"].is_null()) {
      TRY(index, or_invalid(ip["interface"].integer(0, 1 << 20)));
      auto at = static_cast<std::size_t>(index);
      if (at >= interfaces.size())
        return refuse(kInvalidConfig,
                      ip["interface"]
                          .error(fmt::format("{} is past the {} interfaces", at, interfaces.size()))
                          .error()
                          .what);
      TRY(name, or_invalid(interfaces.at(at)["name"].string()));
      if (name != interface_name) continue;
    }
    previous.addresses.push_back(*address);
  }
  Cursor routes = result["routes"];
  if (!routes.is_null()) TRY_OK(or_invalid(routes.expect_array()));
  for (std::size_t i = 0; i < routes.size(); ++i) {
    Cursor route = routes.at(i);
    Cursor destination = route["dst"];
    TRY(text, or_invalid(destination.string()));
    auto prefix = Prefix::parse(text);
    if (!prefix) return refuse(kInvalidConfig, destination.error(prefix.error().what).error().what);
    previous.routes.push_back(*prefix);
  }
  return previous;
}

Answer<std::vector<AttachmentId>> decode_valid_attachments(const Cursor& config) {
  // libcni 1.2 writes the second name.
  Cursor list = config["cni.dev/valid-attachments"];
  Cursor other = config["cni.dev/attachments"];
  if (list.is_null()) list = other;
  if (list.is_null())
    return refuse(kInvalidConfig,
                  "stdin: cni.dev/valid-attachments: is required for GC: without it every "
                  "attachment would be removed");
  TRY_OK(or_invalid(list.expect_array()));
  if (list.size() > kMostAttachments)
    return refuse(kInvalidConfig, list.error(fmt::format("{} attachments; the limit is {}",
                                                         list.size(), kMostAttachments))
                                      .error()
                                      .what);
  std::vector<AttachmentId> valid;
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(container_id, or_invalid(entry["containerID"].string()));
    TRY(interface_name, or_invalid(entry["ifname"].string()));
    valid.push_back({std::move(container_id), std::move(interface_name)});
  }
  return valid;
}

Answer<void> decode_config(const Cursor& config, Call& call) {
  TRY_OK(decode_version(config, call));
  TRY(network, or_invalid(config["name"].string()));
  if (!is_identifier(network))
    return refuse(kInvalidConfig,
                  config["name"]
                      .error(fmt::format("'{}' is not a letter or digit followed by letters, "
                                         "digits, '_', '.' and '-'",
                                         network.substr(0, 64)))
                      .error()
                      .what);
  call.network = std::move(network);
  TRY_OK(or_invalid(config["type"].string()));
  TRY(socket, or_invalid(config["socket"].string_or(std::string(kDefaultSocket))));
  // sockaddr_un.sun_path, with its terminating zero.
  if (socket.empty() || socket[0] != '/' || socket.size() > 107)
    return refuse(
        kInvalidConfig,
        config["socket"].error("must be an absolute path of up to 107 bytes").error().what);
  call.socket = std::move(socket);
  TRY(mtu, or_invalid(config["mtu"].integer_or(0, 0, 65'535)));
  if (mtu != 0 && mtu < 1280)
    return refuse(
        kInvalidConfig,
        config["mtu"].error("must be 0 or from 1280, IPv6's least, to 65535").error().what);
  call.mtu = static_cast<std::uint32_t>(mtu);
  TRY_OK(refuse_unsupported(config, call));
  if (!config["prevResult"].is_null()) {
    TRY(previous, decode_previous(config["prevResult"], call.interface_name));
    call.previous = std::move(previous);
  } else if (call.command == Command::kCheck) {
    return refuse(kInvalidConfig, "stdin: prevResult: is required for CHECK");
  }
  if (call.command == Command::kGc) {
    TRY(valid, decode_valid_attachments(config));
    call.valid_attachments = std::move(valid);
  }
  return {};
}

}  // namespace

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
