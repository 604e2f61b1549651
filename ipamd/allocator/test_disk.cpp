// The VFS: https://sqlite.org/c3ref/vfs.html and io_methods.html. Locks are not needed: one process
// opens the file, with exclusive locking.
#include "ipamd/allocator/test_disk.h"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "core/error.h"

namespace tombolo {
namespace {

constexpr std::size_t kSector = 512;

struct OpenFile {
  sqlite3_file base;
  TestDisk* disk;
  std::shared_ptr<TestDisk::Content>* content;
};

TestDisk::Content& content_of(sqlite3_file* file) {
  return **reinterpret_cast<OpenFile*>(file)->content;
}
TestDisk& disk_of(sqlite3_file* file) {
  return *reinterpret_cast<OpenFile*>(file)->disk;
}

void play(std::string& to, const TestDisk::Change& change) {
  if (change.truncates) {
    to.resize(change.offset);
    return;
  }
  to.resize(std::max(to.size(), change.offset + change.bytes.size()));
  std::ranges::copy(change.bytes, to.begin() + static_cast<std::ptrdiff_t>(change.offset));
}

int close_file(sqlite3_file* file) {
  std::unique_ptr<std::shared_ptr<TestDisk::Content>> owned(
      reinterpret_cast<OpenFile*>(file)->content);
  return SQLITE_OK;
}

int read_file(sqlite3_file* file, void* to, int amount, sqlite3_int64 at) {
  const std::string& now = content_of(file).now;
  auto offset = static_cast<std::size_t>(at);
  auto wanted = static_cast<std::size_t>(amount);
  std::size_t there = offset < now.size() ? std::min(wanted, now.size() - offset) : 0;
  if (there > 0) std::memcpy(to, now.data() + offset, there);
  std::memset(static_cast<char*>(to) + there, 0, wanted - there);
  return there == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

// What fails may have happened all the same: it stays among the pending changes.
int change(sqlite3_file* file, TestDisk::Change made, int error) {
  TestDisk::Content& content = content_of(file);
  bool fine = disk_of(file).may_change();
  if (fine) play(content.now, made);
  content.pending.push_back(std::move(made));
  return fine ? SQLITE_OK : error;
}

int write_file(sqlite3_file* file, const void* from, int amount, sqlite3_int64 at) {
  return change(
      file,
      {static_cast<std::size_t>(at),
       std::string(static_cast<const char*>(from), static_cast<std::size_t>(amount)), false},
      SQLITE_IOERR_WRITE);
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  return change(file, {static_cast<std::size_t>(size), "", true}, SQLITE_IOERR_TRUNCATE);
}

int sync_file(sqlite3_file* file, int) {
  TestDisk::Content& content = content_of(file);
  bool fine = disk_of(file).may_change();
  if (disk_of(file).halted()) return SQLITE_IOERR_FSYNC;
  // A sync that fails takes what it should have written for written, as Linux does: no later one
  // writes it.
  if (fine)
    for (const TestDisk::Change& change : content.pending) play(content.synced, change);
  content.pending.clear();
  if (!fine) return SQLITE_IOERR_FSYNC;
  content.created = true;  // SQLite's own VFS syncs the folder with the first sync
  return SQLITE_OK;
}

int size_of_file(sqlite3_file* file, sqlite3_int64* size) {
  *size = static_cast<sqlite3_int64>(content_of(file).now.size());
  return SQLITE_OK;
}

int lock_file(sqlite3_file*, int) {
  return SQLITE_OK;
}
int is_reserved(sqlite3_file*, int* reserved) {
  *reserved = 0;
  return SQLITE_OK;
}
int control_file(sqlite3_file*, int, void*) {
  return SQLITE_NOTFOUND;
}
int sector_size(sqlite3_file*) {
  return static_cast<int>(kSector);
}
int characteristics(sqlite3_file*) {
  return 0;
}

const sqlite3_io_methods kMethods{
    1,         close_file, read_file,   write_file,   truncate_file, sync_file,      size_of_file,
    lock_file, lock_file,  is_reserved, control_file, sector_size,   characteristics};

TestDisk& disk_of(sqlite3_vfs* vfs) {
  return *static_cast<TestDisk*>(vfs->pAppData);
}

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  TestDisk& disk = disk_of(vfs);
  file->pMethods = nullptr;
  // Temporary files have no name; with temp_store=MEMORY there are none.
  if (name == nullptr) return SQLITE_CANTOPEN;
  auto found = disk.files().find(name);
  if (found == disk.files().end()) {
    if ((flags & SQLITE_OPEN_CREATE) == 0 || !disk.may_change()) return SQLITE_CANTOPEN;
    found = disk.files().emplace(name, std::make_shared<TestDisk::Content>()).first;
  }
  auto* open = reinterpret_cast<OpenFile*>(file);
  open->base.pMethods = &kMethods;
  open->disk = &disk;
  open->content = std::make_unique<std::shared_ptr<TestDisk::Content>>(found->second).release();
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* name, int) {
  if (!disk_of(vfs).files().contains(name)) return SQLITE_IOERR_DELETE_NOENT;
  if (!disk_of(vfs).may_change()) return SQLITE_IOERR_DELETE;
  disk_of(vfs).files().erase(name);
  return SQLITE_OK;
}

int is_there(sqlite3_vfs* vfs, const char* name, int, int* there) {
  *there = disk_of(vfs).files().contains(name) ? 1 : 0;
  return SQLITE_OK;
}

int full_path(sqlite3_vfs*, const char* name, int size, char* out) {
  return std::snprintf(out, static_cast<std::size_t>(size), "%s", name) < size ? SQLITE_OK
                                                                               : SQLITE_CANTOPEN;
}

}  // namespace

TestDisk::TestDisk() {
  static std::atomic<int> number{0};
  name_ = fmt::format("tombolo-test-disk-{}", ++number);
  sqlite3_vfs* system = ::sqlite3_vfs_find(nullptr);
  ENSURE(system != nullptr, "SQLite has no VFS");
  vfs_ = std::make_unique<sqlite3_vfs>(*system);  // its clock and randomness
  vfs_->iVersion = 1;
  vfs_->szOsFile = sizeof(OpenFile);
  vfs_->pNext = nullptr;
  vfs_->zName = name_.c_str();
  vfs_->pAppData = this;
  vfs_->xOpen = open_file;
  vfs_->xDelete = delete_file;
  vfs_->xAccess = is_there;
  vfs_->xFullPathname = full_path;
  ENSURE(::sqlite3_vfs_register(vfs_.get(), 0) == SQLITE_OK, "register {}", name_);
}

TestDisk::~TestDisk() {
  ::sqlite3_vfs_unregister(vfs_.get());
}

void TestDisk::fail_at(std::size_t n, bool halts) {
  calls_ = 0;
  fail_at_ = n;
  halts_ = halts;
  failed_ = false;
}

bool TestDisk::may_change() {
  ++calls_;
  if (fail_at_ == 0 || calls_ < fail_at_) return true;
  failed_ = true;
  return !halts_ && calls_ > fail_at_;
}

void TestDisk::restart(Survives survives, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (auto entry = files_.begin(); entry != files_.end();) {
    Content& content = *entry->second;
    if (!content.created && survives == Survives::kSynced) {
      entry = files_.erase(entry);
      continue;
    }
    for (const Change& change : content.pending) {
      if (survives == Survives::kSynced) break;
      if (survives == Survives::kEverything || (change.truncates && random() % 2 == 0)) {
        play(content.synced, change);
        continue;
      }
      for (std::size_t at = 0; at < change.bytes.size(); at += kSector)
        if (random() % 2 == 0)
          play(content.synced, {change.offset + at, change.bytes.substr(at, kSector), false});
    }
    content.pending.clear();
    content.now = content.synced;
    content.created = true;
    ++entry;
  }
  fail_at(0, false);
}

}  // namespace tombolo
