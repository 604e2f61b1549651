// ADD and CHECK of an interface that is a device of the node ("deviceID"), and how it comes back.
// Control thread; the kernel on workers.
//
//   look       the device has one interface, and nobody else has it
//   reserve    addresses, as for a plugin that makes the interface: with subnet and gateway
//   record     what it was on the node is on the disk (device_records.h)
//   move       one step of the kernel; then the datapath, addresses, up, routes
//
// A crash after "record" leaves a record whose attachment has no complete lease: the next start, or
// DEL, GC and recovery before it, bring the device back, wherever it is.
#include <boost/algorithm/string/join.hpp>

#include "ipamd/cni/devices.h"
#include "ipamd/cni/interface.h"
#include "ipamd/cni/internal.h"
#include "ipamd/cni/pooled.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::DeviceRecord;
using cni::failure;
using cni::Failure;

namespace {

std::unexpected<Failure> no_device(std::string why) {
  return std::unexpected(Failure{cni::kNoDevice, std::move(why), ""});
}

// The only interface of the device, as the record of it. kFailedPrecondition: it has none that
// could be lent.
Result<DeviceRecord> look(DeviceNet& devices, const std::string& id) {
  TRY(device, devices.find_device(id));
  if (device.interfaces.empty()) {
    std::string driver = device.driver.empty() ? "no driver is bound to it"
                                               : fmt::format("its driver is {}", device.driver);
    return fail(Code::kFailedPrecondition,
                "the device {} has no interface on this node: {}. A device for a program in user "
                "space (vfio-pci) goes into a pod by its device plugin, without CNI",
                id, driver);
  }
  if (device.interfaces.size() > 1)
    return fail(Code::kFailedPrecondition, "the device {} has several interfaces: {}", id,
                boost::join(device.interfaces, ", "));
  TRY(link, devices.find_link("", device.interfaces.front()));
  TRY(use, devices.used_for(link.name));
  if (!use.empty())
    return fail(Code::kFailedPrecondition, "the node uses {}, the interface of the device {}: {}",
                link.name, id, use);
  DeviceRecord record;
  record.device = id;
  record.name = link.name;
  record.index = link.index;
  record.mac = link.mac;
  record.mtu = link.mtu;
  record.up = link.up;
  record.boot = devices.boot_id();
  return record;
}

}  // namespace

void CniService::lend_devices(DeviceNet& net, std::string folder) {
  devices_ = std::make_unique<Devices>(net, std::move(folder), *store_worker_);
}

const DeviceRecord* CniService::device_of(const std::string& key) const {
  return devices_ ? devices_->records.of_attachment(key) : nullptr;
}

std::optional<DeviceInPod> CniService::device_in_pod(const std::string& key) const {
  const DeviceRecord* record = device_of(key);
  if (record == nullptr) return std::nullopt;
  return DeviceInPod{record->device, record->netns_path, record->pod_index};
}

// The record to be, of a device that nobody has. The caller holds the device's turn.
asio::awaitable<Answer<DeviceRecord>> CniService::free_device(Call call) {
  if (const DeviceRecord* known = devices_->records.of_device(call.device_id)) {
    std::string holder = known->key();
    // Of this very attachment nothing is left but the record: its turn is the caller's.
    bool is_own = holder == key_of(call);
    if (!holder.empty() && !is_own && (held_lease(holder) || busy_.contains(holder)))
      co_return no_device(fmt::format("the device {} is lent to {}", call.device_id, holder));
    DeviceRecord record = *known;
    auto returned = co_await return_device(std::move(record));
    if (!returned) co_return failure(cni::kTryLater, returned.error());
    if (devices_->records.of_device(call.device_id) != nullptr)
      co_return std::unexpected(Failure{
          cni::kTryLater,
          fmt::format("the device {} has not come back from the pod before", call.device_id), ""});
  }
  DeviceNet* devices = &devices_->net;
  auto job = [devices, id = call.device_id] { return look(*devices, id); };
  auto found = co_await net_worker_->run(std::move(job));
  if (!found) co_return failure(cni::kNoDevice, found.error());
  found->container_id = call.container_id;
  found->interface_name = call.interface_name;
  found->netns_path = call.netns_path;
  found->pod_index = devices_->records.free_index(call.device_id);
  co_return std::move(*found);
}

asio::awaitable<Answer<CniService::Granted>> CniService::reserve_for_device(Call call,
                                                                            std::string mac) {
  Lease wanted = lease_of(call);
  std::string key = key_of(call);
  wanted.attachment.host_interface = cni::host_interface_name(settings_.interface_prefix, key);
  wanted.attachment.mac = std::move(mac);
  if (asks_pools() || held_lease(key)) co_return co_await grant(std::move(call), std::move(wanted));
  CO_TRY(reservation, co_await reserve_with_gateways(std::move(wanted)));
  Granted granted;
  granted.reservation = std::move(reservation);
  co_return granted;
}

// Subnets, gateways and routes. Out of the node's blocks the gateway is the block's first address,
// which something on the device's network has to have.
cni::GrantedAddresses CniService::places_for_device(const Granted& granted) const {
  const Lease& lease = granted.reservation.lease;
  if (granted.from_pools) return places_of(lease, granted.extras.default_routes);
  cni::GrantedAddresses places = places_in_blocks(lease);
  for (const auto& gateway : places.gateways)
    if (gateway) places.routes.push_back({Prefix(Ip(gateway->family(), 0), 0), gateway});
  return places;
}

asio::awaitable<Answer<void>> CniService::move_device(Attachment attachment, DeviceMove move,
                                                      cni::GrantedAddresses places) {
  DeviceNet* devices = &devices_->net;
  auto job = [devices, move]() -> Result<void> {
    // Asked before: the kernel would move it first, and fail then.
    if (devices->find_link(move.to, move.name))
      return fail_errno(EEXIST, "the interface {} exists already in {}", move.name, move.to);
    return devices->move_link(move);
  };
  auto moved = co_await net_worker_->run(std::move(job));
  if (!moved) {
    const Error& error = moved.error();
    bool netns = error.code == Code::kNotFound ||
                 (error.code == Code::kInvalidArgument && error.sys_errno == 0);
    co_return failure(netns ? cni::kInvalidNetns : cni::kKernelRefused, error);
  }
  auto hooked = co_await hooks_.before_up(attachment);
  if (!hooked) co_return failure(cni::kHookRefused, hooked.error());
  Net* net = &net_;
  auto set_up = [net, attachment, places] {
    return net->set_up_interface(attachment.netns_path, cni::device_setup(attachment, places));
  };
  auto done = co_await net_worker_->run(std::move(set_up));
  if (!done) co_return failure(cni::kKernelRefused, done.error());
  co_return Answer<void>{};
}

// Everything of an ADD after the addresses: the record, the device in the pod, the lease on the
// disk, and the word in the record that nothing is missing.
asio::awaitable<Answer<void>> CniService::lend(Call call, DeviceRecord record, Granted& granted) {
  if (auto written = co_await devices_->records.put(record); !written)
    co_return failure(cni::kIoFailure, written.error());
  DeviceMove move{
      "",       record.index, call.netns_path, call.interface_name, record.pod_index, call.mac,
      call.mtu, false};
  cni::GrantedAddresses places = places_for_device(granted);
  Attachment attachment = granted.reservation.lease.attachment;
  CO_TRY_OK(co_await move_device(std::move(attachment), std::move(move), std::move(places)));
  auto durable = co_await book_.durable(granted.reservation.ticket);
  if (!durable) co_return failure(cni::kIoFailure, durable.error());
  record.complete = true;
  if (auto written = co_await devices_->records.put(std::move(record)); !written)
    co_return failure(cni::kIoFailure, written.error());
  co_return Answer<void>{};
}

asio::awaitable<Answer<json::object>> CniService::add_device(Call call) {
  if (!devices_)
    co_return no_device(fmt::format("this agent lends no devices, so not {}", call.device_id));
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  std::string turn_name = "device " + call.device_id;
  if (auto taken = co_await take_key(turn_name); !taken)
    co_return failure(cni::kTryLater, taken.error());
  KeyHeld turn(*this, turn_name);
  if (auto lease = held_lease(key); lease && !is_waiting(*lease)) {
    if (is_complete(*lease))
      co_return std::unexpected(
          Failure{cni::kAlreadyAttached,
                  fmt::format("the interface {} of {} is attached already: DEL comes first",
                              call.interface_name, call.container_id),
                  ""});
    CO_TRY_OK(co_await detach(key));
  }
  CO_TRY(record, co_await free_device(call));
  std::string mac = call.mac.empty() ? record.mac : call.mac;
  CO_TRY(granted, co_await reserve_for_device(call, mac));
  Lease lease = granted.reservation.lease;
  cni::LentDevice answer{call.interface_name, call.netns_path, mac,
                         call.mtu != 0 ? call.mtu : record.mtu, call.device_id};
  auto lent = co_await lend(call, std::move(record), granted);
  if (!lent) {
    co_await undo(lease);
    take_back(granted.others);
    co_return std::unexpected(std::move(lent).error());
  }
  book_.mark_attached(key, lease.sequence);
  show(key);
  cni::GrantedAddresses places = places_for_device(granted);
  places.nameservers = settings_.dns_addresses;
  cni::Success resolver;
  cni::add_resolver(resolver, call.pod_namespace, settings_.cluster_zone,
                    settings_.clusterset_zone);
  places.search = std::move(resolver.search);
  places.options = std::move(resolver.options);
  co_return cni::encode_device(answer, places, call.cni_version);
}

asio::awaitable<Answer<json::object>> CniService::check_device(Call call, Lease lease) {
  Attachment attachment = lease.attachment;
  attachment.netns_path = call.netns_path;
  DeviceRecord record = *device_of(attachment.key());
  std::vector<std::string> differences;
  if (!call.device_id.empty() && call.device_id != record.device)
    differences.push_back(fmt::format("the interface {} is the device {}, not {}",
                                      call.interface_name, record.device, call.device_id));
  for (const auto& address : call.previous->addresses)
    if (std::ranges::find(attachment.ips, address.ip) == attachment.ips.end())
      differences.push_back(fmt::format("{} of prevResult is not reserved for {}", address.ip.str(),
                                        attachment.key()));
  Net* net = &net_;
  auto job = [net, attachment] {
    return net->read_interface(attachment.netns_path, attachment.interface_name);
  };
  auto state = co_await net_worker_->run(std::move(job));
  if (!state && state.error().code != Code::kNotFound)
    co_return failure(cni::kKernelRefused, state.error());
  auto seen = state ? cni::differences_of_device(attachment, record, *state, *call.previous)
                    : std::vector{state.error().what};
  differences.insert(differences.end(), seen.begin(), seen.end());
  if (auto there = co_await hooks_.verify(attachment); !there)
    differences.push_back(there.error().what);
  if (differences.empty()) co_return json::object{};
  co_return std::unexpected(
      Failure{cni::kCheckFailed, differences.front(), boost::join(differences, "; ")});
}

// Of a lease that a crash left reserved: the record says whether anything was missing.
asio::awaitable<Result<bool>> CniService::device_in_kernel(DeviceRecord record) {
  if (!record.complete) co_return false;
  DeviceNet* net = &devices_->net;
  auto job = [net, record]() -> Result<bool> {
    auto link = net->find_link(record.netns_path, record.pod_index);
    if (link) return link->up;
    if (link.error().code == Code::kNotFound || link.error().code == Code::kInvalidArgument)
      return false;
    return std::unexpected(std::move(link).error());
  };
  co_return co_await net_worker_->run(std::move(job));
}

}  // namespace tombolo
