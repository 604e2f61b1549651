// What operators wrote, what was in force, what is in use: what is in force then.
#include "app/daemon/pool_judge.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

Prefix prefix(const char* text) {
  return Prefix::parse(text).value();
}

PoolObject pool(const std::string& name, const std::string& spec, bool leaving = false) {
  std::string text = fmt::format(
      "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {{name: {}}}\nspec: {{{}}}\n", name,
      spec);
  auto documents = parse_yaml(text, name + ".yaml");
  REQUIRE(documents);
  auto object = parse_pool_object(documents->front().root());
  REQUIRE(object);
  object->leaving = leaving;
  return *object;
}

PoolObject reservation(const std::string& name, const std::string& ips) {
  auto documents = parse_yaml(
      fmt::format("apiVersion: tombolo.io/v1alpha1\nkind: IPReservation\nmetadata: {{name: {}}}\n"
                  "spec: {{ips: [{}]}}\n",
                  name, ips),
      name + ".yaml");
  REQUIRE(documents);
  return parse_pool_object(documents->front().root()).value();
}

// "a b- printers": names in force, leaving ones with a minus.
std::string names(std::vector<PoolObject> objects) {
  std::ranges::sort(objects, {}, &PoolObject::name);
  std::string text;
  for (const PoolObject& object : objects)
    text += (text.empty() ? "" : " ") + object.name + (object.leaving ? "-" : "");
  return text;
}

struct Case {
  std::string name;
  PoolFacts facts;
  std::string in_force;
  std::string error;
  std::size_t notes = 0;
};

TEST_CASE("pools in force follow what is written, unless it would hurt") {
  PoolObject a = pool("a", "subnet: 10.0.0.0/24, ips: [10.0.0.10-10.0.0.19]");
  PoolObject wider = pool("a", "subnet: 10.0.0.0/24, ips: [10.0.0.10-10.0.0.29]");
  PoolObject moved = pool("a", "subnet: 10.0.1.0/24");
  PoolObject b = pool("b", "subnet: 10.0.0.0/24, ips: [10.0.0.15-10.0.0.25]");
  PoolObject c = pool("c", "subnet: 10.0.2.0/24");
  PoolObject printers = reservation("printers", "10.0.0.12");
  PoolObject a_leaving = pool("a", "subnet: 10.0.0.0/24, ips: [10.0.0.10-10.0.0.19]", true);
  PoolUse use{"a", prefix("10.0.0.15/32")};
  PlanBlock pods{"east", BlockUse::kPod, prefix("10.0.0.16/28"), 26};
  PlanBlock underlay{"east", BlockUse::kUnderlay, prefix("10.0.0.0/16"), 0};
  auto test = GENERATE_COPY(values<Case>({
      {"the first pools", {{a, c, printers}, {}, {}, {underlay}, {}}, "a c printers", "", 0},
      {"a pool grows", {{wider}, {a}, {use}, {}, {}}, "a", "", 0},
      {"two pools of one address, the last good ones stay",
       {{a, b, c}, {a}, {}, {}, {}},
       "a",
       "b.yaml:1: the pools 'a' and 'b' would both give out 10.0.0.15",
       0},
      {"a subnet that changes",
       {{moved, c}, {a}, {}, {}, {}},
       "a",
       "a.yaml:1: the pool 'a': subnet is 10.0.1.0/24, in force is 10.0.0.0/24: that never "
       "changes; a pool of another name may have it",
       0},
      {"a pool goes: first everybody hears of it", {{c}, {a, c}, {}, {}, {}}, "a- c", "", 0},
      {"and then it is gone", {{c}, {a_leaving, c}, {}, {}, {"a"}}, "c", "", 0},
      {"in use it stays", {{c}, {a_leaving, c}, {use}, {}, {"a"}}, "a- c", "", 1},
      {"another pool takes the range of one in use",
       {{b}, {a_leaving}, {use}, {}, {"a"}},
       "a-",
       "b.yaml:1: the pools 'a' and 'b' would both give out 10.0.0.15",
       1},
      {"it is written again", {{a}, {a_leaving}, {use}, {}, {"a"}}, "a", "", 0},
      {"a range moves while one of its addresses is in use",
       {{pool("a", "subnet: 10.0.0.0/24, ips: [10.0.0.10-10.0.0.14]"), b}, {a}, {use}, {}, {}},
       "a",
       "b.yaml:1: the pool 'b' would give out 10.0.0.15, which the pool 'a' has given out",
       0},
      {"an address that a service has, of no pool",
       {{a}, {}, {PoolUse{"", prefix("10.0.0.12/32")}}, {}, {}},
       "",
       "a.yaml:1: the pool 'a' would give out 10.0.0.12, which a service has",
       0},
      {"the plan's addresses",
       {{a}, {}, {}, {underlay, pods}, {}},
       "",
       "a.yaml:1: the pool 'a' would give out 10.0.0.16, which is in the plan's range "
       "10.0.0.16/28 (east, pod)",
       0},
      {"a reservation goes at once", {{a}, {a, printers}, {}, {}, {}}, "a", "", 0},
  }));
  CAPTURE(test.name);
  PoolJudgement judgement = judge_pools(test.facts);
  REQUIRE(judgement.error == test.error);
  REQUIRE(names(judgement.in_force) == test.in_force);
  REQUIRE(judgement.notes.size() == test.notes);
}

TEST_CASE("a plan beside the pools in force") {
  PoolObject a = pool("a", "subnet: 10.0.0.0/24, ips: [10.0.0.10-10.0.0.19]");
  PlanBlock pods{"east", BlockUse::kPod, prefix("10.0.0.16/28"), 26};
  PlanBlock apart{"east", BlockUse::kPod, prefix("10.0.0.32/28"), 26};
  REQUIRE(check_plan_beside_pools({a}, {apart}));
  auto refused = check_plan_beside_pools({a}, {apart, pods});
  REQUIRE_FALSE(refused);
  REQUIRE(refused.error().what ==
          "a.yaml:1: the pool 'a' would give out 10.0.0.16, which is in the plan's range "
          "10.0.0.16/28 (east, pod)");
}

}  // namespace
}  // namespace tombolo
