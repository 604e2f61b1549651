// Addresses and blocks of shared pools, and whose the fixed addresses are.
#include <algorithm>

#include "core/records/fields.h"

namespace tombolo::records {
namespace {

// A record whose fields contradict its key was written by a broken hand: nobody may act on it.
Result<void> check_key(const KeyValue& kv, const std::string& expected) {
  if (kv.key == expected) return {};
  return fail(Code::kInvalidArgument, "{}: holds the record of another key, {}", kv.key, expected);
}

Result<void> check_pool(const KeyValue& kv, const std::string& pool) {
  if (!pool.empty() && pool.find('/') == std::string::npos) return {};
  return fail(Code::kInvalidArgument, "{}: pool: '{}' is no name of a pool", kv.key, pool);
}

Result<void> check_times(const KeyValue& kv, std::int64_t since, std::int64_t released) {
  if (since >= 0 && released >= 0) return {};
  return fail(Code::kInvalidArgument, "{}: since_unix_ms {}, released_unix_ms {}: before 1970",
              kv.key, since, released);
}

}  // namespace

std::string claim_key(const AddressClaim& claim) {
  return fmt::format("{}{}", kClaimsPrefix, claim.key());
}

std::string encode(const AddressClaim& claim) {
  state::v1::AddressClaim message;
  message.set_pool(claim.pool);
  message.set_ip(claim.ip.bytes_be());
  message.set_identity(claim.identity);
  message.set_holder(claim.holder);
  message.set_node(claim.node);
  message.set_pod(claim.pod);
  message.set_since_unix_ms(claim.since_unix_ms);
  message.set_released_unix_ms(claim.released_unix_ms);
  return bytes_of(message);
}

Result<AddressClaim> decode_claim(const KeyValue& kv) {
  TRY(message, parse<state::v1::AddressClaim>(kv));
  TRY(ip, ip_of(kv, message.ip()));
  TRY_OK(check_pool(kv, message.pool()));
  TRY_OK(check_times(kv, message.since_unix_ms(), message.released_unix_ms()));
  if (message.holder().empty() != message.node().empty())
    return fail(Code::kInvalidArgument, "{}: holder '{}' and node '{}': both or none", kv.key,
                message.holder(), message.node());
  AddressClaim claim;
  claim.pool = message.pool();
  claim.ip = ip;
  claim.identity = message.identity();
  claim.holder = message.holder();
  claim.node = message.node();
  claim.pod = message.pod();
  claim.since_unix_ms = message.since_unix_ms();
  claim.released_unix_ms = message.released_unix_ms();
  claim.sequence = kv.mod_revision;
  TRY_OK(check_key(kv, claim_key(claim)));
  return claim;
}

std::string claimant_key(const Claimant& claimant) {
  return fmt::format("{}{}", kClaimantsPrefix, claimant.key());
}

std::string encode(const Claimant& claimant) {
  state::v1::Claimant message;
  message.set_identity(claimant.identity);
  for (const Claimant::Address& address : claimant.addresses) {
    auto* added = message.add_addresses();
    added->set_pool(address.pool);
    added->set_ip(address.ip.bytes_be());
  }
  return bytes_of(message);
}

Result<Claimant> decode_claimant(const KeyValue& kv) {
  TRY(message, parse<state::v1::Claimant>(kv));
  Claimant claimant;
  claimant.identity = message.identity();
  for (const auto& address : message.addresses()) {
    TRY(ip, ip_of(kv, address.ip()));
    TRY_OK(check_pool(kv, address.pool()));
    claimant.addresses.push_back({address.pool(), ip});
  }
  if (claimant.identity.empty())
    return fail(Code::kInvalidArgument, "{}: identity: is empty", kv.key);
  if (!std::ranges::is_sorted(claimant.addresses, std::ranges::less_equal{}))
    return fail(Code::kInvalidArgument, "{}: addresses: not ascending", kv.key);
  TRY_OK(check_key(kv, claimant_key(claimant)));
  return claimant;
}

std::string pool_block_key(const PoolBlock& block) {
  return fmt::format("{}{}", kPoolBlocksPrefix, block.key());
}

std::string encode(const PoolBlock& block) {
  state::v1::PoolBlock message;
  message.set_pool(block.pool);
  set_prefix(message.mutable_prefix(), block.prefix);
  message.set_node(block.node);
  message.set_since_unix_ms(block.since_unix_ms);
  message.set_released_unix_ms(block.released_unix_ms);
  return bytes_of(message);
}

Result<PoolBlock> decode_pool_block(const KeyValue& kv) {
  TRY(message, parse<state::v1::PoolBlock>(kv));
  TRY(prefix, prefix_of(kv, message.prefix()));
  TRY_OK(check_pool(kv, message.pool()));
  TRY_OK(check_times(kv, message.since_unix_ms(), message.released_unix_ms()));
  PoolBlock block{
      message.pool(), prefix, message.node(), message.since_unix_ms(), message.released_unix_ms(),
      kv.mod_revision};
  TRY_OK(check_key(kv, pool_block_key(block)));
  return block;
}

}  // namespace tombolo::records
