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
  const manifests::PodTemplate& db = objects->templates.front();
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
  auto choices = choose_for_pod(*catalog, &info, question);
  INFO((choices ? std::string() : choices.error().what));
  REQUIRE(choices.has_value());
  REQUIRE(choices->size() == 2);
  REQUIRE(choices->at(0).wishes.at(0).pools == std::vector<std::string>{"racks"});
  REQUIRE(choices->at(0).identity == "StatefulSet/shop/db/0/eth0");
  REQUIRE(choices->at(1).interface_name == "net1");
  REQUIRE(choices->at(1).wishes.at(0).pools == std::vector<std::string>{"storage"});
}

}  // namespace
}  // namespace tombolo
