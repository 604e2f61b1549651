// Wants against rows, one transaction per label set.
#include "servicesync/controller/identity_allocator.h"

#include <charconv>

namespace tombolo::controller {

std::optional<std::uint32_t> next_identity(const cilium::Origin& origin, std::uint32_t last,
                                           const std::set<std::uint32_t>& taken) {
  std::uint32_t low = cilium::first_identity(origin.id, origin.cluster_bits) + kReservedIdentities;
  std::uint32_t high = cilium::last_identity(origin.id, origin.cluster_bits);
  std::uint32_t candidate = last < low || last >= high ? low : last + 1;
  // As many tries as there are taken ones, and one more, must find a free number.
  for (std::size_t tries = 0; tries <= taken.size() && tries <= high - low; ++tries) {
    if (!taken.contains(candidate)) return candidate;
    candidate = candidate == high ? low : candidate + 1;
  }
  return std::nullopt;
}

IdentityAllocator::IdentityAllocator(IdentityOptions options, Kv& kv, Table<IdentityWant>& wants,
                                     Table<IdentityRow>& rows,
                                     Table<ReconcileStatus>::Writer status, TaskGroup& tasks,
                                     Clock& clock, Rng& rng, Logger log)
    : options_(std::move(options)),
      kv_(kv),
      wants_(wants),
      rows_(rows),
      status_(status),
      tasks_(tasks),
      clock_(clock),
      rng_(rng),
      log_(log.with("allocator", "identities")),
      changed_(tasks.executor()) {
  wants_tracker_ = wants_.track([this] { changed_.notify_all(); });
  rows_tracker_ = rows_.track([this] { changed_.notify_all(); });
}

asio::awaitable<void> IdentityAllocator::run() {
  tasks_.spawn("identities sweep", tick());
  std::uint32_t attempts = 0;
  while (!tasks_.cancelled()) {
    due_.merge(wants_tracker_->take());
    follow_rows();
    Result<void> done;
    if (rows_.synced() && !cursor_loaded_) done = co_await load_cursor();
    if (rows_.synced() && cursor_loaded_) {
      std::set<std::string> keys = std::exchange(due_, {});
      for (const std::string& labels : keys) {
        Result<void> given;
        if (done) given = co_await allocate(labels);
        if (tasks_.cancelled()) co_return;
        if (!done || !given) due_.insert(labels);
        if (!given) done = std::move(given);
      }
      if (done && std::exchange(sweep_due_, false)) done = co_await sweep();
    }
    if (!done) {
      if (attempts == 0) log_.warning("{}", done.error().text());
      ReconcileStatus line{"identities",       "", ReconcileState::kError, 0, attempts + 1,
                           done.error().text()};
      status_.upsert(std::move(line));
      Duration pause = backoff(attempts++, options_.retry_base, options_.retry_cap, rng_);
      if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
      continue;
    }
    if (std::exchange(attempts, 0) > 0) status_.erase("identities|");
    if (wants_tracker_->pending() || rows_tracker_->pending() || sweep_due_) continue;
    if (!due_.empty() && rows_.synced() && cursor_loaded_) continue;
    if (auto woken = co_await changed_.wait(); !woken) co_return;
  }
}

void IdentityAllocator::follow_rows() {
  for (const std::string& labels : rows_tracker_->take()) {
    asked_.erase(labels);
    due_.insert(labels);
    if (auto old = number_of_.find(labels); old != number_of_.end()) {
      taken_.erase(old->second);
      number_of_.erase(old);
    }
    const IdentityRow* row = rows_.find(labels);
    if (row == nullptr) continue;
    number_of_[labels] = row->number;
    taken_.insert(row->number);
  }
}

asio::awaitable<Result<void>> IdentityAllocator::load_cursor() {
  CO_TRY(found, co_await kv_.get(std::string(keys::kIdentityCursor)));
  if (found) {
    const std::string& text = found->value;
    // A cursor that is no number costs nothing but the order of numbers.
    std::from_chars(text.data(), text.data() + text.size(), cursor_);
  }
  cursor_loaded_ = true;
  co_return Result<void>{};
}

asio::awaitable<Result<void>> IdentityAllocator::allocate(std::string labels) {
  bool wanted = wants_.find(labels) != nullptr;
  bool known = number_of_.contains(labels);
  if (wanted)
    unused_since_.erase(labels);
  else if (known)
    unused_since_.try_emplace(labels, clock_.now());
  if (!wanted || known || asked_.contains(labels)) co_return Result<void>{};
  auto number = next_identity(options_.origin, cursor_, taken_);
  if (!number)
    co_return fail(Code::kResourceExhausted, "every identity of cluster {} is in use",
                   options_.origin.cluster);
  TxnRequest request;
  Compare absent;
  absent.key = cilium::keys::identity(*number);
  absent.target = Compare::Target::kVersion;
  request.compares.push_back(absent);
  request.then.emplace_back(Put{absent.key, labels});
  request.then.emplace_back(Put{std::string(keys::kIdentityCursor), fmt::to_string(*number)});
  cursor_ = *number;  // whatever comes of it, the next try takes another number
  CO_TRY(result, co_await kv_.txn(std::move(request)));
  if (!result.succeeded)
    co_return fail(Code::kAborted, "identity {} was given out by somebody else", *number);
  asked_.insert(labels);
  co_return Result<void>{};
}

asio::awaitable<Result<void>> IdentityAllocator::sweep() {
  // What was written and never seen (the store was put back meanwhile) is asked for again.
  asked_.clear();
  for (const auto& [labels, row] : wants_.rows())
    if (!number_of_.contains(labels)) due_.insert(labels);
  if (!wants_.synced()) co_return Result<void>{};
  std::vector<std::string> old;
  for (const auto& [labels, since] : unused_since_)
    if (clock_.now() - since >= options_.grace) old.push_back(labels);
  for (const std::string& labels : old) {
    auto number = number_of_.find(labels);
    if (wants_.find(labels) != nullptr || number == number_of_.end()) {
      unused_since_.erase(labels);
      continue;
    }
    Delete request{cilium::keys::identity(number->second), ""};
    CO_TRY_OK(co_await kv_.erase(std::move(request)));
    unused_since_.erase(labels);
  }
  co_return Result<void>{};
}

asio::awaitable<void> IdentityAllocator::tick() {
  while (!tasks_.cancelled()) {
    if (auto slept = co_await clock_.sleep_for(options_.sweep); !slept) co_return;
    sweep_due_ = true;
    changed_.notify_all();
  }
}

}  // namespace tombolo::controller
