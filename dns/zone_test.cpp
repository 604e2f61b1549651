// Properties of snapshots: what is listed resolves, nothing else does, changes one by one give what
// a fresh build gives, and cut answers show the same endpoints in both families.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>

#include "dns/sharded_map.h"
#include "dns/test_zone.h"
#include "dns/text.h"

namespace tombolo::dns {
namespace {

using testing::ask;
using testing::query;

rc::Gen<Frontend> frontend() {
  return rc::gen::exec([] {
    Frontend row;
    row.name_space = *rc::gen::element<std::string>("n1", "n2", "n3");
    row.name = *rc::gen::element<std::string>("a", "b", "c", "d", "e");
    row.local = *rc::gen::arbitrary<bool>();
    row.exported = *rc::gen::arbitrary<bool>();
    row.headless = *rc::gen::arbitrary<bool>();
    auto v4 = [](unsigned network) { return Ip::v4((network << 16) | *rc::gen::inRange(1U, 40U)); };
    auto v6 = [](unsigned network) {
      return Ip::v6((static_cast<uint128>(0xfd000010) << 96) | (network << 16) |
                    *rc::gen::inRange(1U, 40U));
    };
    if (*rc::gen::inRange(0, 8) == 0) row.external_name = "b.n1.svc.cluster.local";
    row.cluster_ips = {v4(0x0a01)};
    if (*rc::gen::arbitrary<bool>()) row.cluster_ips.push_back(v6(1));
    row.clusterset_ips = {v4(0x0a02), v6(2)};
    row.ports = {{"http", Protocol::kTcp, 80}, {"dns", Protocol::kUdp, 53}};
    for (int i = *rc::gen::inRange(0, 6); i > 0; --i) {
      Backend made = testing::backend("10.3.0.1", *rc::gen::element<std::string>("east", "w.eu"),
                                      *rc::gen::element<std::string>("", "h0", "h1", "h2"));
      made.ip = *rc::gen::arbitrary<bool>() ? v4(0x0a03) : v6(3);
      made.pod_name = *rc::gen::element<std::string>("", "p0", "p1");
      made.state = *rc::gen::element(BackendState::kActive, BackendState::kActive,
                                     BackendState::kTerminating, BackendState::kQuarantined);
      row.backends.push_back(made);
    }
    return row;
  });
}

using Listing = std::map<std::string, std::string>;  // "NAME TYPE" -> sorted data; "NAME" -> ""

void list_node(Listing& out, const std::string& wire, const Node& node) {
  std::string name = Name::from_wire(wire).text();
  out[name];
  for (const Rrset& set : node.sets()) out[name + " " + to_string(set.type)] = set.rdata;
}

Listing list(const ZoneSet& set) {
  Listing out;
  for (const Zone& zone : set.zones) {
    zone.services.for_each([&](const ServiceRecords& service) {
      std::string name = std::string(service.key) + "\3svc" + zone.name;
      list_node(out, name, service.apex);
      for (const auto& [labels, node] : service.below) list_node(out, labels + name, node);
    });
    zone.namespaces.for_each([&](const NamespaceEntry& entry) {
      out[Name::from_wire(entry.key + "\3svc" + zone.name).text()];
    });
  }
  set.reverse.for_each([&](const ReverseEntry& entry) {
    list_node(out, Name::reverse_of(*Ip::from_bytes_be(entry.key)).wire(), entry.node);
  });
  return out;
}

QueryName read_name(const Name& name) {
  QueryName read;
  bool good =
      read.read({reinterpret_cast<const std::uint8_t*>(name.wire().data()), name.wire().size()});
  RC_ASSERT(good);
  return read;
}

std::shared_ptr<const ZoneSet> build(const std::map<std::string, Frontend>& rows) {
  auto builder = ZoneBuilder::make(testing::settings());
  for (const auto& [key, row] : rows) builder->apply(key, &row);
  builder->mark_synced();
  return builder->snapshot(1000);
}

std::map<std::string, Frontend> some_rows() {
  std::map<std::string, Frontend> rows;
  for (const Frontend& row : *rc::gen::container<std::vector<Frontend>>(frontend()))
    rows[row.key()] = row;
  return rows;
}

}  // namespace

TEST_CASE("a sharded map is a map, and old versions stay as they were") {
  REQUIRE(rc::check("agrees with std::map", [] {
    struct Item {
      std::string key;
      int number;
    };
    ShardedMap<Item> map;
    std::map<std::string, int> model;
    for (int round = *rc::gen::inRange(0, 5); round >= 0; --round) {
      ShardedMap<Item> before = map;
      std::map<std::string, int> before_model = model;
      ShardedMap<Item>::Editor editor(map);
      for (int i = *rc::gen::inRange(0, 300); i > 0; --i) {
        std::string key = fmt::format("k{}", *rc::gen::inRange(0, 400));
        if (*rc::gen::inRange(0, 3) == 0) {
          editor.erase(key);
          model.erase(key);
        } else {
          editor.set(std::make_shared<const Item>(Item{key, i}));
          model[key] = i;
        }
      }
      map = editor.commit();
      for (const auto& [which, wanted] :
           {std::pair{&map, &model}, std::pair{&before, &before_model}}) {
        RC_ASSERT(which->size() == wanted->size());
        for (int i = 0; i < 400; ++i) {
          std::string key = fmt::format("k{}", i);
          const Item* item = which->find(key);
          auto at = wanted->find(key);
          RC_ASSERT((item != nullptr) == (at != wanted->end()));
          if (item != nullptr) RC_ASSERT(item->number == at->second);
        }
      }
    }
  }));
}

TEST_CASE("changes one by one give what a fresh build gives") {
  REQUIRE(rc::check("order and history do not matter", [] {
    auto builder = ZoneBuilder::make(testing::settings());
    RC_ASSERT(builder.has_value());
    std::map<std::string, Frontend> rows;
    std::uint32_t serial = 0;
    for (const Frontend& row : *rc::gen::container<std::vector<Frontend>>(frontend())) {
      bool erase = *rc::gen::inRange(0, 4) == 0;
      builder->apply(row.key(), erase ? nullptr : &row);
      if (erase)
        rows.erase(row.key());
      else
        rows[row.key()] = row;
      if (*rc::gen::arbitrary<bool>()) {
        auto next = builder->snapshot(1000);
        RC_ASSERT(next->zones[0].serial >= serial);
        serial = next->zones[0].serial;
      }
    }
    RC_ASSERT(list(*builder->snapshot(1000)) == list(*build(rows)));
  }));
}

TEST_CASE("what is listed exists, with all names above it") {
  REQUIRE(rc::check("no name of the zone is denied", [] {
    auto set = build(some_rows());
    for (const auto& [entry, data] : list(*set)) {
      std::size_t blank = entry.find(' ');
      Name name = *Name::parse(entry.substr(0, blank));
      Found found = set->find(read_name(name));
      RC_ASSERT(found.kind == Found::Kind::kExists);
      if (blank != std::string::npos) {
        const Rrset* records = found.node->find(*parse_type(entry.substr(blank + 1)));
        RC_ASSERT(records != nullptr);
        RC_ASSERT(records->rdata == data);
      }
      // RFC 8020: an NXDOMAIN for any of these would hide the name.
      Name above = name;
      while (above.label_count() > 2) {
        std::size_t first = static_cast<std::uint8_t>(above.wire()[0]) + 1U;
        above = Name::from_wire(above.wire().substr(first));
        RC_ASSERT(set->find(read_name(above)).kind != Found::Kind::kNotThere);
      }
    }
  }));
  REQUIRE(rc::check("and nothing else: a label more or another one is denied", [] {
    auto set = build(some_rows());
    Listing listing = list(*set);
    for (const auto& [entry, data] : listing) {
      if (entry.find(' ') != std::string::npos) continue;
      Name below = *Name::parse("zz." + entry);
      RC_ASSERT(set->find(read_name(below)).kind == Found::Kind::kNotThere);
      Name beside = *Name::parse("zz" + entry);
      Found::Kind kind = set->find(read_name(beside)).kind;
      RC_ASSERT(kind == Found::Kind::kNotThere || kind == Found::Kind::kOutside ||
                listing.contains("zz" + entry));
    }
  }));
}

TEST_CASE("names outside the zones are never answered from them") {
  REQUIRE(rc::check("outside stays outside", [] {
    auto set = build(some_rows());
    std::string label = *rc::gen::element<std::string>("a.n1.svc", "svc", "dns-version", "x");
    std::string zone = *rc::gen::element<std::string>(
        "local", "cluster.locale", "xcluster.local", "cluster.local.org", "clusterset.loca", "org");
    Name name = *Name::parse(label + "." + zone);
    RC_ASSERT(set->find(read_name(name)).kind == Found::Kind::kOutside);
  }));
}

TEST_CASE("A and AAAA of a name agree on whether it exists") {
  // musl gives up a search at the first NXDOMAIN of either; glibc mixes both.
  REQUIRE(rc::check("same rcode", [] {
    auto set = build(some_rows());
    std::vector<std::string> names{"zz.n1.svc.cluster.local.", "a.zz.svc.clusterset.local."};
    for (const auto& [entry, data] : list(*set))
      if (entry.find(' ') == std::string::npos) names.push_back(entry);
    for (const std::string& name : names)
      RC_ASSERT(ask(*set, query(name, Type::kA)).message.rcode ==
                ask(*set, query(name, Type::kAaaa)).message.rcode);
  }));
}

TEST_CASE("a reverse name leads to a name that leads back") {
  REQUIRE(rc::check("forward-confirmed", [] {
    auto set = build(some_rows());
    set->reverse.for_each([&](const ReverseEntry& entry) {
      const Rrset& records = entry.node.sets()[0];
      std::string_view left = records.rdata;
      for (int i = 0; i < records.count; ++i) {
        std::size_t size = load16_be(reinterpret_cast<const std::uint8_t*>(left.data()));
        Found found = set->find(read_name(Name::from_wire(std::string(left.substr(2, size)))));
        RC_ASSERT(found.node != nullptr);
        const Rrset* addresses = found.node->find(entry.key.size() == 4 ? Type::kA : Type::kAaaa);
        RC_ASSERT(addresses != nullptr);
        bool leads_back = false;
        for (std::size_t at = 0; at < addresses->rdata.size(); at += entry.key.size())
          leads_back = leads_back || addresses->rdata.substr(at, entry.key.size()) == entry.key;
        RC_ASSERT(leads_back);
        left.remove_prefix(2 + size);
      }
    });
  }));
}

TEST_CASE("a cut clusterset answer shows the same endpoints in both families") {
  Frontend row;
  row.name_space = "data";
  row.name = "big";
  row.local = row.exported = row.headless = true;
  for (int i = 1; i <= 200; ++i) {
    std::string host = fmt::format("b-{}", i);
    row.backends.push_back(testing::backend(fmt::format("10.3.0.{}", i), "east", host));
    row.backends.push_back(testing::backend(fmt::format("fd00:10:3::{:x}", i), "east", host));
  }
  auto zones = testing::zones_of({row});
  auto last_numbers = [&](Type type, const std::string& client, std::size_t size) {
    Message question = query("big.data.svc.clusterset.local.", type);
    if (size > 0) question.edns = Edns{static_cast<std::uint16_t>(size), 0, false, {}};
    testing::Asked asked = ask(*zones, question, false, {}, client);
    REQUIRE((asked.message.flags & kFlagTc) == 0);
    REQUIRE(asked.packet.size() <= std::max<std::size_t>(size, kPlainUdpSize));
    std::set<int> numbers;
    for (const Record& record : asked.message.answers)
      numbers.insert(static_cast<std::uint8_t>(record.rdata.back()));
    REQUIRE(numbers.size() == asked.message.answers.size());
    return numbers;
  };
  std::set<std::set<int>> different;
  for (std::string client : {"10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"})
    for (std::size_t size : {0U, 1232U}) {
      std::set<int> v4 = last_numbers(Type::kA, client, size);
      REQUIRE(v4 == last_numbers(Type::kAaaa, client, size));
      REQUIRE(v4.size() >= (size == 0 ? 15U : 40U));
      different.insert(v4);
    }
  REQUIRE(different.size() > 2);  // clients see different ones
  // In cluster.local, and where subsets are switched off, the answer is cut honestly.
  Message in_cluster = query("big.data.svc.cluster.local.", Type::kA);
  REQUIRE((ask(*zones, in_cluster).message.flags & kFlagTc) != 0);
  ResponderOptions no_subsets;
  no_subsets.clusterset_subset = false;
  Message in_set = query("big.data.svc.clusterset.local.", Type::kA);
  testing::Asked cut = ask(*zones, in_set, false, no_subsets);
  REQUIRE((cut.message.flags & kFlagTc) != 0);
  REQUIRE(cut.message.answers.empty());
  REQUIRE(ask(*zones, in_set, true).message.answers.size() == 200);
}

TEST_CASE("answers with several addresses rotate") {
  auto zones = testing::zones();
  Responder responder({}, 0);
  std::string packet = encode_message(query("db.data.svc.clusterset.local.", Type::kA), 512);
  std::set<std::string> first;
  for (int i = 0; i < 3; ++i) {
    std::vector<std::uint8_t> out(kUdpSize);
    Reply reply =
        responder.respond({reinterpret_cast<const std::uint8_t*>(packet.data()), packet.size()},
                          *zones, {*Ip::parse("10.0.0.1"), false}, out);
    auto message = parse_message({out.data(), reply.size});
    REQUIRE(message->answers.size() == 3);
    first.insert(record_text(message->answers[0]));
  }
  REQUIRE(first.size() == 3);
}

TEST_CASE("rows that cannot be names are reported and leave the others alone") {
  auto builder = ZoneBuilder::make(testing::settings());
  auto problem_of = [&](Frontend row) {
    row.local = row.exported = true;
    auto problems = builder->apply(row.key(), &row);
    return problems.empty() ? std::string() : problems.front();
  };
  Frontend row;
  row.name_space = "n";
  row.name = "Upper";
  REQUIRE(problem_of(row) == "service n/Upper: namespace or name is no DNS label");
  row.name = std::string(64, 'a');
  REQUIRE(!problem_of(row).empty());
  row.name = "ok";
  row.external_name = "a..b";
  REQUIRE(problem_of(row).find("empty label") != std::string::npos);
  row.external_name.clear();
  row.ports = {{"bad name", Protocol::kTcp, 1}};
  REQUIRE(problem_of(row) == "service n/ok: port 'bad name' cannot be a name");
  row.headless = true;
  row.backends = {testing::backend("10.3.0.1", "east", "bad.host"),
                  testing::backend("10.3.0.2", "bad cluster"), testing::backend("10.3.0.3", "")};
  REQUIRE(problem_of(row).find("'bad.host'") != std::string::npos);
  builder->mark_synced();
  auto set = builder->snapshot(7);
  REQUIRE(ask(*set, query("10-3-0-3.ok.n.svc.cluster.local", Type::kA)).message.answers.size() ==
          1);
  REQUIRE(ask(*set, query("ok.n.svc.clusterset.local", Type::kA)).message.answers.size() == 3);
}

}  // namespace tombolo::dns
