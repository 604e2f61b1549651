// What holds for every input of the merge: order does not matter, and sharing and affinity agree
// with a model that is written from the rules, not from the code.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "servicesync/merge/merge_fixture.h"

namespace tombolo::merge {
namespace {

BackendState any_state() {
  return *rc::gen::element(BackendState::kActive, BackendState::kTerminating,
                           BackendState::kQuarantined);
}

Fixture any_fixture() {
  Fixture f;
  auto boolean = [] { return *rc::gen::element<std::string>("true", "false"); };
  f.service.annotations = {
      {"service.cilium.io/global", boolean()},
      {"io.cilium/shared-service", boolean()},
      {"service.cilium.io/affinity", *rc::gen::element<std::string>("local", "remote", "none")}};
  f.name_space.annotations = {{"clustermesh.cilium.io/global", boolean()}};
  f.service.created_unix_s = *rc::gen::inRange(1, 4);
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
    SliceEndpoint& endpoint = f.add_local(fmt::format("10.1.0.{}", *rc::gen::inRange(1, 4)));
    BackendState state = any_state();
    endpoint.ready = state == BackendState::kActive;
    endpoint.terminating = state == BackendState::kTerminating;
    endpoint.serving = *rc::gen::arbitrary<bool>();
    if (*rc::gen::inRange(0, 4) == 0)
      f.slices.back().annotations = {{"service.cilium.io/weight", "0"}};
  }
  for (std::uint32_t id = 2; id < 5; ++id) {
    if (*rc::gen::arbitrary<bool>()) continue;
    cilium::ClusterService& remote = f.add_remote("", fmt::format("c{}", id), id);
    remote.include_external = *rc::gen::inRange(0, 5) != 0;
    remote.shared = *rc::gen::inRange(0, 5) != 0;
    std::vector<Backend> backends;
    for (int i = *rc::gen::inRange(0, 3); i > 0; --i) {
      Backend backend;
      backend.ip = ip_of(fmt::format("10.{}.0.{}", id, i));
      backend.port = 8080;
      backend.port_name = "http";
      backend.state = any_state();
      backends.push_back(backend);
    }
    cilium::set_backends(remote, backends);
    remote.extras->created_unix_s = *rc::gen::inRange(0, 4);
    remote.extras->clusterset_ips = {ip_of(fmt::format("10.200.{}.9", id))};
  }
  return f;
}

bool same(const Output& a, const Output& b) {
  auto text = [](const Explanation& explanation) {
    std::string all;
    for (const Candidate& c : explanation.candidates)
      all += fmt::format("{} {} {}\n", c.backend.ip.str(), c.used, c.reason);
    for (const Decision& d : explanation.decisions)
      all += fmt::format("{}={} by {}\n", d.property, d.value, d.winner);
    for (const AddressOrigin& origin : explanation.addresses)
      all += fmt::format("{} {}\n", origin.ip.str(), origin.origin);
    return all;
  };
  return a.frontend == b.frontend && a.published == b.published && a.wants == b.wants &&
         text(a.explanation) == text(b.explanation);
}

TEST_CASE("the order of slices and clusters does not matter") {
  REQUIRE(rc::check("merge(shuffled) == merge", [] {
    Fixture f = any_fixture();
    Input input = f.input();
    Output output = merge(input);
    auto rotate = [](auto& list) {
      if (list.empty()) return;
      auto by = *rc::gen::inRange<std::size_t>(0, list.size());
      std::rotate(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(by), list.end());
      if (*rc::gen::arbitrary<bool>()) std::ranges::reverse(list);
    };
    rotate(input.slices);
    rotate(input.remotes);
    RC_ASSERT(same(merge(input), output));
  }));
}

// The rules once more, as plainly as they can be said: state of each address, then who is let in.
std::set<std::string> model(const Fixture& f) {
  bool global = f.service.annotations.at("service.cilium.io/global") == "true" &&
                f.name_space.annotations.at("clustermesh.cilium.io/global") == "true";
  std::map<std::string, BackendState> local;
  for (const EndpointSlice& slice : f.slices) {
    const SliceEndpoint& endpoint = slice.endpoints.front();
    bool draining = !endpoint.ready && endpoint.terminating && endpoint.serving;
    if (!endpoint.ready && !draining) continue;
    BackendState state = !slice.annotations.empty() ? BackendState::kQuarantined
                         : draining                 ? BackendState::kTerminating
                                                    : BackendState::kActive;
    auto [at, fresh] = local.try_emplace(endpoint.ips.front().str(), state);
    if (!fresh) at->second = std::min(at->second, state);
  }
  std::map<std::string, BackendState> remote;
  for (const cilium::ClusterService& service : f.remotes)
    if (global && service.include_external && service.shared)
      for (const Backend& backend : cilium::backends_of(service))
        remote[backend.ip.str()] = backend.state;
  auto count = [](const auto& map, bool terminating_too) {
    return std::ranges::count_if(map, [&](const auto& entry) {
      return entry.second == BackendState::kActive ||
             (terminating_too && entry.second == BackendState::kTerminating);
    });
  };
  std::string affinity = f.service.annotations.at("service.cilium.io/affinity");
  if (!global) affinity = "none";
  bool use_local = affinity != "remote" || (count(remote, true) == 0 && count(local, true) > 0);
  bool use_remote = affinity != "local" || (count(local, false) == 0 && count(remote, true) > 0);
  std::set<std::string> used;
  for (const auto& [ip, state] : local)
    if (use_local) used.insert(ip);
  for (const auto& [ip, state] : remote)
    if (use_remote) used.insert(ip);
  return used;
}

TEST_CASE("sharing and affinity agree with the model") {
  REQUIRE(rc::check("merge == model", [] {
    Fixture f = any_fixture();
    Output output = f.run();
    std::set<std::string> used;
    for (const Backend& backend : output.frontend->backends) used.insert(backend.ip.str());
    RC_ASSERT(used == model(f));
    for (const Candidate& candidate : output.explanation.candidates)
      RC_ASSERT(!candidate.reason.empty());
  }));
}

}  // namespace
}  // namespace tombolo::merge
