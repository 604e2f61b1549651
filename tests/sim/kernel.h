// The kernel of one simulated node: interfaces and addresses of pods behind the Net port, the load
// balancer's maps behind the BpfMaps port, and the node's disk behind the LeaseStore port. They
// outlive the agent, as on a real node; an agent that has crashed reaches none of them any more.
//
// The kernel is where invariants show: two workloads with one address, a frontend that leads to a
// ring or backend that is not written yet.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "bpf/internal.h"
#include "core/net.h"
#include "ipamd/allocator/lease_store.h"
#include "tests/sim/mistakes.h"
#include "tests/sim/world.h"

namespace tombolo::sim {

// Who has which address, in the whole fleet: the judge of invariant 1.
class AddressRegistry {
 public:
  explicit AddressRegistry(World& world) : world_(world) {}
  void take(const Ip& ip, const std::string& holder);
  void drop(const Ip& ip, const std::string& holder);

 private:
  World& world_;
  std::map<Ip, std::string> holders_;
};

using Alive = std::shared_ptr<bool>;

class SimNet final : public Net {
 public:
  SimNet(World& world, AddressRegistry& registry, std::string node, Mistake mistake)
      : world_(world), registry_(registry), node_(std::move(node)), mistake_(mistake) {}

  // A new life of the agent.
  void attach(Alive user) { user_ = std::move(user); }
  double refuse = 0;  // share of changes that the kernel refuses
  // Whether policy guards the interface of this name: asked before it goes up.
  std::function<bool(const std::string&)> is_guarded;
  // The host's end of a pod's interface is up: packets may come.
  std::function<void(const std::string&)> goes_up;

  void add_namespace(const NetnsPath& path) { namespaces_[path] = ++last_number_; }
  // The sandbox is gone, and with it its interfaces.
  void remove_namespace(const NetnsPath& path);
  const InterfaceState* find(const NetnsPath& netns, const std::string& name) const;
  // The host's end of the pair whose other end is in the namespace; empty: none.
  std::string host_interface(const NetnsPath& netns) const;
  const std::map<std::pair<std::string, std::uint8_t>, Route>& routes() const { return routes_; }

  Result<void> create_veth(const VethSpec& spec) override;
  Result<void> set_up_interface(const NetnsPath& netns, const InterfaceSetup& setup) override;
  Result<InterfaceState> read_interface(const NetnsPath& netns, const std::string& name) override;
  Result<void> delete_link(const std::string& name) override;
  Result<std::vector<LinkState>> list_links(const std::string& name_prefix) override;
  Result<std::uint64_t> netns_number(const NetnsPath& netns) override;
  Result<LinkState> veth_end_on_node(const NetnsPath& netns, const std::string& name) override;
  Result<std::set<Ip>> addresses_everywhere() override;
  Result<std::set<std::uint64_t>> occupied_namespaces() override;
  Result<void> replace_route(const Route& route) override;
  Result<void> delete_route(const Route& route) override;
  Result<std::vector<Route>> list_routes(std::uint8_t protocol) override;
  Result<std::uint32_t> uplink_mtu(const std::string&) override { return 1400U; }
  Result<void> enable_forwarding() override { return admit("enable forwarding"); }
  Result<bool> forwards() override { return true; }

 private:
  Result<void> admit(std::string_view what, bool change = true);
  std::string holder(const NetnsPath& netns) const { return node_ + netns; }
  void unlink(const std::string& host_name);

  World& world_;
  AddressRegistry& registry_;
  std::string node_;
  Mistake mistake_;
  Alive user_;
  std::map<NetnsPath, std::uint64_t> namespaces_;
  std::uint64_t last_number_ = 0;
  std::map<std::pair<NetnsPath, std::string>, InterfaceState> links_;
  std::map<std::string, std::pair<NetnsPath, std::string>> peers_;
  std::map<std::pair<std::string, std::uint8_t>, Route> routes_;
};

// Checks after every write what a program could run into at that moment.
class SimMaps final : public bpf::BpfMaps {
 public:
  using Key = abi::lb_endpoint;
  SimMaps(World& world, std::string node, Mistake mistake)
      : world_(world), node_(std::move(node)), mistake_(mistake) {}
  void attach(Alive user) {
    user_ = std::move(user);
    late_backends_.clear();
  }
  double refuse = 0;

  // "10.101.0.1:80/TCP" -> backends ("10.1.0.1:8080/TCP"), as a connection would find them.
  std::map<std::string, std::set<std::string>> seen() const;
  std::uint64_t writes() const { return writes_; }

  Result<std::vector<std::pair<Key, std::uint32_t>>> frontends() override;
  Result<void> put_frontend(const Key& key, std::uint32_t ring_id) override;
  Result<void> erase_frontend(const Key& key) override;
  Result<void> put_ring(std::uint32_t ring_id, std::uint64_t word) override;
  std::uint64_t ring(std::uint32_t ring_id) const override;
  Result<void> put_slots(std::uint32_t offset, std::span<const abi::lb_slot> slots) override;
  std::vector<abi::lb_slot> slots(std::uint32_t offset, std::uint32_t count) const override;
  Result<void> put_backend(std::uint32_t id, const Key& backend) override;
  Key backend(std::uint32_t id) const override;
  Result<void> wait_for_readers() override;

 private:
  Result<void> admit();
  void check(std::uint32_t ring_id) const;

  World& world_;
  std::string node_;
  Mistake mistake_;
  Alive user_;
  std::map<Key, std::uint32_t> frontends_;
  std::map<std::uint32_t, std::uint64_t> rings_;
  std::map<std::uint32_t, abi::lb_slot> slots_;
  std::map<std::uint32_t, Key> backends_;
  std::map<std::uint32_t, Key> late_backends_;
  std::uint64_t writes_ = 0;
};

// The real lease file, in memory, with a disk that can be full and a process that can end.
class SimDisk final : public LeaseStore {
 public:
  SimDisk(World& world, std::string node, Mistake mistake);
  void attach(Alive user);
  bool full = false;

  Result<StoredLeases> load() override;
  Result<void> commit(const std::vector<LeaseChange>& changes) override;

 private:
  World& world_;
  std::string node_;
  Mistake mistake_;
  Alive user_;
  std::unique_ptr<LeaseStore> file_;
};

}  // namespace tombolo::sim
