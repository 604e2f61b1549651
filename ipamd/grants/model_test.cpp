// Clusters that share a pool, against an adversary: whoever reads another's record gets any version
// that ever was, or none; controllers die between reading and writing; stores are put back to any
// backup; pods come and go. No address is ever two pods', and nobody may claim in another's part.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <deque>
#include <set>

#include "core/clock.h"
#include "ipamd/grants/grants.h"

namespace tombolo::grants {
namespace {

const std::vector<std::string> kNames{"a", "b", "c"};  // "a" is the home
constexpr int kPartLength = 30;

Ip address(std::uint32_t index) {
  return Ip::v4(0x0a090000U + index);
}

std::vector<Prefix> all_parts() {
  return cut({{address(0), address(15)}}, kPartLength);
}

struct Store {
  std::uint64_t id = 1;
  std::optional<GrantLedger> ledger;
  std::optional<PoolParts> parts;
  std::map<Ip, int> claims;  // held, by the pod
};

// What is true, whatever stores say: which pod has an address.
struct Cluster {
  Store store;
  std::vector<Store> backups;
  std::map<Ip, int> pods;
  std::int64_t wanted = 1;
  std::vector<GrantLedger> ledgers;  // every version that was ever written
  std::vector<PoolParts> copies;
  // Decided, not written yet, and what it was decided from.
  std::optional<std::pair<std::optional<GrantLedger>, GrantLedger>> home_step;
  std::optional<std::pair<std::optional<PoolParts>, PoolParts>> grantee_step;
};

class World {
 public:
  explicit World(std::uint64_t seed) : rng_(make_seeded_rng(seed)) {
    for (const std::string& name : kNames) clusters_[name].store.id = ++stores_;
  }

  // Any version, mostly the last one; or none.
  template <class Row>
  std::optional<Row> read(const std::vector<Row>& history, bool truly) {
    if (history.empty()) return std::nullopt;
    if (truly) return history.back();
    std::uint64_t dice = rng_->below(8);
    if (dice == 0) return std::nullopt;
    if (dice < 4) return history[rng_->below(history.size())];
    return history.back();
  }

  void decide_home(bool truly) {
    Cluster& home = clusters_["a"];
    HomeFacts facts;
    facts.pool = "racks";
    facts.self = "a";
    facts.store_id = home.store.id;
    facts.members = {kNames.begin(), kNames.end()};
    for (auto& [name, cluster] : clusters_) {
      if (name == "a") {
        if (home.store.parts) facts.copies[name] = *home.store.parts;
      } else if (auto copy = read(cluster.copies, truly)) {
        facts.copies[name] = *copy;
      }
    }
    facts.parts = all_parts();
    for (const Prefix& part : facts.parts)
      if (in_use(home.store, part)) facts.used_here.insert(part);
    facts.random = number();
    HomeStep step = next_ledger(home.store.ledger, facts);
    problems_ = step.problems;
    home.home_step = {home.store.ledger, std::move(step.ledger)};
  }
  void write_home() {
    Cluster& home = clusters_["a"];
    auto step = std::exchange(home.home_step, std::nullopt);
    if (!step || step->first != home.store.ledger || step->second == step->first) return;
    home.store.ledger = step->second;
    home.ledgers.push_back(std::move(step->second));
  }

  void decide_grantee(const std::string& name, bool truly) {
    Cluster& cluster = clusters_[name];
    GranteeFacts facts;
    facts.pool = "racks";
    facts.self = name;
    facts.home = "a";
    facts.store_id = cluster.store.id;
    if (name == "a")
      facts.ledger = cluster.store.ledger;
    else
      facts.ledger = read(clusters_["a"].ledgers, truly);
    for (const Prefix& part : all_parts())
      if (in_use(cluster.store, part)) facts.busy.insert(part);
    for (const auto& [ip, pod] : cluster.store.claims) {
      ++facts.in_use[Prefix(ip, kPartLength)];
      if (pod % 5 == 0) facts.pinned.insert(Prefix(ip, kPartLength));
    }
    facts.wanted = cluster.wanted;
    facts.random = number();
    cluster.grantee_step = {cluster.store.parts, next_parts(cluster.store.parts, facts).parts};
  }
  void write_grantee(const std::string& name) {
    Cluster& cluster = clusters_[name];
    auto step = std::exchange(cluster.grantee_step, std::nullopt);
    if (!step || step->first != cluster.store.parts || step->second == step->first) return;
    cluster.store.parts = step->second;
    cluster.copies.push_back(std::move(step->second));
  }

  // A node claims in one transaction; sometimes it dies before its pod has the address.
  void start_pod(const std::string& name) {
    Cluster& cluster = clusters_[name];
    Ip ip = address(static_cast<std::uint32_t>(rng_->below(16)));
    if (!cluster.store.parts || !allows(*cluster.store.parts, cluster.store.id, ip)) return;
    if (!cluster.store.claims.try_emplace(ip, ++pods_).second) return;
    if (rng_->below(6) > 0) cluster.pods[ip] = pods_;
  }
  // The pod goes first, its claim at some time later.
  void end_pod(const std::string& name) {
    Cluster& cluster = clusters_[name];
    if (cluster.pods.empty()) return;
    auto at = std::next(cluster.pods.begin(),
                        static_cast<std::ptrdiff_t>(rng_->below(cluster.pods.size())));
    cluster.pods.erase(at);
  }
  void release(const std::string& name) {
    Cluster& cluster = clusters_[name];
    std::erase_if(cluster.store.claims,
                  [&](const auto& claim) { return !cluster.pods.contains(claim.first); });
  }

  void back_up(const std::string& name) {
    Cluster& cluster = clusters_[name];
    cluster.backups.push_back(cluster.store);
  }
  void restore(const std::string& name) {
    Cluster& cluster = clusters_[name];
    if (cluster.backups.empty()) return;
    cluster.store = cluster.backups[rng_->below(cluster.backups.size())];
    new_life(cluster);
  }
  // Destroyed with its pods, and an operator says so; then built anew.
  void destroy(const std::string& name) {
    Cluster& home = clusters_["a"];
    Cluster& cluster = clusters_[name];
    if (name == "a" || !home.store.ledger) return;
    cluster.pods.clear();
    cluster.store = {};
    cluster.backups.clear();
    new_life(cluster);
    if (auto without = without_cluster(*home.store.ledger, name)) {
      home.store.ledger = *without;
      home.ledgers.push_back(std::move(*without));
    }
  }
  void want(const std::string& name) {
    clusters_[name].wanted = static_cast<std::int64_t>(rng_->below(4));
  }

  void any_step(std::uint32_t dice, bool restores) {
    const std::string& name = kNames[dice / 64 % kNames.size()];
    switch (dice % 16) {
      case 0:
      case 1:
        return decide_home(false);
      case 2:
      case 3:
        return write_home();
      case 4:
      case 5:
        return decide_grantee(name, false);
      case 6:
      case 7:
        return write_grantee(name);
      case 8:
      case 9:
        return start_pod(name);
      case 10:
        return end_pod(name);
      case 11:
        return release(name);
      case 12:
        return want(name);
      case 13:
        return back_up(name);
      case 14:
        if (restores && dice / 16 % 4 == 0) return restore(name);
        return start_pod(name);
      default:
        if (restores && dice / 16 % 4 == 0) return destroy(name);
        return settle_once();
    }
  }

  // Everybody hears everything.
  void settle_once() {
    for (const std::string& name : kNames) {
      decide_grantee(name, true);
      write_grantee(name);
    }
    decide_home(true);
    write_home();
  }

  std::string broken() {
    std::map<Ip, std::string> holders;
    for (const auto& [name, cluster] : clusters_)
      for (const auto& [ip, pod] : cluster.pods)
        if (auto [at, is_new] = holders.emplace(ip, name); !is_new)
          return fmt::format("{} is a pod's of {} and one's of {}", ip, at->second, name);
    for (std::uint32_t i = 0; i < 16; ++i) {
      std::string may;
      for (const auto& [name, cluster] : clusters_)
        if (cluster.store.parts && allows(*cluster.store.parts, cluster.store.id, address(i))) {
          if (!may.empty()) return fmt::format("{} and {} may claim {}", may, name, address(i));
          may = name;
          auto held = holders.find(address(i));
          if (held != holders.end() && held->second != name)
            return fmt::format("{} may claim {}, which a pod of {} has", name, address(i),
                               held->second);
        }
    }
    return {};
  }

  Cluster& cluster(const std::string& name) { return clusters_[name]; }
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  static bool in_use(const Store& store, const Prefix& part) {
    return std::ranges::any_of(store.claims,
                               [&](const auto& claim) { return part.contains(claim.first); });
  }
  // Another store id; nodes claim back what their pods have.
  void new_life(Cluster& cluster) {
    cluster.store.id = ++stores_;
    cluster.home_step.reset();
    cluster.grantee_step.reset();
    for (const auto& [ip, pod] : cluster.pods) cluster.store.claims[ip] = pod;
  }
  std::int64_t number() { return static_cast<std::int64_t>(rng_->next() >> 2U) + 1; }

  std::unique_ptr<Rng> rng_;
  std::map<std::string, Cluster> clusters_;
  std::uint64_t stores_ = 0;
  int pods_ = 0;
  std::vector<std::string> problems_;
};

void run(World& world, const std::vector<std::uint32_t>& dice, bool restores) {
  for (std::uint32_t one : dice) {
    world.any_step(one, restores);
    std::string broken = world.broken();
    if (!broken.empty()) RC_FAIL(broken);
  }
}

auto steps() {
  return rc::gen::resize(
      600, rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange(0U, 1U << 12U)));
}

TEST_CASE("shared pool: no address twice, whatever is lost, late, killed or put back") {
  REQUIRE(rc::check("restores and destruction", [] {
    World world(*rc::gen::arbitrary<std::uint32_t>());
    run(world, *steps(), true);
  }));
}

TEST_CASE("shared pool: without restores everybody gets what there is, in the end") {
  REQUIRE(rc::check("liveness", [] {
    World world(*rc::gen::arbitrary<std::uint32_t>());
    run(world, *steps(), false);
    for (const std::string& name : kNames) {
      world.cluster(name).pods.clear();
      world.release(name);
      world.cluster(name).wanted = 1;
    }
    for (int i = 0; i < 12; ++i) world.settle_once();
    RC_ASSERT(world.problems().empty());
    for (const std::string& name : kNames) {
      const auto& parts = world.cluster(name).store.parts;
      RC_ASSERT(parts.has_value());
      RC_ASSERT(std::ranges::count(parts->parts, PartState::kHeld, &Part::state) >= 1);
    }
  }));
}

// Any one store at a time: no operator is needed.
TEST_CASE("shared pool: one restored store is healed by the others' records") {
  REQUIRE(rc::check("one restore", [] {
    World world(*rc::gen::arbitrary<std::uint32_t>());
    for (const std::string& name : kNames) world.back_up(name);
    run(world, *steps(), false);
    for (int i = 0; i < 12; ++i) world.settle_once();
    const std::string& name = kNames[*rc::gen::inRange(0U, 3U)];
    // What the nodes of this one do while it is away is nothing.
    std::map<Ip, int> pods = world.cluster(name).pods;
    world.restore(name);
    world.release(name);  // claims that only the backup has
    for (int i = 0; i < 12; ++i) {
      world.settle_once();
      std::string broken = world.broken();
      if (!broken.empty()) RC_FAIL(broken);
    }
    RC_ASSERT(world.problems().empty());
    for (const auto& [ip, pod] : pods)
      RC_ASSERT(allows(*world.cluster(name).store.parts, world.cluster(name).store.id, ip) ||
                std::ranges::any_of(world.cluster(name).store.parts->parts, [&](const Part& part) {
                  return part.range.contains(ip) && part.state != PartState::kReturned;
                }));
  }));
}

}  // namespace
}  // namespace tombolo::grants
