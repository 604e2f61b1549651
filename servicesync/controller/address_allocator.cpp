// Wants against records, one transaction per object.
#include "servicesync/controller/address_allocator.h"

#include <algorithm>

namespace tombolo::controller {
namespace {

std::string join(const std::string& all, const std::string& more) {
  return all.empty() ? more : fmt::format("{}; {}", all, more);
}

}  // namespace

std::string encode(const AddressRecord& record) {
  json::object object;
  object.emplace("created", format_rfc3339(WallTime(std::chrono::seconds(record.created_unix_s))));
  json::array ips;
  for (const Ip& ip : record.ips) ips.push_back(json::string(ip.str()));
  object.emplace("ips", std::move(ips));
  return to_json(object);
}

Result<AddressRecord> decode_address_record(std::string_view prefix, const KeyValue& kv) {
  TRY(object, cilium::name_in_key(kv.key, prefix));
  auto value = parse_json(kv.value);
  if (!value) return std::unexpected(std::move(value).error().with_context(kv.key));
  DocumentPlace place{kv.key, {}};
  Cursor root(*value, place);
  AddressRecord record;
  record.object = object;
  record.mod_revision = kv.mod_revision;
  TRY(created, root["created"].string());
  auto time = parse_rfc3339(created);
  if (!time) return root["created"].error(time.error().what);
  record.created_unix_s =
      std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count();
  Cursor list = root["ips"];
  TRY(texts, list.string_list());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto ip = Ip::parse(texts[i]);
    if (!ip) return list.at(i).error(ip.error().what);
    record.ips.push_back(*ip);
  }
  return record;
}

AddressAllocator::AddressAllocator(AllocatorOptions options, Kv& kv, Table<AddressWant>& wants,
                                   Table<AddressRecord>& records,
                                   Table<ReconcileStatus>::Writer status, TaskGroup& tasks,
                                   Clock& clock, Rng& rng, Logger log)
    : options_(std::move(options)),
      kv_(kv),
      wants_(wants),
      records_(records),
      status_(status),
      tasks_(tasks),
      clock_(clock),
      rng_(rng),
      log_(log.with("allocator", options_.name)),
      changed_(tasks.executor()) {
  wants_tracker_ = wants_.track([this] { changed_.notify_all(); });
  records_tracker_ = records_.track([this] { changed_.notify_all(); });
}

void AddressAllocator::reconsider_all() {
  for (const auto& [object, row] : wants_.rows()) due_.insert(object);
  changed_.notify_all();
}

asio::awaitable<void> AddressAllocator::run() {
  std::uint32_t attempts = 0;
  bool released_before = false;
  while (!tasks_.cancelled()) {
    due_.merge(wants_tracker_->take());
    follow_records();
    if (wants_.synced() && !std::exchange(released_before, wants_.synced()))
      for (const auto& [object, row] : records_.rows()) due_.insert(object);
    bool failed = false;
    if (records_.synced()) {
      std::set<std::string> keys = std::exchange(due_, {});
      for (const std::string& object : keys) {
        auto done = co_await reconcile(object);
        if (tasks_.cancelled()) co_return;
        if (done) continue;
        if (!failed && attempts == 0) log_.warning("{}: {}", object, done.error().text());
        failed = true;
        due_.insert(object);
      }
    }
    if (failed) {
      Duration pause = backoff(attempts++, options_.retry_base, options_.retry_cap, rng_);
      if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
      continue;
    }
    attempts = 0;
    if (wants_tracker_->pending() || records_tracker_->pending()) continue;
    if (!due_.empty() && records_.synced()) continue;
    if (auto woken = co_await changed_.wait(); !woken) co_return;
  }
}

void AddressAllocator::follow_records() {
  std::set<std::string> changed = records_tracker_->take();
  if (!changed.empty()) due_.insert(troubled_.begin(), troubled_.end());
  for (const std::string& object : changed) {
    for (const Ip& ip : held_[object])
      if (auto owner = owners_.find(ip); owner != owners_.end() && owner->second == object)
        owners_.erase(owner);
    held_.erase(object);
    pending_.erase(object);
    due_.insert(object);
    const AddressRecord* record = records_.find(object);
    if (record == nullptr) continue;
    held_[object] = record->ips;
    for (const Ip& ip : record->ips) {
      owners_[ip] = object;
      avoid_.erase(ip);
    }
  }
}

bool AddressAllocator::taken(const Ip& ip, const std::string& object) const {
  auto owner = owners_.find(ip);
  if (owner != owners_.end() && owner->second != object) return true;
  if (avoid_.contains(ip)) return true;
  return std::ranges::any_of(pending_, [&](const auto& entry) {
    return entry.first != object && std::ranges::find(entry.second, ip) != entry.second.end();
  });
}

// What it has of a family, or has asked the store for.
std::optional<Ip> AddressAllocator::had(const AddressWant& want, const AddressRecord* record,
                                        Family family) const {
  const std::vector<Ip>* ips = record == nullptr ? nullptr : &record->ips;
  if (auto asked = pending_.find(want.object); ips == nullptr && asked != pending_.end())
    ips = &asked->second;
  if (ips == nullptr) return std::nullopt;
  auto kept = std::ranges::find_if(*ips, [&](const Ip& ip) { return ip.family() == family; });
  if (kept == ips->end() || taken(*kept, want.object)) return std::nullopt;
  return *kept;
}

// False when it cannot have the address that it asks for; the plan's problem says why.
bool AddressAllocator::give_fixed(const AddressWant& want, const Ip& fixed,
                                  const std::optional<Ip>& had, Plan& plan) const {
  if (taken(fixed, want.object)) {
    auto owner = owners_.find(fixed);
    plan.problem =
        join(plan.problem, fmt::format("{} belongs to {}{}", fixed.str(),
                                       owner == owners_.end() ? "another service" : owner->second,
                                       options_.taken_note));
    return false;
  }
  std::vector<Prefix> ranges = options_.ranges();
  std::vector<AddressSpan> spans = options_.spans ? options_.spans() : std::vector<AddressSpan>{};
  auto has = [&](const auto& range) { return range.contains(fixed); };
  bool inside = std::ranges::any_of(ranges, has) || std::ranges::any_of(spans, has);
  if (!inside && !options_.outside_ranges && had != fixed) {
    plan.problem =
        join(plan.problem, fmt::format("{} is in no range for {}", fixed.str(), options_.name));
    return false;
  }
  if (!inside)
    plan.problem =
        join(plan.problem, fmt::format("{} is kept, but is outside the plan", fixed.str()));
  plan.ips.push_back(fixed);
  return true;
}

AddressAllocator::Plan AddressAllocator::plan_for(const AddressWant& want,
                                                  const AddressRecord* record) const {
  Plan plan;
  plan.problem = want.problem;
  std::vector<Prefix> ranges = options_.ranges();
  std::vector<AddressSpan> spans = options_.spans ? options_.spans() : std::vector<AddressSpan>{};
  auto is_taken = [&](const Ip& ip) { return taken(ip, want.object); };
  for (Family family : want.families) {
    std::optional<Ip> held = had(want, record, family);
    auto fixed =
        std::ranges::find_if(want.fixed, [family](const Ip& ip) { return ip.family() == family; });
    if (fixed != want.fixed.end()) {
      bool given = give_fixed(want, *fixed, held, plan);
      if (!given && options_.keep_meanwhile && held) plan.ips.push_back(*held);
      continue;
    }
    // What it has already stays, also when the plan has moved on.
    if (held) {
      plan.ips.push_back(*held);
      continue;
    }
    if (!want.problem.empty()) continue;
    auto chosen = choose_address(ranges, family, want.object, options_.low_band_last, is_taken);
    if (!chosen) chosen = choose_in_spans(spans, family, want.object, is_taken);
    if (chosen) {
      plan.ips.push_back(*chosen);
      continue;
    }
    bool planned = std::ranges::any_of(
                       ranges, [&](const Prefix& range) { return range.family() == family; }) ||
                   std::ranges::any_of(spans, [&](const AddressSpan& span) {
                     return span.first.family() == family;
                   });
    // A second family that the plan does not have is not missed.
    if (planned || want.families.size() == 1)
      plan.problem = join(plan.problem, fmt::format("no free {} address{}", to_string(family),
                                                    planned ? "" : ": the plan has no range"));
  }
  return plan;
}

asio::awaitable<Result<void>> AddressAllocator::reconcile(std::string object) {
  const AddressWant* want = wants_.find(object);
  const AddressRecord* record = records_.find(object);
  if (want == nullptr) {
    report(object, "");
    if (record == nullptr || !wants_.synced()) co_return Result<void>{};
    AddressRecord gone = *record;
    co_return co_await release(std::move(gone));
  }
  Plan plan = plan_for(*want, record);
  report(object, plan.problem);
  AddressRecord next;
  next.object = object;
  next.ips = plan.ips;
  next.created_unix_s = want->created_unix_s;
  if (next.created_unix_s == 0 && record != nullptr) next.created_unix_s = record->created_unix_s;
  if (next.created_unix_s == 0)
    next.created_unix_s =
        std::chrono::duration_cast<std::chrono::seconds>(clock_.wall_now().time_since_epoch())
            .count();
  if (record != nullptr && record->ips == next.ips && record->created_unix_s == next.created_unix_s)
    co_return Result<void>{};
  std::optional<AddressRecord> before;
  if (record != nullptr) before = *record;
  co_return co_await write(std::move(next), std::move(before));
}

asio::awaitable<Result<void>> AddressAllocator::write(AddressRecord next,
                                                      std::optional<AddressRecord> before) {
  TxnRequest request;
  Compare unchanged;
  unchanged.key = options_.prefix + next.object;
  unchanged.target = Compare::Target::kMod;
  unchanged.number = before ? before->mod_revision : 0;
  request.compares.push_back(unchanged);
  std::vector<Ip> old = before ? before->ips : std::vector<Ip>{};
  for (const Ip& ip : next.ips) {
    if (std::ranges::find(old, ip) != old.end()) continue;
    Compare absent;
    absent.key = options_.owners + ip.str();
    absent.target = Compare::Target::kVersion;
    request.compares.push_back(absent);
    request.then.emplace_back(Put{absent.key, next.object});
    request.otherwise.emplace_back(RangeRequest{absent.key});
  }
  for (const Ip& ip : old)
    if (std::ranges::find(next.ips, ip) == next.ips.end())
      request.then.emplace_back(Delete{options_.owners + ip.str(), ""});
  request.then.emplace_back(Put{unchanged.key, encode(next)});
  pending_[next.object] = next.ips;
  CO_TRY(result, co_await kv_.txn(std::move(request)));
  if (result.succeeded) co_return Result<void>{};
  pending_.erase(next.object);
  for (const RangeResult& range : result.ranges)
    for (const KeyValue& owner : range.kvs)
      if (owner.value != next.object)
        if (auto ip = Ip::parse(std::string_view(owner.key).substr(options_.owners.size())))
          avoid_.insert(*ip);
  co_return fail(Code::kAborted, "{}: the store has changed meanwhile", next.object);
}

asio::awaitable<Result<void>> AddressAllocator::release(AddressRecord record) {
  TxnRequest request;
  Compare unchanged;
  unchanged.key = options_.prefix + record.object;
  unchanged.target = Compare::Target::kMod;
  unchanged.number = record.mod_revision;
  request.compares.push_back(unchanged);
  request.then.emplace_back(Delete{unchanged.key, ""});
  for (const Ip& ip : record.ips) request.then.emplace_back(Delete{options_.owners + ip.str(), ""});
  CO_TRY(result, co_await kv_.txn(std::move(request)));
  if (!result.succeeded)
    co_return fail(Code::kAborted, "{}: the store has changed meanwhile", record.object);
  co_return Result<void>{};
}

void AddressAllocator::report(const std::string& object, const std::string& problem) {
  ReconcileStatus line;
  line.reconciler = options_.name;
  line.object = object;
  line.state = ReconcileState::kError;
  line.error = problem;
  if (problem.empty()) {
    troubled_.erase(object);
    status_.erase(line.key());
  } else {
    troubled_.insert(object);
    status_.upsert(std::move(line));
  }
}

}  // namespace tombolo::controller
