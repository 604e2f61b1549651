// Pools and pods survive the store; what nobody would have written is refused with its key.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/records/records.h"
#include "schema/state/v1/state.pb.h"

namespace tombolo {
namespace {

PodInfo sample_pod() {
  PodInfo info;
  info.name_space = "shop";
  info.name = "db";
  info.kind = "StatefulSet";
  info.owner = "StatefulSet/db";
  info.replicas = 3;
  info.labels = {{"app", "db"}};
  info.annotations = {{"ipam.tombolo.io/ippool", R"({"ipv4": ["racks"]})"}, {"z", ""}};
  info.namespace_labels = {{"team", "blue"}};
  info.namespace_annotations = {{"ipam.spidernet.io/default-ipv4-ippool", R"(["spare-*"])"}};
  return info;
}

TEST_CASE("pools and pods survive the store") {
  PoolObject pool{PoolObjectKind::kPool, "racks", "pools.yaml:7", R"({"spec":{}})", true};
  KeyValue kv{records::pool_object_key(pool), records::encode(pool)};
  REQUIRE(kv.key == "tombolo/v1/pools/racks");
  REQUIRE(records::decode_pool_object(kv).value() == pool);

  PoolObject reservation{PoolObjectKind::kReservation, "printers", "", "{}", false};
  KeyValue reservation_kv{records::pool_object_key(reservation), records::encode(reservation)};
  REQUIRE(reservation_kv.key == "tombolo/v1/reservations/printers");
  REQUIRE(records::decode_pool_object(reservation_kv).value() == reservation);

  PodInfo info = sample_pod();
  KeyValue info_kv{records::pod_info_key(info), records::encode(info)};
  REQUIRE(info_kv.key == "tombolo/v1/podinfo/shop/db/StatefulSet");
  REQUIRE(records::decode_pod_info(info_kv).value() == info);

  NodeBlock routed{"n1", Prefix::parse("172.18.41.40/32").value()};
  KeyValue routed_kv{records::routed_key(routed), records::encode(routed)};
  REQUIRE(routed_kv.key == "tombolo/v1/routed/n1/172.18.41.40/32");
  REQUIRE(records::decode_routed(routed_kv).value() == routed);
  REQUIRE_FALSE(records::decode_routed({"tombolo/v1/routed/n2/172.18.41.40/32", routed_kv.value}));
}

TEST_CASE("a pool or pod that is broken is refused with its key") {
  const std::string pool_key = "tombolo/v1/pools/racks";
  const std::string pod_key = "tombolo/v1/podinfo/shop/db/StatefulSet";
  auto pool = [](const std::string& name) {
    return records::encode(PoolObject{PoolObjectKind::kPool, name, "", "{}", false});
  };
  auto pod = [](auto change) {
    PodInfo info = sample_pod();
    state::v1::PodInfo message;
    message.ParseFromString(records::encode(info));
    change(message);
    return message.SerializeAsString();
  };
  struct Case {
    std::string name;
    std::string key;
    std::string value;
    std::string what;
  };
  auto test = GENERATE_COPY(values<Case>({
      {"not protobuf", pool_key, "\xff\xff", "not a PoolObject"},
      {"no name", pool_key, pool("A b"), "'A b' is not a name of an object"},
      {"another pool", pool_key, pool("x"), "holds the pool of another key, tombolo/v1/pools/x"},
      {"no pod", pod_key, "\xff\xff", "not a PodInfo"},
      {"no kind", pod_key, pod([](auto& m) { m.clear_kind(); }),
       "a pod without namespace, name or kind"},
      {"another pod", pod_key, pod([](auto& m) { m.set_name("x"); }),
       "holds the pod of another key, tombolo/v1/podinfo/shop/x/StatefulSet"},
      {"a label twice", pod_key, pod([](auto& m) { *m.add_labels() = m.labels(0); }),
       "the label 'app' stands twice"},
  }));
  CAPTURE(test.name);
  KeyValue kv{test.key, test.value};
  std::string error;
  if (test.key == pool_key)
    error = records::decode_pool_object(kv).error().what;
  else
    error = records::decode_pod_info(kv).error().what;
  REQUIRE(error == test.key + ": " + test.what);
}

}  // namespace
}  // namespace tombolo
