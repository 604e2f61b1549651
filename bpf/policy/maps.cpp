// The tables of policy in the running kernel: addresses, ranges and interfaces in hashes that go
// through bpf(2), everything else in arrays that we share with it. Worker thread.
#include <net/if.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "bpf/libbpf_api.h"
#include "bpf/policy/internal.h"
#include "core/clock.h"

namespace tombolo::bpf {
namespace {

bool is_whole(const Prefix& prefix) {
  return prefix.host_bits() == 0;
}

abi::policy_address address_of(const Ip& ip) {
  abi::policy_address key{};
  auto bytes = ip.mapped_bytes_be();
  std::memcpy(key.address_be, bytes.data(), bytes.size());
  return key;
}

// The bits of net_id and of ::ffff: in front of an IPv4 address count too.
abi::policy_range range_of(const Prefix& prefix) {
  abi::policy_range key{};
  auto bytes = prefix.base().mapped_bytes_be();
  std::memcpy(key.address_be, bytes.data(), bytes.size());
  bool v4 = prefix.family() == Family::kV4;
  key.prefix_bits = static_cast<std::uint32_t>((v4 ? 32 + 96 : 32) + prefix.length());
  auto* net_id = reinterpret_cast<std::uint8_t*>(&key.net_id_be);
  net_id[0] = static_cast<std::uint8_t>(prefix.family());
  return key;
}

std::optional<Prefix> prefix_of(const abi::policy_range& key) {
  bool v4 = reinterpret_cast<const std::uint8_t*>(&key.net_id_be)[0] ==
            static_cast<std::uint8_t>(Family::kV4);
  Ip base = ip_of(key.address_be);
  if (!v4 && base.is_v4()) base = Ip::v6((uint128{0xffff} << 32) | base.value());
  int length = static_cast<int>(key.prefix_bits) - (v4 ? 32 + 96 : 32);
  if (length < 0 || length > bits_of(base.family()) || base.is_v4() != v4) return std::nullopt;
  return Prefix(base, length);
}

PolicyPeer peer_of(const Prefix& prefix, const abi::policy_peer& value) {
  return {prefix, abi::policy_peer_number(value.word), abi::policy_peer_identity(value.word)};
}

template <class Key, class Value, class Visit>
Result<void> for_each_entry(int fd, Visit visit) {
  Key key{};
  bool first = true;
  // A hash that others change may begin again; ours has one writer.
  while (true) {
    Key next{};
    int error = bpf_map_get_next_key(fd, first ? nullptr : &key, &next);
    if (error == -ENOENT) return {};
    if (error != 0) return fail_errno(-error, "read a policy map");
    Value value{};
    if (bpf_map_lookup_elem(fd, &next, &value) == 0) visit(next, value);
    key = next;
    first = false;
  }
}

template <class Value>
Result<MappedArray<Value>> map_array(const PolicyPrograms& programs, std::string_view name) {
  int fd = programs.map_fd(name);
  bpf_map_info info{};
  __u32 size = sizeof(info);
  if (bpf_map_get_info_by_fd(fd, &info, &size) != 0) return fail_errno(errno, "map {}", name);
  return MappedArray<Value>::open(fd, info.max_entries);
}

class RealPolicyMaps final : public KernelPolicyMaps {
 public:
  explicit RealPolicyMaps(const PolicyPrograms& programs) : programs_(programs) {}

  Result<void> open() {
    TRY(sets, map_array<abi::policy_set>(programs_, "pol_sets"));
    TRY(directories, map_array<abi::policy_directory>(programs_, "pol_directories"));
    TRY(pages, map_array<abi::policy_page>(programs_, "pol_pages"));
    TRY(classes, map_array<abi::policy_class_block>(programs_, "pol_classes"));
    TRY(verdicts, map_array<abi::policy_verdict_block>(programs_, "pol_verdicts"));
    TRY(rules, map_array<abi::policy_rule>(programs_, "pol_rules"));
    TRY(globals, map_array<abi::policy_globals>(programs_, "pol_globals"));
    TRY(slots, map_array<abi::policy_interface>(programs_, "pol_pods"));
    TRY(places, map_array<abi::policy_place>(programs_, "pol_places"));
    arrays_ = {std::move(sets),    std::move(directories), std::move(pages),
               std::move(classes), std::move(verdicts),    std::move(rules),
               std::move(globals), std::move(slots),       std::move(places)};
    TRY(grace, Grace::open());
    grace_ = std::move(grace);
    sets_ = std::make_unique<SetStore>(arrays_, grace_);
    slots_ = std::make_unique<IdPool>(static_cast<std::uint32_t>(arrays_.pods.size()));
    prepare_globals();
    TRY_OK(rebuild_interfaces());
    TRY_OK(rebuild_places());
    return rebuild_peers();
  }

  Result<PolicyInForce> in_force() override {
    PolicyInForce result;
    for (RuleNumber number = 1; number < arrays_.rules.size(); ++number)
      if (std::uint64_t digest = arrays_.rules.at(number).digest; digest != 0)
        result.rules.emplace_back(number, digest);
    result.sets = sets_->names();
    for (const auto& [prefix, peer] : peers_) result.peers.push_back(peer);
    for (const auto& [ifindex, known] : interfaces_) result.pods.push_back(pod_of(known));
    return result;
  }

  Result<void> put_rule(RuleNumber number, std::uint64_t digest) override {
    // Higher ones are enforced, but neither counted nor kept.
    if (number == 0 || number >= arrays_.rules.size()) return {};
    std::uint64_t& slot = digest_at(number);
    if (slot == digest) return {};
    if (digest != 0) TRY_OK(clear_counts(number));
    slot = digest;
    return {};
  }

  Result<void> put_set(const VerdictSet& set) override { return sets_->add(set); }

  Result<void> put_pod(const GuardedPod& pod) override;
  Result<void> close_pod(const std::string& host_interface) override;

  Result<void> put_peer(const PolicyPeer& peer) override {
    auto known = peers_.find(peer.prefix);
    if (known != peers_.end() && known->second == peer) return {};
    if (peer.peer >= kMaxPeers || peer.identity >= 1U << 24)
      return fail(Code::kInvalidArgument, "{}: peer {} or identity {} is too large",
                  peer.prefix.str(), peer.peer, peer.identity);
    // The trie is asked from before it has its first entry until after it lost its last.
    bool new_range = known == peers_.end() && !is_whole(peer.prefix);
    if (new_range) ++globals().range_count;
    if (int error = write_peer(peer); error != 0) {
      if (new_range) --globals().range_count;
      return fail_errno(-error, "write {} to the policy maps", peer.prefix.str());
    }
    peers_[peer.prefix] = peer;
    return {};
  }

  Result<void> erase_peer(const Prefix& prefix) override {
    int error = 0;
    if (is_whole(prefix)) {
      abi::policy_address key = address_of(prefix.base());
      error = bpf_map_delete_elem(programs_.map_fd("pol_addresses"), &key);
    } else {
      abi::policy_range key = range_of(prefix);
      error = bpf_map_delete_elem(programs_.map_fd("pol_ranges"), &key);
    }
    if (error != 0 && error != -ENOENT)
      return fail_errno(-error, "remove {} from the policy maps", prefix.str());
    if (peers_.erase(prefix) > 0 && !is_whole(prefix)) --globals().range_count;
    return {};
  }

  Result<void> bump_generation() override {
    std::atomic_ref<__u32> generation(globals().generation);
    std::uint32_t next = generation.load() + 1;
    generation.store(next == 0 ? 1 : next, std::memory_order_release);
    return {};
  }

  Result<void> erase_set(const std::string& id) override {
    for (const auto& [ifindex, known] : interfaces_)
      if (known.ingress == id || known.egress == id)
        return fail(Code::kFailedPrecondition, "{} is governed by this verdict set",
                    static_cast<const char*>(known.value.name));
    return sets_->remove(id);
  }

  Result<void> wait_for_readers() override { return grace_.wait(); }

  Result<void> add_interface(std::uint32_t ifindex, const std::string& name,
                             const std::vector<Ip>& ips, bool same) override;
  Result<void> remove_interface(const std::string& name) override;
  std::optional<std::uint32_t> index_of(const std::string& name) const override {
    return find(name);
  }

 private:
  struct Interface {
    std::string ingress;  // set names; empty: none
    std::string egress;
    abi::policy_interface value{};
    std::uint32_t slot = 0;
  };

  void prepare_globals();
  Result<std::uint32_t> take_slot();
  abi::policy_globals& globals() { return arrays_.globals.at(0); }
  std::uint64_t& digest_at(RuleNumber number) {
    return reinterpret_cast<std::uint64_t&>(arrays_.rules.at(number).digest);
  }
  Result<void> rebuild_interfaces();
  Result<void> rebuild_places();
  std::atomic_ref<__u32> place_of(std::uint32_t ifindex) {
    return std::atomic_ref(arrays_.places.at(ifindex % abi::kInterfacePlaces).slot);
  }
  Result<void> rebuild_peers();
  Result<void> clear_counts(RuleNumber number);
  int write_peer(const PolicyPeer& peer);
  Result<abi::policy_interface> value_for(const std::string& name, const std::vector<Ip>& ips);
  Result<void> close_open_sides(std::uint32_t ifindex, const GuardedPod& pod);
  Result<void> write(std::uint32_t ifindex, const abi::policy_interface& value);
  Result<void> forget(std::uint32_t ifindex);
  std::optional<std::uint32_t> find(const std::string& name) const;
  static PodInForce pod_of(const Interface& known);

  const PolicyPrograms& programs_;
  PolicyArrays arrays_;
  Grace grace_;
  std::unique_ptr<SetStore> sets_;
  std::unique_ptr<IdPool> slots_;
  std::map<std::uint32_t, Interface> interfaces_;
  std::map<Prefix, PolicyPeer> peers_;
};

// ---- interfaces and pods

Result<void> RealPolicyMaps::rebuild_interfaces() {
  Result<void> adopted;
  TRY_OK(for_each_entry<__u32, abi::policy_slot>(
      programs_.map_fd("pol_interfaces"), [&](__u32 ifindex, abi::policy_slot place) {
        Interface known;
        bool sound = place.slot > 0 && place.slot < arrays_.pods.size() &&
                     arrays_.pods.at(place.slot).ifindex == ifindex;
        if (!sound) {
          adopted = fail(Code::kDataLoss, "interface number {} has slot {}", ifindex, place.slot);
          return;
        }
        abi::policy_interface value = arrays_.pods.at(place.slot);
        value.name[abi::kInterfaceName - 1] = 0;
        slots_->reserve(place.slot);
        known.value = value;
        known.slot = place.slot;
        for (auto [set, name] : {std::pair(value.ingress_set, &known.ingress),
                                 std::pair(value.egress_set, &known.egress)}) {
          if (set == 0 || set == abi::kPolicyClosed) continue;
          auto found = sets_->adopt(set);
          if (found)
            *name = *found;
          else
            adopted = std::unexpected(std::move(found).error());
        }
        interfaces_.emplace(ifindex, std::move(known));
      }));
  return adopted;
}

// A life that ended between two writes may have left a place behind.
Result<void> RealPolicyMaps::rebuild_places() {
  std::map<std::uint32_t, std::uint32_t> slot_at;
  for (const auto& [ifindex, known] : interfaces_)
    slot_at[ifindex % abi::kInterfacePlaces] = known.slot;
  bool changed = false;
  for (std::uint32_t at = 0; at < arrays_.places.size(); ++at) {
    auto found = slot_at.find(at);
    std::uint32_t wanted = found == slot_at.end() ? 0 : found->second;
    if (auto place = place_of(at); place.load() != wanted) {
      place.store(wanted);
      changed = true;
    }
  }
  return changed ? grace_.wait() : Result<void>{};
}

PodInForce RealPolicyMaps::pod_of(const Interface& known) {
  PodInForce pod;
  pod.host_interface = known.value.name;
  pod.open =
      known.value.ingress_set != abi::kPolicyClosed || known.value.egress_set != abi::kPolicyClosed;
  pod.ingress = known.ingress;
  pod.egress = known.egress;
  pod.identity = known.value.identity;
  std::uint32_t count =
      std::min<std::uint32_t>(known.value.address_count, abi::kAddressesPerInterface);
  for (std::uint32_t i = 0; i < count; ++i) pod.ips.push_back(ip_of(known.value.addresses_be[i]));
  return pod;
}

std::optional<std::uint32_t> RealPolicyMaps::find(const std::string& name) const {
  auto at = std::ranges::find_if(
      interfaces_, [&](const auto& entry) { return name == entry.second.value.name; });
  if (at == interfaces_.end()) return std::nullopt;
  return at->first;
}

Result<abi::policy_interface> RealPolicyMaps::value_for(const std::string& name,
                                                        const std::vector<Ip>& ips) {
  if (name.size() >= abi::kInterfaceName)
    return fail(Code::kInvalidArgument, "'{}' is too long for the name of an interface", name);
  if (ips.size() > abi::kAddressesPerInterface)
    return fail(Code::kResourceExhausted, "{} has {} addresses; policy knows {}", name, ips.size(),
                int{abi::kAddressesPerInterface});
  abi::policy_interface value{};
  std::ranges::copy(name, value.name);
  value.ingress_set = abi::kPolicyClosed;
  value.egress_set = abi::kPolicyClosed;
  value.address_count = static_cast<std::uint32_t>(ips.size());
  for (std::size_t i = 0; i < ips.size(); ++i) {
    auto bytes = ips[i].mapped_bytes_be();
    std::memcpy(value.addresses_be[i], bytes.data(), bytes.size());
  }
  return value;
}

void RealPolicyMaps::prepare_globals() {
  abi::policy_globals& all = globals();
  all.trace_accepts = 0;
  if (all.generation != 0) return;  // of an earlier life
  auto rng = make_system_rng();
  for (__u64& seed : all.flow_seed) seed = rng->next() | 1;
  all.next_birth = 1;
  std::atomic_ref<__u32>(all.generation).store(1, std::memory_order_release);
}

Result<std::uint32_t> RealPolicyMaps::take_slot() {
  if (auto slot = slots_->take()) return *slot;
  TRY_OK(grace_.wait());
  slots_->settle();
  if (auto slot = slots_->take()) return *slot;
  return fail(Code::kResourceExhausted, "{} guarded interfaces at most", arrays_.pods.size() / 2);
}

// Into a slot of its own, to which the interface goes over in one store; flows are judged anew.
Result<void> RealPolicyMaps::write(std::uint32_t ifindex, const abi::policy_interface& value) {
  TRY(slot, take_slot());
  arrays_.pods.at(slot) = value;
  std::atomic_thread_fence(std::memory_order_release);
  abi::policy_slot place{slot};
  if (int error =
          bpf_map_update_elem(programs_.map_fd("pol_interfaces"), &ifindex, &place, BPF_ANY);
      error != 0) {
    slots_->give_back(slot);
    return fail_errno(-error, "write {} to the policy maps", static_cast<const char*>(value.name));
  }
  place_of(ifindex).store(slot);
  Interface& known = interfaces_[ifindex];
  if (known.slot != 0) slots_->retire(known.slot);
  known.slot = slot;
  known.value = value;
  return bump_generation();
}

Result<void> RealPolicyMaps::forget(std::uint32_t ifindex) {
  int error = bpf_map_delete_elem(programs_.map_fd("pol_interfaces"), &ifindex);
  if (error != 0 && error != -ENOENT)
    return fail_errno(-error, "remove interface {} from the policy maps", ifindex);
  if (auto known = interfaces_.find(ifindex); known != interfaces_.end()) {
    if (auto place = place_of(ifindex); place.load() == known->second.slot) place.store(0);
    slots_->retire(known->second.slot);
    interfaces_.erase(known);
  }
  return {};
}

Result<void> RealPolicyMaps::add_interface(std::uint32_t ifindex, const std::string& name,
                                           const std::vector<Ip>& ips, bool same) {
  TRY(value, value_for(name, ips));
  if (auto old = find(name); old && *old != ifindex) TRY_OK(forget(*old));
  auto known = interfaces_.find(ifindex);
  value.ifindex = ifindex;
  if (same && known != interfaces_.end() && name == known->second.value.name) {
    // As open as it was.
    abi::policy_interface next = known->second.value;
    next.address_count = value.address_count;
    std::memcpy(next.addresses_be, value.addresses_be, sizeof(next.addresses_be));
    return std::memcmp(&next, &known->second.value, sizeof(next)) == 0 ? Result<void>{}
                                                                       : write(ifindex, next);
  }
  value.birth = globals().next_birth;
  globals().next_birth = value.birth + 1 == 0 ? 1 : value.birth + 1;
  TRY_OK(write(ifindex, value));
  interfaces_[ifindex].ingress.clear();
  interfaces_[ifindex].egress.clear();
  return {};
}

Result<void> RealPolicyMaps::remove_interface(const std::string& name) {
  if (auto ifindex = find(name)) return forget(*ifindex);
  return {};
}

Result<void> RealPolicyMaps::put_pod(const GuardedPod& pod) {
  auto ifindex = find(pod.host_interface);
  if (!ifindex) return fail(Code::kNotFound, "{} is not guarded", pod.host_interface);
  TRY(value, value_for(pod.host_interface, pod.ips));
  Interface& known = interfaces_[*ifindex];
  for (auto [name, set] :
       {std::pair(&pod.ingress, &value.ingress_set), std::pair(&pod.egress, &value.egress_set)}) {
    *set = 0;
    if (name->empty()) continue;
    auto id = sets_->id_of(*name);
    if (!id) {
      TRY_OK(close_open_sides(*ifindex, pod));
      return fail(Code::kFailedPrecondition, "the verdict set of {} is not in the kernel",
                  pod.host_interface);
    }
    *set = *id;
  }
  value.identity = pod.identity;
  value.ifindex = *ifindex;
  value.birth = known.value.birth;
  bool same = std::memcmp(&value, &known.value, sizeof(value)) == 0;
  if (!same) TRY_OK(write(*ifindex, value));
  known.ingress = pod.ingress;
  known.egress = pod.egress;
  return {};
}

// A direction that should have a set, which is not there, and has none: nothing may pass unjudged.
Result<void> RealPolicyMaps::close_open_sides(std::uint32_t ifindex, const GuardedPod& pod) {
  abi::policy_interface value = interfaces_[ifindex].value;
  if (!pod.ingress.empty() && value.ingress_set == 0) value.ingress_set = abi::kPolicyClosed;
  if (!pod.egress.empty() && value.egress_set == 0) value.egress_set = abi::kPolicyClosed;
  bool same = std::memcmp(&value, &interfaces_[ifindex].value, sizeof(value)) == 0;
  return same ? Result<void>{} : write(ifindex, value);
}

Result<void> RealPolicyMaps::close_pod(const std::string& host_interface) {
  auto ifindex = find(host_interface);
  if (!ifindex) return {};
  Interface& known = interfaces_[*ifindex];
  abi::policy_interface value = known.value;
  value.ingress_set = abi::kPolicyClosed;
  value.egress_set = abi::kPolicyClosed;
  TRY_OK(write(*ifindex, value));
  known.ingress.clear();
  known.egress.clear();
  return {};
}

// ---- peers and rules

Result<void> RealPolicyMaps::rebuild_peers() {
  TRY_OK(for_each_entry<abi::policy_address, abi::policy_peer>(
      programs_.map_fd("pol_addresses"),
      [&](const abi::policy_address& key, const abi::policy_peer& value) {
        Prefix prefix = Prefix::host(ip_of(key.address_be));
        peers_[prefix] = peer_of(prefix, value);
      }));
  std::uint32_t ranges = 0;
  TRY_OK(for_each_entry<abi::policy_range, abi::policy_peer>(
      programs_.map_fd("pol_ranges"),
      [&](const abi::policy_range& key, const abi::policy_peer& value) {
        ++ranges;
        if (auto prefix = prefix_of(key)) peers_[*prefix] = peer_of(*prefix, value);
      }));
  globals().range_count = ranges;
  return {};
}

int RealPolicyMaps::write_peer(const PolicyPeer& peer) {
  if (is_whole(peer.prefix)) {
    abi::policy_address key = address_of(peer.prefix.base());
    abi::policy_peer value{
        abi::policy_peer_word(peer.peer, peer.identity, abi::policy_check(key.address_be))};
    return bpf_map_update_elem(programs_.map_fd("pol_addresses"), &key, &value, BPF_ANY);
  }
  abi::policy_range key = range_of(peer.prefix);
  abi::policy_peer value{abi::policy_peer_word(peer.peer, peer.identity, 0)};
  return bpf_map_update_elem(programs_.map_fd("pol_ranges"), &key, &value, BPF_ANY);
}

Result<void> RealPolicyMaps::clear_counts(RuleNumber number) {
  int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return fail_errno(-cpus, "count the CPUs");
  std::vector<abi::policy_rule_counts> zeros(static_cast<std::size_t>(cpus));
  if (int error =
          bpf_map_update_elem(programs_.map_fd("pol_counts"), &number, zeros.data(), BPF_ANY);
      error != 0)
    return fail_errno(-error, "reset the counters of rule {}", number);
  return {};
}

}  // namespace

Result<std::unique_ptr<KernelPolicyMaps>> open_policy_maps(const PolicyPrograms& programs) {
  auto maps = std::make_unique<RealPolicyMaps>(programs);
  TRY_OK(maps->open());
  return maps;
}

}  // namespace tombolo::bpf
