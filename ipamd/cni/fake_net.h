// A kernel for unit tests: interfaces of namespaces in memory, with failures on request. Used from
// the service's worker threads.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "core/net.h"

namespace tombolo {

class FakeDevices;  // fake_devices.h

class FakeNet final : public Net {
 public:
  // Called with "create_veth tbo…", "set_up eth0", …; an error makes the operation fail.
  std::function<Result<void>(const std::string&)> before = [](const std::string&) {
    return Result<void>{};
  };
  std::set<NetnsPath> namespaces;
  // Addresses that interfaces which are not the service's have.
  std::set<Ip> foreign_addresses;
  std::set<std::uint64_t> occupied;  // numbers of namespaces

  Result<void> create_veth(const VethSpec& spec) override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("create_veth " + spec.peer_name));
    if (!namespaces.contains(spec.peer_netns))
      return fail(Code::kNotFound, "no namespace {}", spec.peer_netns);
    if (links_.contains({"", spec.host_name}) || links_.contains({spec.peer_netns, spec.peer_name}))
      return fail_errno(EEXIST, "create {} and {}", spec.host_name, spec.peer_name);
    links_[{"", spec.host_name}] = {spec.host_name, 0, spec.host_mac, spec.mtu, false, {}, {}};
    links_[{spec.peer_netns, spec.peer_name}] = {
        spec.peer_name, 0, spec.peer_mac, spec.mtu, false, {}, {}};
    peers_[spec.host_name] = {spec.peer_netns, spec.peer_name};
    return {};
  }
  Result<void> set_up_interface(const NetnsPath& netns, const InterfaceSetup& setup) override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("set_up " + (netns.empty() ? "host" : setup.name)));
    auto at = links_.find({netns, setup.name});
    if (at == links_.end()) return fail(Code::kNotFound, "no interface {}", setup.name);
    at->second.up = true;
    at->second.addresses = setup.addresses;
    at->second.routes = setup.routes;
    return {};
  }
  Result<InterfaceState> read_interface(const NetnsPath& netns, const std::string& name) override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("read " + (netns.empty() ? "host" : name)));
    auto at = links_.find({netns, name});
    if (at == links_.end()) return fail(Code::kNotFound, "no interface {}", name);
    return at->second;
  }
  Result<void> delete_link(const std::string& name) override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("delete"));
    links_.erase({"", name});
    if (auto peer = peers_.find(name); peer != peers_.end()) {
      links_.erase(peer->second);
      peers_.erase(peer);
    }
    return {};
  }
  Result<std::vector<LinkState>> list_links(const std::string& name_prefix) override {
    std::lock_guard lock(mutex_);
    std::vector<LinkState> result;
    for (const auto& [key, state] : links_)
      if (key.first.empty() && key.second.starts_with(name_prefix))
        result.push_back({state.name, state.index, state.mac, state.mtu, state.up});
    return result;
  }
  Result<std::uint64_t> netns_number(const NetnsPath& netns) override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("netns_number"));
    if (!namespaces.contains(netns)) return fail(Code::kNotFound, "no namespace {}", netns);
    return numbers_.try_emplace(netns, 4'026'531'840U + numbers_.size()).first->second;
  }
  Result<LinkState> veth_end_on_node(const NetnsPath& netns, const std::string& name) override {
    std::lock_guard lock(mutex_);
    for (const auto& [host, peer] : peers_)
      if (peer == std::pair(netns, name)) return LinkState{host, 7, "", 1400, true};
    return fail(Code::kFailedPrecondition, "{} is no end of a veth pair", name);
  }
  Result<std::set<Ip>> addresses_everywhere() override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("addresses"));
    std::set<Ip> found = foreign_addresses;
    for (const auto& [key, state] : links_)
      for (const auto& address : state.addresses) found.insert(address.ip);
    return found;
  }
  Result<std::set<std::uint64_t>> occupied_namespaces() override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("occupied"));
    return occupied;
  }
  Result<void> replace_route(const Route&) override { return {}; }
  Result<void> delete_route(const Route&) override { return {}; }
  Result<std::vector<Route>> list_routes(std::uint8_t) override { return std::vector<Route>{}; }
  Result<std::uint32_t> uplink_mtu(const std::string&) override {
    std::lock_guard lock(mutex_);
    TRY_OK(note("uplink_mtu"));
    return 1400U;
  }
  Result<void> enable_forwarding() override { return {}; }
  Result<bool> forwards() override {
    TRY_OK(note("forwards"));
    return true;
  }

  std::size_t link_count() {
    std::lock_guard lock(mutex_);
    return links_.size();
  }
  // The namespace ends, and with it the pairs that lead into it.
  void remove_namespace(const NetnsPath& path) {
    std::lock_guard lock(mutex_);
    namespaces.erase(path);
    numbers_.erase(path);
    std::erase_if(peers_, [&](const auto& pair) {
      if (pair.second.first != path) return false;
      links_.erase({"", pair.first});
      links_.erase(pair.second);
      return true;
    });
  }
  // Its path is gone; it lives on, and is seen at another place.
  void rename_namespace(const NetnsPath& from, const NetnsPath& to) {
    std::lock_guard lock(mutex_);
    namespaces.erase(from);
    namespaces.insert(to);
    std::map<std::pair<NetnsPath, std::string>, InterfaceState> moved;
    for (auto& [key, state] : links_)
      moved[{key.first == from ? to : key.first, key.second}] = std::move(state);
    links_ = std::move(moved);
  }
  // Adds a link in the node's own namespace that nobody asked for.
  void add_host_link(const std::string& name) {
    std::lock_guard lock(mutex_);
    links_[{"", name}] = {name, 0, "", 1400, true, {}, {}};
  }

 private:
  friend class FakeDevices;
  Result<void> note(const std::string& operation) { return before(operation); }

  std::mutex mutex_;
  std::map<std::pair<NetnsPath, std::string>, InterfaceState> links_;
  std::map<std::string, std::pair<NetnsPath, std::string>> peers_;
  std::map<NetnsPath, std::uint64_t> numbers_;
};

}  // namespace tombolo
