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

// What a version that stored no fleet file wrote has none.
Result<void> read_fleet_text(const Cursor& file, FleetText& fleet) {
  if (!file.present()) return {};
  TRY(name, file["name"].string_or(""));
  fleet.name = std::move(name);
  TRY(text, file["text"].string());
  fleet.text = std::move(text);
  return {};
}

void add_fleet_text(json::value& document, const FleetText& fleet) {
  if (fleet.text.empty()) return;
  document.as_object()["fleet_file"] = json::object{{"name", fleet.name}, {"text", fleet.text}};
}

json::value with_applied(const PlanRecord& record) {
  json::value document = plan_to_json(record.plan);
  json::object applied{{"number", record.number},
                       {"time", format_rfc3339(record.time)},
                       {"by", record.who},
                       {"reason", record.reason.substr(0, kLongestReason)}};
  if (record.restores != 0) applied["restores"] = record.restores;
  document.as_object()["applied"] = std::move(applied);
  return document;
}

}  // namespace

std::string encode_plan(const PlanRecord& record) {
  return to_json(with_applied(record));
}

std::string encode_historic_plan(const PlanRecord& record) {
  json::value document = with_applied(record);
  add_fleet_text(document, record.fleet);
  return to_json(document);
}

std::string document_of(const PlanRecord& record) {
  json::value document = plan_to_json(record.plan);
  add_fleet_text(document, record.fleet);
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
  TRY_OK(read_fleet_text(root["fleet_file"], record.fleet));
  return record;
}

// Ten digits: the order of the keys is the order of the numbers.
std::string plan_history_key(std::int64_t number) {
  return fmt::format("{}{:010}", kPlanHistoryPrefix, number);
}

std::vector<Operation> history_operations(const PlanRecord& next, const PlanRecord* missing) {
  std::vector<Operation> operations;
  if (missing != nullptr)
    operations.emplace_back(
        Put{plan_history_key(missing->number), encode_historic_plan(*missing), 0});
  operations.emplace_back(Put{plan_history_key(next.number), encode_historic_plan(next), 0});
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
