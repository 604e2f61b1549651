// The configuration of a CNI call: which of the three ways to be called it is, and what each
// allows.
#include <algorithm>
#include <span>

#include "ipamd/cni/decode.h"

namespace tombolo::cni {
namespace {

constexpr std::string_view kType = "tombolo-cni";
constexpr std::string_view kIpv4Pools = "default_ipv4_ippool";
constexpr std::string_view kIpv6Pools = "default_ipv6_ippool";
constexpr std::size_t kMostPools = 64;
constexpr std::size_t kMostAttachments = 65'536;
constexpr std::size_t kMostRoutes = 256;
constexpr std::size_t kMostAddresses = 64;  // as many as a lease can have

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

std::unexpected<Failure> unsupported(const Cursor& at, std::string_view why) {
  std::string value =
      at.value().is_string() ? std::string(at.value().get_string()) : to_json(at.value());
  return refuse(kUnsupportedField,
                at.error(fmt::format("'{}' {}", value.substr(0, 64), why)).error().what);
}

// Keys that another version of the plugin, or another plugin, would act on: silence would leave
// the pod with less than its operator asked for.
Answer<void> refuse_unknown(const Cursor& config, std::span<const std::string_view> known) {
  for (auto key : config.keys()) {
    bool namespaced = key.find('/') != std::string_view::npos;
    if (!namespaced && std::ranges::find(known, key) == known.end())
      return unsupported(config[key], "is a value of a key that is not known");
  }
  return {};
}

Answer<void> refuse_unsupported(const Cursor& config, const Call& call) {
  static constexpr std::array<std::string_view, 20> kKnown{
      "cniVersion", "name",         "type",      "socket",
      "mtu",        "args",         "chained",   "capabilities",
      "prevResult", "disableCheck", "disableGC", "runtimeConfig",
      "dns",        "ipMasq",       "ipam",      "loadOnlyInlinedPlugins",
      "deviceID",   "pciBusID",     kIpv4Pools,  kIpv6Pools};
  TRY_OK(refuse_unknown(config, kKnown));
  TRY(masquerade, or_invalid(config["ipMasq"].boolean_or(false)));
  if (masquerade)
    return unsupported(config["ipMasq"], "is not supported: the agent masquerades, not the plugin");
  Cursor ipam = config["ipam"];
  if (!ipam.is_null()) {
    TRY_OK(or_invalid(ipam.expect_object()));
    TRY(type, or_invalid(ipam["type"].string_or(std::string(kType))));
    if (type != kType)
      return unsupported(ipam["type"], "is not supported: the agent allocates the addresses");
  }
  Cursor dns = config["dns"];
  if (dns.is_object() && !dns.keys().empty())
    return unsupported(dns, "is not supported: the agent says which resolver pods use");
  bool after_another = call.command == Command::kAdd && !config["prevResult"].is_null();
  if (after_another && call.mode != Mode::kChained)
    return refuse(kUnsupportedField, config["prevResult"]
                                         .error("ADD after another plugin needs \"chained\": true")
                                         .error()
                                         .what);
  return {};
}

// As host-local has them: "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}].
Answer<std::vector<AddressRoute>> decode_routes(const Cursor& list) {
  std::vector<AddressRoute> routes;
  if (list.is_null()) return routes;
  TRY_OK(or_invalid(list.expect_array()));
  if (list.size() > kMostRoutes)
    return refuse(kInvalidConfig,
                  list.error(fmt::format("{} routes; the limit is {}", list.size(), kMostRoutes))
                      .error()
                      .what);
  for (std::size_t i = 0; i < list.size(); ++i) {
    static constexpr std::array<std::string_view, 2> kKnown{"dst", "gw"};
    Cursor entry = list.at(i);
    TRY_OK(or_invalid(entry.expect_object()));
    TRY_OK(refuse_unknown(entry, kKnown));
    AddressRoute route;
    TRY(text, or_invalid(entry["dst"].string()));
    auto destination = Prefix::parse(text);
    if (!destination)
      return refuse(kInvalidConfig, entry["dst"].error(destination.error().what).error().what);
    route.destination = *destination;
    if (!entry["gw"].is_null()) {
      TRY(gateway, or_invalid(entry["gw"].string()));
      auto ip = Ip::parse(gateway);
      if (!ip) return refuse(kInvalidConfig, entry["gw"].error(ip.error().what).error().what);
      route.gateway = *ip;
    }
    routes.push_back(route);
  }
  return routes;
}

// As an IPAM plugin it is given the whole configuration of the plugin that asks: only "ipam" is
// its own.
Answer<void> decode_ipam(const Cursor& config, Call& call) {
  static constexpr std::array<std::string_view, 7> kKnown{
      "type", "socket", "routes", "conflictProbe", "gatewayProbe", kIpv4Pools, kIpv6Pools};
  Cursor ipam = config["ipam"];
  TRY_OK(refuse_unknown(ipam, kKnown));
  TRY(conflicts, or_invalid(ipam["conflictProbe"].boolean_or(false)));
  TRY(gateways, or_invalid(ipam["gatewayProbe"].boolean_or(false)));
  call.conflict_probe = conflicts;
  call.gateway_probe = gateways;
  for (const char* key : {"master", "bridge"})
    if (auto device = config[key].string_or(""); device && call.device.empty()) {
      call.device = std::move(*device);
      call.device_is_bridge = std::string_view(key) == "bridge";
    }
  TRY(routes, decode_routes(ipam["routes"]));
  call.routes = std::move(routes);
  return {};
}

Answer<std::vector<std::string>> decode_pools(const Cursor& list) {
  TRY(names, or_invalid(list.string_list()));
  if (names.size() > kMostPools)
    return refuse(kInvalidConfig,
                  list.error(fmt::format("{} pools; the limit is {}", names.size(), kMostPools))
                      .error()
                      .what);
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i].empty()) return refuse(kInvalidConfig, list.at(i).error("is empty").error().what);
  return names;
}

Answer<Mode> decode_mode(const Cursor& config) {
  TRY(type, or_invalid(config["type"].string()));
  Cursor ipam = config["ipam"];
  if (ipam.is_object() && type != kType) {
    auto asked = ipam["type"].string_or("");
    if (asked && *asked == kType) return Mode::kAddresses;
  }
  TRY(chained, or_invalid(config["chained"].boolean_or(false)));
  return chained ? Mode::kChained : Mode::kInterface;
}

Answer<std::string> decode_socket(const Cursor& socket) {
  TRY(path, or_invalid(socket.string_or(std::string(kDefaultSocket))));
  // sockaddr_un.sun_path, with its terminating zero.
  if (path.empty() || path[0] != '/' || path.size() > 107)
    return refuse(kInvalidConfig,
                  socket.error("must be an absolute path of up to 107 bytes").error().what);
  return path;
}

Answer<std::uint32_t> decode_mtu(const Cursor& field) {
  TRY(mtu, or_invalid(field.integer_or(0, 0, 65'535)));
  if (mtu != 0 && mtu < 1280)
    return refuse(kInvalidConfig,
                  field.error("must be 0 or from 1280, IPv6's least, to 65535").error().what);
  return static_cast<std::uint32_t>(mtu);
}

// True when `text` is of the form: 'x' stands for a hexadecimal digit in lower case.
bool has_form(std::string_view text, std::string_view form) {
  return std::ranges::equal(text, form, [](char c, char wanted) {
    bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    return wanted == 'x' ? digit : c == wanted;
  });
}

// A PCI address (Documentation/PCI/sysfs-pci.rst: domain:bus:device.function), or
// MODULE.NAME.NUMBER of the auxiliary bus (Documentation/driver-api/auxiliary_bus.rst).
bool is_device_id(std::string_view text) {
  if (has_form(text, "xxxx:xx:xx.x") || has_form(text, "xxxxx:xx:xx.x")) return true;
  auto number = text.rfind('.');
  if (number == std::string_view::npos || text.size() > kLongestId) return false;
  auto digits = text.substr(number + 1);
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return !digits.empty() && std::ranges::all_of(digits, is_digit) &&
         is_identifier(text.substr(0, number)) && std::ranges::count(text, '.') == 2;
}

bool is_mac(std::string_view text) {
  // Of one interface: no group, and not nothing.
  return has_form(text, "xx:xx:xx:xx:xx:xx") && text != "00:00:00:00:00:00" &&
         std::string_view("02468ace").find(text[1]) != std::string_view::npos;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// Multus writes the device that a device plugin gave to the pod as "deviceID" and "pciBusID" into
// the configuration and, for the capability deviceID, into "runtimeConfig".
Answer<void> decode_device(const Cursor& config, Call& call) {
  // What takes an interface away needs neither: bad ones must not keep a pod from going.
  if (call.command == Command::kDel || call.command == Command::kGc) return {};
  Cursor runtime = config["runtimeConfig"];
  for (const Cursor& field : {config["deviceID"], config["pciBusID"], runtime["deviceID"]}) {
    TRY(id, or_invalid(field.string_or("")));
    if (id.empty()) continue;
    // What another plugin calls its device is its own business.
    if (call.mode == Mode::kAddresses && !is_device_id(id)) continue;
    if (!is_device_id(id))
      return refuse(kInvalidConfig,
                    field
                        .error(fmt::format("'{}' is neither a PCI address nor a name of the "
                                           "auxiliary bus",
                                           id.substr(0, 64)))
                        .error()
                        .what);
    if (!call.device_id.empty() && call.device_id != id)
      return refuse(kInvalidConfig,
                    field.error(fmt::format("{} is another device than {}", id, call.device_id))
                        .error()
                        .what);
    call.device_id = std::move(id);
  }
  if (!call.device_id.empty() && call.mode == Mode::kChained)
    return refuse(kUnsupportedField, "stdin: deviceID: a chained plugin makes no interface");
  if (call.mode != Mode::kInterface) return {};
  TRY(mac, or_invalid(runtime["mac"].string_or("")));
  call.mac = lower(std::move(mac));
  if (!call.mac.empty() && !is_mac(call.mac))
    return refuse(kInvalidConfig, runtime["mac"]
                                      .error(fmt::format("'{}' is no MAC address of one interface",
                                                         call.mac.substr(0, 64)))
                                      .error()
                                      .what);
  return {};
}

Answer<PreviousResult> decode_previous(const Cursor& result, const std::string& interface_name) {
  PreviousResult previous;
  TRY_OK(or_invalid(result.expect_object()));
  Cursor interfaces = result["interfaces"];
  if (!interfaces.is_null()) TRY_OK(or_invalid(interfaces.expect_array()));
  Cursor ips = result["ips"];
  if (!ips.is_null()) TRY_OK(or_invalid(ips.expect_array()));
  if (ips.size() > kMostAddresses)
    return refuse(kInvalidConfig, ips.error(fmt::format("{} addresses; the limit is {}", ips.size(),
                                                        kMostAddresses))
                                      .error()
                                      .what);
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    TRY(name, or_invalid(interfaces.at(i)["name"].string()));
    TRY(sandbox, or_invalid(interfaces.at(i)["sandbox"].string_or("")));
    previous.in_sandbox = previous.in_sandbox || (name == interface_name && !sandbox.empty());
  }
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

Answer<void> decode_results(const Cursor& config, Call& call) {
  Cursor result = config["prevResult"];
  bool asks = call.command == Command::kCheck ||
              (call.command == Command::kAdd && call.mode == Mode::kChained);
  // A plugin that asks for addresses has no result yet, but may pass on that of one before it.
  bool others = call.command == Command::kAdd && call.mode == Mode::kAddresses;
  if (result.is_null() && asks)
    return refuse(kInvalidConfig,
                  fmt::format("stdin: prevResult: is required for {}{}", to_string(call.command),
                              call.mode == Mode::kChained ? " when chained" : ""));
  if (result.is_null() || others) return {};
  TRY(previous, decode_previous(result, call.interface_name));
  if (call.mode == Mode::kChained && asks) {
    if (!previous.in_sandbox)
      return refuse(kInvalidConfig,
                    result["interfaces"]
                        .error(fmt::format("no interface {} in a sandbox: nothing to adopt",
                                           call.interface_name))
                        .error()
                        .what);
    call.previous_result = result.value();
  }
  call.previous = std::move(previous);
  return {};
}

}  // namespace

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
  TRY(mode, decode_mode(config));
  call.mode = mode;
  bool addresses = mode == Mode::kAddresses;
  Cursor own = addresses ? config["ipam"] : config;
  TRY(ipv4_pools, decode_pools(own[kIpv4Pools]));
  TRY(ipv6_pools, decode_pools(own[kIpv6Pools]));
  call.ipv4_pools = std::move(ipv4_pools);
  call.ipv6_pools = std::move(ipv6_pools);
  TRY(socket, decode_socket(addresses ? config["ipam"]["socket"] : config["socket"]));
  call.socket = std::move(socket);
  if (addresses) {
    TRY_OK(decode_ipam(config, call));
  } else {
    TRY(mtu, decode_mtu(config["mtu"]));
    call.mtu = mtu;
    TRY_OK(refuse_unsupported(config, call));
  }
  TRY_OK(decode_device(config, call));
  TRY_OK(decode_results(config, call));
  if (call.command == Command::kGc) {
    TRY(valid, decode_valid_attachments(config));
    call.valid_attachments = std::move(valid);
  }
  return {};
}

}  // namespace tombolo::cni
