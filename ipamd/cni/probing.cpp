// Probes before an address is answered: does the network know
// somebody who has it, does the gateway answer. An address that somebody has is set aside for a
// while, under a lease that no container owns, and the ADD gets another. Control thread.
#include <boost/algorithm/string/join.hpp>

#include "core/metrics.h"
#include "ipamd/cni/devices.h"
#include "ipamd/cni/internal.h"
#include "ipamd/cni/pooled.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::failure;
using cni::Failure;

namespace {

// No configuration can have this name, so no GC of a network meets the leases under it.
constexpr std::string_view kConflictNetwork = "tombolo/conflict";
constexpr Duration kConflictRest = std::chrono::minutes(10);
// Reservations that one ADD tries. A network where everything answers (proxy ARP) must not take a
// pool: no more than so many addresses are set aside at a time.
constexpr int kMostTries = 4;
constexpr std::size_t kMostConflicts = 256;

metrics::Counter probed(const char* result) {
  return metrics::counter("tombolo_cni_probes_total",
                          "ADDs whose addresses or gateways were asked for on the network, by what "
                          "came of it",
                          {{"result", result}});
}

void count_set_aside(std::size_t addresses) {
  metrics::gauge("tombolo_cni_conflicting_addresses",
                 "Addresses set aside because somebody else on the network has them")
      .set(static_cast<double>(addresses));
}

std::string told(const std::map<Ip, std::string>& conflicts) {
  std::vector<std::string> parts;
  for (const auto& [ip, mac] : conflicts) parts.push_back(fmt::format("{} ({})", ip, mac));
  return boost::join(parts, ", ");
}

// Where the network of an interface is asked.
struct AskedAt {
  std::string device;     // empty: the one that is on the addresses' network
  bool in_vlan = false;   // of the pool, by its tag
  bool gateways = false;  // they are the interface's own, not the node's
};

// What the pools of a lease want to know, by VLAN. A bridge passes on its own VLANs alone, which
// nobody here knows.
std::vector<ProbeQuestion> questions_of(const Call& call, const Lease& lease,
                                        const PoolCatalog& catalog, const AskedAt& at) {
  std::map<std::uint16_t, ProbeQuestion> by_vlan;
  for (std::size_t i = 0; i < lease.pools.size(); ++i) {
    if (lease.pools[i] == kNodePool && call.conflict_probe)
      by_vlan[0].unused.push_back(lease.attachment.ips[i]);
    const IpPool* pool = catalog.find(lease.pools[i]);
    if (pool == nullptr || (pool->vlan != 0 && !at.in_vlan && !at.device.empty())) continue;
    ProbeQuestion& question = by_vlan[at.in_vlan ? static_cast<std::uint16_t>(pool->vlan) : 0];
    if (pool->conflict_probe) question.unused.push_back(lease.attachment.ips[i]);
    if (pool->gateway_probe && pool->gateway && at.gateways)
      question.gateways.push_back(*pool->gateway);
  }
  std::vector<ProbeQuestion> questions;
  for (auto& [vlan, question] : by_vlan) {
    question.device = at.device;
    question.vlan = vlan;
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

void CniService::probe_with(AddressProber& prober) {
  prober_ = &prober;
}

bool CniService::is_conflict(const Lease& lease) {
  return lease.network == kConflictNetwork;
}

// The conflicts; none where nothing could be asked, which is logged and counted. An error when a
// gateway is silent.
asio::awaitable<Answer<std::map<Ip, std::string>>> CniService::ask_network(ProbeQuestion question) {
  std::map<Ip, std::string> none;
  if (prober_ == nullptr) co_return none;
  if (question.unused.empty() && question.gateways.empty()) co_return none;
  bool anywhere = question.device.empty();
  std::string device = anywhere ? "the addresses' network" : question.device;
  std::vector<Ip> gateways = question.gateways;
  auto answer = co_await prober_->probe(std::move(question));
  if (!answer && answer.error().code == Code::kCancelled)
    co_return failure(cni::kTryLater, answer.error());
  // That the node is not on that network is how most nodes are.
  if (!answer && anywhere && answer.error().code == Code::kNotFound) {
    probed("not on the network").increment();
    co_return none;
  }
  if (!answer) {
    probed("not possible").increment();
    log_.warning("addresses are given unprobed: {}", answer.error().text());
    co_return none;
  }
  if (!answer->conflicts.empty()) {
    probed("conflict").increment();
    log_.warning("on {} somebody has {}", device, told(answer->conflicts));
    co_return std::move(answer->conflicts);
  }
  for (const Ip& gateway : gateways) {
    if (answer->gateways.contains(gateway)) continue;
    probed("gateway silent").increment();
    co_return std::unexpected(Failure{
        cni::kTryLater, fmt::format("the gateway {} does not answer on {}", gateway, device), ""});
  }
  probed("fine").increment();
  co_return none;
}

// Instead of the reservation, a lease of each address that is somebody else's.
void CniService::set_aside(const Lease& lease, const std::map<Ip, std::string>& conflicts) {
  std::vector<PooledIp> addresses = lease.addresses();
  book_.abandon(lease.key(), lease.sequence);
  for (const PooledIp& address : addresses) {
    auto conflict = conflicts.find(address.ip);
    if (conflict == conflicts.end() || conflicts_.size() >= kMostConflicts) continue;
    LeaseBook::Wanted wanted;
    wanted.lease.network = kConflictNetwork;
    // Another node that finds the same conflict does not claim it in this one's place.
    wanted.lease.attachment.container_id = "conflict-" + settings_.node;
    wanted.lease.attachment.interface_name = address.ip.str();
    wanted.lease.attachment.node = settings_.node;
    wanted.lease.attachment.mac = conflict->second;
    wanted.addresses.push_back({address.ip.family(), {address.pool}, address.ip});
    std::vector<LeaseBook::Wanted> one;
    one.push_back(std::move(wanted));
    auto reserved = book_.reserve_all(std::move(one));
    if (reserved)
      note_conflict(reserved->leases.front());
    else
      log_.warning("{} is not set aside: {}", address.ip, reserved.error().text());
  }
}

void CniService::note_conflict(const Lease& lease) {
  conflicts_[lease.key()] = {lease.sequence, clock_.now() + kConflictRest};
  count_set_aside(conflicts_.size());
}

void CniService::free_rested_conflicts() {
  for (auto at = conflicts_.begin(); at != conflicts_.end();) {
    if (clock_.now() < at->second.until) {
      ++at;
      continue;
    }
    LeaseBook::Held held{at->first, at->second.sequence};
    at = conflicts_.erase(at);
    // Whoever gets it next probes again.
    book_.abandon(held.key, held.sequence);
    count_set_aside(conflicts_.size());
  }
}

asio::awaitable<Answer<LeaseBook::Reservation>> CniService::reserve_probed(Call call, Lease lease) {
  std::string last;
  for (int tries = 0; tries < kMostTries; ++tries) {
    CO_TRY(reservation, co_await reserve_with_gateways(lease));
    ProbeQuestion question;
    question.device = call.device;
    bool asked = !call.device.empty();
    if (asked && call.conflict_probe) question.unused = reservation.lease.attachment.ips;
    if (asked && call.gateway_probe)
      for (const auto& route : call.routes)
        if (route.gateway) question.gateways.push_back(*route.gateway);
    auto conflicts = co_await ask_network(std::move(question));
    if (conflicts && conflicts->empty()) co_return std::move(reservation);
    if (!conflicts) {
      book_.abandon(reservation.lease.key(), reservation.lease.sequence);
      co_return std::unexpected(std::move(conflicts).error());
    }
    last = told(*conflicts);
    set_aside(reservation.lease, *conflicts);
  }
  co_return std::unexpected(
      Failure{cni::kTryLater,
              fmt::format("{} times somebody else on {} had the address, last {}", kMostTries,
                          call.device, last),
              ""});
}

// Of the pools' addresses, of all VLANs: who has them.
asio::awaitable<Answer<std::map<Ip, std::string>>> CniService::ask_for_pools(Call call,
                                                                             Lease lease) {
  AskedAt at;
  at.device = call.device;
  if (at.device.empty() && !call.device_id.empty() && devices_) {
    // The card that the device is of.
    DeviceNet* net = &devices_->net;
    auto job = [net, id = call.device_id] { return net->find_device(id); };
    auto found = co_await net_worker_->run(std::move(job));
    if (found) at.device = found->parent;
  }
  std::map<Ip, std::string> conflicts;
  // Another plugin may have its interface anywhere.
  if (at.device.empty() && call.mode == cni::Mode::kAddresses) co_return conflicts;
  at.in_vlan = !at.device.empty() && !call.device_is_bridge;
  at.gateways = !at.device.empty();
  auto questions = questions_of(call, lease, pooled_->pools.directory->catalog(), at);
  for (ProbeQuestion& question : questions) {
    CO_TRY(found, co_await ask_network(std::move(question)));
    conflicts.merge(found);
  }
  co_return conflicts;
}

// The same for addresses of pools, whose claims go with them. A fixed address that somebody else
// has is an error: no other one is the pod's.
asio::awaitable<Answer<CniService::Granted>> CniService::grant_probed(
    Call call, Lease wanted, std::vector<InterfaceChoice> choices) {
  std::string last;
  for (int tries = 0; tries < kMostTries; ++tries) {
    CO_TRY(granted, co_await grant_new(call, wanted, choices));
    const Lease lease = granted.reservation.lease;
    auto conflicts = co_await ask_for_pools(call, lease);
    if (conflicts && conflicts->empty()) co_return std::move(granted);
    take_back(granted.others);
    bool fixed = !choices.front().identity.empty();
    if (!conflicts || fixed) {
      book_.abandon(lease.key(), lease.sequence);
      free_claims(lease);
    }
    if (!conflicts) co_return std::unexpected(std::move(conflicts).error());
    last = told(*conflicts);
    if (fixed) break;
    set_aside(lease, *conflicts);
    // At once: what is still claimed for this interface would be given to it again.
    std::vector<std::string> holders{lease.key()};
    auto freed = co_await pooled_->pools.claims->release(std::move(holders));
    if (!freed) {
      free_claims(lease);
      co_return failure(cni::kTryLater, freed.error());
    }
  }
  co_return std::unexpected(
      Failure{cni::kTryLater,
              fmt::format("somebody else on {} has the address of the pool: {}",
                          call.device.empty() ? "its network" : call.device, last),
              ""});
}

}  // namespace tombolo
