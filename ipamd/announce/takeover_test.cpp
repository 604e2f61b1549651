// Leases that end by themselves, in the embedded store: who is cut off is silent before another can
// hold its address, and another holds it within seconds.
#include <grpc/grpc.h>

#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include "core/store/etcd_client.h"
#include "core/store/test_stores.h"
#include "ipamd/announce/test_nodes.h"

namespace tombolo::announce {
namespace {

// gRPC takes itself down on a thread of its own: before the process ends, that is waited for.
class EndOfRun final : public Catch::EventListenerBase {
 public:
  using EventListenerBase::EventListenerBase;
  void testRunStarting(const Catch::TestRunInfo&) override { grpc_init(); }
  void testRunEnded(const Catch::TestRunStats&) override { grpc_shutdown_blocking(); }
};
CATCH_REGISTER_LISTENER(EndOfRun)

// A store that can be cut off from one node.
class CutKv final : public Kv {
 public:
  explicit CutKv(std::unique_ptr<Kv> kv) : kv_(std::move(kv)) {}
  void cut() { cut_ = true; }

  asio::awaitable<Result<RangeResult>> range(RangeRequest request) override {
    if (cut_) co_return away();
    co_return co_await kv_->range(std::move(request));
  }
  asio::awaitable<Result<TxnResult>> txn(TxnRequest request) override {
    if (cut_) co_return away();
    co_return co_await kv_->txn(std::move(request));
  }
  asio::awaitable<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override {
    if (cut_) co_return away();
    co_return co_await kv_->watch(std::move(request));
  }
  asio::awaitable<Result<std::int64_t>> lease_grant(std::chrono::seconds ttl) override {
    if (cut_) co_return away();
    co_return co_await kv_->lease_grant(ttl);
  }
  asio::awaitable<Result<void>> lease_keep_alive(std::int64_t lease) override {
    if (cut_) co_return away();
    co_return co_await kv_->lease_keep_alive(lease);
  }
  asio::awaitable<Result<void>> lease_revoke(std::int64_t lease) override {
    if (cut_) co_return away();
    co_return co_await kv_->lease_revoke(lease);
  }

 private:
  static std::unexpected<Error> away() { return fail(Code::kUnavailable, "cut off"); }
  std::unique_ptr<Kv> kv_;
  bool cut_ = false;
};

TEST_CASE("a node that is cut off falls silent, then another holds the address") {
  EmbeddedStore store;
  Drive drive;
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(7);
  const Ip ip = *Ip::parse("203.0.113.7");
  std::map<std::string, CutKv*> wires;
  std::map<std::string, std::unique_ptr<Life>> lives;
  for (const char* name : {"n1", "n2"}) {
    EtcdClientOptions options;
    for (const std::string& endpoint : store.endpoints()) options.endpoints.push_back(endpoint);
    auto client = make_etcd_client(std::move(options), drive.executor());
    REQUIRE(client);
    auto kv = std::make_unique<CutKv>(std::move(*client));
    wires[name] = kv.get();
    Settings settings;
    settings.cluster = "east";
    settings.node = name;
    settings.lease_ttl = 2s;
    settings.tick = 20ms;
    settings.head_start = 50ms;
    settings.stop_without_store = true;
    lives[name] = std::make_unique<Life>(drive, *clock, *rng, std::move(kv), std::move(settings));
    for (const char* node_name : {"n1", "n2"}) lives[name]->set(node(node_name));
    lives[name]->set(web({ip.str()}));
    lives[name]->start();
  }
  auto holder = [&]() -> std::string {
    std::string found;
    for (auto& [name, life] : lives) {
      if (!life->link.answers(ip)) continue;
      REQUIRE(found.empty());  // never two at once
      found = name;
    }
    return found;
  };
  REQUIRE(drive.until([&] { return !holder().empty(); }));
  const std::string first = holder();
  const std::string other = first == "n1" ? "n2" : "n1";
  // Renewed: nothing moves for longer than a lease.
  MonotonicTime calm = clock->now() + 3s;
  REQUIRE(drive.until([&] { return holder() == first && clock->now() > calm; }));
  wires[first]->cut();
  MonotonicTime cut = clock->now();
  REQUIRE(drive.until([&] { return holder() == other; }));
  REQUIRE(clock->now() - cut < 8s);
  lives.clear();
}

}  // namespace
}  // namespace tombolo::announce
