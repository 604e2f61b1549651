// Nodes of one cluster for unit tests of pools: each with a kernel in memory, a real lease file and
// claims in one store in memory. A node can be killed and started again.
#pragma once

#include <memory>
#include <optional>

#include "core/records/records.h"
#include "core/store/memory_kv.h"
#include "ipamd/claims/claims.h"
#include "ipamd/claims/test_nodes.h"
#include "ipamd/cni/test_life.h"

namespace tombolo {

inline constexpr const char* kTestPools = R"(
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: racks}
spec:
  subnet: 172.18.41.0/24
  ips: [172.18.41.40-172.18.41.43]
  gateway: 172.18.41.1
  vlan: 41
  routes: [{dst: 10.0.0.0/8, gw: 172.18.41.2}]
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: storage}
spec: {subnet: 172.18.42.0/24, ips: [172.18.42.10-172.18.42.11]}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: racks-6}
spec: {subnet: "fd00:41::/64", gateway: "fd00:41::1"}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: everybody}
spec: {subnet: 172.18.43.0/24, default: true, namespaceName: [open]}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: wide}
spec: {kind: overlay, subnet: 172.19.0.0/24, blockLength: 30, excludeIPs: [172.19.0.6]}
)";

// The machine's time and what a test has let pass beside it.
class SkippingClock final : public Clock {
 public:
  MonotonicTime now() const override { return inner_->now() + skipped_; }
  WallTime wall_now() const override { return inner_->wall_now() + skipped_; }
  asio::awaitable<Result<void>> sleep_for(Duration duration) override {
    constexpr Duration kLook = std::chrono::milliseconds(10);
    for (MonotonicTime end = now() + duration; now() < end;) {
      auto slept = co_await inner_->sleep_for(std::min(kLook, Duration(end - now())));
      if (!slept) co_return slept;
    }
    co_return Result<void>{};
  }
  void skip(Duration duration) { skipped_ += duration; }

 private:
  std::unique_ptr<Clock> inner_ = make_system_clock();
  Duration skipped_{};
};

// Does what it is asked, and loses the answers that it is told to lose.
class ForgetfulKv final : public MemoryKv {
 public:
  using MemoryKv::MemoryKv;
  asio::awaitable<Result<TxnResult>> txn(TxnRequest request) override {
    bool lost = loses && loses(request);  // may change it
    Result<TxnResult> done = co_await MemoryKv::txn(std::move(request));
    if (!lost) co_return done;
    co_return fail(Code::kDeadlineExceeded, "no answer");
  }
  std::function<bool(TxnRequest&)> loses;
};

class PoolCluster {
 public:
  PoolCluster() : store(loop.tasks().executor()), kv(store), never(loop.tasks().executor()) {
    // The loop goes on between the lives of agents.
    loop.tasks().spawn("between lives", wait(never));
  }
  ~PoolCluster() { loop.end(); }

  void tell(const std::string& name_space, const std::string& name, StringMap annotations,
            StringMap namespace_annotations = {}, const std::string& kind = "Pod",
            std::uint32_t replicas = 0) {
    PodInfo info;
    info.name_space = name_space;
    info.name = name;
    info.kind = kind;
    if (kind != "Pod") info.owner = kind + "/" + name;
    info.replicas = replicas;
    info.annotations = std::move(annotations);
    info.namespace_annotations = std::move(namespace_annotations);
    Put put{records::pod_info_key(info), records::encode(info), 0};
    REQUIRE(loop.run(kv.put(std::move(put))).has_value());
  }
  // What the store says of claims: "POOL/IP" of those that are not free.
  std::set<std::string> claims() {
    RangeRequest request;
    request.key = records::kClaimsPrefix;
    request.range_end = prefix_end(request.key);
    auto range = loop.run(kv.range(std::move(request)));
    REQUIRE(range.has_value());
    std::set<std::string> found;
    for (const KeyValue& pair : range->kvs) {
      auto claim = records::decode_claim(pair);
      REQUIRE(claim.has_value());
      if (!claim->free()) found.insert(claim->key() + (claim->kept() ? " kept" : ""));
    }
    return found;
  }
  bool claims_become(const std::set<std::string>& wanted) {
    return loop.reaches([&] { return claims() == wanted; });
  }

  TestLoop loop;
  MemoryStore store;
  MemoryKv kv;
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  SkippingClock clock;

 private:
  static asio::awaitable<void> wait(Signal& signal) {
    auto woken = co_await signal.wait();
    ENSURE(!woken, "nobody wakes it");
  }
  Signal never;
};

// What of a node outlives its agent.
struct NodeWorld {
  explicit NodeWorld(std::string node_name) : name(std::move(node_name)), store(folder.file("l")) {}
  std::string name;
  Folder folder;
  FakeNet net;
  Store store;
  // Which store it saw last; when it is given, as agents have it.
  std::optional<claims_test::NodeMemory> memory;
};

class NodeLife {
 public:
  NodeLife(PoolCluster& cluster, NodeWorld& world, const char* pools = kTestPools)
      : cluster_(cluster), world_(world), kv_(cluster.store), tasks_(cluster.loop.tasks()) {
    auto blocks = tables_.node_blocks.take_writer("test");
    std::string block = world.name == "n1" ? "10.7.1.0/24" : "10.7.2.0/24";
    blocks.upsert({world.name, Prefix::parse(block).value()});
    blocks.mark_synced();
    auto documents = parse_yaml(pools, "pools.yaml");
    REQUIRE(documents);
    auto pool_writer = tables_.pools.take_writer("test");
    for (const YamlDocument& document : *documents)
      pool_writer.upsert(parse_pool_object(document.root()).value());
    pool_writer.mark_synced();
    directory_.emplace(tables_.pools, tables_.reservations, [] { return true; }, kv_, Logger());
    ClaimsOptions options;
    options.node = world.name;
    if (world.memory) options.known = &*world.memory;
    blocks_.emplace(options, kv_, tasks_, cluster.clock, *cluster.rng, Logger());
    claims_.emplace(options, kv_, tasks_, cluster.clock, *cluster.rng, Logger());
    routed_.emplace(tables_.routed.take_writer("test"));
    CniSettings settings;
    settings.node = world.name;
    service_.emplace(settings, world.net, world.store, tables_.node_blocks,
                     tables_.attachments.take_writer("cni"), hooks_, tasks_, cluster.clock,
                     Logger());
    CniPools given;
    given.directory = &*directory_;
    given.claims = &*claims_;
    given.blocks = &*blocks_;
    given.routed = &*routed_;
    service_->use_pools(given);
    tasks_.spawn("claims", claims_->run());
    tasks_.spawn("blocks", blocks_->run());
    auto started = cluster.loop.run(service_->start());
    REQUIRE(started.has_value());
    REQUIRE(cluster.loop.reaches([&] { return claims_->synced() && blocks_->synced(); }));
  }
  // As a kill: nothing is given back.
  ~NodeLife() {
    tasks_.cancel();
    cluster_.loop.reaches([&] { return tasks_.size() == 0; });
  }

  Call call_of(Command command, const std::string& container, const std::string& pod,
               const std::string& interface = "eth0") {
    Call call;
    call.command = command;
    call.cni_version = "1.1.0";
    call.network = "pods";
    call.container_id = container;
    call.interface_name = interface;
    call.netns_path = "/run/netns/" + container;
    if (command == Command::kAdd) world_.net.namespaces.insert(call.netns_path);
    if (std::size_t slash = pod.find('/'); slash != std::string::npos) {
      call.pod_namespace = pod.substr(0, slash);
      call.pod_name = pod.substr(slash + 1);
    }
    if (command == Command::kCheck) call.previous.emplace();
    return call;
  }
  Answer<json::object> handle(Call call) {
    return cluster_.loop.run(service_->handle(std::move(call)));
  }
  // "172.18.41.40 fd00:41::2", or the code and message.
  std::string add(const std::string& container, const std::string& pod,
                  const std::string& interface = "eth0") {
    return text_of(handle(call_of(Command::kAdd, container, pod, interface)));
  }
  // As a runtime that is told to try again later.
  std::string add_soon(const std::string& container, const std::string& pod) {
    std::string answer;
    cluster_.loop.reaches([&] {
      if (answer.empty() || answer.starts_with("11 ")) answer = add(container, pod);
      return !answer.starts_with("11 ");
    });
    return answer;
  }
  std::string del(const std::string& container, const std::string& interface = "eth0") {
    auto answer = handle(call_of(Command::kDel, container, "", interface));
    return answer ? "" : fmt::format("{} {}", answer.error().code, answer.error().message);
  }
  static std::string text_of(const Answer<json::object>& answer) {
    if (!answer) return fmt::format("{} {}", answer.error().code, answer.error().message);
    std::string text;
    for (const auto& ip : answer->at("ips").as_array())
      text += (text.empty() ? "" : " ") + std::string(ip.at("address").as_string());
    return text;
  }
  ForgetfulKv& kv() { return kv_; }
  CniService& service() { return *service_; }
  const AgentTables& tables() const { return tables_; }
  std::uint64_t open(const std::string& pool) {
    const AddressPool* found = service_->book().allocator().pool(pool);
    return found == nullptr ? 0 : found->usage(Family::kV4).total;
  }

 private:
  PoolCluster& cluster_;
  NodeWorld& world_;
  ForgetfulKv kv_;
  TaskGroup tasks_;
  AgentTables tables_;
  InterfaceHooks hooks_;
  std::optional<PoolDirectory> directory_;
  std::optional<Claims> claims_;
  std::optional<OverlayBlocks> blocks_;
  std::optional<Table<NodeBlock>::Writer> routed_;
  std::optional<CniService> service_;
};

}  // namespace tombolo
