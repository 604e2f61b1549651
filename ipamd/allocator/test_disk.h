// For tests: a disk under SQLite (a VFS) that loses power at the n-th write, sync, truncate,
// create or delete, and comes back with what such a disk may have kept. What was synced is there;
// of what was written since, nothing, everything, or any sectors. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

struct sqlite3_vfs;

namespace tombolo {

class TestDisk {
 public:
  TestDisk();
  ~TestDisk();
  TestDisk(const TestDisk&) = delete;
  TestDisk& operator=(const TestDisk&) = delete;
  const std::string& vfs() const { return name_; }

  // From now on the n-th call fails (1: the next one), and with `halts` every later one.
  void fail_at(std::size_t n, bool halts);
  // Calls that change the disk since fail_at() or restart().
  std::size_t calls() const { return calls_; }
  bool failed() const { return failed_; }
  bool halted() const { return failed_ && halts_; }

  enum class Survives { kSynced, kEverything, kAnySectors };
  // Power is back. No database is open any more.
  void restart(Survives survives, std::uint64_t seed);

  // What follows is for the VFS.
  struct Change {
    std::size_t offset = 0;
    std::string bytes;
    bool truncates = false;  // to `offset`
  };
  struct Content {
    std::string now;              // as the process sees it
    std::string synced;           // as a power loss leaves it at least
    std::vector<Change> pending;  // since the last sync
    bool created = false;         // the name is on the disk
  };
  std::map<std::string, std::shared_ptr<Content>>& files() { return files_; }
  // False when this call fails.
  bool may_change();

 private:
  std::string name_;
  std::unique_ptr<sqlite3_vfs> vfs_;
  std::map<std::string, std::shared_ptr<Content>> files_;
  std::size_t calls_ = 0;
  std::size_t fail_at_ = 0;  // 0: never
  bool halts_ = false;
  bool failed_ = false;
};

}  // namespace tombolo
