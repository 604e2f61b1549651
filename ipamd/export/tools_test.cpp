// The exports before the real tools: FRR's vtysh, BIRD's parser, Terraform. What is not installed
// is skipped (Debian packages frr and bird2: deploy/deps test).
#include "ipamd/export/test_fleets.h"
#include "ipamd/export/test_programs.h"

namespace tombolo {
namespace {

// The router between the clusters, and every entry node of every cluster.
std::vector<std::string> all_routers(const std::string& format) {
  std::vector<std::string> texts;
  for (const Plan& plan : {demo_plan(), clouds_plan(), six_plan()}) {
    texts.push_back(exported(plan, format));
    for (const PlannedCluster& cluster : plan.clusters)
      for (unsigned node = 1; node <= 2; ++node)
        texts.push_back(exported(plan, format, cluster.name, node));
  }
  return texts;
}

TEST_CASE("FRR reads what is written for it") {
  std::string vtysh = installed("vtysh");
  if (vtysh.empty()) SKIP("vtysh is missing (Debian package frr)");
  Folder folder;
  for (const std::string& text : all_routers("frr")) {
    Outcome outcome = run(folder, {vtysh, "-C", "-f", folder.write("frr.conf", text)});
    INFO(text << outcome.text);
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.text.empty());
  }
  std::string broken = exported(demo_plan(), "frr") + "router bgp 4300000000\n";
  REQUIRE(run(folder, {vtysh, "-C", "-f", folder.write("frr.conf", broken)}).code != 0);
}

TEST_CASE("BIRD reads what is written for it") {
  std::string bird = installed("bird");
  if (bird.empty()) SKIP("bird is missing (Debian package bird2)");
  Folder folder;
  for (const std::string& text : all_routers("bird")) {
    Outcome outcome = run(folder, {bird, "-p", "-c", folder.write("bird.conf", text)});
    INFO(text << outcome.text);
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.text.empty());
  }
  std::string broken = exported(demo_plan(), "bird") + "protocol bgp { neighbor; }\n";
  REQUIRE(run(folder, {bird, "-p", "-c", folder.write("bird.conf", broken)}).code != 0);
}

TEST_CASE("kubeadm accepts its configuration") {
  std::string kubeadm = installed("kubeadm");
  if (kubeadm.empty()) SKIP("kubeadm is missing");
  Folder folder;
  for (const Plan& plan : {demo_plan(), clouds_plan(), six_plan()})
    for (const PlannedCluster& cluster : plan.clusters) {
      std::string text = exported(plan, "kubeadm", cluster.name);
      Outcome outcome = run(
          folder, {kubeadm, "config", "validate", "--config", folder.write("kubeadm.yaml", text)});
      INFO(text << outcome.text);
      REQUIRE(outcome.code == 0);
    }
}

constexpr const char* kModule = R"(variable "tombolo" {
  type = object({
    fleet = string
    clusters = map(object({
      id = number, region = string, cloud = string, asn = number, nodes = number,
      pods_per_node      = number
      underlay           = object({ ipv4 = list(string), ipv6 = list(string) })
      pod                = object({ ipv4 = list(string), ipv6 = list(string) })
      service            = object({ ipv4 = list(string), ipv6 = list(string) })
      gateway            = object({ ipv4 = list(string), ipv6 = list(string) })
      entry              = object({ ipv4 = list(string), ipv6 = list(string) })
      node_prefix_length = object({ ipv4 = number, ipv6 = number })
    }))
    regions    = map(object({ ipv4 = list(string), ipv6 = list(string) }))
    clusterset = object({ ipv4 = list(string), ipv6 = list(string) })
  })
}
)";

TEST_CASE("Terraform takes its variables for the declared types") {
  std::string terraform = installed("terraform");
  if (terraform.empty()) SKIP("terraform is missing");
  Folder folder;
  folder.write("main.tf", kModule);
  for (const Plan& plan : {demo_plan(), clouds_plan(), six_plan()}) {
    folder.write("terraform.tfvars.json", exported(plan, "terraform"));
    const PlannedCluster& cluster = plan.clusters.back();
    Outcome outcome =
        run(folder, {terraform, "console"}, "var.tombolo.clusters[\"" + cluster.name + "\"].asn\n");
    INFO(outcome.text);
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.text.find(fmt::format("{}", as_of(cluster))) != std::string::npos);
  }
}

}  // namespace
}  // namespace tombolo
