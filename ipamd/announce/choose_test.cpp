// Who may announce, in which order, and the record of it.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/announce/announce.h"

namespace tombolo::announce {
namespace {

using Catch::Generators::values;

struct Nodes {
  RevisionCounter revisions;
  Table<Node> table{"nodes", revisions};
  Table<Node>::Writer writer{table.take_writer("test")};
  void add(const std::string& name, StringMap labels = {}, const std::string& cluster = "east") {
    Node node;
    node.cluster = cluster;
    node.name = name;
    node.labels = std::move(labels);
    writer.upsert(std::move(node));
  }
};

Backend backend_on(const std::string& node, BackendState state = BackendState::kActive) {
  Backend backend;
  backend.cluster = "east";
  backend.node = node;
  backend.state = state;
  return backend;
}

TEST_CASE("the order is each address's own, and a node that goes moves nobody else's") {
  REQUIRE(rc::check("rendezvous", [] {
    Nodes nodes;
    int count = *rc::gen::inRange(2, 12);
    for (int i = 0; i < count; ++i) nodes.add(fmt::format("n{}", i));
    Ip ip = Ip::v4(*rc::gen::arbitrary<std::uint32_t>());
    Frontend frontend;
    auto before = candidates(ip, frontend, nodes.table, "east");
    RC_ASSERT(static_cast<int>(before.size()) == count);
    std::string gone = fmt::format("n{}", *rc::gen::inRange(0, count));
    nodes.writer.erase("east/" + gone);
    std::erase(before, gone);
    RC_ASSERT(candidates(ip, frontend, nodes.table, "east") == before);
  }));
}

TEST_CASE("addresses spread over the nodes") {
  Nodes nodes;
  for (int i = 0; i < 4; ++i) nodes.add(fmt::format("node-{}", i));
  std::map<std::string, int> first;
  for (std::uint32_t i = 0; i < 1000; ++i)
    ++first[candidates(Ip::v4(0xcb007100 + i), {}, nodes.table, "east").front()];
  for (const auto& [node, count] : first) {
    INFO(node);
    REQUIRE(count > 180);
    REQUIRE(count < 320);
  }
}

TEST_CASE("nodes of other clusters, excluded ones and, for Local, those without backends may not") {
  Nodes nodes;
  nodes.add("a");
  nodes.add("b", {{std::string(kExcludeLabel), ""}});
  nodes.add("c");
  nodes.add("d");
  nodes.add("w", {}, "west");
  Frontend frontend;
  frontend.backends = {backend_on("b"), backend_on("c"),
                       backend_on("d", BackendState::kTerminating)};
  auto sorted = [&] {
    auto names = candidates(Ip::v4(1), frontend, nodes.table, "east");
    std::ranges::sort(names);
    return names;
  };
  REQUIRE(sorted() == std::vector<std::string>{"a", "c", "d"});
  frontend.external_traffic_local = true;
  REQUIRE(sorted() == std::vector<std::string>{"c"});
}

TEST_CASE("records survive the store; broken ones name their key") {
  Announcement record;
  record.ip = *Ip::parse("2001:db8::7");
  record.node = "n1";
  record.service = "shop/web";
  record.since_unix_s = 1'700'000'000;
  record.mod_revision = 7;
  record.lease = 9;
  KeyValue kv{announcement_key(record.ip), encode(record), 0, 7, 1, 9};
  REQUIRE(kv.key == "tombolo/v1/announcements/2001:db8::7");
  REQUIRE(decode_announcement(kv).value() == record);
  struct Case {
    std::string name;
    std::string key;
    std::string value;
    std::string error;
  };
  const std::string key = kv.key;
  const std::string zeros = "tombolo/v1/announcements/2001:db8:0::7";
  auto broken = GENERATE_COPY(values<Case>({
      {"no address", "tombolo/v1/announcements/web", kv.value,
       "tombolo/v1/announcements/web: 'web' is not an IPv4 or IPv6 address"},
      {"other prefix", "tombolo/v1/claims/p/10.0.0.1", kv.value,
       "tombolo/v1/claims/p/10.0.0.1: is no announcement"},
      {"written otherwise", zeros, kv.value, zeros + ": is written otherwise: 2001:db8::7"},
      {"no JSON", key, "{", key + ": "},
      {"no node", key, R"({"service":"a/b","since":"2026-01-02T03:04:05Z"})", key + ": node: "},
      {"no time", key, R"({"node":"n","service":"a/b","since":"yesterday"})", key + ": since: "},
  }));
  INFO(broken.name);
  auto decoded = decode_announcement({broken.key, broken.value});
  REQUIRE(!decoded);
  REQUIRE(decoded.error().what.starts_with(broken.error));
}

}  // namespace
}  // namespace tombolo::announce
