// Requests and names from outside: whatever a client sends, the store answers or refuses it, and
// what it refuses has changed nothing.
#include <cstddef>
#include <cstdint>

#include "core/store/rights.h"
#include "core/store/store_state.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

struct World {
  TempDir dir;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  std::unique_ptr<StoreState> state;
  World() {
    auto opened = StoreState::open(dir.path() / "store.db", {}, *clock, *rng);
    ENSURE(opened.has_value());
    state = std::move(*opened);
    ENSURE(state->begin());
    for (const char* key : {"a", "b", "c"}) {
      pb::PutRequest put;
      put.set_key(key);
      pb::PutResponse response;
      ENSURE(state->put(put, response));
    }
    ENSURE(state->commit());
    (void)state->take_changes();
  }
};

void try_transaction(StoreState& state, std::string_view bytes) {
  pb::TxnRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  std::int64_t before = state.revision();
  ENSURE(state.begin());
  pb::TxnResponse response;
  Result<void> done = state.txn(request, response);
  bool changed = !state.take_changes().empty();
  ENSURE(done.has_value() || state.failed() || (!changed && state.revision() == before));
  ENSURE(!done || changed == (state.revision() == before + 1));
  ENSURE(!done || !only_reads(request) || !changed);
  state.abandon();
  ENSURE(state.revision() == before);
}

void try_range(const StoreState& state, std::string_view bytes) {
  pb::RangeRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  pb::RangeResponse response;
  if (!state.range(request, response)) return;
  ENSURE(request.limit() <= 0 || response.kvs_size() <= request.limit());
  ENSURE(response.kvs_size() <= response.count());
}

void try_name(std::string_view text) {
  Result<SpiffeName> name = SpiffeName::parse(text);
  ENSURE(!name || name->str() == text);
  Peer peer{{std::string(text)}, "", std::string(text)};
  (void)authorize({"fleet", "east"}, peer, Access::kWrite, text, text);
}

}  // namespace
}  // namespace tombolo

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  static World world;
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 3 == 0) try_transaction(*world.state, rest);
  if (data[0] % 3 == 1) try_range(*world.state, rest);
  if (data[0] % 3 == 2) try_name(rest);
  return 0;
}
