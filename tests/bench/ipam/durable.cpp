// Durable allocations by group commit into a real file, and the start with a million leases.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>

#include "tests/bench/ipam/bench.h"

namespace tombolo::bench {
namespace {

std::vector<Prefix> blocks() {
  return {Prefix::parse("10.0.0.0/10").value(), Prefix::parse("fd00::/64").value()};
}

// A life of an agent, as far as its leases go.
struct Life {
  explicit Life(LeaseStore& store)
      : tasks(context.get_executor()),
        clock(make_system_clock()),
        book(store, worker, tasks, *clock, Logger()),
        own_tasks(tasks.size()) {}
  ~Life() {
    tasks.cancel();
    while (tasks.size() > 0) context.run_one();
  }
  // Runs until every task of the caller has ended.
  void finish() {
    while (tasks.size() > own_tasks) context.run_one();
  }
  double seconds_since(MonotonicTime began) const {
    return std::chrono::duration<double>(clock->now() - began).count();
  }

  asio::io_context context;
  Worker worker;
  TaskGroup tasks;
  std::unique_ptr<Clock> clock;
  LeaseBook book;
  std::size_t own_tasks;
};

// Of this process, all threads: what a busy machine does not blur.
double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

std::unique_ptr<LeaseStore> open(const std::string& file) {
  auto store = open_sqlite_lease_store(file);
  ENSURE(store, "{}", store.error().text());
  return std::move(*store);
}

// Waits for the disk after each allocation, as a plugin does.
asio::awaitable<void> client(LeaseBook& book, std::vector<Lease>& wanted,
                             std::vector<Lease>& made) {
  while (!wanted.empty()) {
    Lease lease = std::move(wanted.back());
    wanted.pop_back();
    auto reservation = book.reserve(std::move(lease), kNodePool, {});
    ENSURE(reservation, "{}", reservation.error().text());
    auto durable = co_await book.durable(reservation->ticket);
    ENSURE(durable, "{}", durable.error().text());
    made.push_back(std::move(reservation->lease));
  }
}

asio::awaitable<void> release_all(LeaseBook& book, std::vector<Lease>& made) {
  while (!made.empty()) {
    Lease lease = std::move(made.back());
    made.pop_back();
    auto released = co_await book.release(lease.key(), lease.sequence);
    ENSURE(released, "{}", released.error().text());
  }
}

asio::awaitable<void> load(LeaseBook& book) {
  auto loaded = co_await book.load();
  ENSURE(loaded, "{}", loaded.error().text());
}

struct Rates {
  double allocations = 0;  // per second
  double releases = 0;
};

Rates measure_clients(const std::string& file, int clients, int total) {
  auto store = open(file);
  Life life(*store);
  auto set = life.book.set_blocks(kNodePool, blocks());
  ENSURE(set);
  std::vector<Lease> made;
  Rates rates;
  std::vector<Lease> wanted;
  for (int i = 0; i < total; ++i) wanted.push_back(typical_lease(i));
  double cpu_before = cpu_seconds();
  auto began = life.clock->now();
  for (int i = 0; i < clients; ++i) life.tasks.spawn("client", client(life.book, wanted, made));
  life.finish();
  rates.allocations = total / life.seconds_since(began);
  double cpu_us = (cpu_seconds() - cpu_before) * 1e6 / total;
  std::uint64_t commits = life.book.journal().batches_written();
  began = life.clock->now();
  for (int i = 0; i < clients; ++i) life.tasks.spawn("client", release_all(life.book, made));
  life.finish();
  rates.releases = total / life.seconds_since(began);
  fmt::print(
      "{:4} clients   {:8.0f} durable allocations/s   {:8.0f} durable releases/s   ({} each;"
      " an allocation takes {:.1f} us of CPU, {} commits for all)\n",
      clients, rates.allocations, rates.releases, total, cpu_us, commits);
  std::fflush(stdout);
  return rates;
}

constexpr int kStarts = 5;

struct Start {
  double seconds = 0;
  double cpu = 0;
  double bytes_each = 0;
};

Start start_once(const Options& options, const std::string& file) {
  std::size_t before = heap_bytes();
  auto clock = make_system_clock();
  double cpu_before = cpu_seconds();
  auto began = clock->now();
  auto store = open(file);
  Life life(*store);
  life.tasks.spawn("load", load(life.book));
  life.finish();
  Start start;
  start.seconds = std::chrono::duration<double>(clock->now() - began).count();
  start.cpu = cpu_seconds() - cpu_before;
  auto count = life.book.leases().size();
  ENSURE(count == static_cast<std::size_t>(options.leases), "{} leases", count);
  start.bytes_each = static_cast<double>(heap_bytes() - before) / static_cast<double>(count);
  return start;
}

}  // namespace

void measure_durable(const Options& options, const Folder& folder) {
  measure_clients(folder.file("alone.db"), 1, options.allocations / 200);
  Rates rates = measure_clients(folder.file("many.db"), options.clients, options.allocations);
  goal("durable_allocations", rates.allocations, "/s", ">=", 50'000);
}

void measure_start(const Options& options, const Folder& folder) {
  std::string file = folder.file("start.db");
  {
    auto store = open(file);
    Ip v4 = Ip::parse("10.0.0.0").value();
    Ip v6 = Ip::parse("fd00::").value();
    std::vector<LeaseChange> changes{SetBlocks{std::string(kNodePool), blocks()}};
    for (int i = 1; i <= options.leases; ++i) {
      Lease lease = typical_lease(i);
      lease.sequence = static_cast<std::uint64_t>(i);
      lease.state = LeaseState::kAttached;
      lease.reserved_unix_ms = 1'790'000'000'000 + i;
      auto offset = static_cast<unsigned>(i);
      lease.set_addresses({{std::string(kNodePool), Ip(Family::kV4, v4.value() + offset)},
                           {std::string(kNodePool), Ip(Family::kV6, v6.value() + offset)}});
      changes.emplace_back(PutLease{std::move(lease)});
      if (changes.size() < LeaseJournal::kBatchChanges && i < options.leases) continue;
      auto committed = store->commit(changes);
      ENSURE(committed, "{}", committed.error().text());
      changes.clear();
    }
  }
  ::sync();
  std::vector<Start> starts;
  for (int i = 0; i < kStarts; ++i) starts.push_back(start_once(options, file));
  std::ranges::sort(starts, {}, &Start::seconds);
  const Start& median = starts[kStarts / 2];
  fmt::print(
      "start with {} leases: {:.2f} s (the median of {}, {:.2f} to {:.2f}; {:.2f} s of CPU), "
      "{:.0f} "
      "bytes of memory each; the file has {} MB\n",
      options.leases, median.seconds, kStarts, starts.front().seconds, starts.back().seconds,
      median.cpu, median.bytes_each, std::filesystem::file_size(file) >> 20U);
  goal("start_with_a_million_leases", median.seconds * 1e6 / options.leases, "s", "<=", 2.0);
  goal("bytes_per_lease", median.bytes_each, "bytes", "<=", 200);
}

}  // namespace tombolo::bench
