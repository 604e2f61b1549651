// The list of formats, and what is checked before one is written.
#include <algorithm>
#include <array>

#include "ipamd/export/internal.h"

namespace tombolo {
namespace {

using Write = Result<std::string> (*)(const exports::Job&);

struct Format {
  ExportFormat shown;
  Write write;
  bool of_pairs = false;  // grows with the square of the clusters
};

constexpr std::size_t kMostInPairs = 255;

using enum ExportScope;

constexpr std::array kFormats = {
    Format{{"kubeadm", kOneCluster, "kubeadm's ClusterConfiguration (v1beta4)"}, exports::kubeadm},
    Format{{"cilium", kOneCluster, "values for Cilium's Helm chart"}, exports::cilium},
    Format{{"calico", kOneCluster, "Calico IPPools"}, exports::calico},
    Format{{"spiderpool", kOneCluster, "Spiderpool SpiderIPPools"}, exports::spiderpool},
    Format{{"terraform", kFleet, "Terraform variables (.tfvars.json)"}, exports::terraform},
    Format{{"frr", kFleetOrCluster, "FRR: the router between the clusters, or an entry node"},
           exports::frr},
    Format{{"bird", kFleetOrCluster, "BIRD 2: the router between the clusters, or an entry node"},
           exports::bird},
    Format{{"security-groups", kFleet, "firewall rules per pair of clusters (JSON)"},
           exports::security_groups,
           true},
    Format{{"security-groups-csv", kFleet, "the same, one per line"},
           exports::security_groups_csv,
           true},
    Format{{"aws-security-group", kOneCluster, "AWS IpPermissions, ingress"},
           exports::aws_security_group},
    Format{{"azure-security-group", kOneCluster, "Azure securityRules, inbound"},
           exports::azure_security_group},
    Format{{"gcp-firewall", kOneCluster, "GCP firewall resources, ingress"}, exports::gcp_firewall},
    Format{{"route-tables", kFleet, "routes of each cluster to each other (JSON)"},
           exports::route_tables,
           true},
    Format{{"csv", kFleet, "every range, one per line"}, exports::csv},
    Format{{"markdown", kFleet, "tables for a wiki"}, exports::markdown},
};

constexpr auto kShown = [] {
  std::array<ExportFormat, kFormats.size()> shown;
  for (std::size_t i = 0; i < shown.size(); ++i) shown[i] = kFormats[i].shown;
  return shown;
}();

// Fleet files are held to this already; a plan that comes from a store could be somebody else's.
Result<void> check_name(std::string_view kind, std::string_view name) {
  bool plain = !name.empty() && name.size() <= 63 && name.front() != '-' && name.back() != '-' &&
               name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == name.npos;
  if (!plain)
    return fail(Code::kInvalidArgument, "the plan has a {} with the name '{}', which is none", kind,
                name.substr(0, 64));
  return {};
}

Result<void> check_names(const Plan& plan) {
  TRY_OK(check_name("fleet", plan.fleet));
  for (const PlannedCluster& cluster : plan.clusters) {
    TRY_OK(check_name("cluster", cluster.name));
    TRY_OK(check_name("region", cluster.region));
  }
  return {};
}

std::string known_formats() {
  std::string text;
  for (const ExportFormat& format : kShown)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", format.name);
  return text;
}

}  // namespace

std::span<const ExportFormat> export_formats() {
  return kShown;
}

Result<std::string> export_plan(const Plan& plan, const ExportRequest& request) {
  auto format = std::ranges::find(kFormats, request.format,
                                  [](const Format& each) { return each.shown.name; });
  if (format == kFormats.end())
    return fail(Code::kNotFound, "there is no format '{}'; known: {}",
                std::string_view(request.format).substr(0, 64), known_formats());
  TRY_OK(check_names(plan));
  exports::Job job{plan, find_cluster(plan, request.cluster), request.node};
  if (!request.cluster.empty() && job.cluster == nullptr)
    return fail(Code::kNotFound, "the plan has no cluster '{}'",
                std::string_view(request.cluster).substr(0, 64));
  if (job.cluster == nullptr && format->shown.scope == kOneCluster)
    return fail(Code::kInvalidArgument, "format {} is for one cluster; name it (--cluster)",
                request.format);
  if (job.cluster == nullptr && format->of_pairs && plan.clusters.size() > kMostInPairs)
    return fail(Code::kFailedPrecondition,
                "{} clusters are too many pairs for one file (from {} on); name one (--cluster)",
                plan.clusters.size(), kMostInPairs + 1);
  return format->write(job);
}

}  // namespace tombolo
