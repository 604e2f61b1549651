// The disk loses power, or fails once, at every single write, sync, truncate, create and delete of
// a life with allocations, releases, marks and checkpoints. Whatever the disk kept, the next life
// has everything that was acknowledged, once, and nothing that was released.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <map>
#include <set>

#include "ipamd/allocator/lease_book.h"
#include "ipamd/allocator/test_disk.h"

namespace tombolo {
namespace {

// What an agent was told, which is what has to be true after the power came back.
struct Known {
  std::map<std::string, Lease> held;                       // acknowledged and not asked to go
  std::map<std::string, std::vector<std::string>> groups;  // interfaces of one pod, by container
  std::set<std::string> unsure;                            // keys: neither answer came
  std::set<std::string> released;
  std::vector<Ip> freed;  // in the order in which they were given back for good
};

class Life {
 public:
  explicit Life(LeaseStore& store)
      : worker_(context_.get_executor()),
        tasks_(context_.get_executor()),
        clock_(make_system_clock()),
        book_(store, worker_, tasks_, *clock_, Logger()),
        own_tasks_(tasks_.size()) {}
  ~Life() {
    tasks_.cancel();
    while (tasks_.size() > 0) context_.run_one();
  }
  LeaseBook& book() { return book_; }
  void run(asio::awaitable<void> task) {
    tasks_.spawn("test", std::move(task));
    while (tasks_.size() > own_tasks_) context_.run_one();
  }

 private:
  asio::io_context context_;
  Worker worker_;
  TaskGroup tasks_;
  std::unique_ptr<Clock> clock_;
  LeaseBook book_;
  std::size_t own_tasks_;
};

LeaseBook::Wanted interface(const std::string& container, const std::string& name) {
  LeaseBook::Wanted wanted;
  wanted.lease.network = "pods";
  wanted.lease.attachment.container_id = container;
  wanted.lease.attachment.interface_name = name;
  // Long enough that the tree grows by pages within a short life.
  wanted.lease.attachment.pod_name = std::string(700, 'p') + container;
  wanted.addresses = {{Family::kV4, {"node"}, std::nullopt}, {Family::kV6, {"node"}, std::nullopt}};
  return wanted;
}

asio::awaitable<void> acquire(LeaseBook& book, Known& known, std::string container) {
  std::vector<LeaseBook::Wanted> wanted{interface(container, "eth0"), interface(container, "net1")};
  auto reserved = book.reserve_all(std::move(wanted));
  if (!reserved) co_return;
  for (const Lease& lease : reserved->leases) {
    known.unsure.insert(lease.key());
    known.groups[container].push_back(lease.key());
  }
  if (auto written = co_await book.durable(reserved->ticket); !written) {
    for (const Lease& lease : reserved->leases) book.abandon(lease.key(), lease.sequence);
    co_return;
  }
  for (const Lease& lease : reserved->leases) {
    known.unsure.erase(lease.key());
    known.held[lease.key()] = lease;
    book.mark_attached(lease.key(), lease.sequence);
  }
}

asio::awaitable<void> release(LeaseBook& book, Known& known, std::string container) {
  std::vector<LeaseBook::Held> held;
  std::vector<Ip> ips;
  for (const std::string& key : known.groups[container]) {
    auto at = known.held.find(key);
    if (at == known.held.end()) co_return;
    held.push_back({key, at->second.sequence});
    for (Ip ip : at->second.attachment.ips) ips.push_back(ip);
  }
  for (const auto& one : held) {
    known.held.erase(one.key);
    known.unsure.insert(one.key);
  }
  std::vector<LeaseBook::Held> asked = held;
  if (auto done = co_await book.release_all(std::move(asked)); !done) co_return;
  for (const auto& one : held) {
    known.unsure.erase(one.key);
    known.released.insert(one.key);
  }
  known.freed.insert(known.freed.end(), ips.begin(), ips.end());
}

std::vector<Prefix> blocks() {
  return {Prefix::parse("10.0.0.0/26").value(), Prefix::parse("fd00::/64").value()};
}

asio::awaitable<void> work(LeaseBook& book, Known& known, int life) {
  if (auto loaded = co_await book.load(); !loaded) co_return;
  if (auto set = book.set_blocks(kNodePool, blocks()); !set) co_return;
  for (int i = 0; i < 10; ++i) {
    std::string container = fmt::format("l{}c{}", life, i);
    co_await acquire(book, known, container);
    if (i % 3 == 2) co_await release(book, known, fmt::format("l{}c{}", life, i - 1));
  }
}

SqliteSettings settings_on(const TestDisk& disk) {
  return {disk.vfs(), 12};  // so few pages that checkpoints are cut as well
}

void live(TestDisk& disk, Known& known, int life) {
  auto store = open_sqlite_lease_store("leases.db", settings_on(disk));
  if (!store) return;
  Life one(**store);
  one.run(work(one.book(), known, life));
}

asio::awaitable<void> look(LeaseBook& book, const Known& known) {
  auto loaded = co_await book.load();
  REQUIRE(loaded);
  for (const auto& [key, lease] : known.held) {
    INFO(key);
    auto there = book.find(key);
    REQUIRE(there);
    REQUIRE(there->sequence == lease.sequence);
    REQUIRE(there->attachment.ips == lease.attachment.ips);
  }
  std::set<Ip> addresses;
  for (const auto& [key, lease] : book.leases()) {
    INFO(key);
    for (Ip ip : lease.attachment.ips) REQUIRE(addresses.insert(ip).second);
    REQUIRE(!known.released.contains(key));
    REQUIRE((known.held.contains(key) || known.unsure.contains(key)));
    REQUIRE(lease.sequence <= book.allocator().last_sequence());
  }
  // Interfaces of one pod are there together or not at all.
  for (const auto& [container, keys] : known.groups) {
    std::size_t there = 0;
    for (const std::string& key : keys) there += book.find(key) ? 1 : 0;
    REQUIRE((there == 0 || there == keys.size()));
  }
}

// Afterwards the disk works, and the next life has to.
void verify(TestDisk& disk, Known& known) {
  auto store = open_sqlite_lease_store("leases.db", settings_on(disk));
  REQUIRE(store);
  auto stored = (*store)->load();
  REQUIRE(stored);
  // What was given back for good is remembered in that order, unless it is in use again.
  std::vector<Ip> freed;
  for (const auto& entry : stored->freed) freed.push_back(entry.ip);
  std::set<Ip> used_again;
  auto leases = stored->leases.all();
  REQUIRE(leases);
  for (const Lease& lease : *leases)
    used_again.insert(lease.attachment.ips.begin(), lease.attachment.ips.end());
  auto at = freed.begin();
  for (Ip ip : known.freed) {
    if (used_again.contains(ip) || std::ranges::count(known.freed, ip) > 1) continue;
    at = std::find(at, freed.end(), ip);
    REQUIRE(at != freed.end());
  }
  Life life(**store);
  life.run(look(life.book(), known));
  // A failed call may have cost the record of the blocks; the cluster's store names them again.
  REQUIRE(life.book().set_blocks(kNodePool, blocks()));
  Known more;
  life.run([](LeaseBook& book, Known& told) -> asio::awaitable<void> {
    for (int i = 0; i < 3; ++i) co_await acquire(book, told, fmt::format("after{}", i));
  }(life.book(), more));
  REQUIRE(more.held.size() == 6);
  for (const auto& [key, lease] : more.held)
    for (const auto& [other, held] : known.held)
      for (Ip ip : lease.attachment.ips) REQUIRE(std::ranges::count(held.attachment.ips, ip) == 0);
}

TEST_CASE("power is lost at every call that changes the disk") {
  struct Case {
    std::string name;
    TestDisk::Survives survives;
    bool halts;
    bool second_life;  // the cut is in the second one: recovery of the log is cut as well
  };
  auto test = GENERATE(values<Case>({
      {"only what was synced", TestDisk::Survives::kSynced, true, false},
      {"everything that was written", TestDisk::Survives::kEverything, true, false},
      {"any sectors", TestDisk::Survives::kAnySectors, true, false},
      {"any sectors, in the second life", TestDisk::Survives::kAnySectors, true, true},
      {"one call fails, then power is lost", TestDisk::Survives::kSynced, false, false},
      {"one call fails, then sectors are lost", TestDisk::Survives::kAnySectors, false, true},
  }));
  std::size_t cuts = 0;
  for (std::size_t n = 1;; ++n) {
    INFO(test.name << ", call " << n);
    TestDisk disk;
    Known known;
    if (test.second_life) {
      live(disk, known, 0);
      REQUIRE(known.held.size() == 14);
      disk.restart(TestDisk::Survives::kEverything, n);
    }
    disk.fail_at(n, test.halts);
    live(disk, known, 1);
    bool reached = disk.failed();
    disk.restart(test.survives, n);
    verify(disk, known);
    if (!reached) break;
    ++cuts;
  }
  REQUIRE(cuts > 100);
}

}  // namespace
}  // namespace tombolo
