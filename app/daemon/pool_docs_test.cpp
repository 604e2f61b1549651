// The YAML of docs/ipam.md is read as the controller reads its manifests, is a catalog, and gives
// the pods that it shows what the page says.
#include <catch2/catch_test_macros.hpp>

#include "app/daemon/pool_judge.h"
#include "core/yaml.h"
#include "ipamd/pools/pools.h"
#include "servicesync/manifests/manifests.h"

namespace tombolo {
namespace {

// All fenced blocks of YAML, one after the other.
std::string yaml_of(const std::string& page) {
  std::string text;
  constexpr std::string_view kFence = "```yaml\n";
  for (auto at = page.find(kFence); at != std::string::npos; at = page.find(kFence, at)) {
    at += kFence.size();
    auto end = page.find("```", at);
    REQUIRE(end != std::string::npos);
    text += "---\n" + page.substr(at, end - at);
    at = end;
  }
  return text;
}

Result<std::vector<InterfaceChoice>> choices_of_db_0(const PoolCatalog& catalog,
                                                     const manifests::PodTemplate& db) {
  PodInfo info;
  info.name_space = db.pod.name_space;
  info.name = db.name;
  info.kind = db.kind;
  info.owner = db.pod.owner;
  info.annotations = db.pod.annotations;
  info.replicas = db.replicas;
  PodQuestion question;
  question.interface_name = "eth0";
  question.network = "pods";
  question.name_space = "shop";
  question.pod_name = "db-0";
  question.node = "n1";
  return choose_for_pod(catalog, &info, question);
}

TEST_CASE("the examples of docs/ipam.md are in force as they stand") {
  auto page = read_file("docs/ipam.md");
  REQUIRE(page.has_value());
  manifests::ForeignDecoders foreign;
  foreign.pool_object = parse_pool_object;
  auto objects = manifests::decode_objects(yaml_of(*page), "docs/ipam.md", foreign);
  INFO((objects ? std::string() : objects.error().what));
  REQUIRE(objects.has_value());
  PoolFacts facts;
  facts.written = objects->pool_objects;
  facts.plan = {{"east", BlockUse::kPod, Prefix::parse("10.16.0.0/16").value(), 24}};
  PoolJudgement judgement = judge_pools(facts);
  REQUIRE(judgement.error.empty());
  auto catalog = catalog_of(judgement.in_force);
  REQUIRE(catalog.has_value());
  REQUIRE(catalog->find("racks") != nullptr);

  REQUIRE(objects->templates.size() == 1);
  auto choices = choices_of_db_0(*catalog, objects->templates.front());
  INFO((choices ? std::string() : choices.error().what));
  REQUIRE(choices.has_value());
  REQUIRE(choices->size() == 2);
  REQUIRE(choices->at(0).wishes.at(0).pools == std::vector<std::string>{"racks"});
  REQUIRE(choices->at(0).identity == "StatefulSet/shop/db/0/eth0");
  REQUIRE(choices->at(1).interface_name == "net1");
  REQUIRE(choices->at(1).wishes.at(0).pools == std::vector<std::string>{"storage"});
}

TEST_CASE("the README's pool gives its StatefulSet's pods addresses that they keep") {
  auto page = read_file("README.md");
  REQUIRE(page.has_value());
  std::string section = page->substr(page->find("## Give pods addresses of a network"));
  manifests::ForeignDecoders foreign;
  foreign.pool_object = parse_pool_object;
  auto objects = manifests::decode_objects(yaml_of(section), "README.md", foreign);
  INFO((objects ? std::string() : objects.error().what));
  REQUIRE(objects.has_value());
  auto catalog = catalog_of(objects->pool_objects);
  REQUIRE(catalog.has_value());
  REQUIRE(objects->templates.size() == 1);
  auto choices = choices_of_db_0(*catalog, objects->templates.front());
  INFO((choices ? std::string() : choices.error().what));
  REQUIRE(choices.has_value());
  REQUIRE(choices->size() == 1);
  REQUIRE(choices->at(0).wishes.at(0).pools == std::vector<std::string>{"racks"});
  REQUIRE(choices->at(0).identity == "StatefulSet/shop/db/0/eth0");
}

}  // namespace
}  // namespace tombolo
