// Two small clusters for the tests of the merge: "c1" (id 1) is ours, "c2" (id 2) the other.
#pragma once

#include "servicesync/merge/merge.h"

namespace tombolo::merge {

inline Ip ip_of(std::string_view text) {
  return *Ip::parse(text);
}

struct Fixture {
  Service service;
  Namespace name_space{"shop", {}, {}};
  std::vector<EndpointSlice> slices;
  std::vector<cilium::ClusterService> remotes;
  bool has_service = true;
  std::string imported_by;
  std::vector<Ip> clusterset_ips;

  Fixture() {
    service.name_space = "shop";
    service.name = "web";
    service.families = {Family::kV4};
    service.ports = {{"http", Protocol::kTcp, 80, "", 8080, 0}};
    service.cluster_ips = {ip_of("10.96.0.1")};
    service.created_unix_s = 1000;
  }

  // One endpoint with one port in a slice of its own.
  SliceEndpoint& add_local(std::string_view ip, std::string port_name = "http") {
    EndpointSlice slice;
    slice.name_space = "shop";
    slice.name = fmt::format("web-{}", slices.size());
    slice.service = "web";
    slice.ports = {{std::move(port_name), Protocol::kTcp, 8080}};
    SliceEndpoint endpoint;
    endpoint.ips = {ip_of(ip)};
    slice.endpoints.push_back(std::move(endpoint));
    slices.push_back(std::move(slice));
    return slices.back().endpoints.back();
  }

  static cilium::ClusterService remote_record(std::string cluster, std::uint32_t id) {
    cilium::ClusterService record;
    record.cluster = std::move(cluster);
    record.cluster_id = id;
    record.name_space = "shop";
    record.name = "web";
    record.include_external = true;
    record.shared = true;
    record.frontends[ip_of("10.97.0.1")]["http"] = {Protocol::kTcp, 80};
    return record;
  }
  cilium::ClusterService& add_remote(std::string_view backend_ip, std::string cluster = "c2",
                                     std::uint32_t id = 2) {
    cilium::ClusterService record = remote_record(std::move(cluster), id);
    if (!backend_ip.empty()) record.backends[ip_of(backend_ip)]["http"] = {Protocol::kTcp, 8080};
    remotes.push_back(std::move(record));
    return remotes.back();
  }

  Input input() const {
    Input in;
    in.cluster = "c1";
    in.cluster_id = 1;
    in.name_space = "shop";
    in.name = "web";
    in.name_space_row = &name_space;
    if (has_service) in.service = &service;
    for (const EndpointSlice& slice : slices) in.slices.push_back(&slice);
    for (const cilium::ClusterService& remote : remotes) in.remotes.push_back({&remote, ""});
    in.imported_by = imported_by;
    in.clusterset_ips = clusterset_ips;
    in.clusterset_ranges = {*Prefix::parse("10.200.0.0/16"), *Prefix::parse("fd77::/96")};
    return in;
  }
  Output run() const { return merge(input()); }
};

// "10.1.0.1 10.2.0.1": the addresses of the frontend's backends.
inline std::string used(const Output& output) {
  std::string text;
  if (output.frontend)
    for (const Backend& backend : output.frontend->backends)
      text += fmt::format("{}{}", text.empty() ? "" : " ", backend.ip.str());
  return text;
}

inline std::string reason_of(const Output& output, std::string_view ip) {
  for (const Candidate& candidate : output.explanation.candidates)
    if (candidate.backend.ip.str() == ip)
      return fmt::format("{}: {}", candidate.used ? "in" : "out", candidate.reason);
  return "no candidate";
}

}  // namespace tombolo::merge
