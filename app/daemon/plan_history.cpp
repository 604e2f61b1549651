// Plan records as JSON, and the keys of the history.
#include "app/daemon/plan_history.h"

#include <algorithm>
#include <limits>

namespace tombolo {
namespace {

constexpr std::int64_t kLastNumber = 9'999'999'999;
constexpr std::size_t kLongestReason = 4096;

Result<void> read_applied(const Cursor& applied, PlanRecord& record) {
  if (!applied.present()) return {};
  TRY(number, applied["number"].integer_or(1, 1, kLastNumber));
  record.number = number;
  TRY(restores, applied["restores"].integer_or(0, 0, kLastNumber));
  record.restores = restores;
  TRY(who, applied["by"].string_or(""));
  record.who = std::move(who);
  TRY(reason, applied["reason"].string_or(""));
  record.reason = std::move(reason);
  TRY(time, applied["time"].string_or(""));
  if (time.empty()) return {};
  auto parsed = parse_rfc3339(time);
  if (!parsed) return applied["time"].error(parsed.error().what);
  record.time = *parsed;
  return {};
}

}  // namespace

std::string encode_plan(const PlanRecord& record) {
  json::value document = plan_to_json(record.plan);
  json::object applied{{"number", record.number},
                       {"time", format_rfc3339(record.time)},
                       {"by", record.who},
                       {"reason", record.reason.substr(0, kLongestReason)}};
  if (record.restores != 0) applied["restores"] = record.restores;
  document.as_object()["applied"] = std::move(applied);
  return to_json(document);
}

Result<PlanRecord> decode_plan(const KeyValue& kv) {
  auto document = parse_json(kv.value);
  if (!document) return std::unexpected(std::move(document).error().with_context(kv.key));
  DocumentPlace place{kv.key, {}};
  Cursor root(*document, place);
  PlanRecord record;
  TRY(plan, plan_from_json(root));
  record.plan = std::move(plan);
  TRY_OK(read_applied(root["applied"], record));
  return record;
}

// Ten digits: the order of the keys is the order of the numbers.
std::string plan_history_key(std::int64_t number) {
  return fmt::format("{}{:010}", kPlanHistoryPrefix, number);
}

std::vector<Operation> history_operations(const PlanRecord& next, const PlanRecord* before) {
  std::vector<Operation> operations;
  // Also the one before: a plan of a version without history would otherwise be lost.
  if (before != nullptr)
    operations.emplace_back(Put{plan_history_key(before->number), encode_plan(*before), 0});
  operations.emplace_back(Put{plan_history_key(next.number), encode_plan(next), 0});
  if (next.number > kKeptPlans)
    operations.emplace_back(
        Delete{plan_history_key(0), plan_history_key(next.number - kKeptPlans + 1)});
  return operations;
}

asio::awaitable<Result<PlanRecord>> read_historic_plan(Kv& kv, std::int64_t number) {
  std::string key = plan_history_key(number);
  CO_TRY(stored, co_await kv.get(key));
  if (!stored)
    co_return fail(Code::kNotFound,
                   "there is no plan {}; tombolo plan history lists those that are kept", number);
  co_return decode_plan(*stored);
}

// One by one: all values together can be more than one answer of the store may hold.
asio::awaitable<Result<std::vector<PlanRecord>>> read_plan_history(
    Kv& kv, std::vector<std::string>& damaged) {
  RangeRequest request;
  request.key = std::string(kPlanHistoryPrefix);
  request.range_end = prefix_end(kPlanHistoryPrefix);
  request.keys_only = true;
  CO_TRY(listed, co_await kv.range(std::move(request)));
  std::vector<PlanRecord> records;
  for (const KeyValue& each : listed.kvs) {
    std::string key = each.key;
    CO_TRY(stored, co_await kv.get(key));
    if (!stored) continue;  // left the history meanwhile
    auto record = decode_plan(*stored);
    if (record)
      records.push_back(std::move(*record));
    else
      damaged.push_back(record.error().what);
  }
  co_return records;
}

}  // namespace tombolo
