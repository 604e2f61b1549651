// Files FOLDER/DEVICE.json.
#include "ipamd/cni/device_records.h"

#include <algorithm>
#include <filesystem>
#include <functional>

#include "core/files.h"
#include "core/json.h"
#include "core/tables.h"
#include "core/yaml.h"

namespace tombolo::cni {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".json";
constexpr std::size_t kMostRecords = 4096;
constexpr std::size_t kLongestRecord = 64U << 10U;
constexpr std::int64_t kGreatestIndex = 0x7fff'ffff;
// The kernel counts up from 1, in a node's life by far not to here.
constexpr std::uint32_t kFirstIndex = 0x2000'0000;
constexpr std::uint32_t kIndexes = 0x2000'0000;

struct Loaded {
  std::vector<DeviceRecord> records;
  std::vector<std::string> damaged;
};

Result<DeviceRecord> read_record(const std::string& file) {
  TRY(text, read_file(file, kLongestRecord));
  TRY(record, decode_device_record(file, text));
  if (fs::path(file).stem() != record.device)
    return fail(Code::kDataLoss, "{}: is of the device {}", file, record.device);
  return record;
}

Result<Loaded> read_all(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail_errno(error.value(), "{}: cannot be made", folder);
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder, error))
    files.push_back(entry.path().string());
  if (error) return fail_errno(error.value(), "{}: cannot be read", folder);
  if (files.size() > kMostRecords)
    return fail(Code::kResourceExhausted, "{}: more than {} files", folder, kMostRecords);
  Loaded loaded;
  for (const std::string& file : files) {
    if (!file.ends_with(kEnding)) {
      // Of a write that did not come to its end.
      if (file.ends_with(".new")) TRY_OK(remove_file(file));
      continue;
    }
    auto record = read_record(file);
    if (record) {
      loaded.records.push_back(std::move(*record));
      continue;
    }
    fs::rename(file, file + ".damaged", error);
    if (error) return fail_errno(error.value(), "{}: cannot be set aside", file);
    loaded.damaged.push_back(
        fmt::format("{}; it is {}.damaged from now on", record.error().what, file));
  }
  return loaded;
}

}  // namespace

std::string DeviceRecord::key() const {
  return container_id.empty() ? "" : object_key(container_id, interface_name);
}

std::string encode_device_record(const DeviceRecord& record) {
  json::object text{{"device", record.device},
                    {"containerId", record.container_id},
                    {"interface", record.interface_name},
                    {"netns", record.netns_path},
                    {"podIndex", record.pod_index},
                    {"complete", record.complete},
                    {"name", record.name},
                    {"index", record.index},
                    {"mac", record.mac},
                    {"mtu", record.mtu},
                    {"up", record.up},
                    {"boot", record.boot}};
  return to_json(json::value(std::move(text))) + "\n";
}

Result<DeviceRecord> decode_device_record(const std::string& file, std::string_view text) {
  auto parsed = parse_json(text, {kLongestRecord, 4});
  if (!parsed) return std::unexpected(std::move(parsed).error().with_context(file));
  DocumentPlace place{file, {}};
  Cursor root(*parsed, place);
  TRY_OK(root.only({"device", "containerId", "interface", "netns", "podIndex", "complete", "name",
                    "index", "mac", "mtu", "up", "boot"}));
  DeviceRecord record;
  struct Text {
    std::string_view key;
    std::string& into;
  };
  for (const auto& [key, into] :
       {Text{"device", record.device}, Text{"containerId", record.container_id},
        Text{"interface", record.interface_name}, Text{"netns", record.netns_path},
        Text{"name", record.name}, Text{"mac", record.mac}}) {
    TRY(value, root[key].string());
    into = std::move(value);
  }
  struct Number {
    std::string_view key;
    std::uint32_t& into;
  };
  for (const auto& [key, into] : {Number{"podIndex", record.pod_index},
                                  Number{"index", record.index}, Number{"mtu", record.mtu}}) {
    TRY(value, root[key].integer(0, kGreatestIndex));
    into = static_cast<std::uint32_t>(value);
  }
  TRY(complete, root["complete"].boolean_or(false));
  record.complete = complete;
  TRY(boot, root["boot"].string_or(""));
  record.boot = std::move(boot);
  TRY(up, root["up"].boolean_or(false));
  record.up = up;
  bool half = record.container_id.empty() != record.interface_name.empty();
  if (record.device.empty() || record.name.empty() || half)
    return root.error("says not what it is of", Code::kDataLoss);
  return record;
}

std::string DeviceRecords::path_of(const std::string& device) const {
  return fmt::format("{}/{}{}", folder_, device, kEnding);
}

asio::awaitable<Result<std::vector<std::string>>> DeviceRecords::load() {
  auto job = [folder = folder_] { return read_all(folder); };
  CO_TRY(loaded, co_await worker_.run(std::move(job)));
  for (DeviceRecord& record : loaded.records) {
    std::string device = record.device;
    rows_.insert_or_assign(std::move(device), std::move(record));
  }
  co_return std::move(loaded.damaged);
}

asio::awaitable<Result<void>> DeviceRecords::put(DeviceRecord record) {
  std::string device = record.device;
  std::optional<DeviceRecord> before;
  if (const DeviceRecord* known = of_device(device)) before = *known;
  rows_.insert_or_assign(device, record);
  std::string text = encode_device_record(record);
  auto job = [path = path_of(device), text] { return write_file_atomically(path, text, 0600); };
  auto written = co_await worker_.run(std::move(job));
  if (!written) {
    if (before)
      rows_.insert_or_assign(device, std::move(*before));
    else
      rows_.erase(device);
  }
  co_return written;
}

asio::awaitable<Result<void>> DeviceRecords::erase(std::string device) {
  auto job = [path = path_of(device)] { return remove_file(path); };
  CO_TRY_OK(co_await worker_.run(std::move(job)));
  rows_.erase(device);
  co_return Result<void>{};
}

const DeviceRecord* DeviceRecords::of_device(const std::string& device) const {
  auto at = rows_.find(device);
  return at == rows_.end() ? nullptr : &at->second;
}

const DeviceRecord* DeviceRecords::of_attachment(const std::string& key) const {
  for (const auto& [device, record] : rows_)
    if (!record.container_id.empty() && record.key() == key) return &record;
  return nullptr;
}

std::uint32_t DeviceRecords::free_index(const std::string& device) const {
  auto taken = [this](std::uint32_t index) {
    return std::ranges::any_of(rows_,
                               [index](const auto& row) { return row.second.pod_index == index; });
  };
  auto start = static_cast<std::uint32_t>(std::hash<std::string>()(device) % kIndexes);
  while (taken(kFirstIndex + start)) start = (start + 1) % kIndexes;
  return kFirstIndex + start;
}

}  // namespace tombolo::cni
