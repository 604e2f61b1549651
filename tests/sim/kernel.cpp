// Interfaces, maps and the disk of a node.
#include "tests/sim/kernel.h"

namespace tombolo::sim {

// ---- addresses

void AddressRegistry::take(const Ip& ip, const std::string& holder) {
  auto [at, fresh] = holders_.try_emplace(ip, holder);
  if (!fresh && at->second != holder)
    world_.violate("1 one owner",
                   fmt::format("{} is given to {} while {} has it", ip.str(), holder, at->second));
}

void AddressRegistry::drop(const Ip& ip, const std::string& holder) {
  if (auto at = holders_.find(ip); at != holders_.end() && at->second == holder) holders_.erase(at);
}

// ---- interfaces

Result<void> SimNet::admit(std::string_view what, bool change) {
  if (!user_ || !*user_) return fail(Code::kCancelled, "the process has ended");
  if (change && refuse > 0 && world_.chance(refuse)) {
    world_.trace(fmt::format("{} kernel refuses: {}", node_, what));
    return fail_errno(ENOBUFS, "{}", what);
  }
  return {};
}

const InterfaceState* SimNet::find(const NetnsPath& netns, const std::string& name) const {
  auto at = links_.find({netns, name});
  return at == links_.end() ? nullptr : &at->second;
}

std::string SimNet::host_interface(const NetnsPath& netns) const {
  for (const auto& [host, peer] : peers_)
    if (peer.first == netns) return host;
  return "";
}

Result<void> SimNet::create_veth(const VethSpec& spec) {
  TRY_OK(admit("create_veth"));
  if (!namespaces_.contains(spec.peer_netns))
    return fail(Code::kNotFound, "no namespace {}", spec.peer_netns);
  if (links_.contains({"", spec.host_name}) || links_.contains({spec.peer_netns, spec.peer_name}))
    return fail_errno(EEXIST, "create {} and {}", spec.host_name, spec.peer_name);
  links_[{"", spec.host_name}] = {spec.host_name, 0, spec.host_mac, spec.mtu, false, {}, {}};
  links_[{spec.peer_netns, spec.peer_name}] = {
      spec.peer_name, 0, spec.peer_mac, spec.mtu, false, {}, {}};
  peers_[spec.host_name] = {spec.peer_netns, spec.peer_name};
  return {};
}

Result<void> SimNet::set_up_interface(const NetnsPath& netns, const InterfaceSetup& setup) {
  TRY_OK(admit("set_up_interface"));
  auto at = links_.find({netns, setup.name});
  if (at == links_.end()) return fail(Code::kNotFound, "no interface {}", setup.name);
  if (netns.empty() && peers_.contains(setup.name) && !is_guarded(setup.name))
    world_.violate("6 policy fails closed",
                   fmt::format("{}: {} goes up without a guard", node_, setup.name));
  if (netns.empty() && peers_.contains(setup.name) && goes_up) goes_up(setup.name);
  at->second.up = true;
  at->second.addresses = setup.addresses;
  at->second.routes = setup.routes;
  if (netns.empty()) return {};
  for (const InterfaceAddress& address : setup.addresses) registry_.take(address.ip, holder(netns));
  return {};
}

Result<InterfaceState> SimNet::read_interface(const NetnsPath& netns, const std::string& name) {
  TRY_OK(admit("read_interface", false));
  const InterfaceState* state = find(netns, name);
  if (state == nullptr) return fail(Code::kNotFound, "no interface {}", name);
  return *state;
}

void SimNet::unlink(const std::string& host_name) {
  links_.erase({"", host_name});
  auto peer = peers_.find(host_name);
  if (peer == peers_.end()) return;
  if (const InterfaceState* state = find(peer->second.first, peer->second.second))
    for (const InterfaceAddress& address : state->addresses)
      if (mistake_ != Mistake::kAddressFreeTooEarly)
        registry_.drop(address.ip, holder(peer->second.first));
  links_.erase(peer->second);
  peers_.erase(peer);
}

Result<void> SimNet::delete_link(const std::string& name) {
  TRY_OK(admit("delete_link"));
  unlink(name);
  return {};
}

void SimNet::remove_namespace(const NetnsPath& path) {
  namespaces_.erase(path);
  std::vector<std::string> gone;
  for (const auto& [host, peer] : peers_)
    if (peer.first == path) gone.push_back(host);
  for (const std::string& host : gone) unlink(host);
}

Result<std::vector<LinkState>> SimNet::list_links(const std::string& name_prefix) {
  TRY_OK(admit("list_links", false));
  std::vector<LinkState> result;
  for (const auto& [key, state] : links_)
    if (key.first.empty() && key.second.starts_with(name_prefix))
      result.push_back({state.name, state.index, state.mac, state.mtu, state.up});
  return result;
}

Result<std::uint64_t> SimNet::netns_number(const NetnsPath& netns) {
  TRY_OK(admit("netns_number", false));
  auto at = namespaces_.find(netns);
  if (at == namespaces_.end()) return fail(Code::kNotFound, "no namespace {}", netns);
  return at->second;
}

Result<LinkState> SimNet::veth_end_on_node(const NetnsPath& netns, const std::string& name) {
  TRY_OK(admit("veth_end_on_node", false));
  for (const auto& [host, peer] : peers_)
    if (peer == std::pair(netns, name)) {
      const InterfaceState& state = links_.at({"", host});
      return LinkState{state.name, state.index, state.mac, state.mtu, state.up};
    }
  return fail(Code::kFailedPrecondition, "{} is no end of a veth pair", name);
}

Result<std::set<Ip>> SimNet::addresses_everywhere() {
  TRY_OK(admit("addresses_everywhere", false));
  std::set<Ip> found;
  for (const auto& [key, state] : links_)
    for (const InterfaceAddress& address : state.addresses) found.insert(address.ip);
  return found;
}

Result<std::set<std::uint64_t>> SimNet::occupied_namespaces() {
  TRY_OK(admit("occupied_namespaces", false));
  std::set<std::uint64_t> numbers;
  for (const auto& [path, number] : namespaces_) numbers.insert(number);
  return numbers;
}

Result<void> SimNet::replace_route(const Route& route) {
  TRY_OK(admit("replace_route"));
  routes_[{route.destination.str(), route.protocol}] = route;
  return {};
}

Result<void> SimNet::delete_route(const Route& route) {
  TRY_OK(admit("delete_route"));
  routes_.erase({route.destination.str(), route.protocol});
  return {};
}

Result<std::vector<Route>> SimNet::list_routes(std::uint8_t protocol) {
  TRY_OK(admit("list_routes", false));
  std::vector<Route> result;
  for (const auto& [key, route] : routes_)
    if (key.second == protocol) result.push_back(route);
  return result;
}

// ---- maps

Result<void> SimMaps::admit() {
  if (!user_ || !*user_) return fail(Code::kCancelled, "the process has ended");
  if (refuse > 0 && world_.chance(refuse)) {
    world_.trace(fmt::format("{} map write refused", node_));
    return fail(Code::kResourceExhausted, "the map is full");
  }
  ++writes_;
  return {};
}

// What a program that follows this ring now would meet.
void SimMaps::check(std::uint32_t ring_id) const {
  std::uint64_t word = ring(ring_id);
  for (const abi::lb_slot& slot : slots(abi::lb_ring_offset(word), abi::lb_ring_count(word))) {
    if (slot.ring_id != ring_id)
      return world_.violate("5 no connection drops", fmt::format("{}: ring {} reaches a slot of {}",
                                                                 node_, ring_id, slot.ring_id));
    if (bpf::port_of(backend(slot.backend_id)) == 0)
      return world_.violate("5 no connection drops",
                            fmt::format("{}: ring {} reaches backend {}, which is not written",
                                        node_, ring_id, slot.backend_id));
  }
}

Result<std::vector<std::pair<SimMaps::Key, std::uint32_t>>> SimMaps::frontends() {
  return std::vector<std::pair<Key, std::uint32_t>>(frontends_.begin(), frontends_.end());
}

Result<void> SimMaps::put_frontend(const Key& key, std::uint32_t ring_id) {
  TRY_OK(admit());
  frontends_[key] = ring_id;
  check(ring_id);
  for (const auto& [id, backend] : late_backends_) backends_[id] = backend;
  late_backends_.clear();
  return {};
}

Result<void> SimMaps::erase_frontend(const Key& key) {
  TRY_OK(admit());
  frontends_.erase(key);
  return {};
}

Result<void> SimMaps::put_ring(std::uint32_t ring_id, std::uint64_t word) {
  TRY_OK(admit());
  rings_[ring_id] = word;
  for (const auto& [key, id] : frontends_)
    if (id == ring_id) {
      check(ring_id);
      break;
    }
  return {};
}

std::uint64_t SimMaps::ring(std::uint32_t ring_id) const {
  auto at = rings_.find(ring_id);
  return at == rings_.end() ? 0 : at->second;
}

Result<void> SimMaps::put_slots(std::uint32_t offset, std::span<const abi::lb_slot> slots) {
  TRY_OK(admit());
  for (std::uint32_t i = 0; i < slots.size(); ++i) slots_[offset + i] = slots[i];
  return {};
}

std::vector<abi::lb_slot> SimMaps::slots(std::uint32_t offset, std::uint32_t count) const {
  std::vector<abi::lb_slot> found;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto at = slots_.find(offset + i);
    found.push_back(at == slots_.end() ? abi::lb_slot{} : at->second);
  }
  return found;
}

Result<void> SimMaps::put_backend(std::uint32_t id, const Key& backend) {
  TRY_OK(admit());
  if (mistake_ == Mistake::kFrontendBeforeBackend)
    late_backends_[id] = backend;
  else
    backends_[id] = backend;
  return {};
}

SimMaps::Key SimMaps::backend(std::uint32_t id) const {
  auto at = backends_.find(id);
  return at == backends_.end() ? Key{} : at->second;
}

Result<void> SimMaps::wait_for_readers() {
  return admit();
}

std::map<std::string, std::set<std::string>> SimMaps::seen() const {
  std::map<std::string, std::set<std::string>> result;
  for (const auto& [key, ring_id] : frontends_) {
    std::set<std::string>& backends = result[bpf::text_of(key)];
    std::uint64_t word = ring(ring_id);
    for (const abi::lb_slot& slot : slots(abi::lb_ring_offset(word), abi::lb_ring_count(word)))
      backends.insert(bpf::text_of(backend(slot.backend_id)));
  }
  return result;
}

// ---- the disk

SimDisk::SimDisk(World& world, std::string node, Mistake mistake)
    : world_(world), node_(std::move(node)), mistake_(mistake) {
  auto opened = open_sqlite_lease_store(":memory:");
  ENSURE(opened, "{}", opened.error().what);
  file_ = std::move(*opened);
}

void SimDisk::attach(Alive user) {
  user_ = std::move(user);
}

Result<StoredLeases> SimDisk::load() {
  if (!user_ || !*user_) return fail(Code::kCancelled, "the process has ended");
  auto stored = file_->load();
  if (stored && mistake_ == Mistake::kFreedAddressAtOnce && !stored->leases.empty())
    stored->leases.pop_back();
  return stored;
}

Result<void> SimDisk::commit(const std::vector<LeaseChange>& changes) {
  if (!user_ || !*user_) return fail(Code::kCancelled, "the process has ended");
  if (full) return fail(Code::kResourceExhausted, "lease store: commit: the disk is full");
  if (mistake_ == Mistake::kLeaseBeforeDurable) {
    Alive user = user_;
    world_.after(5s, [this, user, changes] {
      if (*user) (void)file_->commit(changes);
    });
    return {};
  }
  return file_->commit(changes);
}

}  // namespace tombolo::sim
