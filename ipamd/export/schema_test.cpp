// What is written for Kubernetes' tools against their documented fields: kubeadm.k8s.io/v1beta4,
// Calico's IPPool (projectcalico.org/v3), Spiderpool's SpiderIPPool (v2beta1) and the values of
// Cilium's Helm chart. Every field must be known and of its type, and the required ones there.
#include <algorithm>
#include <catch2/generators/catch_generators.hpp>
#include <map>
#include <set>

#include "ipamd/export/test_fleets.h"

namespace tombolo {
namespace {

using Catch::Generators::values;

struct Field {
  const char* type;
  bool required = false;
};
using Fields = std::map<std::string, Field>;

const Fields kKubeadm{
    {"apiVersion", {"string", true}},
    {"kind", {"string", true}},
    {"clusterName", {"string"}},
    {"networking.podSubnet", {"string", true}},
    {"networking.serviceSubnet", {"string", true}},
    {"controllerManager.extraArgs[].name", {"string"}},
    {"controllerManager.extraArgs[].value", {"string"}},
};
const Fields kCalico{
    {"apiVersion", {"string", true}},    {"kind", {"string", true}},
    {"metadata.name", {"string", true}}, {"spec.cidr", {"string", true}},
    {"spec.blockSize", {"integer"}},     {"spec.ipipMode", {"string"}},
    {"spec.vxlanMode", {"string"}},      {"spec.natOutgoing", {"boolean"}},
    {"spec.disabled", {"boolean"}},      {"spec.nodeSelector", {"string"}},
};
const Fields kSpiderpool{
    {"apiVersion", {"string", true}},    {"kind", {"string", true}},
    {"metadata.name", {"string", true}}, {"spec.ipVersion", {"integer"}},
    {"spec.subnet", {"string", true}},   {"spec.ips[]", {"string"}},
    {"spec.gateway", {"string"}},
};
const Fields kCilium{
    {"cluster.name", {"string", true}},
    {"cluster.id", {"integer", true}},
    {"clustermesh.maxConnectedClusters", {"integer"}},
    {"ipv4.enabled", {"boolean", true}},
    {"ipv6.enabled", {"boolean", true}},
    {"routingMode", {"string", true}},
    {"autoDirectNodeRoutes", {"boolean"}},
    {"ipam.mode", {"string", true}},
    {"ipam.operator.clusterPoolIPv4PodCIDRList[]", {"string"}},
    {"ipam.operator.clusterPoolIPv4MaskSize", {"integer"}},
    {"ipam.operator.clusterPoolIPv6PodCIDRList[]", {"string"}},
    {"ipam.operator.clusterPoolIPv6MaskSize", {"integer"}},
    {"ipv4NativeRoutingCIDR", {"string"}},
    {"ipv6NativeRoutingCIDR", {"string"}},
    {"bpf.masquerade", {"boolean"}},
    {"ipMasqAgent.enabled", {"boolean"}},
    {"ipMasqAgent.config.nonMasqueradeCIDRs[]", {"string"}},
};

std::string type_of(const json::value& value) {
  if (value.is_string()) return "string";
  if (value.is_bool()) return "boolean";
  return value.is_int64() ? "integer" : "something else";
}

void flatten(const json::value& value, const std::string& path,
             std::map<std::string, std::string>& types) {
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object)
      flatten(member, path.empty() ? std::string(key) : path + "." + std::string(key), types);
  } else if (const auto* array = value.if_array()) {
    for (const json::value& element : *array) flatten(element, path + "[]", types);
  } else {
    types[path] = type_of(value);
  }
}

std::vector<YamlDocument> documents_of(const std::string& text, const Fields& fields) {
  auto documents = parse_yaml(text, "export");
  INFO(text);
  REQUIRE(documents.has_value());
  for (const YamlDocument& document : *documents) {
    std::map<std::string, std::string> types;
    flatten(document.value, "", types);
    for (const auto& [path, type] : types) {
      CAPTURE(path);
      REQUIRE(fields.contains(path));
      REQUIRE(fields.at(path).type == type);
    }
    for (const auto& [path, field] : fields) {
      CAPTURE(path);
      REQUIRE((!field.required || types.contains(path)));
    }
  }
  return *documents;
}

std::vector<Plan> all_plans() {
  return {demo_plan(), clouds_plan(), given_plan(), six_plan()};
}

TEST_CASE("what Kubernetes' tools get has their fields") {
  struct Case {
    const char* name;
    const Fields* fields;
    const char* api;
  };
  auto c = GENERATE(values<Case>({
      {"kubeadm", &kKubeadm, "kubeadm.k8s.io/v1beta4"},
      {"calico", &kCalico, "projectcalico.org/v3"},
      {"spiderpool", &kSpiderpool, "spiderpool.spidernet.io/v2beta1"},
      {"cilium", &kCilium, nullptr},
  }));
  for (const Plan& plan : all_plans())
    for (const PlannedCluster& cluster : plan.clusters) {
      auto documents = documents_of(exported(plan, c.name, cluster.name), *c.fields);
      REQUIRE_FALSE(documents.empty());
      for (const YamlDocument& document : documents)
        REQUIRE((c.api == nullptr || document.root()["apiVersion"].string() == c.api));
    }
}

TEST_CASE("Calico's pools do not overlap, and their blocks have sizes that Calico takes") {
  for (const Plan& plan : all_plans())
    for (const PlannedCluster& cluster : plan.clusters) {
      std::vector<Prefix> pools;
      std::set<std::string> names;
      for (const YamlDocument& pool :
           documents_of(exported(plan, "calico", cluster.name), kCalico)) {
        Prefix prefix = Prefix::parse(pool.root()["spec"]["cidr"].string().value()).value();
        bool v4 = prefix.family() == Family::kV4;
        auto block = pool.root()["spec"]["blockSize"].integer(v4 ? 20 : 116, v4 ? 32 : 128);
        REQUIRE(block.has_value());
        REQUIRE(*block >= prefix.length());
        for (const Prefix& other : pools) REQUIRE_FALSE(other.overlaps(prefix));
        REQUIRE(names.insert(pool.root()["metadata"]["name"].string().value()).second);
        pools.push_back(prefix);
      }
      // Everything that traffic between clusters goes to is in a pool: no source is rewritten.
      for (const PlannedCluster& other : plan.clusters)
        for (const PlannedRange& range : other.ranges) {
          if (range.use != BlockUse::kPod) continue;
          auto holds = [&](const Prefix& pool) { return pool.contains(range.prefix); };
          REQUIRE(std::ranges::any_of(pools, holds));
        }
    }
}

TEST_CASE("Spiderpool's addresses lie in their subnet, without its gateway") {
  for (const Plan& plan : all_plans())
    for (const PlannedCluster& cluster : plan.clusters)
      for (const YamlDocument& pool :
           documents_of(exported(plan, "spiderpool", cluster.name), kSpiderpool)) {
        Cursor spec = pool.root()["spec"];
        Prefix subnet = Prefix::parse(spec["subnet"].string().value()).value();
        std::string range = spec["ips"].at(0).string().value();
        Ip first = Ip::parse(range.substr(0, range.find('-'))).value();
        Ip last = Ip::parse(range.substr(range.find('-') + 1)).value();
        Ip gateway = Ip::parse(spec["gateway"].string().value()).value();
        REQUIRE((subnet.contains(first) && subnet.contains(last) && subnet.contains(gateway)));
        REQUIRE((gateway < first && first < last && last < subnet.last()));
        REQUIRE(last.value() - first.value() < 65'536);
      }
}

TEST_CASE(
    "Cilium's values leave traffic between clusters alone, and traffic to what is reserved not") {
  struct Case {
    const char* name;
    Plan plan;
    const char* cluster;
    const char* line;
  };
  auto c = GENERATE(values<Case>({
      {"one prefix covers the fleet", given_plan(), "east",
       "ipv4NativeRoutingCIDR: \"10.64.0.0/13\"\n"},
      {"what is reserved is in between", clouds_plan(), "shop", "    nonMasqueradeCIDRs:\n"},
      {"outside the address space", six_plan(), "one", "      - \"fd77:1::/56\"\n"},
  }));
  std::string text = exported(c.plan, "cilium", c.cluster);
  CAPTURE(c.name, text);
  REQUIRE(text.find(c.line) != std::string::npos);
}

}  // namespace
}  // namespace tombolo
