// A plan in the words of other tools: what kubeadm, Cilium, Calico, Spiderpool, Terraform, routers
// and firewalls are configured with, so that nobody types a range twice. Pure: a plan goes in, a
// text comes out; the command line prints it. Runs on any thread.
//
//   Plan -> export_plan(plan, {"frr", "east"}) -> the text of a file
//
// One file per format; guide with examples: docs/plan-exports.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipamd/plan/plan.h"

namespace tombolo {

struct ExportRequest {
  std::string format;  // one of export_formats()
  std::string cluster;
  unsigned node = 1;  // frr and bird of a cluster: which of its entry nodes, from 1
};

enum class ExportScope {
  kOneCluster,      // a cluster must be named
  kFleet,           // with a cluster: only what concerns it
  kFleetOrCluster,  // another text for the fleet than for a cluster (its router, and its nodes)
};

struct ExportFormat {
  std::string_view name;
  ExportScope scope = ExportScope::kFleet;
  std::string_view description;
};

std::span<const ExportFormat> export_formats();

// The text of a file, with a line break at its end. kNotFound when the format, the cluster or its
// node is not there, kInvalidArgument when the format needs a cluster or the plan holds a name that
// could be taken for something else in a configuration file, kFailedPrecondition when the tool
// cannot express the plan (the message says what).
Result<std::string> export_plan(const Plan& plan, const ExportRequest& request);

// Load balancer addresses of services, as routes of single addresses.
struct HostRoutes {
  std::string cluster;
  std::string node;     // empty: whatever node they are for
  std::vector<Ip> ips;  // any order, repetitions are dropped
};
// A fragment to include: "bird", static routes and functions to export by; "frr", static routes and
// prefix lists. kNotFound for other formats.
Result<std::string> export_host_routes(std::string_view format, const HostRoutes& routes);

// What tells clusters apart in BGP: 4200000000 plus the cluster's id, of RFC 6996's private 32-bit
// numbers; the routers between the clusters are 4200000000 itself.
constexpr std::uint32_t kFleetAs = 4'200'000'000;
constexpr std::uint32_t as_of(const PlannedCluster& cluster) {
  return kFleetAs + cluster.id;
}

}  // namespace tombolo
