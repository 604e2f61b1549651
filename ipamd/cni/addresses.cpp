// IPAM-only mode: another plugin makes the interface (SPEC.md section 4, "Plugin delegation"), this
// one reserves its addresses under network, container and interface name. Control thread.
//
// That plugin wants a subnet with a gateway in it, where our own interfaces have neither: the
// subnet is the block that the address is from, and each block gives one of its addresses to its
// gateway, under a lease that no container owns, when the first such ADD draws from it.
#include <boost/algorithm/string/join.hpp>

#include "ipamd/cni/interface.h"
#include "ipamd/cni/internal.h"
#include "ipamd/cni/pooled.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::failure;
using cni::Failure;

namespace {

// No configuration can have this name, so no GC of a network meets the leases under it.
constexpr std::string_view kGatewayNetwork = "tombolo/gateway";
// Blocks that one ADD may find without a gateway, of both families, before it gives up.
constexpr int kMostNewGateways = 16;

}  // namespace

bool CniService::is_gateway(const Lease& lease) {
  return lease.network == kGatewayNetwork;
}

std::optional<Prefix> CniService::block_of(const Ip& ip) const {
  const AddressPool* pool = book_.allocator().pool(kNodePool);
  if (pool == nullptr) return std::nullopt;
  for (const Prefix& block : pool->blocks())
    if (block.contains(ip)) return block;
  return std::nullopt;
}

std::optional<Ip> CniService::gateway_of(const Prefix& block) const {
  auto at = gateways_.lower_bound(block.base());
  if (at == gateways_.end() || !block.contains(*at)) return std::nullopt;
  return *at;
}

// Of which no block has a gateway yet: its first address is to be one.
std::optional<Family> CniService::family_without_gateway() const {
  const AddressPool* pool = book_.allocator().pool(kNodePool);
  for (Family family : {Family::kV4, Family::kV6}) {
    bool wanted = settings_.families.empty()
                      ? pool != nullptr && pool->has(family)
                      : std::ranges::find(settings_.families, family) != settings_.families.end();
    bool has = std::ranges::any_of(gateways_, [&](const Ip& ip) { return ip.family() == family; });
    if (wanted && !has) return family;
  }
  return std::nullopt;
}

// One address of the family, for the gateway of whichever block it is from.
asio::awaitable<Answer<void>> CniService::reserve_gateway(Family family) {
  Lease lease;
  lease.network = kGatewayNetwork;
  lease.attachment.container_id = "gateway";
  // A name that is free: blocks are not known before the address is.
  for (int number = 0; lease.attachment.interface_name.empty() || held_lease(lease.key()); ++number)
    lease.attachment.interface_name = std::to_string(number);
  lease.attachment.node = settings_.node;
  auto reserved = book_.reserve(std::move(lease), kNodePool, {family});
  if (!reserved) co_return failure(cni::code_of_lease(reserved.error()), reserved.error());
  std::string key = reserved->lease.key();
  std::uint64_t sequence = reserved->lease.sequence;
  const Ip ip = reserved->lease.attachment.ips.front();
  auto block = block_of(ip);
  auto durable = co_await book_.durable(reserved->ticket);
  if (!durable || !block || gateway_of(*block)) {
    // The disk refused, or another ADD was first.
    book_.abandon(key, sequence);
    if (!durable) co_return failure(cni::kIoFailure, durable.error());
    co_return Answer<void>{};
  }
  gateways_.insert(ip);
  log_.info("{} is the gateway of {} for other plugins", ip, *block);
  co_return Answer<void>{};
}

asio::awaitable<Answer<LeaseBook::Reservation>> CniService::reserve_with_gateways(Lease lease) {
  // One after the other, so that a burst of first ADDs does not take an address each for this.
  std::optional<KeyHeld> turn;
  for (int round = 0; round <= kMostNewGateways; ++round) {
    auto without = family_without_gateway();
    if (!without) {
      auto reserved = co_await reserve_from_node(lease);
      if (!reserved) co_return failure(cni::code_of_lease(reserved.error()), reserved.error());
      // A block that is drawn from for the first time.
      for (const Ip& ip : reserved->lease.attachment.ips)
        if (auto block = block_of(ip); !block || !gateway_of(*block)) without = ip.family();
      if (!without) co_return std::move(*reserved);
      book_.abandon(reserved->lease.key(), reserved->lease.sequence);
    }
    if (turn) {
      CO_TRY_OK(co_await reserve_gateway(*without));
      continue;
    }
    auto taken = co_await take_key(std::string(kGatewayNetwork));
    if (!taken) co_return failure(cni::kTryLater, taken.error());
    turn.emplace(*this, std::string(kGatewayNetwork));
  }
  co_return std::unexpected(Failure{cni::kTryLater, "no block of this node has a gateway", ""});
}

cni::GrantedAddresses CniService::places_in_blocks(const Lease& lease) const {
  cni::GrantedAddresses granted;
  for (const Ip& ip : lease.attachment.ips) {
    auto block = block_of(ip);
    auto gateway = block ? gateway_of(*block) : std::nullopt;
    // The node may have lost the block meanwhile; what was given stays valid, as a single address.
    granted.addresses.push_back({ip, block ? block->length() : bits_of(ip.family())});
    granted.gateways.push_back(gateway);
  }
  return granted;
}

asio::awaitable<Answer<json::object>> CniService::add_addresses(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  if (auto there = held_lease(key); there && !is_waiting(*there))
    co_return std::unexpected(
        Failure{cni::kAlreadyAttached,
                fmt::format("{} of {} holds addresses of the network {} already: DEL comes first",
                            call.interface_name, call.container_id, there->network),
                ""});
  Lease wanted = lease_of(call);
  Granted given;
  if (asks_pools() || held_lease(key)) {
    CO_TRY(from_pools, co_await grant(call, std::move(wanted)));
    given = std::move(from_pools);
  } else {
    CO_TRY(from_blocks, co_await reserve_probed(call, std::move(wanted)));
    given.reservation = std::move(from_blocks);
  }
  const Lease& lease = given.reservation.lease;
  if (auto durable = co_await book_.durable(given.reservation.ticket); !durable) {
    book_.abandon(key, lease.sequence);
    free_claims(lease);
    take_back(given.others);
    co_return failure(cni::kIoFailure, durable.error());
  }
  show(key);
  cni::GrantedAddresses granted =
      given.from_pools ? places_of(lease, given.extras.default_routes) : places_in_blocks(lease);
  granted.routes.insert(granted.routes.end(), call.routes.begin(), call.routes.end());
  granted.nameservers = settings_.dns_addresses;
  cni::Success resolver;
  cni::add_resolver(resolver, call.pod_namespace, settings_.cluster_zone,
                    settings_.clusterset_zone);
  granted.search = std::move(resolver.search);
  granted.options = std::move(resolver.options);
  co_return cni::encode_addresses(granted, call.cni_version);
}

asio::awaitable<Answer<json::object>> CniService::check_addresses(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  auto lease = held_lease(key);
  if (!lease || !is_reservation(*lease) || lease->network != call.network)
    co_return std::unexpected(Failure{
        cni::kUnknownContainer,
        fmt::format("{} holds no addresses of the network {} here", key, call.network), ""});
  std::vector<std::string> differences;
  const auto& reserved = lease->attachment.ips;
  const auto& previous = call.previous->addresses;
  for (const auto& address : previous)
    if (std::ranges::find(reserved, address.ip) == reserved.end())
      differences.push_back(
          fmt::format("{} of prevResult is not reserved for {}", address.ip.str(), key));
  for (const Ip& ip : reserved)
    if (std::ranges::find(previous, ip, &InterfaceAddress::ip) == previous.end())
      differences.push_back(fmt::format("{} is reserved for {} and not in prevResult", ip, key));
  if (differences.empty()) co_return json::object{};
  co_return std::unexpected(
      Failure{cni::kCheckFailed, differences.front(), boost::join(differences, "; ")});
}

}  // namespace tombolo
