// Interfaces, tables and the guard as they come together in the agent. The guard is a fake that
// keeps what it was told; compiler and reconciler are the real ones.
#include "app/daemon/agent_policy.h"

#include <catch2/catch_test_macros.hpp>
#include <mutex>

#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "policy/compiler/compiler.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

// Its maps are written on the worker and read by the test.
class FakeGuard final : public bpf::Guard, public bpf::PolicyMaps {
 public:
  struct Interface {
    std::vector<Ip> ips;
    std::optional<GuardedPod> pod;  // nothing: closed
    int puts = 0;
  };

  asio::awaitable<Result<void>> attach(std::string host_interface, std::vector<Ip> ips) override {
    std::lock_guard lock(mutex_);
    ++attaches;
    if (refused.contains(host_interface))
      co_return fail(Code::kInternal, "{}: no such device", host_interface);
    interfaces_[host_interface].ips = std::move(ips);
    co_return Result<void>{};
  }
  asio::awaitable<Result<void>> attach_inside(std::string name, bpf::InterfaceInPod pod,
                                              std::vector<Ip> ips) override {
    std::lock_guard lock(mutex_);
    inside[name] = pod.netns_path;
    interfaces_[name].ips = std::move(ips);
    co_return Result<void>{};
  }
  asio::awaitable<Result<void>> detach(std::string host_interface) override {
    std::lock_guard lock(mutex_);
    if (refused_detaches > 0) {
      --refused_detaches;
      co_return fail(Code::kInternal, "{}: busy", host_interface);
    }
    interfaces_.erase(host_interface);
    co_return Result<void>{};
  }
  asio::awaitable<Result<std::vector<bpf::PodInForce>>> interfaces() override {
    std::lock_guard lock(mutex_);
    std::vector<bpf::PodInForce> all;
    for (const auto& [name, one] : interfaces_) {
      bpf::PodInForce pod;
      pod.host_interface = name;
      pod.open = one.pod.has_value();
      all.push_back(std::move(pod));
    }
    co_return all;
  }
  const std::vector<PolicyPeer>& peers() const override { return seeded_peers; }
  const std::vector<std::pair<RuleNumber, std::uint64_t>>& rules() const override {
    return seeded_rules;
  }
  bpf::PolicyMaps& maps() override { return *this; }
  Worker& worker() override { return worker_; }
  int program_fd(std::string_view) const override { return -1; }
  bpf::FlowPage flows(std::uint64_t, std::size_t) override { return {}; }
  bool wait_flows(std::uint64_t, Duration) override { return false; }
  Result<void> trace_accepts(bool) override { return {}; }
  asio::awaitable<Result<std::vector<bpf::RuleCounters>>> rule_counters() override {
    co_return std::vector<bpf::RuleCounters>{};
  }
  asio::awaitable<Result<std::vector<bpf::GuardCounter>>> stats() override {
    co_return std::vector<bpf::GuardCounter>{};
  }
  bool uses_tcx() const override { return true; }

  Result<bpf::PolicyInForce> in_force() override {
    std::lock_guard lock(mutex_);
    bpf::PolicyInForce found;
    for (const auto& [key, peer] : peers_) found.peers.push_back(peer);
    for (const auto& [id, set] : sets_) found.sets.push_back(id);
    for (const auto& [name, one] : interfaces_) {
      bpf::PodInForce pod;
      pod.host_interface = name;
      pod.open = one.pod.has_value();
      found.pods.push_back(std::move(pod));
    }
    return found;
  }
  Result<void> put_rule(RuleNumber, std::uint64_t) override { return {}; }
  Result<void> put_set(const VerdictSet& set) override {
    std::lock_guard lock(mutex_);
    sets_.insert_or_assign(set.id, set);
    return {};
  }
  Result<void> put_pod(const GuardedPod& pod) override {
    std::lock_guard lock(mutex_);
    auto at = interfaces_.find(pod.host_interface);
    if (at == interfaces_.end()) return fail(Code::kNotFound, "{}", pod.host_interface);
    at->second.pod = pod;
    ++at->second.puts;
    look();
    return {};
  }
  Result<void> close_pod(const std::string& host_interface) override {
    std::lock_guard lock(mutex_);
    if (auto at = interfaces_.find(host_interface); at != interfaces_.end()) at->second.pod.reset();
    return {};
  }
  Result<void> put_peer(const PolicyPeer& peer) override {
    std::lock_guard lock(mutex_);
    peers_.insert_or_assign(peer.key(), peer);
    look();
    return {};
  }
  Result<void> erase_peer(const Prefix& prefix) override {
    std::lock_guard lock(mutex_);
    peers_.erase(prefix.str());
    return {};
  }
  Result<void> bump_generation() override { return {}; }
  Result<void> erase_set(const std::string& id) override {
    std::lock_guard lock(mutex_);
    sets_.erase(id);
    return {};
  }
  Result<void> wait_for_readers() override { return {}; }

  std::optional<Interface> at(const std::string& name) {
    std::lock_guard lock(mutex_);
    auto found = interfaces_.find(name);
    return found == interfaces_.end() ? std::nullopt : std::optional(found->second);
  }
  void left_by_an_earlier_life(const std::string& name, bool open) {
    std::lock_guard lock(mutex_);
    interfaces_[name] = {};
    if (open) interfaces_[name].pod = GuardedPod{};
  }
  std::size_t peer_count() {
    std::lock_guard lock(mutex_);
    return peers_.size();
  }
  void left_peer(const std::string& prefix) {
    PolicyPeer peer{Prefix::parse(prefix).value(), 7, 9};
    seeded_peers.push_back(peer);
    peers_.insert_or_assign(peer.key(), peer);
  }

  std::set<std::string> refused;              // of attach()
  std::map<std::string, std::string> inside;  // guarded in a namespace
  std::string watched;                        // "ADDRESS/32"; how often tbo-web was shut to it:
  int shut = 0;
  int refused_detaches = 0;
  int attaches = 0;
  std::vector<PolicyPeer> seeded_peers;
  std::vector<std::pair<RuleNumber, std::uint64_t>> seeded_rules;

 private:
  void look() {
    auto web = interfaces_.find("tbo-web");
    auto peer = peers_.find(watched);
    if (web == interfaces_.end() || !web->second.pod || peer == peers_.end()) return;
    const VerdictSet& set = sets_.at(web->second.pod->ingress);
    if ((policy::look_up(set, peer->second.peer, 6, 80) & kVerdictAllow) == 0) ++shut;
  }

  std::mutex mutex_;
  std::map<std::string, Interface> interfaces_;
  std::map<std::string, VerdictSet> sets_;
  std::map<std::string, PolicyPeer> peers_;
  Worker worker_;
};

Attachment attachment(const std::string& pod, const std::string& ip) {
  Attachment row;
  row.container_id = "c-" + pod;
  row.interface_name = "eth0";
  row.name_space = "shop";
  row.pod_name = pod;
  row.host_interface = "tbo-" + pod;
  row.ips = {Ip::parse(ip).value()};
  return row;
}

// Isolates every pod of the namespace shop; lets in pods with the label.
Policy isolation(const std::string& from) {
  Policy policy;
  policy.name_space = "shop";
  policy.name = "isolation";
  policy.isolates_ingress = true;
  PolicyRule rule;
  rule.name = "ingress[0]";
  PolicyPeerMatch peer;
  peer.name_space = "shop";
  peer.pods.requirements = {{"role", LabelOperator::kIn, {from}}};
  rule.peers = {peer};
  policy.rules = {rule};
  return policy;
}

struct World {
  Drive drive;
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  AgentTables tables;
  Table<Attachment>::Writer attachments = tables.attachments.take_writer("test");
  Table<Policy>::Writer policies = tables.policies.take_writer("test");
  Table<Identity>::Writer identities = tables.identities.take_writer("test");
  Table<IpOwner>::Writer owners = tables.ip_owners.take_writer("test");
  Table<LocalPod>::Writer local_pods = tables.local_pods.take_writer("test");
  Table<ReconcileStatus>::Writer status = tables.status.take_writer("test");
  FakeGuard guard;
  bool filled = true;
  Settling settling;
  std::unique_ptr<AgentPolicy> policy;

  void start() {
    policy = std::make_unique<AgentPolicy>(
        tables, status, guard, [this] { return filled; },
        RoleContext{kv, tasks, *clock, *rng, Logger()});
    policy->start(settling);
  }
  void all_synced() {
    policies.mark_synced();
    identities.mark_synced();
    owners.mark_synced();
    local_pods.mark_synced();
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  bool until(const std::function<bool()>& holds) { return drive.until(holds, 10s); }
  const GuardedPod* row(const std::string& pod) const {
    return tables.guarded_pods.find("c-" + pod + "/eth0");
  }
  bool is_open(const std::string& pod) {
    auto interface = guard.at("tbo-" + pod);
    return interface && interface->pod;
  }
  // What a packet from the address would meet in the tables, at the port.
  bool allowed(const std::string& pod, const std::string& from, Port port = 80) {
    const GuardedPod* guarded = row(pod);
    if (guarded == nullptr) return false;
    if (guarded->ingress.empty()) return true;
    const VerdictSet* set = tables.verdict_sets.find(guarded->ingress);
    const PolicyPeer* peer = tables.policy_peers.find(Prefix::host(Ip::parse(from).value()).str());
    return set != nullptr &&
           (policy::look_up(*set, peer == nullptr ? 0 : peer->peer, 6, port) & kVerdictAllow) != 0;
  }
  void add_client(const std::string& role, std::uint32_t number, const std::string& ip) {
    Identity identity;
    identity.number = number;
    identity.cluster = "west";
    identity.name_space = "shop";
    identity.labels = {{"role", role}};
    identities.upsert(identity);
    IpOwner owner;
    owner.ip = Ip::parse(ip).value();
    owner.identity = number;
    owners.upsert(owner);
  }
};

TEST_CASE("a new interface is closed, and opens before CNI is through when nothing forbids it") {
  World world;
  world.attachments.mark_synced();
  world.all_synced();
  world.start();
  Attachment web = attachment("web", "10.1.0.1");
  REQUIRE(world.drive.run(world.policy->before_up(web)));
  REQUIRE(world.guard.at("tbo-web")->ips == web.ips);
  REQUIRE(world.until([&] { return world.is_open("web"); }));
  REQUIRE(world.tables.attachments.size() == 0);
  // The row comes; then the pod goes.
  world.attachments.upsert(web);
  REQUIRE(world.until([&] { return world.policy->idle(); }));
  REQUIRE(world.row("web")->pod == "shop/web");
  auto removal = [&]() -> asio::awaitable<Result<void>> {
    co_await world.policy->removed(web);
    co_return Result<void>{};
  };
  REQUIRE(world.drive.run(removal()));
  world.attachments.erase(web.key());
  REQUIRE(world.until([&] { return world.row("web") == nullptr; }));
  REQUIRE_FALSE(world.guard.at("tbo-web"));
}

TEST_CASE("a device is guarded where it is") {
  World world;
  world.attachments.mark_synced();
  world.all_synced();
  world.start();
  world.policy->find_devices([](const std::string& key) -> std::optional<bpf::InterfaceInPod> {
    if (key != "c-web/eth0") return std::nullopt;
    return bpf::InterfaceInPod{"/run/netns/web", 0x2000'0001};
  });
  REQUIRE(world.drive.run(world.policy->before_up(attachment("web", "10.1.0.1"))));
  REQUIRE(world.drive.run(world.policy->before_up(attachment("db", "10.1.0.2"))));
  REQUIRE(world.guard.inside == std::map<std::string, std::string>{{"tbo-web", "/run/netns/web"}});
  REQUIRE(world.until([&] { return world.is_open("web") && world.is_open("db"); }));
}

TEST_CASE("an ADD that failed behind the hook leaves nothing") {
  World world;
  world.attachments.mark_synced();
  world.all_synced();
  world.start();
  Attachment web = attachment("web", "10.1.0.1");
  REQUIRE(world.drive.run(world.policy->before_up(web)));
  REQUIRE(world.until([&] { return world.is_open("web"); }));
  auto removal = [&]() -> asio::awaitable<Result<void>> {
    co_await world.policy->removed(web);
    co_return Result<void>{};
  };
  REQUIRE(world.drive.run(removal()));
  REQUIRE(world.until([&] { return world.row("web") == nullptr && world.policy->idle(); }));
  REQUIRE_FALSE(world.guard.at("tbo-web"));
}

TEST_CASE("an interface that is gone is let go, though the guard refuses for a while") {
  World world;
  world.attachments.mark_synced();
  world.all_synced();
  world.start();
  Attachment web = attachment("web", "10.1.0.1");
  REQUIRE(world.drive.run(world.policy->before_up(web)));
  world.guard.refused_detaches = 3;
  auto removal = [&]() -> asio::awaitable<Result<void>> {
    co_await world.policy->removed(web);
    co_return Result<void>{};
  };
  REQUIRE(world.drive.run(removal()));
  REQUIRE(world.guard.at("tbo-web"));
  REQUIRE(world.until([&] { return !world.guard.at("tbo-web"); }));
}

TEST_CASE("an interface that cannot be guarded is refused") {
  World world;
  world.attachments.mark_synced();
  world.start();
  world.guard.refused = {"tbo-web"};
  auto done = world.drive.run(world.policy->before_up(attachment("web", "10.1.0.1")));
  REQUIRE_FALSE(done);
  REQUIRE(done.error().what == "tbo-web: no such device");
}

TEST_CASE("policies, identities and pods become verdicts, and follow what changes") {
  World world;
  world.attachments.mark_synced();
  world.all_synced();
  world.policies.upsert(isolation("client"));
  world.add_client("client", 131073, "10.2.0.1");
  world.add_client("other", 131074, "10.2.0.2");
  world.start();
  Attachment web = attachment("web", "10.1.0.1");
  REQUIRE(world.drive.run(world.policy->before_up(web)));
  world.attachments.upsert(web);
  // Its identity is not known: its namespace isolates, so it is closed to all.
  REQUIRE(world.until([&] { return world.policy->idle() && world.row("web") != nullptr; }));
  REQUIRE_FALSE(world.allowed("web", "10.2.0.1"));
  Identity own;
  own.number = 65792;
  own.cluster = "east";
  own.name_space = "shop";
  world.identities.upsert(own);
  LocalPod pod;
  pod.name_space = "shop";
  pod.name = "web";
  pod.identity = own.number;
  world.local_pods.upsert(pod);
  REQUIRE(world.until([&] { return world.allowed("web", "10.2.0.1"); }));
  REQUIRE_FALSE(world.allowed("web", "10.2.0.2"));
  REQUIRE(world.row("web")->identity == own.number);
  world.policies.upsert(isolation("other"));
  REQUIRE(world.until([&] { return world.allowed("web", "10.2.0.2"); }));
  REQUIRE_FALSE(world.allowed("web", "10.2.0.1"));
  world.policies.erase(isolation("").key());
  REQUIRE(world.until([&] { return world.row("web")->ingress.empty(); }));
  REQUIRE(world.until([&] { return world.settling.busy({}).empty(); }));
}

TEST_CASE("a block that tells clients apart shuts out none that it lets in, at no time") {
  World world;
  world.attachments.mark_synced();
  world.all_synced();
  Policy policy = isolation("client");
  world.policies.upsert(policy);
  world.add_client("client", 131073, "10.2.0.1");
  world.add_client("client", 131073, "10.2.0.2");
  world.add_client("own", 65792, "10.1.0.1");
  world.local_pods.upsert({"shop", "web", 65792, "default", {}});
  world.start();
  Attachment web = attachment("web", "10.1.0.1");
  REQUIRE(world.drive.run(world.policy->before_up(web)));
  world.attachments.upsert(web);
  REQUIRE(world.until([&] { return world.allowed("web", "10.2.0.1"); }));
  REQUIRE(world.until([&] { return world.settling.busy({}).empty(); }));
  world.guard.watched = "10.2.0.1/32";
  PolicyPeerMatch block;
  block.prefix = Prefix::parse("10.2.0.0/24").value();
  block.except = {Prefix::parse("10.2.0.2/32").value()};
  policy.rules[0].peers = {block};
  world.policies.upsert(policy);
  REQUIRE(world.until([&] { return !world.allowed("web", "10.2.0.2"); }));
  REQUIRE(world.until([&] { return world.settling.busy({}).empty(); }));
  REQUIRE(world.allowed("web", "10.2.0.1"));
  REQUIRE(world.guard.shut == 0);
}

TEST_CASE(
    "nothing is compiled from half of the truth, nothing removed before the store has spoken") {
  World world;
  world.guard.left_peer("10.9.0.9/32");
  world.guard.left_by_an_earlier_life("tbo-web", true);
  world.attachments.upsert(attachment("web", "10.1.0.1"));
  world.attachments.mark_synced();
  world.policies.upsert(isolation("client"));
  world.filled = false;
  world.start();
  // Guarded already, but nothing is worked out.
  REQUIRE(world.until([&] { return world.guard.attaches > 0; }));
  auto later = world.clock->now() + 30ms;
  REQUIRE(world.until([&] { return world.clock->now() > later; }));
  REQUIRE(world.tables.guarded_pods.size() == 0);
  REQUIRE(world.is_open("web"));
  REQUIRE_FALSE(world.settling.busy({}).empty());
  // As last known: in force, but nothing is pruned.
  world.filled = true;
  world.add_client("client", 131073, "10.2.0.1");
  REQUIRE(world.until([&] { return world.policy->idle() && world.guard.peer_count() >= 2; }));
  REQUIRE_FALSE(world.tables.guarded_pods.synced());
  REQUIRE(world.guard.at("tbo-web")->puts == 1);
  // The store has been listed.
  world.all_synced();
  REQUIRE(world.until([&] { return world.tables.guarded_pods.synced(); }));
  REQUIRE(world.until([&] { return world.guard.peer_count() == 1; }));
  REQUIRE(world.until([&] { return world.settling.busy({}).empty(); }));
}

TEST_CASE("at the start, what is attached is guarded and what is gone is let go") {
  World world;
  world.guard.left_by_an_earlier_life("tbo-gone", true);
  world.guard.refused = {"tbo-two"};
  world.attachments.upsert(attachment("one", "10.1.0.1"));
  world.attachments.upsert(attachment("two", "10.1.0.2"));
  world.attachments.mark_synced();
  world.all_synced();
  world.start();
  REQUIRE(world.until([&] { return world.is_open("one") && !world.guard.at("tbo-gone"); }));
  const ReconcileStatus* line = world.tables.status.find("policy|interfaces");
  REQUIRE(line != nullptr);
  REQUIRE(line->error == "internal: tbo-two: no such device");
  REQUIRE_FALSE(world.policy->idle());
  world.guard.refused.clear();
  REQUIRE(world.until([&] { return world.is_open("two"); }));
  REQUIRE(world.until([&] { return world.tables.status.find("policy|interfaces") == nullptr; }));
  REQUIRE(world.until([&] { return world.settling.busy({}).empty(); }));
}

TEST_CASE("a second interface under the same key is opened anew") {
  World world;
  world.attachments.mark_synced();
  world.all_synced();
  world.start();
  Attachment web = attachment("web", "10.1.0.1");
  REQUIRE(world.drive.run(world.policy->before_up(web)));
  world.attachments.upsert(web);
  REQUIRE(world.until([&] { return world.is_open("web") && world.policy->idle(); }));
  // The kernel lost it, CNI makes it again: the row is as it was.
  world.guard.left_by_an_earlier_life("tbo-web", false);
  REQUIRE(world.drive.run(world.policy->before_up(web)));
  REQUIRE(world.until([&] { return world.is_open("web"); }));
}

}  // namespace
}  // namespace tombolo
