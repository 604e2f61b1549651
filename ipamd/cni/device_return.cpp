// How a device that was lent comes back, and what an earlier life or boot has left of it. Control
// thread; the kernel on workers.
#include "ipamd/cni/devices.h"
#include "ipamd/cni/internal.h"

namespace tombolo {

using cni::DevicePlace;
using cni::DeviceRecord;

// Where the interface of an attachment is no more, or is on its way: nobody is lent the device
// until it is back. An error: it is where it was, and so is the record.
asio::awaitable<Result<void>> CniService::return_device(DeviceRecord record) {
  DeviceNet* net = &devices_->net;
  auto job = [net, record] { return cni::give_back(*net, record); };
  CO_TRY(done, co_await removal_worker_->run(std::move(job)));
  const DeviceRecord* now = devices_->records.of_device(record.device);
  if (now == nullptr || !(*now == record))
    co_return fail(Code::kAborted, "the device {} became another's meanwhile", record.device);
  if (!done.without.empty())
    log_.warning("the device {} is back, but not as it was: {}", record.device, done.without);
  if (done.place != DevicePlace::kAway) {
    devices_->troubles.erase(record.device);
    co_return co_await devices_->records.erase(record.device);
  }
  if (record.container_id.empty()) co_return Result<void>{};
  CO_TRY_OK(co_await expect_silent(record));
  log_.info("the device {} comes back as {} when the kernel brings it: it is not in {} any more",
            record.device, record.name, record.netns_path);
  record.container_id.clear();
  record.interface_name.clear();
  co_return co_await devices_->records.put(std::move(record));
}

// Its namespace may have lost its path and live on, or the pod may have moved the device further:
// its addresses and its guard are then its own still.
asio::awaitable<Result<void>> CniService::expect_silent(DeviceRecord record) {
  auto lease = held_lease(record.key());
  if (!lease || lease->attachment.ips.empty()) co_return Result<void>{};
  Net* net = &net_;
  auto job = [net] { return net->addresses_everywhere(); };
  CO_TRY(alive, co_await removal_worker_->run(std::move(job)));
  for (const Ip& ip : lease->attachment.ips)
    if (alive.contains(ip))
      co_return fail(Code::kUnavailable,
                     "the device {} is not in {}, but a process still has it in a network "
                     "namespace, with {}",
                     record.device, record.netns_path, ip.str());
  co_return Result<void>{};
}

// Records of an earlier boot: the kernel has made the devices anew since, and what they are now is
// right.
asio::awaitable<Result<void>> CniService::load_devices() {
  CO_TRY(damaged, co_await devices_->records.load());
  for (const std::string& line : damaged) log_.error("{}", line);
  std::string boot = devices_->net.boot_id();
  std::vector<std::string> old;
  for (const auto& [device, record] : devices_->records.rows())
    if (record.boot != boot) old.push_back(device);
  for (std::string& device : old) {
    log_.info("the device {} was lent before the node was started anew", device);
    CO_TRY_OK(co_await devices_->records.erase(std::move(device)));
  }
  co_return Result<void>{};
}

// An interface that was made here, of whichever kind.
asio::awaitable<Result<void>> CniService::take_away(std::string key, std::string host_interface) {
  if (const DeviceRecord* known = device_of(key)) {
    DeviceRecord record = *known;
    co_return co_await return_device(std::move(record));
  }
  Net* net = &net_;
  auto job = [net, host_interface] { return net->delete_link(host_interface); };
  co_return co_await removal_worker_->run(std::move(job));
}

// Devices that nobody has and that were not back when they were looked for.
asio::awaitable<void> CniService::look_for_devices() {
  if (!devices_) co_return;
  std::vector<DeviceRecord> away;
  for (const auto& [device, record] : devices_->records.rows()) {
    std::string key = record.key();
    bool somebodys = !key.empty() && (held_lease(key) || busy_.contains(key));
    if (!somebodys && !busy_.contains("device " + device)) away.push_back(record);
  }
  for (DeviceRecord& record : away) {
    std::string device = record.device;
    std::string name = record.name;
    if (auto taken = co_await take_key("device " + device); !taken) co_return;
    KeyHeld turn(*this, "device " + device);
    const DeviceRecord* now = devices_->records.of_device(device);
    if (now == nullptr || !(*now == record)) continue;
    auto returned = co_await return_device(std::move(record));
    if (!returned) {
      std::string text = returned.error().text();
      if (std::exchange(devices_->troubles[device], text) != text)
        log_.warning("the device {} is not back as {}: {}", device, name, text);
    } else if (devices_->records.of_device(device) == nullptr) {
      log_.info("the device {} is back as {}", device, name);
    }
  }
}

}  // namespace tombolo
