// Host routes of services: what is written, and that the real tools read it.
#include "ipamd/export/test_fleets.h"
#include "ipamd/export/test_programs.h"

namespace tombolo {
namespace {

HostRoutes some() {
  return {"east",
          "e1",
          {*Ip::parse("203.0.113.10"), *Ip::parse("2001:db8::7"), *Ip::parse("203.0.113.9"),
           *Ip::parse("203.0.113.10")}};
}

TEST_CASE("a fragment for BIRD") {
  REQUIRE(*export_host_routes("bird", some()) ==
          "# Load balancer addresses of cluster east that node e1 may receive, written by\n"
          "# tombolo service export --format bird --node e1.\n"
          "protocol static load_balancers_ipv4 {\n"
          "  ipv4;\n"
          "  route 203.0.113.9/32 unreachable;\n"
          "  route 203.0.113.10/32 unreachable;\n"
          "}\n"
          "function is_load_balancer_ipv4() { return net ~ [ 203.0.113.9/32, 203.0.113.10/32 ]; }\n"
          "protocol static load_balancers_ipv6 {\n"
          "  ipv6;\n"
          "  route 2001:db8::7/128 unreachable;\n"
          "}\n"
          "function is_load_balancer_ipv6() { return net ~ [ 2001:db8::7/128 ]; }\n");
}

TEST_CASE("a fragment for FRR; a list without addresses permits nothing") {
  HostRoutes routes = some();
  routes.node.clear();
  routes.ips.resize(1);
  REQUIRE(*export_host_routes("frr", routes) ==
          "! Load balancer addresses of cluster east, written by\n"
          "! tombolo service export --format frr.\n"
          "ip route 203.0.113.10/32 reject\n"
          "ip prefix-list load_balancers_ipv4 seq 5 permit 203.0.113.10/32\n"
          "ipv6 prefix-list load_balancers_ipv6 seq 5 deny any\n");
  auto unknown = export_host_routes("cisco", routes);
  REQUIRE(!unknown);
  REQUIRE(unknown.error().what == "there is no format 'cisco' for services; known: bird, frr");
}

TEST_CASE("FRR reads the fragment") {
  std::string vtysh = installed("vtysh");
  if (vtysh.empty()) SKIP("vtysh is missing (Debian package frr)");
  Folder folder;
  for (const HostRoutes& routes : {some(), HostRoutes{"east", "", {}}}) {
    std::string text = *export_host_routes("frr", routes);
    Outcome outcome = run(folder, {vtysh, "-C", "-f", folder.write("frr.conf", text)});
    INFO(text << outcome.text);
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.text.empty());
  }
}

TEST_CASE("BIRD reads the fragment, and announces by it") {
  std::string bird = installed("bird");
  if (bird.empty()) SKIP("bird is missing (Debian package bird2)");
  Folder folder;
  for (const HostRoutes& routes : {some(), HostRoutes{"east", "", {}}}) {
    std::string text = *export_host_routes("bird", routes) +
                       "router id 192.0.2.1;\n"
                       "protocol bgp tor { local as 65001; neighbor 192.0.2.2 as 65000;\n"
                       "  ipv4 { import none; export where is_load_balancer_ipv4(); };\n"
                       "  ipv6 { import none; export where is_load_balancer_ipv6(); }; }\n";
    Outcome outcome = run(folder, {bird, "-p", "-c", folder.write("bird.conf", text)});
    INFO(text << outcome.text);
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.text.empty());
  }
}

}  // namespace
}  // namespace tombolo
