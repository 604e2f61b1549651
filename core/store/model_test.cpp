// The engine's state against a naive model: random operations, and after each the same answers,
// also for every revision of the past that is not compacted. And after a restart, all the same.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <optional>

#include "core/store/store_state.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

struct Pair {
  std::string value;
  std::int64_t create = 0;
  std::int64_t mod = 0;
  std::int64_t version = 0;
  bool operator==(const Pair&) const = default;
};
using Snapshot = std::map<std::string, Pair>;

// Every revision as a whole map: slow and obviously right.
struct Model {
  std::vector<Snapshot> history{{}, {}};  // by revision; the store begins at 1
  std::int64_t compacted = -1;
  std::int64_t revision() const { return static_cast<std::int64_t>(history.size()) - 1; }
  const Snapshot& now() const { return history.back(); }
  void put(const std::string& key, const std::string& value) {
    Snapshot next = now();
    Pair& pair = next[key];
    std::int64_t at = revision() + 1;
    pair = {value, pair.version == 0 ? at : pair.create, at, pair.version + 1};
    history.push_back(std::move(next));
  }
  std::int64_t erase(const std::string& begin, const std::string& end) {
    Snapshot next;
    for (const auto& [key, pair] : now())
      if (!KeyRange{begin, end}.contains(key)) next[key] = pair;
    auto gone = static_cast<std::int64_t>(now().size() - next.size());
    if (gone > 0) history.push_back(std::move(next));
    return gone;
  }
};

Snapshot read(const StoreState& state, std::int64_t revision) {
  pb::RangeRequest request;
  request.set_key(std::string(1, '\0'));
  request.set_range_end(std::string(1, '\0'));
  request.set_revision(revision);
  pb::RangeResponse response;
  RC_ASSERT(state.range(request, response));
  Snapshot found;
  for (const auto& kv : response.kvs())
    found[kv.key()] = {kv.value(), kv.create_revision(), kv.mod_revision(), kv.version()};
  return found;
}

void compare(const StoreState& state, const Model& model) {
  RC_ASSERT(state.revision() == model.revision());
  for (std::int64_t at = std::max<std::int64_t>(model.compacted, 1); at <= model.revision(); ++at)
    RC_ASSERT(read(state, at) == model.history[static_cast<std::size_t>(at)]);
}

void step(StoreState& state, Model& model) {
  auto key = *rc::gen::element<std::string>("a", "ab", "b", "c", "d");
  int kind = *rc::gen::inRange(0, 10);
  RC_ASSERT(state.begin());
  if (kind < 5) {
    pb::PutRequest request;
    request.set_key(key);
    request.set_value(*rc::gen::element<std::string>("", "1", "2"));
    pb::PutResponse response;
    RC_ASSERT(state.put(request, response));
    model.put(key, request.value());
  } else if (kind < 8) {
    pb::DeleteRangeRequest request;
    request.set_key(key);
    request.set_range_end(*rc::gen::element<std::string>("", "c", std::string(1, '\0')));
    pb::DeleteRangeResponse response;
    RC_ASSERT(state.delete_range(request, response));
    RC_ASSERT(response.deleted() == model.erase(key, request.range_end()));
  } else {
    auto target = *rc::gen::inRange<std::int64_t>(0, model.revision() + 2);
    bool valid = target > model.compacted && target <= model.revision();
    RC_ASSERT(state.compact(target).has_value() == valid);
    if (valid) model.compacted = target;
    // Removed in small slices, as the engine does.
    RC_ASSERT(state.forget_some(static_cast<std::size_t>(*rc::gen::inRange(1, 4))));
  }
  RC_ASSERT(state.commit());
}

TEST_CASE("the store agrees with a naive model, at every revision and after a restart") {
  REQUIRE(rc::check("random operations", [] {
    TempDir dir;
    auto clock = make_system_clock();
    auto rng = make_seeded_rng(1);
    auto open = [&] { return StoreState::open(dir.path() / "store.db", {}, *clock, *rng); };
    auto opened = open();
    RC_ASSERT(opened.has_value());
    std::unique_ptr<StoreState> state = std::move(*opened);
    Model model;
    int steps = *rc::gen::inRange(1, 40);
    for (int i = 0; i < steps; ++i) step(*state, model);
    compare(*state, model);
    state.reset();
    opened = open();
    RC_ASSERT(opened.has_value());
    compare(**opened, model);
    // A batch that fails leaves no trace.
    RC_ASSERT((*opened)->begin());
    pb::PutRequest request;
    request.set_key("lost");
    pb::PutResponse response;
    RC_ASSERT((*opened)->put(request, response));
    (*opened)->abandon();
    compare(**opened, model);
  }));
}

}  // namespace
}  // namespace tombolo
