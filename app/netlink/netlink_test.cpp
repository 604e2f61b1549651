// The Net port against the real kernel, in network namespaces that the test makes itself: needs
// root, else SKIP.
#include "app/netlink/netlink.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <thread>
#include <utility>

#include "app/netlink/test_netns.h"

namespace tombolo {
namespace {

VethSpec veth_to(const OwnNetns& pod) {
  return {"tbotest0", "02:00:00:00:00:01", pod.path(), "eth0", "02:00:00:00:00:02", 1400};
}

TEST_CASE("a veth pair is made, set up, read back and deleted") {
  OwnNetns node;
  OwnNetns pod;
  if (!node.made() || !pod.made()) SKIP("needs the right to make network namespaces (root)");
  Ip pod_v4 = *Ip::parse("10.9.0.5");
  Ip pod_v6 = *Ip::parse("fd00:9::5");
  Ip via_v4 = *Ip::parse("169.254.1.1");
  Ip via_v6 = *Ip::parse("fe80::1");
  on_node(node, [&] {
    auto net = make_netlink_net();
    REQUIRE(net->create_veth(veth_to(pod)));
    auto again = net->create_veth(veth_to(pod));
    REQUIRE(!again);
    REQUIRE(again.error().code == Code::kAlreadyExists);
    VethSpec other = veth_to(pod);
    other.host_name = "tbotest1";
    again = net->create_veth(other);
    REQUIRE(!again);
    REQUIRE(again.error().what.find("the interface eth0 exists already") != std::string::npos);

    InterfaceSetup inside;
    inside.name = "eth0";
    inside.sysctls = {{"ipv6/accept_dad", "0"}};
    inside.addresses = {{pod_v4, 32}, {pod_v6, 128}};
    inside.neighbours = {{via_v4, "02:00:00:00:00:01"}, {via_v6, "02:00:00:00:00:01"}};
    inside.routes = {{Prefix(Ip::v4(0), 0), via_v4, "eth0", true, 0},
                     {Prefix(Ip::v6(0), 0), via_v6, "eth0", true, 0}};
    REQUIRE(net->set_up_interface(pod.path(), inside));
    REQUIRE(net->set_up_interface(pod.path(), inside));  // safe to repeat

    auto state = net->read_interface(pod.path(), "eth0");
    REQUIRE(state);
    REQUIRE(state->mac == "02:00:00:00:00:02");
    REQUIRE(state->mtu == 1400);
    REQUIRE(state->up);
    REQUIRE(std::ranges::count(state->addresses, InterfaceAddress{pod_v4, 32}) == 1);
    REQUIRE(std::ranges::count(state->addresses, InterfaceAddress{pod_v6, 128}) == 1);
    REQUIRE(std::ranges::count_if(state->routes, [](const Route& route) {
              return route.destination.length() == 0 && route.via.has_value();
            }) == 2);

    auto links = net->list_links("tbotest");
    REQUIRE(links);
    REQUIRE(links->size() == 1);
    REQUIRE(net->delete_link("tbotest0"));
    REQUIRE(net->delete_link("tbotest0"));
    auto gone = net->read_interface(pod.path(), "eth0");
    REQUIRE(!gone);
    REQUIRE(gone.error().code == Code::kNotFound);
  });
}

TEST_CASE("routes of our protocol are replaced, listed and deleted; others are left alone") {
  OwnNetns node;
  OwnNetns pod;
  if (!node.made() || !pod.made()) SKIP("needs the right to make network namespaces (root)");
  on_node(node, [&] {
    auto net = make_netlink_net();
    REQUIRE(!net->uplink_mtu("tbo"));
    REQUIRE(net->create_veth(veth_to(pod)));
    InterfaceSetup up{"tbotest0", {}, {{*Ip::parse("192.168.7.1"), 24}}, {}, {}};
    up.addresses.push_back({*Ip::parse("fd00:7::1"), 64});
    up.sysctls = {{"ipv4/proxy_arp", "1"}};
    REQUIRE(net->set_up_interface("", up));
    REQUIRE(net->enable_forwarding());

    Route v4{*Prefix::parse("10.1.2.0/24"), *Ip::parse("192.168.7.2"), "", false,
             kBlockRouteProtocol};
    Route v6{*Prefix::parse("fd00:1:2::/64"), *Ip::parse("fd00:7::2"), "", false,
             kBlockRouteProtocol};
    Route foreign{*Prefix::parse("10.1.3.0/24"), *Ip::parse("192.168.7.2"), "", false, 0};
    for (const auto& route : {v4, v6, foreign, v4}) REQUIRE(net->replace_route(route));
    v4.via = *Ip::parse("192.168.7.3");
    REQUIRE(net->replace_route(v4));

    auto ours = net->list_routes(kBlockRouteProtocol);
    REQUIRE(ours);
    REQUIRE(ours->size() == 2);
    for (const auto& route : *ours) {
      const Route& wanted = route.destination.family() == Family::kV4 ? v4 : v6;
      REQUIRE(route.destination == wanted.destination);
      REQUIRE(route.via == wanted.via);
      REQUIRE(route.interface_name == "tbotest0");
      REQUIRE(net->delete_route(route));
      REQUIRE(net->delete_route(route));
    }
    REQUIRE(net->list_routes(kBlockRouteProtocol)->empty());
    REQUIRE(net->read_interface("", "tbotest0")->routes.size() == 1);

    Route dead_end{*Prefix::parse("10.1.9.0/24"), {}, "", false, kBlockRouteProtocol, true};
    Route dead_end_v6{*Prefix::parse("fd00:1:9::/64"), {}, "", false, kBlockRouteProtocol, true};
    for (const auto& route : {dead_end, dead_end_v6, dead_end}) REQUIRE(net->replace_route(route));
    REQUIRE(net->list_routes(kBlockRouteProtocol) == std::vector<Route>{dead_end, dead_end_v6});
    for (const auto& route : {dead_end, dead_end_v6}) REQUIRE(net->delete_route(route));
    REQUIRE(net->list_routes(kBlockRouteProtocol)->empty());

    REQUIRE(net->uplink_mtu("tbo").error().code == Code::kNotFound);
    REQUIRE(net->uplink_mtu("other").value() == 1400);
    Route unreachable = v4;
    unreachable.via = *Ip::parse("172.31.0.1");
    REQUIRE(!net->replace_route(unreachable));
  });
}

TEST_CASE("a namespace that is none is refused") {
  auto net = make_netlink_net();
  VethSpec spec{"tbotest0", "02:00:00:00:00:01", "/nonexistent/netns",
                "eth0",     "02:00:00:00:00:02", 0};
  REQUIRE(net->create_veth(spec).error().code == Code::kNotFound);
  spec.peer_netns = "/proc/self/status";
  REQUIRE(net->create_veth(spec).error().code == Code::kInvalidArgument);
  spec.peer_netns = "/proc/self/ns/net";
  auto own = net->create_veth(spec);
  REQUIRE(own.error().what.find("agent's own") != std::string::npos);
}

// A process that waits, after begin(), for its end, which comes with this object's.
class Child {
 public:
  explicit Child(const std::function<bool()>& begin) : pid_(::fork()) {
    if (pid_ == 0) {
      if (begin()) ::pause();
      ::_exit(1);
    }
    REQUIRE(pid_ > 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }
  void end() {
    pid_t pid = std::exchange(pid_, -1);
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

 private:
  pid_t pid_;
};

TEST_CASE("namespaces: their numbers, the veth pair that leads into one, the addresses of all") {
  OwnNetns node;
  OwnNetns pod;
  OwnNetns other;
  if (!node.made() || !pod.made() || !other.made())
    SKIP("needs the right to make network namespaces (root)");
  on_node(node, [&] {
    auto net = make_netlink_net();
    REQUIRE(net->netns_number(pod.path()).value() == net->netns_number(pod.path()).value());
    REQUIRE(net->netns_number(pod.path()).value() != net->netns_number(other.path()).value());
    REQUIRE(net->netns_number("/run/netns/not-there").error().code == Code::kNotFound);

    REQUIRE(net->create_veth(veth_to(pod)));
    auto end = net->veth_end_on_node(pod.path(), "eth0");
    REQUIRE(end);
    REQUIRE(end->name == "tbotest0");
    REQUIRE(net->veth_end_on_node(pod.path(), "lo").error().code == Code::kFailedPrecondition);
    REQUIRE(net->veth_end_on_node(pod.path(), "eth7").error().code == Code::kNotFound);
    REQUIRE(net->veth_end_on_node("/run/netns/not-there", "eth0").error().code == Code::kNotFound);

    InterfaceSetup setup;
    setup.name = "eth0";
    setup.addresses.push_back(InterfaceAddress::parse("198.51.100.77/32").value());
    REQUIRE(net->set_up_interface(pod.path(), setup));
    Ip wanted = Ip::parse("198.51.100.77").value();
    auto number = net->netns_number(pod.path()).value();
    // Only a descriptor of this process holds the namespace. Another process makes it visible: by
    // being in it, and by holding it open (from the fork on).
    for (bool inside : {true, false}) {
      REQUIRE(!net->addresses_everywhere().value().contains(wanted));
      REQUIRE(!net->occupied_namespaces().value().contains(number));
      Child child([&] {
        return !inside || (::setns(pod.fd(), CLONE_NEWNET) == 0 && ::close(pod.fd()) == 0);
      });
      bool seen = false;
      for (int i = 0; i < 1000 && !seen; ++i)
        seen = net->addresses_everywhere().value().contains(wanted);
      bool occupied = net->occupied_namespaces().value().contains(number);
      child.end();
      REQUIRE(seen);
      REQUIRE(occupied);
    }
    REQUIRE(!net->addresses_everywhere().value().contains(wanted));
  });
  // Seen from another namespace, the pair is not this node's.
  on_node(other, [&] {
    auto end = make_netlink_net()->veth_end_on_node(pod.path(), "eth0");
    REQUIRE(end.error().code == Code::kFailedPrecondition);
  });
}

TEST_CASE("a route that gives way to another interface's") {
  OwnNetns node;
  OwnNetns pod;
  if (!node.made() || !pod.made()) SKIP("needs the right to make network namespaces (root)");
  on_node(node, [&] {
    auto net = make_netlink_net();
    auto second = veth_to(pod);
    second.host_name = "tbotest1";
    second.peer_name = "net1";
    REQUIRE(net->create_veth(veth_to(pod)));
    REQUIRE(net->create_veth(second));
    for (const char* name : {"eth0", "net1"}) {
      InterfaceSetup setup;
      setup.name = name;
      setup.sysctls["ipv6/accept_dad"] = "0";
      for (const char* address : {"198.51.100.7/32", "fd00::7/128"})
        setup.addresses.push_back(InterfaceAddress::parse(address).value());
      for (const char* via : {"169.254.1.1", "fe80::1"}) {
        Ip ip = Ip::parse(via).value();
        setup.routes.push_back({Prefix(Ip(ip.family(), 0), 0), ip, name, true});
        setup.routes.back().behind_others = true;
      }
      REQUIRE(net->set_up_interface(pod.path(), setup));
    }
    for (const char* name : {"eth0", "net1"}) {
      auto state = net->read_interface(pod.path(), name);
      REQUIRE(state);
      REQUIRE(state->routes.size() == 2);
    }
    bool forwards = net->forwards().value();
    REQUIRE(net->enable_forwarding());
    REQUIRE((!forwards && net->forwards().value()));
  });
}

}  // namespace
}  // namespace tombolo
