// Plans as they are stored: each with who applied it, when and why. The plan in force has a key of
// its own; every plan that was in force stays under its number, the newest kKeptPlans of them, so
// that it can be compared and put back in force. Controller; control thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/kv.h"
#include "ipamd/plan/plan.h"

namespace tombolo {

// Not readable for other clusters (core/store/rights.h), unlike the plan in force.
inline constexpr std::string_view kPlanHistoryPrefix = "tombolo/v1/plan-history/";
inline constexpr std::int64_t kKeptPlans = 64;

// A fleet file as it was written.
struct FleetText {
  std::string name;  // "fleet.yaml"
  std::string text;  // empty: none is stored
  bool operator==(const FleetText&) const = default;
};

struct PlanRecord {
  Plan plan;
  FleetText fleet;          // what it was planned from; in the history only
  std::int64_t number = 1;  // 1 for the fleet's first plan; never given twice
  WallTime time;
  std::string who;
  std::string reason;
  std::int64_t restores = 0;  // the number of the plan that was put back; 0: a new one
};

// plan_to_json with a member "applied" beside it. Of other clusters' business, and short, as the
// plan in force is: without the fleet file.
std::string encode_plan(const PlanRecord& record);
// For the history: with "fleet_file": {"name", "text"}.
std::string encode_historic_plan(const PlanRecord& record);
// The plan as a document of the API: plan_to_json with "fleet_file".
std::string document_of(const PlanRecord& record);
// Errors name the key. A record without a number is of a version without history: number 1; one
// without a fleet file has an empty one.
Result<PlanRecord> decode_plan(const KeyValue& kv);

std::string plan_history_key(std::int64_t number);

// What the transaction that puts `next` in force also does: it stands in the history, and
// `missing`, the one before it when a version without history applied that (else null); what is
// older than kKeptPlans leaves it.
std::vector<Operation> history_operations(const PlanRecord& next, const PlanRecord* missing);

// kNotFound when there is no plan of that number, or no longer.
asio::awaitable<Result<PlanRecord>> read_historic_plan(Kv& kv, std::int64_t number);
// Oldest first. A record that cannot be read is left out and its error appended to `damaged`.
asio::awaitable<Result<std::vector<PlanRecord>>> read_plan_history(
    Kv& kv, std::vector<std::string>& damaged);

}  // namespace tombolo
