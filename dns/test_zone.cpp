// See test_zone.h.
#include "dns/test_zone.h"

#include <catch2/catch_test_macros.hpp>

namespace tombolo::dns::testing {
namespace {

Ip ip(const std::string& text) {
  auto parsed = Ip::parse(text);
  ENSURE(parsed.has_value(), "{}", text);
  return *parsed;
}

Frontend service(const std::string& name_space, const std::string& name) {
  Frontend row;
  row.name_space = name_space;
  row.name = name;
  row.local = true;
  return row;
}

}  // namespace

Backend backend(const std::string& address, const std::string& cluster, const std::string& hostname,
                BackendState state) {
  Backend made;
  made.ip = ip(address);
  made.port = 8080;
  made.port_name = "http";
  made.cluster = cluster;
  made.hostname = hostname;
  made.state = state;
  return made;
}

ZoneSettings settings() {
  ZoneSettings made;
  made.cluster = "east";
  made.server_ips = {ip("169.254.20.10"), ip("fd00::a")};
  made.reverse_prefixes = {*Prefix::parse("10.0.0.0/14"), *Prefix::parse("fd00:10::/32")};
  return made;
}

std::vector<Frontend> rows() {
  std::vector<Frontend> all;
  Frontend web = service("default", "web");
  web.exported = true;
  web.cluster_ips = {ip("10.1.0.1"), ip("fd00:10:1::1")};
  web.clusterset_ips = {ip("10.2.0.1"), ip("fd00:10:2::1")};
  web.ports = {{"http", Protocol::kTcp, 80}, {"dns", Protocol::kUdp, 53}, {"", Protocol::kTcp, 9}};
  all.push_back(web);

  Frontend single = service("default", "single");
  single.cluster_ips = {ip("10.1.0.2")};
  single.ports = {{"", Protocol::kTcp, 80}};
  all.push_back(single);

  Frontend db = service("data", "db");
  db.headless = db.exported = true;
  db.ports = {{"http", Protocol::kTcp, 8080}};
  db.backends = {backend("10.3.0.1", "east", "db-0"),
                 backend("fd00:10:3::1", "east", "db-0"),
                 backend("10.3.0.2", "east"),
                 backend("10.3.8.1", "west", "db-0"),
                 backend("10.3.8.2", "west", "", BackendState::kTerminating),
                 backend("10.3.8.3", "west", "", BackendState::kQuarantined)};
  all.push_back(db);

  Frontend empty = service("data", "empty");
  empty.headless = empty.exported = true;
  all.push_back(empty);

  Frontend ending = service("data", "ending");
  ending.headless = true;
  ending.backends = {backend("10.3.0.9", "east", "last", BackendState::kTerminating)};
  all.push_back(ending);

  Frontend remote = service("shop", "cart");
  remote.local = false;
  remote.exported = true;
  remote.clusterset_ips = {ip("10.2.0.7")};
  remote.ports = {{"grpc", Protocol::kTcp, 50051}};
  all.push_back(remote);

  Frontend twolabel = service("shop", "queue");
  twolabel.local = false;
  twolabel.exported = twolabel.headless = true;
  twolabel.backends = {backend("10.3.9.1", "west.eu", "q-0")};
  all.push_back(twolabel);

  for (auto [name, target] : {std::pair{"alias", "web.default.svc.cluster.local"},
                              {"twice", "alias.ext.svc.cluster.local"},
                              {"gone", "nothing.default.svc.cluster.local"},
                              {"loop", "loop.ext.svc.cluster.local"},
                              {"out", "www.example.org"}}) {
    Frontend external = service("ext", name);
    external.external_name = target;
    all.push_back(external);
  }
  return all;
}

std::shared_ptr<const ZoneSet> zones_of(const std::vector<Frontend>& all) {
  auto builder = ZoneBuilder::make(settings());
  REQUIRE(builder.has_value());
  for (const Frontend& row : all) REQUIRE(builder->apply(row.key(), &row).empty());
  builder->apply_namespace("quiet", true);
  builder->mark_synced();
  return builder->snapshot(1000);
}

std::shared_ptr<const ZoneSet> zones(bool synced) {
  if (synced) return zones_of(rows());
  auto builder = ZoneBuilder::make(settings());
  REQUIRE(builder.has_value());
  return builder->snapshot(1000);
}

Message query(const std::string& name, Type type) {
  auto parsed = Name::parse(name);
  REQUIRE(parsed.has_value());
  Message made = make_query(4711, *parsed, type);
  made.edns.reset();
  return made;
}

Asked ask_packet(const ZoneSet& zone_set, const std::string& packet, bool tcp,
                 const ResponderOptions& options, const std::string& client) {
  Responder responder(options, 0);
  std::vector<std::uint8_t> out(tcp ? kMaxMessageSize : kUdpSize);
  Asked asked;
  asked.reply =
      responder.respond({reinterpret_cast<const std::uint8_t*>(packet.data()), packet.size()},
                        zone_set, ClientAddress{ip(client), tcp}, out);
  if (asked.reply.action != Reply::Action::kSend) return asked;
  asked.packet.assign(reinterpret_cast<const char*>(out.data()), asked.reply.size);
  auto message = parse_message({out.data(), asked.reply.size});
  INFO((message ? "" : message.error().text()));
  REQUIRE(message.has_value());
  asked.message = std::move(*message);
  return asked;
}

Asked ask(const ZoneSet& zone_set, const Message& question, bool tcp,
          const ResponderOptions& options, const std::string& client) {
  return ask_packet(zone_set, encode_message(question, kMaxMessageSize), tcp, options, client);
}

}  // namespace tombolo::dns::testing
