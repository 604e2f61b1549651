// The reconciler's logic against maps in memory: order of writes, reuse of numbers, refusals,
// restarts.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "bpf/internal.h"

namespace tombolo::bpf {
namespace {

// Checks after every single write what a program in the kernel could run into at that moment: an
// address leads to a ring, every slot is the ring's own, every backend is valid; and what was in
// reach since the last grace period has not changed its meaning.
class FakeMaps : public BpfMaps {
 public:
  using Key = abi::lb_endpoint;
  Result<std::vector<std::pair<Key, std::uint32_t>>> frontends() override {
    return std::vector<std::pair<Key, std::uint32_t>>(hash.begin(), hash.end());
  }
  Result<void> put_frontend(const Key& key, std::uint32_t ring_id) override {
    TRY_OK(maybe_refuse());
    ENSURE(!hash_element_free || key_updates_only, "an element is used again too early");
    if (hash.contains(key)) hash_element_free = true;
    hash[key] = ring_id;
    log.push_back("frontend");
    check();
    return {};
  }
  Result<void> erase_frontend(const Key& key) override {
    TRY_OK(maybe_refuse());
    if (hash.erase(key) > 0) hash_element_free = true;
    log.push_back("erase");
    check();
    return {};
  }
  Result<void> put_ring(std::uint32_t id, std::uint64_t word) override {
    TRY_OK(maybe_refuse());
    reach(id);
    words[id] = word;
    reach(id);
    log.push_back("ring");
    check();
    return {};
  }
  std::uint64_t ring(std::uint32_t id) const override {
    auto at = words.find(id);
    return at == words.end() ? 0 : at->second;
  }
  Result<void> put_slots(std::uint32_t offset, std::span<const abi::lb_slot> slots) override {
    TRY_OK(maybe_refuse());
    for (std::uint32_t i = 0; i < slots.size(); ++i) {
      ENSURE(!reachable_slots.contains(offset + i), "slot {} is still read", offset + i);
      slot[offset + i] = slots[i];
    }
    log.push_back("slots");
    check();
    return {};
  }
  std::vector<abi::lb_slot> slots(std::uint32_t offset, std::uint32_t count) const override {
    std::vector<abi::lb_slot> found;
    for (std::uint32_t i = 0; i < count; ++i) {
      auto at = slot.find(offset + i);
      found.push_back(at == slot.end() ? abi::lb_slot{} : at->second);
    }
    return found;
  }
  Result<void> put_backend(std::uint32_t id, const Key& backend) override {
    TRY_OK(maybe_refuse());
    ENSURE(!reachable_backends.contains(id), "backend {} is still read", id);
    backends[id] = backend;
    log.push_back("backend");
    check();
    return {};
  }
  Key backend(std::uint32_t id) const override {
    auto at = backends.find(id);
    return at == backends.end() ? Key{} : at->second;
  }
  Result<void> wait_for_readers() override {
    TRY_OK(maybe_refuse());
    hash_element_free = false;
    reachable_slots.clear();
    reachable_backends.clear();
    for (const auto& [id, word] : words) reach(id);
    ++grace_periods;
    return {};
  }

  std::map<Key, std::uint32_t> hash;
  std::map<std::uint32_t, std::uint64_t> words;
  std::map<std::uint32_t, abi::lb_slot> slot;
  std::map<std::uint32_t, Key> backends;
  std::vector<std::string> log;
  int grace_periods = 0;
  int refuse_after = -1;  // the write with this number from now on fails, once
  bool key_updates_only = false;

 private:
  Result<void> maybe_refuse() {
    if (refuse_after == 0) {
      refuse_after = -1;
      return fail(Code::kResourceExhausted, "refused by the test");
    }
    if (refuse_after > 0) --refuse_after;
    return {};
  }
  void reach(std::uint32_t id) {
    std::uint64_t word = ring(id);
    for (std::uint32_t i = 0; i < abi::lb_ring_count(word); ++i) {
      std::uint32_t at = abi::lb_ring_offset(word) + i;
      reachable_slots.insert(at);
      reachable_backends.insert(slot[at].backend_id);
    }
  }
  void check() const {
    for (const auto& [key, id] : hash)
      for (const abi::lb_slot& one :
           slots(abi::lb_ring_offset(ring(id)), abi::lb_ring_count(ring(id)))) {
        ENSURE(one.ring_id == id);
        ENSURE(port_of(backend(one.backend_id)) != 0);
      }
  }
  std::set<std::uint32_t> reachable_slots;
  std::set<std::uint32_t> reachable_backends;
  bool hash_element_free = false;
};

Backend backend(int number, std::uint16_t weight = 100, Protocol protocol = Protocol::kTcp) {
  Backend made;
  made.ip = Ip::v4(0x0a000000U + static_cast<std::uint32_t>(number));
  made.port = 8080;
  made.port_name = "http";
  made.protocol = protocol;
  made.weight = weight;
  return made;
}

Frontend service(const std::string& name, const std::vector<std::string>& ips,
                 std::vector<Backend> backends) {
  Frontend row;
  row.name_space = "default";
  row.name = name;
  for (const std::string& ip : ips) row.cluster_ips.push_back(Ip::parse(ip).value());
  row.ports = {{"http", Protocol::kTcp, 80}};
  row.backends = std::move(backends);
  return row;
}

// "10.96.0.1 web 10.0.0.1*1 10.0.0.2*1"
std::vector<std::string> seen(const LbState& state) {
  std::vector<std::string> lines;
  auto entries = state.entries().value();
  for (const Entry& entry : entries) {
    std::string line = fmt::format("{} {}", entry.ip, entry.service);
    for (const EntryBackend& one : entry.backends) line += fmt::format(" {}*{}", one.ip, one.slots);
    lines.push_back(line);
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST_CASE("writes go backends, slots, ring, address, and back in reverse") {
  FakeMaps maps;
  LbState state(maps, Logger());
  REQUIRE(state.rebuild());
  REQUIRE(state.update(service("web", {"10.96.0.1"}, {backend(1), backend(2)})).done);
  REQUIRE(maps.log == Lines{"backend", "backend", "slots", "ring", "frontend"});
  maps.log.clear();
  REQUIRE(state.update(service("web", {"10.96.0.1"}, {backend(1), backend(2)})).done);
  REQUIRE(maps.log.empty());
  auto outcome = state.update(service("web", {"10.96.0.1"}, {backend(2), backend(3, 50)}));
  REQUIRE(maps.log == Lines{"backend", "slots", "ring"});
  REQUIRE(outcome.gone == LbState::Gone{to_abi(Ip::v4(0x0a000001), 8080, Protocol::kTcp)});
  REQUIRE(seen(state) == Lines{"10.96.0.1 default/web 10.0.0.2*2 10.0.0.3*1"});
  maps.log.clear();
  REQUIRE(state.erase("default/web").done);
  REQUIRE(maps.log == Lines{"erase", "ring"});
  REQUIRE(state.erase("default/web").done);
  REQUIRE(seen(state).empty());
}

TEST_CASE("a service without backends keeps its address and refuses") {
  FakeMaps maps;
  LbState state(maps, Logger());
  REQUIRE(state.update(service("web", {"10.96.0.1"}, {backend(1)})).done);
  REQUIRE(state.update(service("web", {"10.96.0.1"}, {})).done);
  REQUIRE(seen(state) == Lines{"10.96.0.1 default/web"});
  REQUIRE(maps.words.at(maps.hash.begin()->second) == 0);
  REQUIRE(state.update(service("web", {"10.96.0.1"}, {backend(1)})).done);
  REQUIRE(seen(state) == Lines{"10.96.0.1 default/web 10.0.0.1*1"});
}

TEST_CASE("an address belongs to one service until that one goes") {
  FakeMaps maps;
  LbState state(maps, Logger());
  REQUIRE(state.update(service("a", {"10.96.0.1"}, {backend(1)})).done);
  auto refused = state.update(service("b", {"10.96.0.1", "10.96.0.2"}, {backend(2)}));
  REQUIRE_FALSE(refused.done);
  REQUIRE(refused.done.error().what == "10.96.0.1:80/TCP is an address of service default/a");
  REQUIRE(seen(state) == Lines{"10.96.0.1 default/a 10.0.0.1*1", "10.96.0.2 default/b 10.0.0.2*1"});
  REQUIRE(state.erase("default/a").done);
  REQUIRE(state.update(service("b", {"10.96.0.1", "10.96.0.2"}, {backend(2)})).done);
  REQUIRE(seen(state) == Lines{"10.96.0.1 default/b 10.0.0.2*1", "10.96.0.2 default/b 10.0.0.2*1"});
}

TEST_CASE("too many backends: the first fit, the rest is an error that says so") {
  FakeMaps maps;
  LbState state(maps, Logger());
  std::vector<Backend> many;
  for (int i = 0; i < 4100; ++i) many.push_back(backend(i + 1));
  auto outcome = state.update(service("web", {"10.96.0.1"}, many));
  REQUIRE_FALSE(outcome.done);
  REQUIRE(outcome.done.error().code == Code::kResourceExhausted);
  REQUIRE(outcome.done.error().what ==
          "4 backends are left out: a port takes 4096 per address family");
  REQUIRE(state.entries().value().at(0).backends.size() == 4096);
}

TEST_CASE("a restart takes over, claims what rows say and prunes the rest") {
  FakeMaps maps;
  {
    LbState before(maps, Logger());
    REQUIRE(
        before.update(service("web", {"10.96.0.1", "10.96.0.9"}, {backend(1), backend(2)})).done);
    REQUIRE(before.update(service("old", {"10.96.0.2"}, {backend(2)})).done);
    REQUIRE(before.update(service("lost", {"10.96.0.3"}, {backend(7)})).done);
  }
  maps.words[77] = 5;  // a crash between two writes
  LbState state(maps, Logger());
  REQUIRE(state.rebuild());
  REQUIRE_FALSE(maps.ring(77) != 0);
  REQUIRE(seen(state) == Lines{"10.96.0.1  10.0.0.1*1 10.0.0.2*1", "10.96.0.2  10.0.0.2*1",
                               "10.96.0.3  10.0.0.7*1", "10.96.0.9  10.0.0.1*1 10.0.0.2*1"});
  maps.log.clear();
  auto web = service("web", {"10.96.0.1", "10.96.0.9"}, {backend(1), backend(2)});
  REQUIRE(state.update(web).done);
  REQUIRE(maps.log.empty());  // what is right is not written again
  auto moved = service("new", {"10.96.0.2"}, {backend(3)});
  REQUIRE(state.update(moved).done);
  auto outcome = state.prune({web, moved});
  REQUIRE(outcome.done);
  REQUIRE(outcome.gone == LbState::Gone{to_abi(Ip::v4(0x0a000007), 8080, Protocol::kTcp)});
  REQUIRE(seen(state) == Lines{"10.96.0.1 default/web 10.0.0.1*1 10.0.0.2*1",
                               "10.96.0.2 default/new 10.0.0.3*1",
                               "10.96.0.9 default/web 10.0.0.1*1 10.0.0.2*1"});
}

TEST_CASE("maps that contradict themselves are refused") {
  struct Case {
    std::string name;
    void (*damage)(FakeMaps&);
  };
  auto c = GENERATE(values<Case>({
      {"ring out of range", [](FakeMaps& maps) { maps.hash.begin()->second = 1U << 20; }},
      {"slots out of range",
       [](FakeMaps& maps) { maps.words.begin()->second = abi::lb_ring_word(UINT32_MAX, 2, 0); }},
      {"slot of another ring", [](FakeMaps& maps) { maps.slot.begin()->second.ring_id = 9; }},
      {"backend out of range",
       [](FakeMaps& maps) { maps.slot.begin()->second.backend_id = 1U << 20; }},
      {"backend without port", [](FakeMaps& maps) { maps.backends.begin()->second.port_be = 0; }},
  }));
  INFO(c.name);
  FakeMaps maps;
  LbState before(maps, Logger());
  REQUIRE(before.update(service("web", {"10.96.0.1"}, {backend(1)})).done);
  c.damage(maps);
  LbState state(maps, Logger());
  auto rebuilt = state.rebuild();
  REQUIRE_FALSE(rebuilt);
  REQUIRE(rebuilt.error().code == Code::kDataLoss);
}

TEST_CASE("any history, with refused writes and restarts, ends equal to the rows") {
  REQUIRE(rc::check("FakeMaps checks every intermediate state", [] {
    FakeMaps maps;
    auto state = std::make_unique<LbState>(maps, Logger());
    std::map<std::string, Frontend> rows;
    auto steps = *rc::gen::container<std::vector<std::uint32_t>>(
        rc::gen::inRange<std::uint32_t>(0, 1U << 30));
    for (std::uint32_t step : steps) {
      int number = static_cast<int>(step % 5);
      std::string name = fmt::format("s{}", number);
      if (step % 11 == 0) maps.refuse_after = static_cast<int>(step / 11 % 6);
      if (step % 13 == 0) {
        state = std::make_unique<LbState>(maps, Logger());
        maps.refuse_after = -1;
        RC_ASSERT(state->rebuild().has_value());
      } else if (step % 7 == 0) {
        rows.erase("default/" + name);
        if (auto left = state->erase("default/" + name); !left.done) continue;
      } else {
        std::vector<Backend> backends;
        for (int i = 0; i < 6; ++i)
          if ((step >> (8 + i) & 1) != 0)
            backends.push_back(backend(i + 1, static_cast<std::uint16_t>(1 + step % 4)));
        auto row = service(name, {fmt::format("10.96.0.{}", number)}, backends);
        if ((step >> 15 & 1) != 0) row.selection = Selection::kMaglev;
        rows.insert_or_assign(row.key(), row);
        if (auto left = state->update(row); !left.done) continue;
      }
    }
    maps.refuse_after = -1;
    std::vector<Frontend> wanted;
    for (int number = 0; number < 5; ++number) {
      std::string key = fmt::format("default/s{}", number);
      if (rows.contains(key)) {
        wanted.push_back(rows.at(key));
        RC_ASSERT(state->update(rows.at(key)).done.has_value());
      } else {
        RC_ASSERT(state->erase(key).done.has_value());
      }
    }
    RC_ASSERT(state->prune(wanted).done.has_value());
    FakeMaps fresh_maps;
    LbState fresh(fresh_maps, Logger());
    for (const Frontend& row : wanted) RC_ASSERT(fresh.update(row).done.has_value());
    RC_ASSERT(state->entries().value() == fresh.entries().value());
  }));
}

}  // namespace
}  // namespace tombolo::bpf
