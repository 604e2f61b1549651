// Shared addresses while their store loses one of its three members after the other, and while the
// embedded store is restarted: no address twice, no acknowledged claim lost.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <functional>

#include "core/store/etcd_client.h"
#include "core/store/test_stores.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

// What all nodes hold that was acknowledged, and what went wrong.
struct Ledger {
  std::map<std::string, std::string> holder_of;  // by address
  std::uint64_t takes = 0;
  std::string trouble;
  bool stop = false;
  int running = 0;
};

// A node's daemon: leases as it would write them.
struct Daemon {
  TestNode node;
  std::map<std::string, ClaimedLease> leases;
  int serial = 0;

  Daemon(const std::string& name, Drive& drive, std::unique_ptr<Kv> kv)
      : node(name, drive, std::move(kv)) {
    node.wait_synced();
    node.set_pools({{"campus", {range("10.9.0.1", "10.9.0.60")}, 0, {0, 0}}});
  }

  std::vector<ClaimedLease> held() const {
    std::vector<ClaimedLease> all;
    for (const auto& [holder, lease] : leases) all.push_back(lease);
    return all;
  }

  asio::awaitable<void> take_one(Ledger& ledger) {
    std::vector<ClaimWanted> one{wanted(fmt::format("{}-{}", node.name, serial++))};
    Result<ClaimsTaken> taken = co_await node.claims->take(std::move(one));
    if (!taken) {
      Code code = taken.error().code;
      if (code != Code::kUnavailable && code != Code::kAborted && code != Code::kResourceExhausted)
        ledger.trouble = taken.error().text();
      (void)co_await node.clock->sleep_for(5ms);
      co_return;
    }
    const AddressClaim& claim = taken->claims[0][0];
    auto [at, is_new] = ledger.holder_of.emplace(claim.ip.str(), claim.holder);
    if (!is_new)
      ledger.trouble = fmt::format("{} is {}'s and {}'s", at->first, at->second, claim.holder);
    leases.emplace(claim.holder, lease_of(claim));
    ++ledger.takes;
  }

  // As a DEL: the lease goes first. What the store does not hear, reconcile() tells it.
  asio::awaitable<void> release_one(Ledger& ledger) {
    auto first = leases.begin();
    std::vector<std::string> holders{first->first};
    ledger.holder_of.erase(first->second.addresses[0].ip.str());
    leases.erase(first);
    (void)co_await node.claims->release(std::move(holders));
  }

  asio::awaitable<void> live(Ledger& ledger) {
    for (int step = 0; !ledger.stop && ledger.trouble.empty(); ++step) {
      if (leases.size() < 8) co_await take_one(ledger);
      if (leases.size() >= 4) co_await release_one(ledger);
      if (step % 20 == 19) {
        std::function<std::vector<ClaimedLease>()> leases_now = [this] { return held(); };
        auto report = co_await node.claims->reconcile(std::move(leases_now));
        if (report && (report->taken_back > 0 || !report->conflicts.empty()))
          ledger.trouble = fmt::format("lost: {}, in conflict: {}", report->taken_back,
                                       report->conflicts.size());
      }
    }
    --ledger.running;
  }
};

struct Fleet {
  Drive drive;
  Ledger ledger;
  std::vector<std::unique_ptr<Daemon>> daemons;
  std::vector<std::string> endpoints;

  Fleet(const std::vector<std::string>& store, int nodes) : endpoints(store) {
    for (int i = 0; i < nodes; ++i)
      daemons.push_back(std::make_unique<Daemon>(fmt::format("n{}", i), drive, connect()));
    for (const auto& daemon : daemons) {
      ++ledger.running;
      asio::co_spawn(drive.executor(), daemon->live(ledger), asio::detached);
    }
  }
  ~Fleet() {
    ledger.stop = true;
    drive.until([&] { return ledger.running == 0; }, 60s);
  }
  std::unique_ptr<Kv> connect() {
    EtcdClientOptions options;
    options.endpoints = endpoints;
    options.request_timeout = 2s;
    return make_etcd_client(options, drive.executor()).value();
  }
  // True when so many more addresses have been taken.
  bool goes_on(std::uint64_t takes) {
    std::uint64_t goal = ledger.takes + takes;
    return drive.until([&] { return ledger.takes >= goal || !ledger.trouble.empty(); }, 60s) &&
           ledger.trouble.empty();
  }
  // Soon after a restart a request may still meet the old connection; a daemon would ask again too.
  Result<ClaimsReconciled> reconciled(Daemon& daemon) {
    Result<ClaimsReconciled> report = fail(Code::kUnavailable, "not asked yet");
    for (int attempt = 0; attempt < 20 && !report; ++attempt) {
      if (attempt > 0) REQUIRE(drive.run(daemon.node.clock->sleep_for(100ms)));
      REQUIRE(drive.until([&] { return daemon.node.claims->synced(); }));
      report = daemon.node.reconcile(daemon.held());
    }
    return report;
  }
  // The store holds what the daemons hold, no more and no less.
  void settle_and_compare() {
    ledger.stop = true;
    REQUIRE(drive.until([&] { return ledger.running == 0; }, 60s));
    INFO(ledger.trouble);
    REQUIRE(ledger.trouble.empty());
    for (const auto& daemon : daemons) {
      // A claim whose acknowledgement was lost is freed; none is missing.
      auto report = reconciled(*daemon);
      INFO(daemon->node.name << ": " << (report ? "" : report.error().text()));
      REQUIRE(report.has_value());
      REQUIRE(report->taken_back == 0);
      REQUIRE(report->conflicts.empty());
    }
    auto kv = connect();
    RangeRequest request{.key = std::string(records::kClaimsPrefix),
                         .range_end = prefix_end(records::kClaimsPrefix)};
    auto all = drive.run(kv->range(request));
    REQUIRE(all);
    std::map<std::string, std::string> stored;
    for (const KeyValue& pair : all->kvs) {
      AddressClaim claim = records::decode_claim(pair).value();
      if (claim.held()) stored.emplace(claim.ip.str(), claim.holder);
    }
    REQUIRE(stored == ledger.holder_of);
  }
};

TEST_CASE("claims: three members, one killed at a time") {
  auto store = EtcdStore::start(3);
  if (store == nullptr) SKIP("etcd is not installed (Debian package etcd-server)");
  Fleet fleet(store->endpoints(), 4);
  REQUIRE(fleet.goes_on(40));
  for (std::size_t member = 0; member < 3; ++member) {
    store->kill_member(member);
    bool goes_on = fleet.goes_on(60);
    INFO("without member " << member << ": " << fleet.ledger.trouble);
    REQUIRE(goes_on);
    store->restart_member(member);
    REQUIRE(fleet.goes_on(40));
  }
  fleet.settle_and_compare();
}

TEST_CASE("claims: the embedded store is restarted while nodes take and release") {
  EmbeddedStore store;
  Fleet fleet(store.endpoints(), 3);
  for (int round = 0; round < 3; ++round) {
    bool goes_on = fleet.goes_on(40);
    INFO("round " << round << ": " << fleet.ledger.trouble);
    REQUIRE(goes_on);
    store.restart();
  }
  REQUIRE(fleet.goes_on(40));
  fleet.settle_and_compare();
}

}  // namespace
}  // namespace tombolo
