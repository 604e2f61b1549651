// ADD out of pools. All interfaces of a pod that its annotation names are one transaction: the
// first ADD of any of them reserves the addresses of all, and theirs wait under leases of their own
// for the ADDs to come. Control thread.
//
//   choose      pod, namespace -> pools of each interface             (one read of the store)
//   claim       underlay pools: all addresses in one transaction      (one write of the store)
//   reserve     all leases in one transaction of the lease book
//   let go      lease erased -> claim freed, later and without being waited for
#include "ipamd/cni/pooled.h"

#include <algorithm>

#include "ipamd/cni/internal.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::failure;
using cni::Failure;
using cni::Mode;

namespace {

constexpr std::size_t kMostNewBlocks = 8;  // of overlay pools, for one ADD

bool is_node_pool(const std::string& pool) {
  return pool == kNodePool;
}

// What an error of the claims means to the runtime.
int code_of_claims(const Error& error) {
  bool wrong = error.code == Code::kInvalidArgument || error.code == Code::kOutOfRange;
  return wrong ? cni::kNoPool : cni::kTryLater;
}

bool is_underlay(const PoolCatalog& catalog, const AddressWish& wish) {
  const IpPool* pool = catalog.find(wish.pools.front());
  return pool != nullptr && pool->kind == PoolKind::kUnderlay;
}

}  // namespace

bool CniService::asks_pools() const {
  return pooled_ && (!pooled_->pools.directory->known() || pooled_->pools.directory->any());
}

bool CniService::is_waiting(const Lease& lease) {
  return lease.network == kWaitingNetwork;
}

bool CniService::is_pooled(const Lease& lease) {
  return !std::ranges::all_of(lease.pools, is_node_pool);
}

asio::awaitable<Answer<std::vector<InterfaceChoice>>> CniService::choose(Call call) {
  PodQuestion question;
  question.interface_name = call.interface_name;
  question.network = call.network;
  question.name_space = call.pod_namespace;
  question.pod_name = call.pod_name;
  question.node = settings_.node;
  question.node_labels = pooled_->pools.node_labels;
  question.configured_ipv4 = call.ipv4_pools;
  question.configured_ipv6 = call.ipv6_pools;
  question.families = settings_.families;
  std::optional<PodInfo> info;
  if (!call.pod_name.empty()) {
    auto found = co_await pooled_->pools.directory->find_pod(call.pod_namespace, call.pod_name);
    if (!found && found.error().code == Code::kNotFound)
      co_return std::unexpected(
          Failure{cni::kTryLater,
                  fmt::format("nothing is known of the pod {}/{} yet, and so not its address pool",
                              call.pod_namespace, call.pod_name),
                  ""});
    if (!found)
      co_return std::unexpected(
          Failure{cni::kTryLater,
                  fmt::format("the address pool of the pod {}/{} is not known: {}",
                              call.pod_namespace, call.pod_name, found.error().what),
                  ""});
    info = std::move(*found);
  }
  auto choices =
      choose_for_pod(pooled_->pools.directory->catalog(), info ? &*info : nullptr, question);
  if (!choices) co_return failure(cni::kNoPool, choices.error());
  co_return std::move(*choices);
}

// The lease of an interface that has none, or one that waits.
asio::awaitable<Answer<CniService::Granted>> CniService::grant(Call call, Lease wanted) {
  if (!pooled_ || !pooled_->pools.directory->known())
    co_return std::unexpected(
        Failure{cni::kTryLater, "which address pools there are has not been read yet", ""});
  CO_TRY(choices, co_await choose(call));
  take_pools();
  std::string key = wanted.key();
  if (auto held = held_lease(key)) {
    // Reserved by the first ADD of the pod.
    bool clean = choices.front().selection.clean_gateway;
    auto taken = book_.take_over(std::move(wanted));
    if (!taken) co_return failure(cni::code_of_lease(taken.error()), taken.error());
    forget_waiting(*held);
    Granted granted;
    granted.from_pools = is_pooled(taken->lease);
    granted.extras = extras_of(taken->lease, clean);
    granted.reservation = std::move(*taken);
    co_return granted;
  }
  co_return co_await grant_probed(std::move(call), std::move(wanted), std::move(choices));
}

// Claims what is underlay: every wish that was claimed is for exactly that address then.
asio::awaitable<Answer<ClaimsUnderWay>> CniService::claim(std::string container_id, std::string pod,
                                                          std::vector<InterfaceChoice>& choices) {
  const PoolCatalog& catalog = pooled_->pools.directory->catalog();
  std::vector<ClaimWanted> wanted;
  std::vector<std::pair<std::size_t, std::vector<std::size_t>>> places;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    ClaimWanted one;
    std::vector<std::size_t> wishes;
    for (std::size_t j = 0; j < choices[i].wishes.size(); ++j) {
      if (!is_underlay(catalog, choices[i].wishes[j])) continue;
      one.addresses.push_back(choices[i].wishes[j]);
      wishes.push_back(j);
    }
    if (wishes.empty()) continue;
    one.holder = object_key(container_id, choices[i].interface_name);
    one.pod = pod;
    one.identity = choices[i].identity;
    one.room = choices[i].room;
    wanted.push_back(std::move(one));
    places.emplace_back(i, std::move(wishes));
  }
  if (wanted.empty()) co_return ClaimsUnderWay();
  auto taken = co_await pooled_->pools.claims->take(std::move(wanted));
  if (!taken) co_return failure(code_of_claims(taken.error()), taken.error());
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto& [choice, wishes] = places[i];
    for (std::size_t j = 0; j < wishes.size(); ++j) {
      const AddressClaim& claim = taken->claims[i][j];
      AddressWish exact{claim.ip.family(), {claim.pool}, claim.ip};
      choices[choice].wishes[wishes[j]] = std::move(exact);
    }
  }
  co_return std::move(taken->under_way);
}

// As without pools: an ADD may wait for a DEL's erasure, or for a block's gateway to be made.
asio::awaitable<Answer<LeaseBook::Reservation>> CniService::reserve_from_blocks(bool with_gateways,
                                                                                Lease wanted) {
  if (with_gateways) co_return co_await reserve_with_gateways(std::move(wanted));
  auto reserved = co_await reserve_from_node(std::move(wanted));
  if (!reserved) co_return failure(cni::code_of_lease(reserved.error()), reserved.error());
  co_return std::move(*reserved);
}

asio::awaitable<Answer<CniService::Granted>> CniService::grant_new(
    Call call, Lease wanted, std::vector<InterfaceChoice> choices) {
  std::string container = call.container_id;
  auto key_of_choice = [&](const InterfaceChoice& choice) {
    return object_key(container, choice.interface_name);
  };
  // Others that have theirs, or are about to get it, are not asked for again.
  std::erase_if(choices, [&](const InterfaceChoice& choice) {
    std::string key = key_of_choice(choice);
    return choice.interface_name != call.interface_name && (held_lease(key) || busy_.contains(key));
  });
  std::vector<std::string> keys;
  for (const InterfaceChoice& choice : choices) keys.push_back(key_of_choice(choice));
  co_await wait_until_freed(keys);
  Granted granted;
  std::string pod = call.pod_name.empty() ? "" : object_key(call.pod_namespace, call.pod_name);
  CO_TRY(under_way, co_await claim(container, pod, choices));
  granted.under_way = std::move(under_way);

  std::optional<LeaseBook::Reservation> apart;
  if (choices.front().selection.node_blocks) {
    bool on_the_wire = call.mode == Mode::kAddresses || !call.device_id.empty();
    auto reserved = co_await reserve_from_blocks(on_the_wire, wanted);
    if (!reserved) {
      free_claims_of(keys);
      co_return std::unexpected(std::move(reserved).error());
    }
    apart = std::move(*reserved);
  }
  auto reserved = reserve_choices(call, wanted, choices, apart.has_value());
  for (std::size_t round = 0; !reserved && round < kMostNewBlocks; ++round) {
    std::vector<AddressWish> more = unfulfilled(choices);
    if (more.empty()) break;
    if (auto grown = co_await grow(std::move(more.front())); !grown) {
      reserved = std::unexpected(std::move(grown).error());
      break;
    }
    reserved = reserve_choices(call, wanted, choices, apart.has_value());
  }
  if (!reserved) {
    if (apart) book_.abandon(apart->lease.key(), apart->lease.sequence);
    free_claims_of(keys);
    co_return failure(code_of_claims(reserved.error()), reserved.error());
  }
  for (Lease& lease : reserved->leases) {
    if (lease.key() == keys.front()) {
      granted.reservation.lease = std::move(lease);
    } else {
      note_waiting(lease);
      granted.others.push_back({lease.key(), lease.sequence});
    }
  }
  if (apart) granted.reservation.lease = std::move(apart->lease);
  granted.reservation.ticket =
      reserved->ticket != nullptr ? std::move(reserved->ticket) : std::move(apart->ticket);
  granted.from_pools = is_pooled(granted.reservation.lease);
  granted.extras = extras_of(granted.reservation.lease, choices.front().selection.clean_gateway);
  co_return granted;
}

// All of them in one transaction of the book; but for the first when it was reserved apart.
Result<LeaseBook::Reservations> CniService::reserve_choices(
    const Call& call, const Lease& wanted, const std::vector<InterfaceChoice>& choices,
    bool first_is_apart) {
  std::vector<LeaseBook::Wanted> all;
  for (std::size_t i = first_is_apart ? 1 : 0; i < choices.size(); ++i) {
    LeaseBook::Wanted one;
    one.lease = wanted;
    if (i > 0) {
      one.lease = lease_of(call);
      one.lease.network = kWaitingNetwork;
      one.lease.attachment.interface_name = choices[i].interface_name;
    }
    one.addresses = choices[i].wishes;
    // Only what is claimed can be kept for it.
    if (std::ranges::any_of(choices[i].wishes, [&](const AddressWish& wish) {
          return is_underlay(pooled_->pools.directory->catalog(), wish);
        }))
      one.lease.identity = choices[i].identity;
    if (choices[i].selection.node_blocks) {
      TRY(wishes, book_.allocator().wishes(kNodePool, settings_.families));
      one.addresses = std::move(wishes);
    }
    all.push_back(std::move(one));
  }
  if (all.empty()) return LeaseBook::Reservations{};
  return book_.reserve_all(std::move(all));
}

cni::InterfaceExtras CniService::extras_of(const Lease& lease, bool clean_gateway) const {
  cni::InterfaceExtras extras;
  extras.default_routes = !clean_gateway;
  if (!pooled_) return extras;
  for (const std::string& name : lease.pools)
    if (const IpPool* pool = pooled_->pools.directory->catalog().find(name))
      for (const PoolRoute& route : pool->routes) extras.routes.push_back(route.destination);
  return extras;
}

// With the pools' subnets, gateways and routes, for the plugin that makes the interface.
cni::GrantedAddresses CniService::places_of(const Lease& lease, bool default_routes) const {
  cni::GrantedAddresses granted;
  for (std::size_t i = 0; i < lease.attachment.ips.size(); ++i) {
    const Ip& ip = lease.attachment.ips[i];
    const IpPool* pool = pooled_->pools.directory->catalog().find(lease.pools[i]);
    bool known = pool != nullptr && pool->subnet.contains(ip);
    // A pool may have gone meanwhile; what was given stays valid, as a single address.
    granted.addresses.push_back({ip, known ? pool->subnet.length() : bits_of(ip.family())});
    std::optional<Ip> gateway;
    if (known && default_routes) gateway = pool->gateway;
    granted.gateways.push_back(gateway);
    if (gateway) granted.routes.push_back({Prefix(Ip(ip.family(), 0), 0), gateway});
    if (!known) continue;
    for (const PoolRoute& route : pool->routes)
      granted.routes.push_back({route.destination, route.gateway});
  }
  return granted;
}

// Of an ADD that failed: what its transaction reserved for other interfaces.
void CniService::take_back(const std::vector<LeaseBook::Held>& others) {
  for (const LeaseBook::Held& other : others) {
    auto lease = held_lease(other.key);
    if (!lease || lease->sequence != other.sequence) continue;
    book_.abandon(other.key, other.sequence);
    forget_waiting(*lease);
    free_claims(*lease);
  }
}

}  // namespace tombolo
