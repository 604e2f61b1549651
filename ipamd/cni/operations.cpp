// ADD, DEL and CHECK of interfaces that are made here.
#include <boost/algorithm/string/join.hpp>

#include "ipamd/cni/devices.h"
#include "ipamd/cni/interface.h"
#include "ipamd/cni/internal.h"
#include "ipamd/cni/pooled.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::failure;
using cni::Failure;
using cni::Mode;

namespace {

constexpr Duration kMtuAge = std::chrono::seconds(10);
constexpr Duration kReleaseAgain = std::chrono::seconds(1);

// What an error of the kernel means to the runtime.
int code_of_kernel(const Error& error) {
  return error.code == Code::kUnavailable ? cni::kTryLater : cni::kKernelRefused;
}

}  // namespace

std::string CniService::key_of(const Call& call) {
  return object_key(call.container_id, call.interface_name);
}

// What the call says of a lease; the rest is up to the mode.
Lease CniService::lease_of(const Call& call) const {
  Lease lease;
  lease.network = call.network;
  Attachment& attachment = lease.attachment;
  attachment.container_id = call.container_id;
  attachment.interface_name = call.interface_name;
  attachment.name_space = call.pod_namespace;
  attachment.pod_name = call.pod_name;
  attachment.pod_uid = call.pod_uid;
  attachment.node = settings_.node;
  attachment.netns_path = call.netns_path;
  return lease;
}

asio::awaitable<Result<std::uint32_t>> CniService::mtu_of_path() {
  if (settings_.mtu != 0) co_return settings_.mtu;
  if (known_mtu_ != 0 && clock_.now() - mtu_read_at_ < kMtuAge) co_return known_mtu_;
  Net* net = &net_;
  std::string prefix = settings_.interface_prefix;
  auto job = [net, prefix] { return net->uplink_mtu(prefix); };
  CO_TRY(mtu, co_await net_worker_->run(std::move(job)));
  known_mtu_ = mtu;
  mtu_read_at_ = clock_.now();
  co_return mtu;
}

// Of the node's own blocks. What a DEL has given back and is not yet on the disk is waited for.
asio::awaitable<Result<LeaseBook::Reservation>> CniService::reserve_from_node(Lease lease) {
  while (true) {
    auto reserved = book_.reserve(lease, kNodePool, settings_.families);
    bool full = !reserved && reserved.error().code == Code::kResourceExhausted;
    if (!full || releases_under_way_ == 0) co_return reserved;
    book_.hurry();
    CO_TRY_OK(co_await released_.wait());
  }
}

// The lease of an ADD: a new one, or the one of an ADD that a crash interrupted.
asio::awaitable<Answer<CniService::Granted>> CniService::reserve(Call call) {
  std::string key = key_of(call);
  if (auto held = held_lease(key); held && !is_waiting(*held)) {
    if (held->state == LeaseState::kAttached || is_reservation(*held))
      co_return std::unexpected(
          Failure{cni::kAlreadyAttached,
                  fmt::format("the interface {} of {} is attached already: DEL comes first",
                              call.interface_name, call.container_id),
                  ""});
    if (held->attachment.netns_path == call.netns_path && device_of(key) == nullptr) {
      Lease same = *held;
      Net* net = &net_;
      std::string name = same.attachment.host_interface;
      auto job = [net, name] { return net->delete_link(name); };
      auto deleted = co_await removal_worker_->run(std::move(job));
      if (!deleted) co_return failure(code_of_kernel(deleted.error()), deleted.error());
      Granted granted;
      granted.from_pools = is_pooled(same);
      granted.extras = extras_of(same, false);
      granted.reservation = {std::move(same), nullptr};
      co_return granted;
    }
    CO_TRY_OK(co_await detach(key));
  }
  Lease lease = lease_of(call);
  lease.attachment.host_interface = cni::host_interface_name(settings_.interface_prefix, key);
  lease.attachment.mac = call.mac.empty() ? cni::pod_mac(key) : call.mac;
  if (asks_pools() || held_lease(key)) {
    co_return co_await grant(std::move(call), std::move(lease));
  }
  auto reservation = co_await reserve_from_node(std::move(lease));
  if (!reservation) co_return failure(cni::code_of_lease(reservation.error()), reservation.error());
  Granted granted;
  granted.reservation = std::move(*reservation);
  co_return granted;
}

asio::awaitable<Answer<void>> CniService::make_interface(Interface interface) {
  Net* net = &net_;
  VethSpec veth = cni::veth_of(interface.attachment, interface.mtu);
  auto create = [net, veth] { return net->create_veth(veth); };
  auto created = co_await net_worker_->run(std::move(create));
  if (!created) {
    const Error& error = created.error();
    // Its own refusals of the namespace (core/net.h) carry no errno.
    bool netns = error.code == Code::kNotFound ||
                 (error.code == Code::kInvalidArgument && error.sys_errno == 0);
    co_return failure(netns ? cni::kInvalidNetns : code_of_kernel(error), error);
  }
  auto hooked = co_await hooks_.before_up(interface.attachment);
  if (!hooked) co_return failure(cni::kHookRefused, hooked.error());
  Attachment attachment = interface.attachment;
  // The host's end first: when the pod can send, the node is ready.
  cni::InterfaceExtras extras = interface.extras;
  auto set_up = [net, attachment, extras]() -> Result<void> {
    TRY_OK(net->set_up_interface("", cni::host_setup(attachment)));
    return net->set_up_interface(attachment.netns_path, cni::pod_setup(attachment, extras));
  };
  auto done = co_await net_worker_->run(std::move(set_up));
  if (!done) co_return failure(code_of_kernel(done.error()), done.error());
  co_return Answer<void>{};
}

// Leaves nothing of an ADD that failed. What cannot be removed keeps its lease, so that nobody
// else gets the addresses; the next DEL, ADD or start tries again.
asio::awaitable<void> CniService::undo(Lease lease) {
  auto deleted = co_await take_away(lease.key(), lease.attachment.host_interface);
  if (deleted) {
    co_await hooks_.removed(lease.attachment);
    book_.abandon(lease.key(), lease.sequence);
    free_claims(lease);
  } else {
    log_.error("{} keeps its addresses: {}", lease.key(), deleted.error().text());
  }
}

asio::awaitable<Answer<json::object>> CniService::add(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  Interface interface;
  if (call.mtu != 0) {
    interface.mtu = call.mtu;
  } else {
    auto mtu = co_await mtu_of_path();
    if (!mtu) co_return failure(cni::kTryLater, mtu.error());
    interface.mtu = *mtu;
  }
  CO_TRY(granted, co_await reserve(call));
  LeaseBook::Reservation& reservation = granted.reservation;
  Lease lease = reservation.lease;
  interface.attachment = lease.attachment;
  interface.extras = granted.extras;
  interface.host_mac = cni::host_mac(key);
  // The disk and the kernel work at the same time; lease_book.h says why that is safe.
  auto made = co_await make_interface(interface);
  Result<void> durable;
  if (reservation.ticket != nullptr) durable = co_await book_.durable(reservation.ticket);
  if (!made || !durable) {
    co_await undo(lease);
    take_back(granted.others);
    if (!made) co_return std::unexpected(std::move(made).error());
    co_return failure(cni::kIoFailure, durable.error());
  }
  book_.mark_attached(key, lease.sequence);
  show(key);

  cni::Success success;
  success.interface_name = call.interface_name;
  success.netns_path = call.netns_path;
  success.mac = lease.attachment.mac;
  success.host_interface = lease.attachment.host_interface;
  success.host_mac = interface.host_mac;
  success.mtu = interface.mtu;
  success.ips = lease.attachment.ips;
  for (const Ip& ip : success.ips) success.gateways.push_back(cni::next_hop(ip.family()));
  success.default_routes = granted.extras.default_routes;
  success.routes = granted.extras.routes;
  success.nameservers = settings_.dns_addresses;
  cni::add_resolver(success, call.pod_namespace, settings_.cluster_zone, settings_.clusterset_zone);
  co_return cni::encode_success(success, call.cni_version);
}

// The interface, where it was made here; what is left is the lease, if there was one.
asio::awaitable<Answer<std::optional<Lease>>> CniService::take_down(std::string key) {
  std::optional<Lease> lease = held_lease(key);
  bool made_here = !lease || !is_reservation(*lease);
  if (made_here) {
    std::string name = lease ? lease->attachment.host_interface
                             : cni::host_interface_name(settings_.interface_prefix, key);
    auto deleted = co_await take_away(key, std::move(name));
    if (!deleted) co_return failure(code_of_kernel(deleted.error()), deleted.error());
  }
  if (lease && made_here) co_await hooks_.removed(lease->attachment);
  co_return lease;
}

asio::awaitable<Answer<void>> CniService::detach(std::string key) {
  CO_TRY(lease, co_await take_down(key));
  if (!lease) co_return Answer<void>{};
  auto released = co_await book_.release(key, lease->sequence);
  if (!released) co_return failure(cni::code_of_lease(released.error()), released.error());
  forget_waiting(*lease);
  free_claims(*lease);
  show(key);
  co_return Answer<void>{};
}

// DEL is answered while the erasure is on its way to the disk, where it is written together with
// the next ADD, or after 50 ms. That is safe: the addresses are given to nobody before it is there,
// and if it is lost with the power (or with this process), the lease comes back, whose interface
// and namespace are gone: recovery frees it (recovery.cpp). Only when the disk refused the last
// time, DEL waits, so that the runtime hears of it.
asio::awaitable<Answer<void>> CniService::detach_for_del(std::unique_ptr<KeyHeld> held) {
  if (!book_.journal().trouble().empty()) co_return co_await detach(held->key());
  CO_TRY(lease, co_await take_down(held->key()));
  if (!lease) co_return Answer<void>{};
  LeaseBook::Held what{held->key(), lease->sequence};
  auto ticket = book_.begin_release(what);
  if (!ticket) co_return failure(cni::code_of_lease(ticket.error()), ticket.error());
  attachments_.erase(what.key);
  show_routed(what.key, nullptr);
  ++releases_under_way_;
  bool pooled = is_pooled(*lease);
  tasks_.spawn("cni release",
               finish_release(std::move(held), std::move(what), std::move(*ticket), pooled));
  co_return Answer<void>{};
}

// Holds the key until the disk has said yes or no. After a no it tries again, with the key free
// between: a DEL that comes meanwhile, or recovery, may be first.
asio::awaitable<void> CniService::finish_release(std::unique_ptr<KeyHeld> held,
                                                 LeaseBook::Held what, LeaseJournal::Ticket ticket,
                                                 bool pooled) {
  Result<LeaseJournal::Ticket> begun = std::move(ticket);
  while (true) {
    std::string why;
    if (begun) {
      auto released = co_await book_.end_release(what, std::move(*begun));
      --releases_under_way_;
      released_.notify_all();
      if (released && pooled) free_claims_of({what.key});
      if (released || released.error().code == Code::kCancelled) co_return;
      why = released.error().text();
    } else {
      if (begun.error().code != Code::kResourceExhausted) co_return;  // somebody was first
      why = begun.error().text();
    }
    log_.warning("{} is deleted and keeps its addresses for now: {}", what.key, why);
    held.reset();
    if (auto slept = co_await clock_.sleep_for(kReleaseAgain); !slept) co_return;
    if (auto taken = co_await take_key(what.key); !taken) co_return;
    held = std::make_unique<KeyHeld>(*this, what.key);
    begun = book_.begin_release(what);
    if (begun) ++releases_under_way_;
  }
}

asio::awaitable<Answer<json::object>> CniService::remove(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  auto held = std::make_unique<KeyHeld>(*this, key);
  auto lease = held_lease(key);
  Mode mode = call.mode;
  std::string container_id = call.container_id;
  switch (mode) {
    case Mode::kAddresses: {
      if (!lease || !is_reservation(*lease) || lease->network != call.network) break;
      CO_TRY_OK(co_await detach_for_del(std::move(held)));
      break;
    }
    case Mode::kChained: {
      CO_TRY_OK(co_await release_adopted(std::move(call)));
      break;
    }
    case Mode::kInterface: {
      // What only holds addresses was another plugin's call; it is that one's to give back.
      if (lease && is_reservation(*lease)) break;
      CO_TRY_OK(co_await detach_for_del(std::move(held)));
      break;
    }
  }
  if (mode != Mode::kChained) co_await release_waiting(std::move(container_id), std::move(held));
  co_return json::object{};
}

// Of the node's blocks: as ever. Of pools: the routes that the ADD answered; the pool may say
// something else by now.
cni::InterfaceExtras CniService::extras_to_check(const Lease& lease,
                                                 const cni::PreviousResult& previous) const {
  cni::InterfaceExtras extras;
  if (!is_pooled(lease)) return extras;
  extras.default_routes = false;
  extras.routes = previous.routes;
  return extras;
}

asio::awaitable<Answer<json::object>> CniService::check(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  auto found = held_lease(key);
  if (!found || found->state != LeaseState::kAttached || is_reservation(*found))
    co_return std::unexpected(
        Failure{cni::kUnknownContainer, fmt::format("{} holds no addresses here", key), ""});
  if (device_of(key) != nullptr) co_return co_await check_device(std::move(call), *found);
  Attachment attachment = found->attachment;
  attachment.netns_path = call.netns_path;
  cni::InterfaceExtras extras = extras_to_check(*found, *call.previous);
  std::vector<std::string> differences;
  for (const auto& address : call.previous->addresses)
    if (std::ranges::find(attachment.ips, address.ip) == attachment.ips.end())
      differences.push_back(
          fmt::format("{} of prevResult is not reserved for {}", address.ip.str(), key));
  Net* net = &net_;
  auto job = [net, attachment, extras]() -> Result<std::vector<std::string>> {
    std::vector<std::string> seen;
    auto pod = net->read_interface(attachment.netns_path, attachment.interface_name);
    auto host = net->read_interface("", attachment.host_interface);
    for (const auto* state : {&pod, &host})
      if (!*state && state->error().code != Code::kNotFound) return std::unexpected(state->error());
    if (pod)
      seen = cni::differences_in_pod(attachment, *pod, extras);
    else
      seen.push_back(pod.error().what);
    auto more = host ? cni::differences_on_host(attachment, *host)
                     : std::vector{fmt::format("on the node: {}", host.error().what)};
    seen.insert(seen.end(), more.begin(), more.end());
    return seen;
  };
  auto seen = co_await net_worker_->run(std::move(job));
  if (!seen) co_return failure(code_of_kernel(seen.error()), seen.error());
  differences.insert(differences.end(), seen->begin(), seen->end());
  if (auto there = co_await hooks_.verify(attachment); !there)
    differences.push_back(there.error().what);
  if (differences.empty()) co_return json::object{};
  co_return std::unexpected(
      Failure{cni::kCheckFailed, differences.front(), boost::join(differences, "; ")});
}

}  // namespace tombolo
