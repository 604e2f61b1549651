// Which pods keep their addresses, and under which name (docs/ipam.md, "Fixed addresses").
#include <algorithm>
#include <charconv>
#include <cstdint>

#include "ipamd/pools/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostRoom = 10'000;
constexpr std::size_t kMostAddresses = 16;

std::string place_of(const std::string& key, const PodInfo& info, const std::string& pod_name) {
  return fmt::format("annotation {} of pod {}/{}", key, info.name_space, pod_name);
}

// "true", "false"; nullopt when the annotation is not there.
Result<std::optional<bool>> flag(const PodInfo& info, const std::string& pod_name,
                                 const std::string& key) {
  auto at = info.annotations.find(key);
  if (at == info.annotations.end()) return std::nullopt;
  if (at->second == "true") return true;
  if (at->second == "false") return false;
  return fail(Code::kInvalidArgument, "{}: '{}' is not true or false",
              place_of(key, info, pod_name), at->second.substr(0, 80));
}

std::optional<std::size_t> number(std::string_view text) {
  std::size_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// "+N": the replicas and N more; "N": so many. nullopt when no annotation says so.
Result<std::optional<std::size_t>> room_of(const PodInfo& info, const std::string& pod_name) {
  for (const char* key : {"ipam.tombolo.io/ip-number", "ipam.spidernet.io/ippool-ip-number"}) {
    auto at = info.annotations.find(key);
    if (at == info.annotations.end()) continue;
    std::string_view text = at->second;
    bool more = text.starts_with('+');
    auto value = number(more ? text.substr(1) : text);
    if (!value || *value > kMostRoom || (!more && *value == 0))
      return fail(Code::kInvalidArgument, "{}: '{}' is not a number, or + and a number, up to {}",
                  place_of(key, info, pod_name), text.substr(0, 80), kMostRoom);
    return std::max<std::size_t>(1, more ? info.replicas + *value : *value);
  }
  return std::nullopt;
}

// The ordinal of a StatefulSet's pod: the digits behind its name.
std::optional<std::string> ordinal_of(std::string_view set, std::string_view pod_name) {
  if (pod_name.size() <= set.size() + 1 || !pod_name.starts_with(set) ||
      pod_name[set.size()] != '-')
    return std::nullopt;
  std::string_view digits = pod_name.substr(set.size() + 1);
  if (!number(digits) || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
  return std::string(digits);
}

// "always" is longer than that: who keeps addresses of workloads that are gone knows (the
// controller).
bool over_scaling(std::string_view keep) {
  return keep == "scale" || keep == "always";
}

// The virtual machine that the pod runs, by KubeVirt's label or its owner.
std::string machine_of(const PodInfo& info) {
  if (auto at = info.labels.find("vm.kubevirt.io/name"); at != info.labels.end()) return at->second;
  constexpr std::string_view kOwner = "VirtualMachineInstance/";
  return info.owner.starts_with(kOwner) ? info.owner.substr(kOwner.size()) : std::string();
}

std::string workload_name(std::string_view kind, const PodInfo& info, std::string_view name) {
  return fmt::format("{}/{}/{}", kind, info.name_space, name);
}

}  // namespace

std::string workload_of(const PodInfo& info) {
  if (std::string machine = machine_of(info); !machine.empty())
    return workload_name("VirtualMachine", info, machine);
  std::string_view owner = info.owner;
  std::size_t slash = owner.find('/');
  if (slash != std::string_view::npos)
    return workload_name(owner.substr(0, slash), info, owner.substr(slash + 1));
  return info.kind == "Pod" ? workload_name("Pod", info, info.name) : "";
}

std::string_view workload_of(std::string_view identity) {
  std::size_t end = std::string_view::npos;
  for (int part = 0; part < 3; ++part) {
    end = identity.find('/', end + 1);  // of npos: from the beginning
    if (end == std::string_view::npos) return identity;
  }
  return identity.substr(0, end);
}

bool may_make(const PodInfo& controller, std::string_view pod_name) {
  if (controller.kind == "Pod") return false;
  return controller.kind != "StatefulSet" || ordinal_of(controller.name, pod_name).has_value();
}

Result<std::optional<FixedIdentity>> fixed_identity(const PodInfo& info,
                                                    const std::string& pod_name) {
  TRY(asked, flag(info, pod_name, "ipam.tombolo.io/fixed"));
  TRY(room, room_of(info, pod_name));
  FixedIdentity identity;
  if (auto keep = info.annotations.find("ipam.tombolo.io/keep"); keep != info.annotations.end()) {
    if (keep->second != "workload" && !over_scaling(keep->second))
      return fail(Code::kInvalidArgument, "{}: '{}' is not workload, scale or always",
                  place_of(keep->first, info, pod_name), keep->second.substr(0, 80));
    identity.over_scaling = over_scaling(keep->second);
  }
  if (asked && !*asked) return std::nullopt;
  auto under = [&](std::string_view kind, std::string_view name) {
    identity.name = workload_name(kind, info, name);
    return identity;
  };
  if (std::string machine = machine_of(info); !machine.empty())
    return under("VirtualMachine", machine);
  std::size_t slash = info.owner.find('/');
  std::string kind = info.owner.substr(0, slash);
  std::string owner = slash == std::string::npos ? "" : info.owner.substr(slash + 1);
  if (kind == "StatefulSet")
    if (auto ordinal = ordinal_of(owner, pod_name))
      return under(kind, fmt::format("{}/{}", owner, *ordinal));
  if (!asked && !room) return std::nullopt;
  if (owner.empty()) return under("Pod", pod_name);
  identity.room = room.value_or(std::max<std::size_t>(1, info.replicas));
  return under(kind, owner);
}

Result<std::vector<Ip>> asked_addresses(const PodInfo& info, const std::string& pod_name,
                                        const std::string& interface_name) {
  std::vector<Ip> ips;
  auto at = info.annotations.find("ipam.tombolo.io/ip");
  if (at == info.annotations.end()) return ips;
  DocumentPlace place{place_of(at->first, info, pod_name), {}};
  TRY(value, pools::parse_annotation(at->second, place));
  Cursor root(value, place);
  // A list is eth0's; an object has lists by interface.
  if (!root.is_object() && interface_name != "eth0") return ips;
  Cursor list = root.is_object() ? root[interface_name] : root;
  TRY(texts, list.string_list());
  if (texts.size() > kMostAddresses)
    return list.error(fmt::format("{} addresses; the limit is {}", texts.size(), kMostAddresses));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto ip = Ip::parse(texts[i]);
    if (!ip) return list.at(i).error(ip.error().what);
    for (const Ip& other : ips)
      if (other.family() == ip->family())
        return list.at(i).error(fmt::format("is the second {} address", to_string(ip->family())));
    ips.push_back(*ip);
  }
  return ips;
}

AliveIdentities::AliveIdentities(const std::vector<PodInfo>& infos) {
  auto at_least = [](std::size_t& room, std::size_t wanted) { room = std::max(room, wanted); };
  std::map<std::string, std::size_t> pods;  // of each controller
  for (const PodInfo& info : infos) {
    auto fixed = info.annotations.find("ipam.tombolo.io/fixed");
    if (fixed != info.annotations.end() && fixed->second == "false") continue;
    if (std::string machine = machine_of(info); !machine.empty())
      rooms_[workload_name("VirtualMachine", info, machine)] = 1;
    if (info.kind == "Pod") rooms_[workload_name("Pod", info, info.name)] = 1;
    std::size_t slash = info.owner.find('/');
    if (slash == std::string::npos) continue;
    std::string kind = info.owner.substr(0, slash);
    std::string name = info.owner.substr(slash + 1);
    std::string owner = workload_name(kind, info, name);
    auto keep = info.annotations.find("ipam.tombolo.io/keep");
    bool all = keep != info.annotations.end() && over_scaling(keep->second);
    if (kind == "StatefulSet") {
      auto ordinal = info.kind == "Pod" ? ordinal_of(name, info.name) : std::nullopt;
      if (ordinal)
        rooms_[fmt::format("{}/{}", owner, *ordinal)] = 1;
      else
        at_least(sets_[owner], all ? SIZE_MAX : info.replicas);
      continue;
    }
    if (info.kind == "Pod") at_least(rooms_[owner], ++pods[owner]);
    // Nothing is freed for an annotation that cannot be read.
    auto number = room_of(info, info.name);
    bool unbounded = all || !number;
    at_least(rooms_[owner], unbounded ? kMostRoom : number->value_or(info.replicas));
  }
}

std::size_t AliveIdentities::room(std::string_view identity) const {
  return find(identity).value_or(0);
}

std::optional<std::size_t> AliveIdentities::find(std::string_view identity) const {
  std::string_view name = identity.substr(0, identity.rfind('/'));  // without the interface
  if (auto known = rooms_.find(name); known != rooms_.end()) return known->second;
  std::size_t slash = name.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto set = sets_.find(name.substr(0, slash));
  if (set == sets_.end()) return std::nullopt;
  auto ordinal = number(name.substr(slash + 1));
  return ordinal && *ordinal < set->second ? 1 : 0;
}

}  // namespace tombolo
