// Nodes that share pools, in one process: each with a connection of its own. Test code only.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/last_known.h"
#include "ipamd/claims/claims.h"

namespace tombolo::claims_test {

using namespace std::chrono_literals;

inline IpRange range(const std::string& first, const std::string& last) {
  return {Ip::parse(first).value(), Ip::parse(last).value()};
}

inline ClaimWanted wanted(const std::string& holder, const std::string& pool = "campus",
                          Family family = Family::kV4) {
  ClaimWanted one;
  one.holder = holder + "/eth0";
  one.pod = "shop/" + holder;
  one.addresses = {{family, {pool}, {}}};
  return one;
}

inline ClaimWanted fixed(const std::string& holder, const std::string& identity,
                         std::size_t room = 1, const std::string& pool = "campus") {
  ClaimWanted one = wanted(holder, pool);
  one.identity = identity;
  one.room = room;
  return one;
}

// What a node remembers between its lives.
struct NodeMemory final : LastKnown {
  KnownPrefix load(const std::string& prefix) override {
    KnownPrefix found;
    for (const auto& [key, value] : values)
      if (key.starts_with(prefix)) found.kvs.push_back({key, value, 0, 0, 0, 0});
    return found;
  }
  void put(const std::string& key, const std::string& value) override { values[key] = value; }
  void erase(const std::string& key) override { values.erase(key); }
  void listed(const std::string& /*prefix*/) override {}
  std::map<std::string, std::string> values;
};

struct TestNode {
  std::string name;
  Drive& drive;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng;
  std::unique_ptr<TaskGroup> tasks;
  std::unique_ptr<Claims> claims;

  TestNode(std::string node, Drive& in, std::unique_ptr<Kv> connection, ClaimsOptions options = {})
      : name(std::move(node)), drive(in), kv(std::move(connection)) {
    rng = make_seeded_rng(std::hash<std::string>{}(name));
    tasks = std::make_unique<TaskGroup>(drive.executor());
    options.node = name;
    options.follow_retry_cap = 200ms;
    claims = std::make_unique<Claims>(options, *kv, *tasks, *clock, *rng, Logger());
    tasks->spawn("claims", claims->run());
  }
  TestNode(const TestNode&) = delete;
  TestNode& operator=(const TestNode&) = delete;
  ~TestNode() {
    tasks->cancel();
    drive.until([&] { return tasks->size() == 0; });
  }

  void wait_synced() const {
    REQUIRE(drive.until([&] { return claims->synced(); }));
  }
  void set_pools(std::vector<ClaimPool> pools) const {
    REQUIRE(claims->set_pools(std::move(pools)));
  }

  Result<std::vector<AddressClaim>> take(ClaimWanted one) const {
    std::vector<ClaimWanted> all{std::move(one)};
    Result<ClaimsTaken> taken = drive.run(claims->take(std::move(all)));
    if (!taken) return std::unexpected(taken.error());
    return taken->claims.at(0);
  }
  Result<void> release(const std::string& holder) const {
    return drive.run(claims->release({holder + "/eth0"}));
  }
  Result<ClaimsReconciled> reconcile(std::vector<ClaimedLease> leases) const {
    return drive.run(claims->reconcile([leases] { return leases; }));
  }
};

inline ClaimedLease lease_of(const AddressClaim& claim) {
  return {claim.holder, claim.pod, claim.identity, {{claim.pool, claim.ip}}, claim.since_unix_ms};
}

}  // namespace tombolo::claims_test
