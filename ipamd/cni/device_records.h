// What was on the node before it went into a pod: one small file per device, written before the
// device is moved and removed after it is back. So whoever comes after a crash knows its name,
// index, MAC address and MTU, and whose it is. Control thread; the disk on a worker.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/net.h"
#include "core/worker.h"

namespace tombolo::cni {

struct DeviceRecord {
  std::string device;  // "0000:3b:02.1"
  // Whose it is; both empty: nobody's, and not back yet.
  std::string container_id;
  std::string interface_name;
  NetnsPath netns_path;         // that it was moved into
  std::uint32_t pod_index = 0;  // there, chosen before
  bool complete = false;        // addresses and routes were set
  // On the node.
  std::string name;
  std::uint32_t index = 0;
  std::string mac;
  std::uint32_t mtu = 0;
  bool up = false;
  std::string boot;  // of the kernel (DeviceNet::boot_id): in another one nothing of it is true

  std::string key() const;  // of the attachment; empty: nobody's
  bool operator==(const DeviceRecord&) const = default;
};

std::string encode_device_record(const DeviceRecord& record);
// Errors name `file`.
Result<DeviceRecord> decode_device_record(const std::string& file, std::string_view text);

class DeviceRecords {
 public:
  // `worker` must outlive every call.
  DeviceRecords(std::string folder, Worker& worker) : folder_(std::move(folder)), worker_(worker) {}

  // Makes the folder, or reads what an earlier life left in it. Once, before anything else. The
  // answer is a line for each file that cannot be read: it is FILE.damaged from now on.
  asio::awaitable<Result<std::vector<std::string>>> load();
  // Returns when it is on the disk; in rows() from the call on. When it could not be written, the
  // row before it is in rows() again.
  asio::awaitable<Result<void>> put(DeviceRecord record);
  // Returns when the file is gone; not in rows() from then on.
  asio::awaitable<Result<void>> erase(std::string device);

  // Valid until the next change: never keep them across a co_await.
  const DeviceRecord* of_device(const std::string& device) const;
  const DeviceRecord* of_attachment(const std::string& key) const;
  const std::map<std::string, DeviceRecord>& rows() const { return rows_; }
  // An index that no interface of a node has by itself, and none of rows().
  std::uint32_t free_index(const std::string& device) const;

 private:
  std::string path_of(const std::string& device) const;

  std::string folder_;
  Worker& worker_;
  std::map<std::string, DeviceRecord> rows_;  // by device
};

}  // namespace tombolo::cni
