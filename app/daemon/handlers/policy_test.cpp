// PolicyApi over tables that the test fills: the stars example over two clusters, explained.
#include "app/daemon/handlers/policy.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <optional>

#include "app/daemon/handlers/policy_explain.h"
#include "app/daemon/handlers/policy_text.h"
#include "app/daemon/handlers/standing.h"

namespace tombolo {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;
namespace api = admin::api;

Ip ip(std::string_view text) {
  return Ip::parse(text).value();
}

LabelSelector selects(std::string key, std::string value) {
  return {{{std::move(key), LabelOperator::kIn, {std::move(value)}}}};
}

PolicyRule ingress_from(std::string name_space, std::string role, Port port) {
  PolicyRule rule;
  rule.name = "ingress[0]";
  PolicyPeerMatch peer;
  peer.name_space = std::move(name_space);
  peer.pods = selects("role", std::move(role));
  rule.peers = {peer};
  rule.ports = {{Protocol::kTcp, port, port, ""}};
  return rule;
}

Policy stars(std::string name) {
  Policy policy;
  policy.name_space = "stars";
  policy.name = std::move(name);
  policy.isolates_ingress = true;
  return policy;
}

// Cluster ccp: stars/frontend, stars/backend. Cluster aws: client/client. We are ccp.
struct World {
  AgentTables tables;
  Table<Policy>::Writer policies = tables.policies.take_writer("test");
  Table<Identity>::Writer identities = tables.identities.take_writer("test");
  Table<IpOwner>::Writer owners = tables.ip_owners.take_writer("test");
  Table<LocalPod>::Writer pods = tables.local_pods.take_writer("test");
  Table<GuardedPod>::Writer guarded = tables.guarded_pods.take_writer("test");
  Table<NumberedRule>::Writer rules = tables.numbered_rules.take_writer("test");
  Table<VerdictSet>::Writer sets = tables.verdict_sets.take_writer("test");
  Table<PolicyPeer>::Writer peers = tables.policy_peers.take_writer("test");
  Table<ReconcileStatus>::Writer status = tables.status.take_writer("test");
  PolicyNames names{&tables, nullptr, "ccp"};

  World() {
    pod("ccp", "stars", "frontend", "10.1.0.2", 1001);
    pod("ccp", "stars", "backend", "10.1.0.3", 1002);
    pod("aws", "client", "client", "10.0.0.9", 2001);
    pod("aws", "stars", "frontend", "10.0.0.8", 2002);
    pods.upsert({"stars", "backend", 1002, "default", {}});
    policies.upsert(stars("default-deny"));
    Policy backend = stars("backend-policy");
    backend.subjects = selects("role", "backend");
    backend.rules = {ingress_from("stars", "frontend", 6379)};
    policies.upsert(backend);
    policies.mark_synced();
  }

  void pod(std::string cluster, std::string name_space, std::string name, std::string_view address,
           std::uint32_t number) {
    Identity identity;
    identity.number = number;
    identity.cluster = cluster;
    identity.name_space = name_space;
    identity.labels = {{"role", name}};
    identity.namespace_labels = {{"kubernetes.io/metadata.name", name_space}};
    if (number != 0) identities.upsert(identity);
    IpOwner owner;
    owner.ip = ip(address);
    owner.identity = number;
    owner.cluster = std::move(cluster);
    owner.name_space = std::move(name_space);
    owner.pod_name = std::move(name);
    owner.node_ip = ip("192.0.2.1");
    owners.upsert(owner);
  }

  Result<api::ExplainPolicyResponse> explain(std::string from, std::string to, unsigned port,
                                             std::string protocol = "TCP") {
    api::ExplainPolicyRequest request;
    request.set_source(std::move(from));
    request.set_destination(std::move(to));
    request.set_port(port);
    request.set_protocol(std::move(protocol));
    return explain_policy(names, tables.policies, &tables, request);
  }
};

TEST_CASE("who may, and who says so") {
  struct Case {
    std::string name;
    std::string from, to;
    unsigned port;
    std::string protocol;
    std::string verdict, egress, ingress;
  };
  auto c = GENERATE(values<Case>({
      {"the rule that allows", "stars/frontend", "stars/backend", 6379, "TCP", "allowed",
       "no policy isolates egress of stars/frontend", "ingress[0] of stars/backend-policy"},
      {"the same labels in another cluster", "aws/stars/frontend", "stars/backend", 6379, "TCP",
       "allowed", "policies of aws decide; ask a daemon of that cluster",
       "ingress[0] of stars/backend-policy"},
      {"other labels", "client/client", "stars/backend", 6379, "TCP", "denied",
       "policies of aws decide; ask a daemon of that cluster",
       "isolation of stars/backend-policy, stars/default-deny"},
      {"another port", "stars/frontend", "stars/backend", 80, "TCP", "denied",
       "no policy isolates egress of stars/frontend",
       "isolation of stars/backend-policy, stars/default-deny"},
      {"ICMP", "stars/frontend", "stars/backend", 0, "", "denied",
       "no policy isolates egress of stars/frontend",
       "isolation of stars/backend-policy, stars/default-deny"},
      {"from outside", "203.0.113.5", "stars/backend", 6379, "TCP", "denied",
       "no policy governs the source: it is not a pod",
       "isolation of stars/backend-policy, stars/default-deny"},
      {"from its node", "192.0.2.1", "stars/backend", 6379, "TCP", "allowed",
       "no policy governs the source: it is not a pod", "the pod's own node always reaches it"},
      {"to outside", "stars/backend", "203.0.113.5", 443, "TCP", "allowed",
       "no policy isolates egress of stars/backend",
       "no policy governs the destination: it is not a pod"},
      {"to another cluster", "stars/backend", "client/client", 9000, "TCP", "unknown",
       "no policy isolates egress of stars/backend",
       "policies of aws decide; ask a daemon of that cluster"},
  }));
  INFO(c.name);
  World world;
  auto answer = world.explain(c.from, c.to, c.port, c.protocol);
  REQUIRE(answer);
  // What another cluster decides on the way out stays open where this one allows.
  std::string verdict = c.name == "the same labels in another cluster" ? "unknown" : c.verdict;
  REQUIRE(answer->verdict() == verdict);
  REQUIRE(answer->judgements_size() == 2);
  REQUIRE(answer->judgements(0).by() == c.egress);
  REQUIRE(answer->judgements(1).by() == c.ingress);
}

TEST_CASE("a denial tells which term of each rule failed") {
  World world;
  auto peer = world.explain("client/client", "stars/backend", 6379);
  REQUIRE(peer->source().cluster() == "aws");
  REQUIRE(peer->source().labels(0) == "role=client");
  const auto& judgement = peer->judgements(1);
  REQUIRE(judgement.misses_size() == 1);
  REQUIRE(judgement.misses(0).policy() == "NetworkPolicy/stars/backend-policy");
  REQUIRE(judgement.misses(0).failed() == "peer");
  REQUIRE(judgement.misses(0).why() ==
          "namespace client is not stars and labels do not match role=frontend");
  auto port = world.explain("stars/frontend", "stars/backend", 80);
  REQUIRE(port->judgements(1).misses(0).failed() == "port");
  REQUIRE(port->judgements(1).misses(0).why() == "TCP/80 is not TCP/6379");
  auto both = world.explain("203.0.113.5", "stars/backend", 80, "UDP");
  REQUIRE(both->judgements(1).misses(0).failed() == "peer and port");
}

TEST_CASE("the kernel's tables are shown beside the rules, and differences are told") {
  World world;
  GuardedPod pod;
  pod.attachment = "c1/eth0";
  pod.pod = "stars/backend";
  pod.ips = {ip("10.1.0.3")};
  pod.identity = 1002;
  pod.ingress = "set";
  world.guarded.upsert(pod);
  REQUIRE(world.explain("stars/frontend", "stars/backend", 6379)->judgements(1).kernel() ==
          "the verdict set is not compiled yet");
  NumberedRule rule;
  rule.number = 4;
  rule.rule = "ingress[0]";
  rule.policies = {"NetworkPolicy/stars/backend-policy"};
  world.rules.upsert(rule);
  VerdictSet set;
  set.id = "set";
  set.peer_classes = {0, 1};
  set.ports = {{6, 0, 65535, 0}};
  set.verdicts = {9, kVerdictAllow | 4};
  set.otherwise = 9;
  world.sets.upsert(set);
  world.peers.upsert({Prefix::parse("10.1.0.0/16").value(), 0, 0});
  world.peers.upsert({Prefix::parse("10.1.0.2/32").value(), 1, 1001});
  auto same = world.explain("stars/frontend", "stars/backend", 6379);
  REQUIRE(same->judgements(1).kernel() == "allowed: rule 4, ingress[0] of stars/backend-policy");
  REQUIRE(same->notes().empty());
  world.peers.erase("10.1.0.2/32");
  auto differs = world.explain("stars/frontend", "stars/backend", 6379);
  REQUIRE(differs->judgements(1).kernel() == "denied: rule 9");
  REQUIRE(differs->notes_size() == 1);
  REQUIRE_THAT(differs->notes(0), ContainsSubstring("ingress: the tables of this node differ"));
}

TEST_CASE("a pod without identity is closed where its namespace isolates") {
  World world;
  world.pod("ccp", "stars", "fresh", "10.1.0.5", 0);
  auto closed = world.explain("client/client", "stars/fresh", 80);
  REQUIRE(closed->destination().what() == "pod without identity");
  REQUIRE(closed->judgements(1).verdict() == "denied");
  REQUIRE_THAT(closed->judgements(1).by(), ContainsSubstring("its identity is not known yet"));
  world.pod("ccp", "open", "fresh", "10.1.0.6", 0);
  REQUIRE(world.explain("stars/backend", "open/fresh", 80)->verdict() == "allowed");
}

TEST_CASE("questions that have no answer") {
  struct Case {
    std::string name;
    std::string from, to;
    unsigned port;
    std::string protocol;
    Code code;
    std::string what;
  };
  auto c = GENERATE(values<Case>({
      {"no such pod", "stars/nobody", "stars/backend", 80, "TCP", Code::kNotFound, "stars/nobody"},
      {"not in that cluster", "aws/stars/backend", "stars/backend", 80, "TCP", Code::kNotFound,
       "aws/stars/backend"},
      {"neither name nor address", "backend", "stars/backend", 80, "TCP", Code::kInvalidArgument,
       "\"backend\" is not NS/POD"},
      {"an empty part", "stars/", "stars/backend", 80, "TCP", Code::kInvalidArgument, "stars/"},
      {"protocol", "stars/frontend", "stars/backend", 80, "tcp", Code::kInvalidArgument, "tcp"},
      {"port", "stars/frontend", "stars/backend", 65536, "TCP", Code::kInvalidArgument, "65536"},
      {"ICMP with a port", "stars/frontend", "stars/backend", 80, "ICMP", Code::kInvalidArgument,
       "ICMP has no ports"},
  }));
  INFO(c.name);
  World world;
  auto answer = world.explain(c.from, c.to, c.port, c.protocol);
  REQUIRE_FALSE(answer);
  REQUIRE(answer.error().code == c.code);
  REQUIRE_THAT(answer.error().what, ContainsSubstring(c.what));
}

TEST_CASE("a pod of several other clusters must be told apart; one's own comes first") {
  World world;
  world.pod("third", "client", "client", "10.3.0.9", 3001);
  auto several = world.explain("client/client", "stars/backend", 6379);
  REQUIRE(several.error().code == Code::kInvalidArgument);
  REQUIRE_THAT(several.error().what, ContainsSubstring("aws, third"));
  REQUIRE(world.explain("third/client/client", "stars/backend", 6379)->source().address() ==
          "10.3.0.9");
  REQUIRE(world.explain("stars/frontend", "stars/backend", 6379)->source().cluster() == "ccp");
  REQUIRE(world.explain("stars/backend", "stars/backend", 80)->notes(0) ==
          "a pod always reaches itself");
}

TEST_CASE("rules in words") {
  PolicyRule rule;
  REQUIRE(rule_text(rule) == "from anybody to every port");
  rule.direction = PolicyDirection::kEgress;
  PolicyPeerMatch range;
  range.prefix = Prefix::parse("10.0.0.0/8").value();
  range.except = {Prefix::parse("10.1.0.0/16").value()};
  PolicyPeerMatch team;
  team.namespaces = selects("team", "a");
  rule.peers = {range, team};
  rule.ports = {{Protocol::kTcp, 80, 90, ""}, {Protocol::kUdp, 0, 65535, "dns"}};
  REQUIRE(rule_text(rule) ==
          "to 10.0.0.0/8 except 10.1.0.0/16, all pods of namespaces team=a on TCP/80-90, UDP/dns");
}

api::ListPoliciesResponse list(World& world, std::vector<bpf::RuleCounters> counted,
                               std::string name_space = "") {
  config::v1::DaemonConfig config;
  config.mutable_cluster()->set_name("ccp");
  DaemonView view;
  view.config = &config;
  view.agent = &world.tables;
  view.rule_counters = [&counted]() -> asio::awaitable<Result<std::vector<bpf::RuleCounters>>> {
    co_return counted;
  };
  auto handlers = make_policy_handlers(view);
  asio::io_context context;
  std::optional<Result<api::ListPoliciesResponse>> answer;
  api::ListPoliciesRequest request;
  request.set_name_space(std::move(name_space));
  asio::co_spawn(context, handlers->list(request, admin::Caller("local", admin::Access::kAdmin)),
                 [&](std::exception_ptr, Result<api::ListPoliciesResponse> result) {
                   answer = std::move(result);
                 });
  context.run();
  REQUIRE(answer.has_value());
  REQUIRE(*answer);
  return **answer;
}

TEST_CASE("policies with their pods, counters and state") {
  World world;
  REQUIRE(list(world, {}, "other").policies_size() == 0);
  auto before = list(world, {});
  REQUIRE(before.policies_size() == 2);
  REQUIRE(before.policies(0).name() == "backend-policy");
  REQUIRE(before.policies(0).state() == "pending");
  NumberedRule rule;
  rule.number = 4;
  rule.rule = "ingress[0]";
  rule.policies = {"NetworkPolicy/stars/backend-policy"};
  world.rules.upsert(rule);
  NumberedRule isolation;
  isolation.number = 9;
  isolation.rule = "isolation";
  isolation.policies = {"NetworkPolicy/stars/backend-policy", "NetworkPolicy/stars/default-deny"};
  world.rules.upsert(isolation);
  auto counted = list(world, {{4, 7, 70, 700}, {9, 2, 3, 120}});
  const auto& backend = counted.policies(0);
  REQUIRE(backend.state() == "in force");
  REQUIRE(backend.subjects() == "role=backend");
  REQUIRE(backend.pods(0) == "stars/backend");
  REQUIRE(backend.rules_size() == 2);
  REQUIRE(backend.rules(0).text() == "from pods role=frontend of namespace stars to TCP/6379");
  REQUIRE(backend.rules(0).packets() == 70);
  REQUIRE(backend.rules(1).name() == "isolation");
  REQUIRE(backend.rules(1).numbers(0) == 9);
  REQUIRE(backend.flows() == 9);
  REQUIRE(counted.policies(1).packets() == 3);
  world.status.upsert({"policy", "c1/eth0", ReconcileState::kError, 1, 2, "map full"});
  REQUIRE(list(world, {}).policies(0).state() == "error");
  REQUIRE(list(world, {}).policies(0).error() == "map full");
}

TEST_CASE("how another cluster stands, with its age") {
  struct Case {
    std::string name;
    RemoteState state;
    int heard_s;
    std::string standing;
  };
  auto c = GENERATE(values<Case>({
      {"ready", RemoteState::kReady, 99, "ready"},
      {"never", RemoteState::kConnecting, 0, "connecting, never heard"},
      {"away", RemoteState::kControlPlaneAway, 88, "control plane away, silent for 12s"},
      {"lost", RemoteState::kLost, 66, "lost, heard 34s ago"},
      {"a clock set back", RemoteState::kLost, 200, "lost, heard 0s ago"},
  }));
  INFO(c.name);
  RemoteCluster remote;
  remote.state = c.state;
  remote.last_heard = WallTime(std::chrono::seconds(c.heard_s));
  REQUIRE(standing_of(remote, WallTime(std::chrono::seconds(100))) == c.standing);
}

}  // namespace
}  // namespace tombolo
