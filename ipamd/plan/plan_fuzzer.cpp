// Fleet files and stored plans come from outside: whatever they hold, reading ends with a value or
// an error, planning ends with a plan that the checker accepts or a refusal, and what was stored
// comes back.
#include <cstddef>
#include <cstdint>

#include "ipamd/plan/plan.h"

namespace tombolo {
namespace {

void store_and_load(const Plan& plan) {
  json::value value = plan_to_json(plan);
  DocumentPlace place{"again", {}};
  auto back = plan_from_json(Cursor(value, place));
  ENSURE(back.has_value() && diff_plans(plan, *back).empty());
}

void try_plan(const YamlDocument& document) {
  if (auto stored = plan_from_json(document.root())) {
    store_and_load(*stored);
    // Reading it must not fail either, however odd it is.
    plan_table(*stored);
    for (const RouteEntry& route : plan_routes(*stored)) route_command(route);
  }
  auto fleet = parse_fleet(document);
  if (!fleet) return;
  auto plan = make_plan(*fleet, nullptr);
  if (!plan) {
    ENSURE(plan.error().code != Code::kInternal, "{}", plan.error().what);
    return;
  }
  store_and_load(*plan);
  auto again = make_plan(*fleet, &*plan);
  ENSURE(again.has_value() && diff_plans(*plan, *again).empty());
}

}  // namespace
}  // namespace tombolo

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tombolo::YamlLimits limits;
  limits.bytes = 64U << 10U;
  auto documents = tombolo::parse_yaml(text, "fuzz", limits);
  if (!documents) return 0;
  for (const tombolo::YamlDocument& document : *documents) tombolo::try_plan(document);
  return 0;
}
