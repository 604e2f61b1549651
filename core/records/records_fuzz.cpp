// Whatever lies in the store, decoding ends in a row or in an error that names the key, and a row
// that was accepted is written and read again as the same. The first byte chooses the record.
#include <cstddef>
#include <cstdint>

#include "core/records/records.h"

namespace {

using namespace tombolo;

// `decode` sees the value under a key that cannot fit first, then under the row's own.
template <class Decode>
void check(std::string_view value, Decode decode) {
  auto row = decode(KeyValue{"key", std::string(value)});
  ENSURE(!row && row.error().what.starts_with("key: "), "accepted under a foreign key");
}

template <class Row, class Key, class Decode>
void round_trip(const Row& sample, std::string_view value, Key key, Decode decode) {
  check(value, decode);
  auto row = decode(KeyValue{key(sample), std::string(value)});
  if (!row) return;
  auto again = decode(KeyValue{key(*row), records::encode(*row)});
  ENSURE(again && *again == *row, "a record changes in a round trip");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view value(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 11) {
    case 0: {
      Policy policy;
      policy.name_space = "stars";
      policy.name = "backend";
      round_trip(policy, value, records::policy_key, records::decode_policy);
      break;
    }
    case 1: {
      Frontend frontend;
      frontend.name_space = "shop";
      frontend.name = "web";
      round_trip(frontend, value, records::frontend_key, records::decode_frontend);
      break;
    }
    case 2: {
      Attachment attachment;
      attachment.node = "n1";
      attachment.container_id = "c1";
      attachment.interface_name = "eth0";
      round_trip(attachment, value, records::attachment_key, records::decode_attachment);
      break;
    }
    case 4:
      round_trip(NodeReach{"n1", "west", 1, 1}, value, records::reach_key, records::decode_reach);
      break;
    case 5: {
      AddressClaim claim;
      claim.pool = "campus";
      round_trip(claim, value, records::claim_key, records::decode_claim);
      break;
    }
    case 6:
      round_trip(Claimant{"Pod/shop/web/eth0", {}}, value, records::claimant_key,
                 records::decode_claimant);
      break;
    case 7: {
      PoolBlock block;
      block.pool = "overlay";
      block.prefix = Prefix::parse("10.4.0.0/26").value();
      round_trip(block, value, records::pool_block_key, records::decode_pool_block);
      break;
    }
    case 8: {
      PoolObject pool;
      pool.name = "racks";
      round_trip(pool, value, records::pool_object_key, records::decode_pool_object);
      break;
    }
    case 9: {
      PodInfo info;
      info.name_space = "shop";
      info.name = "db";
      info.kind = "Pod";
      round_trip(info, value, records::pod_info_key, records::decode_pod_info);
      break;
    }
    case 10: {
      NodeBlock block{"n1", Prefix::parse("10.1.4.0/24").value()};
      auto encode = [](const NodeBlock& row) { return records::routed_key(row); };
      round_trip(block, value, encode, records::decode_routed);
      break;
    }
    default: {
      NodeBlock block{"n1", Prefix::parse("10.1.4.0/24").value()};
      round_trip(block, value, records::node_block_key, records::decode_node_block);
    }
  }
  return 0;
}
