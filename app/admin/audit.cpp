// The audit log's file. Everything in File runs on the log's own worker.
#include "app/admin/audit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <deque>

#include "core/json.h"
#include "core/metrics.h"
#include "core/yaml.h"

namespace tombolo::admin {
namespace {

const metrics::Counter& failures() {
  static const auto kCounter = metrics::counter("tombolo_admin_audit_failures_total",
                                                "Audit records that could not be written at once");
  return kCounter;
}

std::string line_of(const AuditLine& line) {
  json::object object;
  object["time"] = format_rfc3339(line.time);
  object["who"] = line.who;
  object["method"] = line.method;
  object["request"] = line.request;
  object["result"] = line.result;
  return to_json(object) + "\n";
}

Result<AuditLine> parse_line(std::string_view text, const DocumentPlace& place) {
  TRY(document, parse_json(text));
  Cursor root(document, place);
  TRY(time_text, root["time"].string());
  TRY(time, parse_rfc3339(time_text));
  TRY(who, root["who"].string());
  TRY(method, root["method"].string());
  TRY(request, root["request"].string());
  TRY(result, root["result"].string());
  return AuditLine{time, std::move(who), std::move(method), std::move(request), std::move(result)};
}

}  // namespace

class AuditLog::File {
 public:
  explicit File(Options options) : options_(std::move(options)) {}
  ~File() { close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  Result<void> open() {
    if (descriptor_ >= 0) return {};
    descriptor_ = ::open(options_.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (descriptor_ < 0) return fail_errno(errno, "{}: cannot be opened", options_.path);
    struct stat facts{};
    if (::fstat(descriptor_, &facts) != 0)
      return fail_errno(errno, "{}: cannot be looked at", options_.path);
    size_ = static_cast<std::uint64_t>(facts.st_size);
    return {};
  }

  // One write per line, so that a line is whole or missing.
  Result<void> write(const std::string& line) {
    TRY_OK(open());
    if (size_ + line.size() > options_.rotate_bytes && size_ > 0) TRY_OK(rotate());
    ssize_t count = ::write(descriptor_, line.data(), line.size());
    if (count == static_cast<ssize_t>(line.size())) {
      size_ += line.size();
      if (::fdatasync(descriptor_) != 0)
        return fail_errno(errno, "{}: cannot be synced", options_.path);
      return {};
    }
    int error = count < 0 ? errno : ENOSPC;
    // Takes a part of a line back; if that fails too, the next open finds it and readers skip it.
    if (count > 0 && ::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0) error = errno;
    close();
    return fail_errno(error, "{}: cannot be written", options_.path);
  }

  Result<std::vector<AuditLine>> newest(std::size_t limit) const {
    std::deque<AuditLine> lines;
    for (const std::string& path : {options_.path + ".1", options_.path}) {
      auto text = read_file(path, 2 * options_.rotate_bytes);
      if (!text && text.error().code == Code::kNotFound) continue;
      if (!text) return std::unexpected(std::move(text).error());
      DocumentPlace place{path, {}};
      std::string_view rest = *text;
      while (!rest.empty()) {
        std::size_t end = rest.find('\n');
        auto line = parse_line(rest.substr(0, end), place);
        if (line) lines.push_back(std::move(*line));
        if (lines.size() > limit) lines.pop_front();
        if (end == std::string_view::npos) break;
        rest.remove_prefix(end + 1);
      }
    }
    return std::vector<AuditLine>(std::make_move_iterator(lines.begin()),
                                  std::make_move_iterator(lines.end()));
  }

  // Lines that could not be written yet; bounded, the oldest is dropped (it was logged).
  std::deque<std::string> waiting;
  static constexpr std::size_t kMostWaiting = 1'000;

 private:
  Result<void> rotate() {
    close();
    if (std::rename(options_.path.c_str(), (options_.path + ".1").c_str()) != 0)
      return fail_errno(errno, "{}: cannot be rotated", options_.path);
    return open();
  }

  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }

  Options options_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

AuditLog::AuditLog(std::unique_ptr<File> file, Logger log)
    : log_(log.with("component", "audit")), file_(std::move(file)) {}

AuditLog::~AuditLog() = default;

Result<std::unique_ptr<AuditLog>> AuditLog::open(Options options, Logger log) {
  auto file = std::make_unique<File>(std::move(options));
  TRY_OK(file->open());
  return std::unique_ptr<AuditLog>(new AuditLog(std::move(file), std::move(log)));
}

Result<void> AuditLog::flush() {
  while (!file_->waiting.empty()) {
    if (auto written = file_->write(file_->waiting.front()); !written) {
      if (!failing_.exchange(true)) log_.error("{}", written.error().text());
      failures().increment();
      return fail(Code::kUnavailable, "the audit log cannot be written, so nothing is changed: {}",
                  written.error().what);
    }
    file_->waiting.pop_front();
  }
  if (failing_.exchange(false)) log_.info("the audit log is written again");
  return {};
}

void AuditLog::append(AuditLine line) {
  worker_.post([this, text = line_of(line)]() mutable {
    if (file_->waiting.size() >= File::kMostWaiting) file_->waiting.pop_front();
    file_->waiting.push_back(std::move(text));
    // The failure is kept in failing_ and told by flush itself.
    if (auto flushed = flush(); !flushed) return;
  });
}

asio::awaitable<Result<void>> AuditLog::ready() {
  if (!failing_) co_return Result<void>{};
  auto try_again = [this] { return flush(); };
  co_return co_await worker_.run(std::move(try_again));
}

asio::awaitable<Result<std::vector<AuditLine>>> AuditLog::newest(std::size_t limit) {
  auto read = [this, limit] { return file_->newest(limit); };
  co_return co_await worker_.run(std::move(read));
}

}  // namespace tombolo::admin
