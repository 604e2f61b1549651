// Records round-trip, and what is broken is refused with its key.
#include "core/records/records.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "schema/state/v1/state.pb.h"

namespace tombolo {
namespace {

Frontend sample_frontend() {
  Frontend frontend;
  frontend.name_space = "default";
  frontend.name = "rebel-base";
  frontend.local = true;
  frontend.exported = true;
  frontend.cluster_ips = {Ip::parse("10.96.0.7").value(), Ip::parse("fd00:96::7").value()};
  frontend.clusterset_ips = {Ip::parse("10.255.0.1").value()};
  frontend.load_balancer_ips = {Ip::parse("203.0.113.7").value()};
  frontend.source_ranges = {Prefix::parse("198.51.100.0/24").value()};
  frontend.external_traffic_local = true;
  frontend.selection = Selection::kMaglev;
  frontend.ports = {{"http", Protocol::kTcp, 80}};
  Backend backend;
  backend.ip = Ip::parse("10.2.0.17").value();
  backend.port = 8080;
  backend.port_name = "http";
  backend.cluster = "west";
  backend.weight = 7;
  backend.state = BackendState::kTerminating;
  frontend.backends = {backend};
  return frontend;
}

TEST_CASE("rows survive the store") {
  Frontend frontend = sample_frontend();
  KeyValue kv{records::frontend_key(frontend), records::encode(frontend)};
  REQUIRE(kv.key == "tombolo/v1/frontends/default/rebel-base");
  REQUIRE(records::decode_frontend(kv).value() == frontend);

  NodeBlock block{"n1", Prefix::parse("10.1.4.0/24").value()};
  KeyValue block_kv{records::node_block_key(block), records::encode(block)};
  REQUIRE(block_kv.key == "tombolo/v1/blocks/n1/10.1.4.0/24");
  REQUIRE(records::decode_node_block(block_kv).value() == block);

  NodeReach reach{"n1", "west", 3, 1};
  KeyValue reach_kv{records::reach_key(reach), records::encode(reach)};
  REQUIRE(reach_kv.key == "tombolo/v1/reach/n1/west");
  REQUIRE(records::decode_reach(reach_kv).value() == reach);
  REQUIRE(!records::decode_reach({"tombolo/v1/reach/n2/west", reach_kv.value}));
  reach.answered = 4;
  REQUIRE(!records::decode_reach({reach_kv.key, records::encode(reach)}));

  Attachment attachment;
  attachment.container_id = "c1";
  attachment.interface_name = "eth0";
  attachment.node = "n1";
  attachment.ips = {Ip::parse("10.1.4.2").value(), Ip::parse("fd00:1::2").value()};
  KeyValue lease_kv{records::attachment_key(attachment), records::encode(attachment)};
  REQUIRE(lease_kv.key == "tombolo/v1/leases/n1/c1/eth0");
  REQUIRE(records::decode_attachment(lease_kv).value() == attachment);
}

TEST_CASE("a broken record is refused with its key") {
  const std::string key = "tombolo/v1/frontends/default/rebel-base";
  auto with = [](auto change) {
    state::v1::Frontend message;
    message.ParseFromString(records::encode(sample_frontend()));
    change(message);
    return message.SerializeAsString();
  };
  struct Case {
    std::string name;
    std::string value;
    std::string what;
  };
  auto [name, value, what] = GENERATE_COPY(values<Case>({
      {"not protobuf", "\xff\xff", key + ": not a Frontend"},
      {"short address", with([](auto& m) { m.mutable_backends(0)->set_ip("abc"); }),
       key + ": an address has 4 or 16 bytes, not 3"},
      {"port", with([](auto& m) { m.mutable_backends(0)->set_port(70000); }),
       key + ": 70000 is not a port"},
      {"protocol",
       with([](auto& m) { m.mutable_ports(0)->set_protocol(state::v1::PROTOCOL_UNSPECIFIED); }),
       key + ": protocol 0 is unknown"},
      {"weight", with([](auto& m) { m.mutable_backends(0)->set_weight(65536); }),
       key + ": weight 65536 is over 65535"},
      {"other key", with([](auto& m) { m.set_name("x"); }),
       key + ": holds the service of another key, tombolo/v1/frontends/default/x"},
  }));
  CAPTURE(name);
  auto decoded = records::decode_frontend({key, value});
  REQUIRE_FALSE(decoded.has_value());
  REQUIRE(decoded.error().what == what);
}

}  // namespace
}  // namespace tombolo
