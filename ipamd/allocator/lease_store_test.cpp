// The SQLite file, the group commit and the lease book above it.
#include "ipamd/allocator/lease_store.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>

#include "ipamd/allocator/lease_book.h"
#include "ipamd/allocator/test_loop.h"

namespace tombolo {
namespace {

Lease lease_of(const std::string& container) {
  Lease lease;
  lease.network = "pods";
  lease.attachment.container_id = container;
  lease.attachment.interface_name = "eth0";
  lease.attachment.pod_name = "p'; DROP TABLE leases; --";
  lease.attachment.netns_path = "/run/netns/x";
  return lease;
}

// A book over `store`; one life of an agent.
class Life {
 public:
  explicit Life(LeaseStore& store)
      : book_(store, worker_, loop_.tasks(), loop_.clock(), Logger()) {}
  ~Life() { loop_.end(); }
  template <class T>
  T run(asio::awaitable<T> task) {
    return loop_.run(std::move(task));
  }
  TestLoop& loop() { return loop_; }
  LeaseBook& book() { return book_; }
  Lease acquire(const std::string& container) {
    auto reservation = book_.reserve(lease_of(container), kNodePool, {});
    REQUIRE(reservation);
    REQUIRE(run(book_.durable(reservation->ticket)));
    return reservation->lease;
  }

 private:
  TestLoop loop_;
  Worker worker_;
  LeaseBook book_;
};

std::vector<Prefix> blocks() {
  return {Prefix::parse("10.0.0.0/29").value(), Prefix::parse("fd00::/64").value()};
}

TEST_CASE("what is committed is there after a restart") {
  Folder folder;
  Lease kept;
  Ip freed_first;
  {
    auto store = open_sqlite_lease_store(folder.file("leases.db")).value();
    Life life(*store);
    REQUIRE(life.run(life.book().load()));
    REQUIRE(life.book().set_blocks(kNodePool, blocks()));
    Lease gone = life.acquire("gone");
    kept = life.acquire("kept");
    freed_first = gone.attachment.ips.at(0);
    life.book().mark_attached(kept.key(), kept.sequence);
    REQUIRE(life.run(life.book().release(gone.key(), gone.sequence)));
    REQUIRE(life.run(life.book().release(gone.key(), gone.sequence)).error().code ==
            Code::kNotFound);
    REQUIRE(life.run(life.book().release(kept.key(), 99)).error().code == Code::kAborted);
  }
  auto store = open_sqlite_lease_store(folder.file("leases.db")).value();
  Life life(*store);
  REQUIRE(life.run(life.book().load()));
  REQUIRE(life.book().leases().size() == 1);
  kept.state = LeaseState::kAttached;
  REQUIRE(*life.book().find("kept/eth0") == kept);
  REQUIRE(life.book().allocator().pool(kNodePool)->blocks() == blocks());
  // Sequence numbers go on, and the freed address comes last.
  std::vector<Ip> given;
  for (int i = 0; i < 5; ++i) {
    Lease lease = life.acquire("c" + std::to_string(i));
    REQUIRE(lease.sequence == static_cast<std::uint64_t>(i) + 3);
    given.push_back(lease.attachment.ips.at(0));
  }
  REQUIRE(given.back() == freed_first);
  REQUIRE(!life.book().reserve(lease_of("one more"), kNodePool, {}));
}

TEST_CASE("the last freed addresses are remembered, not all") {
  Folder folder;
  SqliteSettings settings;
  settings.most_freed = 100;
  Ip first = Ip::parse("fd00::1").value();
  auto rows = [&](LeaseStore& store) { return store.load().value().freed; };
  auto store = open_sqlite_lease_store(folder.file("leases.db"), settings).value();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EraseLease change{i + 1, {{"campus", Ip(Family::kV6, first.value() + i)}}, 1000};
    REQUIRE(store->commit({change}));
  }
  REQUIRE(rows(*store).size() <= 126);
  REQUIRE(rows(*store).back().ip == Ip(Family::kV6, first.value() + 999));
  store.reset();
  store = open_sqlite_lease_store(folder.file("leases.db"), settings).value();
  REQUIRE(rows(*store).size() == 100);
  REQUIRE(rows(*store).front().ip == Ip(Family::kV6, first.value() + 900));
}

TEST_CASE("many callers share a commit") {
  Folder folder;
  Store store(folder.file("leases.db"));
  Life life(store);
  REQUIRE(life.run(life.book().load()));
  REQUIRE(life.book().set_blocks(kNodePool, {Prefix::parse("10.0.0.0/16").value()}));
  std::vector<LeaseJournal::Ticket> tickets;
  for (int i = 0; i < 1000; ++i)
    tickets.push_back(
        life.book().reserve(lease_of("c" + std::to_string(i)), kNodePool, {})->ticket);
  for (auto& ticket : tickets) REQUIRE(life.run(life.book().durable(ticket)));
  REQUIRE(store.commits == 1);
  REQUIRE(store.load()->leases.size() == 1000);
}

TEST_CASE("a store that cannot write: nothing is answered, nothing is lost, then it goes on") {
  Folder folder;
  Store store(folder.file("leases.db"));
  {
    Life life(store);
    REQUIRE(life.run(life.book().load()));
    REQUIRE(life.book().set_blocks(kNodePool, {Prefix::parse("10.0.0.0/31").value()}));
    Lease held = life.acquire("held");
    store.refuse = true;
    auto reservation = life.book().reserve(lease_of("a"), kNodePool, {}).value();
    REQUIRE(life.run(life.book().durable(reservation.ticket)).error().what == "disk full");
    life.book().abandon("a/eth0", reservation.lease.sequence);
    REQUIRE(life.run(life.book().release("held/eth0", held.sequence)).error().what == "disk full");
    REQUIRE(*life.book().find("held/eth0") == held);
    REQUIRE(life.book().journal().trouble() == "resource exhausted: disk full");
    // The reservation of "b" is written, its erasure is not; then "c" gets the address.
    store.refuse = false;
    Lease b = life.acquire("b");
    REQUIRE(life.book().journal().trouble().empty());
    store.refuses = [](const LeaseChange& change) {
      return std::holds_alternative<EraseLease>(change);
    };
    life.book().abandon("b/eth0", b.sequence);
    REQUIRE(life.loop().reaches([&] { return !life.book().journal().trouble().empty(); }));
    Lease c = life.acquire("c");
    REQUIRE(c.attachment.ips == b.attachment.ips);
  }
  REQUIRE(store.load()->leases.size() == 3);
  store.refuses = nullptr;
  Life life(store);
  REQUIRE(life.run(life.book().load()));
  REQUIRE(life.book().leases().size() == 2);
  REQUIRE(!life.book().find("b/eth0"));
  REQUIRE(life.book().find("c/eth0"));
}

TEST_CASE("two attached leases with one address are refused") {
  Folder folder;
  auto store = open_sqlite_lease_store(folder.file("leases.db")).value();
  Lease first = lease_of("a");
  first.sequence = 1;
  first.pools = {std::string(kNodePool)};
  first.state = LeaseState::kAttached;
  first.attachment.ips = {Ip::parse("10.0.0.1").value()};
  Lease second = first;
  second.sequence = 2;
  second.attachment.container_id = "b";
  REQUIRE(store->commit({PutLease{first}, PutLease{second}}));
  Life life(*store);
  auto loaded = life.run(life.book().load());
  REQUIRE(loaded.error().code == Code::kDataLoss);
  REQUIRE(loaded.error().what == "stored lease 1 of a/eth0: 10.0.0.1 is in use already");
}

TEST_CASE("files that are not ours, newer, or open elsewhere are refused") {
  Folder folder;
  {
    SQLite::Database other(folder.file("other.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    other.exec("CREATE TABLE things(a)");
  }
  auto other = open_sqlite_lease_store(folder.file("other.db"));
  REQUIRE(other.error().code == Code::kFailedPrecondition);
  REQUIRE(other.error().what.ends_with("is a database, but not of leases"));
  {
    std::ofstream text(folder.file("text.db"));
    text << "this is a text of some length, and certainly not a database at all";
  }
  REQUIRE(open_sqlite_lease_store(folder.file("text.db")).error().code == Code::kDataLoss);
  auto store = open_sqlite_lease_store(folder.file("leases.db"));
  REQUIRE(store);
  REQUIRE(open_sqlite_lease_store(folder.file("leases.db")).error().code == Code::kUnavailable);
  store->reset();
  {
    SQLite::Database newer(folder.file("leases.db"), SQLite::OPEN_READWRITE);
    newer.exec("PRAGMA user_version=99");
  }
  auto newer = open_sqlite_lease_store(folder.file("leases.db"));
  REQUIRE(newer.error().code == Code::kFailedPrecondition);
  REQUIRE(newer.error().what.find("has schema 99; this program knows up to 2") !=
          std::string::npos);
  REQUIRE(!open_sqlite_lease_store("/nonexistent/folder/leases.db"));
}

}  // namespace
}  // namespace tombolo
