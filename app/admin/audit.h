// The audit log: one JSON line per call of a writing method, in a file of the state folder. Lines
// are written in order by a thread of its own; the file is rotated at its bound, and one older file
// is kept.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/worker.h"

namespace tombolo::admin {

struct AuditLine {
  WallTime time;
  std::string who;
  std::string method;
  std::string request;
  std::string result;  // "ok" or the error
};

class AuditLog {
 public:
  struct Options {
    std::string path;                         // and PATH.1
    std::uint64_t rotate_bytes = 16U << 20U;  // per file
  };
  // Opens (or makes, mode 0600) the file; the error says why it cannot.
  static Result<std::unique_ptr<AuditLog>> open(Options options, Logger log);
  ~AuditLog();  // writes what was appended

  // Returns at once. A line that cannot be written is logged, counted
  // (tombolo_admin_audit_failures_total) and makes ready() fail until the log can be written again.
  void append(AuditLine line);
  // kUnavailable while the log cannot be written: writing methods are refused then.
  asio::awaitable<Result<void>> ready();
  // The newest `limit` lines, oldest first, after everything appended so far.
  asio::awaitable<Result<std::vector<AuditLine>>> newest(std::size_t limit);

 private:
  class File;
  AuditLog(std::unique_ptr<File> file, Logger log);
  Result<void> flush();  // worker thread

  Logger log_;
  std::unique_ptr<File> file_;  // worker thread only
  std::atomic<bool> failing_ = false;
  Worker worker_;
};

}  // namespace tombolo::admin
