// ADD, DEL, CHECK, GC and STATUS.
#include <boost/algorithm/string/join.hpp>

#include "ipamd/cni/interface.h"
#include "ipamd/cni/internal.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::failure;
using cni::Failure;

namespace {

constexpr Duration kMtuAge = std::chrono::seconds(10);

// What an error of the kernel means to the runtime.
int code_of_kernel(const Error& error) {
  return error.code == Code::kUnavailable ? cni::kTryLater : cni::kKernelRefused;
}

int code_of_lease(const Error& error) {
  switch (error.code) {
    case Code::kResourceExhausted:
    case Code::kFailedPrecondition:  // no block yet
      return cni::kTryLater;
    default:
      return cni::kIoFailure;
  }
}

std::string key_of(const Call& call) {
  return object_key(call.container_id, call.interface_name);
}

}  // namespace

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

// The lease of an ADD: a new one, or the one of an ADD that a crash interrupted.
asio::awaitable<Answer<LeaseBook::Reservation>> CniService::reserve(Call call) {
  std::string key = key_of(call);
  if (auto held = book_.find(key)) {
    if (held->state == LeaseState::kAttached)
      co_return std::unexpected(
          Failure{cni::kAlreadyAttached,
                  fmt::format("the interface {} of {} is attached already: DEL comes first",
                              call.interface_name, call.container_id),
                  ""});
    if (held->attachment.netns_path == call.netns_path) {
      Lease same = *held;
      Net* net = &net_;
      std::string name = same.attachment.host_interface;
      auto job = [net, name] { return net->delete_link(name); };
      auto deleted = co_await removal_worker_->run(std::move(job));
      if (!deleted) co_return failure(code_of_kernel(deleted.error()), deleted.error());
      co_return LeaseBook::Reservation{std::move(same), nullptr};
    }
    CO_TRY_OK(co_await detach(key));
  }
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
  attachment.host_interface = cni::host_interface_name(settings_.interface_prefix, key);
  attachment.mac = cni::pod_mac(key);
  auto reservation = book_.reserve(std::move(lease), kNodePool, settings_.families);
  if (!reservation) co_return failure(code_of_lease(reservation.error()), reservation.error());
  co_return std::move(*reservation);
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
  auto set_up = [net, attachment]() -> Result<void> {
    TRY_OK(net->set_up_interface("", cni::host_setup(attachment)));
    return net->set_up_interface(attachment.netns_path, cni::pod_setup(attachment));
  };
  auto done = co_await net_worker_->run(std::move(set_up));
  if (!done) co_return failure(code_of_kernel(done.error()), done.error());
  co_return Answer<void>{};
}

// Leaves nothing of an ADD that failed. What cannot be removed keeps its lease, so that nobody
// else gets the addresses; the next DEL, ADD or start tries again.
asio::awaitable<void> CniService::undo(Lease lease) {
  Net* net = &net_;
  std::string name = lease.attachment.host_interface;
  auto job = [net, name] { return net->delete_link(name); };
  auto deleted = co_await removal_worker_->run(std::move(job));
  co_await hooks_.removed(lease.attachment);
  if (deleted)
    book_.abandon(lease.key(), lease.sequence);
  else
    log_.error("{} keeps its addresses: {}", lease.key(), deleted.error().text());
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
  CO_TRY(reservation, co_await reserve(call));
  Lease lease = reservation.lease;
  interface.attachment = lease.attachment;
  interface.host_mac = cni::host_mac(key);
  // The disk and the kernel work at the same time; lease_book.h says why that is safe.
  auto made = co_await make_interface(interface);
  Result<void> durable;
  if (reservation.ticket != nullptr) durable = co_await book_.durable(reservation.ticket);
  if (!made || !durable) {
    co_await undo(lease);
    if (!made) co_return std::unexpected(std::move(made).error());
    co_return failure(cni::kIoFailure, durable.error());
  }
  book_.mark_attached(key, lease.sequence);
  attachments_.upsert(lease.attachment);

  cni::Success success;
  success.interface_name = call.interface_name;
  success.netns_path = call.netns_path;
  success.mac = lease.attachment.mac;
  success.host_interface = lease.attachment.host_interface;
  success.host_mac = interface.host_mac;
  success.mtu = interface.mtu;
  success.ips = lease.attachment.ips;
  for (const Ip& ip : success.ips) success.gateways.push_back(cni::next_hop(ip.family()));
  success.nameservers = settings_.dns_addresses;
  cni::add_resolver(success, call.pod_namespace, settings_.cluster_zone, settings_.clusterset_zone);
  co_return cni::encode_success(success, call.cni_version);
}

asio::awaitable<Answer<void>> CniService::detach(std::string key) {
  std::string name = cni::host_interface_name(settings_.interface_prefix, key);
  std::optional<Lease> lease;
  if (auto held = book_.find(key)) {
    lease = *held;
    name = lease->attachment.host_interface;
  }
  Net* net = &net_;
  auto job = [net, name] { return net->delete_link(name); };
  auto deleted = co_await removal_worker_->run(std::move(job));
  if (!deleted) co_return failure(code_of_kernel(deleted.error()), deleted.error());
  if (!lease) co_return Answer<void>{};
  co_await hooks_.removed(lease->attachment);
  auto released = co_await book_.release(key, lease->sequence);
  if (!released) co_return failure(code_of_lease(released.error()), released.error());
  attachments_.erase(key);
  co_return Answer<void>{};
}

asio::awaitable<Answer<json::object>> CniService::remove(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  CO_TRY_OK(co_await detach(key));
  co_return json::object{};
}

asio::awaitable<Answer<json::object>> CniService::check(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  auto found = book_.find(key);
  if (!found || found->state != LeaseState::kAttached)
    co_return std::unexpected(
        Failure{cni::kUnknownContainer, fmt::format("{} holds no addresses here", key), ""});
  Attachment attachment = found->attachment;
  attachment.netns_path = call.netns_path;
  std::vector<std::string> differences;
  for (const auto& address : call.previous->addresses)
    if (std::ranges::find(attachment.ips, address.ip) == attachment.ips.end())
      differences.push_back(
          fmt::format("{} of prevResult is not reserved for {}", address.ip.str(), key));
  Net* net = &net_;
  auto job = [net, attachment]() -> Result<std::vector<std::string>> {
    std::vector<std::string> seen;
    auto pod = net->read_interface(attachment.netns_path, attachment.interface_name);
    auto host = net->read_interface("", attachment.host_interface);
    for (const auto* state : {&pod, &host})
      if (!*state && state->error().code != Code::kNotFound) return std::unexpected(state->error());
    if (pod)
      seen = cni::differences_in_pod(attachment, *pod);
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
  if (differences.empty()) co_return json::object{};
  co_return std::unexpected(
      Failure{cni::kCheckFailed, differences.front(), boost::join(differences, "; ")});
}

asio::awaitable<Answer<json::object>> CniService::collect_garbage(Call call) {
  std::set<std::string> valid;
  for (const auto& id : call.valid_attachments)
    valid.insert(object_key(id.container_id, id.interface_name));
  std::vector<std::string> garbage;
  for (const auto& [key, lease] : book_.leases())
    // What is being attached at this moment is nobody's garbage.
    if (lease.network == call.network && !valid.contains(key) && !busy_.contains(key))
      garbage.push_back(key);
  std::vector<std::string> errors;
  for (const auto& key : garbage) {
    if (auto taken = co_await take_key(key); !taken)
      co_return failure(cni::kTryLater, taken.error());
    KeyHeld held(*this, key);
    auto detached = co_await detach(key);
    if (!detached) errors.push_back(fmt::format("{}: {}", key, detached.error().message));
  }
  log_.info("GC of {}: {} of {} attachments removed", call.network, garbage.size() - errors.size(),
            garbage.size());
  if (errors.empty()) co_return json::object{};
  co_return std::unexpected(Failure{
      cni::kKernelRefused,
      fmt::format("{} of {} attachments could not be removed", errors.size(), garbage.size()),
      boost::join(errors, "; ")});
}

asio::awaitable<Answer<json::object>> CniService::status() {
  auto unavailable = [](std::string why) {
    return std::unexpected(Failure{cni::kNotAvailable, std::move(why), ""});
  };
  Net* net = &net_;
  auto look = [net] { return net->forwards(); };
  auto forwards = co_await net_worker_->run(std::move(look));
  if (!forwards) co_return unavailable(forwards.error().text());
  if (!*forwards)
    co_return std::unexpected(
        Failure{cni::kLimited,
                "forwarding between interfaces is off on this node: sysctl net.ipv4.ip_forward, "
                "net.ipv6.conf.all.forwarding",
                ""});
  if (!book_.journal().trouble().empty())
    co_return unavailable("leases cannot be written: " + book_.journal().trouble());
  const AddressPool* pool = book_.allocator().pool(kNodePool);
  for (Family family : {Family::kV4, Family::kV6}) {
    bool has = pool != nullptr && pool->has(family);
    bool wanted = settings_.families.empty()
                      ? has
                      : std::ranges::find(settings_.families, family) != settings_.families.end();
    if (wanted && !has)
      co_return unavailable(
          fmt::format("this node has no block of {} addresses yet", to_string(family)));
    if (!wanted) continue;
    FamilyUsage usage = pool->usage(family);
    if (usage.free() == 0)
      co_return unavailable(fmt::format("no free {} address: {} of {} are in use",
                                        to_string(family), usage.in_use, usage.total));
  }
  if (pool == nullptr || pool->blocks().empty())
    co_return unavailable("this node has no block of addresses yet");
  if (auto mtu = co_await mtu_of_path(); !mtu) co_return unavailable(mtu.error().text());
  co_return json::object{};
}

}  // namespace tombolo
