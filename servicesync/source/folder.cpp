// Scans and the inotify watch.
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/yaml.h"
#include "servicesync/source/source.h"

namespace tombolo::source {
namespace {

constexpr std::size_t kMaxFiles = 10'000;

bool is_manifest(const std::string& name) {
  if (name.empty() || name.front() == '.') return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

Result<manifests::Objects> read_objects(const std::string& path,
                                        const manifests::ForeignDecoders& foreign) {
  TRY(text, read_file(path));
  return manifests::decode_objects(text, path, foreign);
}

}  // namespace

struct ManifestFolder::Signature {
  std::int64_t modified_ns = 0;
  std::int64_t size = 0;
  std::uint64_t inode = 0;
  bool loaded = false;  // the content behind this signature has been read
  bool same_file(const Signature& other) const {
    return modified_ns == other.modified_ns && size == other.size && inode == other.inode;
  }
};

struct ManifestFolder::Scan {
  std::map<std::string, Signature> known;
  std::vector<std::pair<std::string, Result<manifests::Objects>>> read;
  std::vector<std::string> removed;
  std::string error;       // of the folder
  bool unsettled = false;  // a file is waiting for the next scan
};

class ManifestFolder::Inotify {
 public:
  // Without a descriptor (too many are open) only the rescans find changes.
  explicit Inotify(const asio::any_io_executor& executor) : descriptor_(executor) {
    int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (descriptor >= 0) descriptor_.assign(descriptor);
  }
  // Makes sure that the folder is watched; watching it twice is one watch.
  void watch(const std::string& path) {
    if (!descriptor_.is_open()) return;
    inotify_add_watch(descriptor_.native_handle(), path.c_str(),
                      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR);
  }
  // The names that something happened to; "" when the queue overflowed.
  asio::awaitable<Result<std::set<std::string>>> next() {
    auto [error] = co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                                                   asio::as_tuple(asio::use_awaitable));
    if (error) co_return fail(Code::kCancelled, "inotify: {}", error.message());
    co_return drain();
  }

 private:
  // Everything that waits, without waiting.
  std::set<std::string> drain() {
    std::set<std::string> names;
    alignas(inotify_event) std::array<char, 16384> buffer{};
    while (true) {
      ssize_t got = ::read(descriptor_.native_handle(), buffer.data(), buffer.size());
      if (got <= 0) return names;
      for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
        inotify_event event{};
        std::memcpy(&event, buffer.data() + at, sizeof event);
        names.emplace(event.len == 0 ? "" : buffer.data() + at + sizeof event);
        at += sizeof event + event.len;
      }
    }
  }

  asio::posix::stream_descriptor descriptor_;
};

ManifestFolder::ManifestFolder(FolderOptions options, Catalog& catalog, Worker& worker,
                               TaskGroup& tasks, Clock& clock, Logger log)
    : options_(std::move(options)),
      catalog_(catalog),
      worker_(worker),
      tasks_(tasks),
      clock_(clock),
      log_(log.with("source", "manifests")),
      changed_(tasks.executor()),
      inotify_(std::make_unique<Inotify>(tasks.executor())) {}

ManifestFolder::~ManifestFolder() = default;

// Runs on the worker: values in, values out.
ManifestFolder::Scan ManifestFolder::scan(std::string path,
                                          const manifests::ForeignDecoders& foreign, bool first,
                                          std::map<std::string, Signature> known,
                                          std::set<std::string> touched) {
  Scan result;
  std::error_code failed;
  std::filesystem::directory_iterator entries(path, failed);
  std::set<std::string> names;
  for (; !failed && entries != std::filesystem::directory_iterator(); entries.increment(failed)) {
    std::string name = entries->path().filename();
    if (is_manifest(name)) names.insert(std::move(name));
  }
  if (failed || names.size() > kMaxFiles) {
    // Not to be listed is not to be empty: everything stays as it was.
    result.error = failed ? fmt::format("{}: {}", path, failed.message())
                          : fmt::format("{}: more than {} files", path, kMaxFiles);
    result.known = std::move(known);
    return result;
  }
  for (const std::string& name : names) {
    std::string file = fmt::format("{}/{}", path, name);
    struct stat status{};
    if (::stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    Signature now{status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec, status.st_size,
                  status.st_ino, false};
    auto before = known.find(name);
    bool is_new = before == known.end();
    bool same = !is_new && before->second.same_file(now);
    if (same && before->second.loaded && !touched.contains(name)) {
      now.loaded = true;
    } else if (touched.contains(name) || same || first ||
               (!is_new && before->second.inode != now.inode)) {
      now.loaded = true;
      result.read.emplace_back(file, read_objects(file, foreign));
    } else {
      result.unsettled = true;
    }
    result.known.emplace(name, now);
  }
  for (const auto& [name, signature] : known)
    if (!result.known.contains(name)) result.removed.push_back(fmt::format("{}/{}", path, name));
  return result;
}

void ManifestFolder::take(Scan result) {
  known_ = std::move(result.known);
  catalog_.set_folder_error(result.error);
  for (auto& [file, objects] : result.read) catalog_.set_file(file, std::move(objects));
  for (const std::string& file : result.removed) catalog_.remove_file(file);
  if (result.error.empty()) catalog_.mark_listed();
}

asio::awaitable<void> ManifestFolder::run() {
  tasks_.spawn("manifests inotify", listen());
  tasks_.spawn("manifests rescan", tick());
  while (!tasks_.cancelled()) {
    due_ = false;
    inotify_->watch(options_.path);
    auto job = [path = options_.path, foreign = options_.foreign, first = !catalog_.listed(),
                known = known_, touched = std::exchange(touched_, {})]() mutable {
      return scan(std::move(path), foreign, first, std::move(known), std::move(touched));
    };
    Scan result = co_await worker_.run(std::move(job));
    if (tasks_.cancelled()) co_return;
    bool again = result.unsettled;
    take(std::move(result));
    if (!due_ && !again)
      if (auto woken = co_await changed_.wait(); !woken) co_return;
    Duration pause = again ? options_.settle : options_.debounce;
    if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
  }
}

asio::awaitable<void> ManifestFolder::listen() {
  while (!tasks_.cancelled()) {
    auto names = co_await inotify_->next();
    if (!names) {
      if (!tasks_.cancelled()) log_.warning("{}: only rescans find changes", names.error().what);
      co_return;
    }
    touched_.merge(*names);
    due_ = true;
    changed_.notify_all();
  }
}

asio::awaitable<void> ManifestFolder::tick() {
  while (!tasks_.cancelled()) {
    if (auto slept = co_await clock_.sleep_for(options_.rescan); !slept) co_return;
    due_ = true;
    changed_.notify_all();
  }
}

}  // namespace tombolo::source
