// The file of the embedded store: an append-only log of versions, the leases, and a few numbers, in
// SQLite (WAL, synchronous=FULL). Schema versions migrate forward; a newer one is refused. One
// thread uses it; open_for_reading gives another one a view beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace tombolo {

// One version of one key. Ids grow in the order of writing and carry the revision.
struct LogRow {
  std::int64_t id = 0;
  std::string key;
  std::string value;
  std::int64_t create_revision = 0;
  std::int64_t version = 0;  // 0: the key was deleted
  std::int64_t lease = 0;
};

// 2^39 revisions of 2^24 changes each.
inline constexpr int kIdRevisionShift = 24;
inline constexpr std::int64_t kMaxChangesOfRevision = std::int64_t{1} << kIdRevisionShift;
inline std::int64_t revision_of_id(std::int64_t id) {
  return id >> kIdRevisionShift;
}
inline std::int64_t first_id_of(std::int64_t revision) {
  return revision << kIdRevisionShift;
}

struct LeaseRow {
  std::int64_t id = 0;
  std::int64_t ttl_s = 0;
};

class Database {
 public:
  // Creates the file when there is none. kFailedPrecondition: another process has it open, its
  // schema is newer than this program, or it is some other program's file.
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file);
  // What the file holds now, whatever is written meanwhile; another process or thread may have it
  // open. Only the reading calls may be used.
  static Result<std::unique_ptr<Database>> open_for_reading(const std::filesystem::path& file);
  virtual ~Database() = default;

  virtual Result<void> begin() = 0;
  virtual Result<void> commit() = 0;  // durable when it answers
  virtual void rollback() = 0;

  virtual Result<void> append(const LogRow& row) = 0;
  virtual Result<void> erase(const std::vector<std::int64_t>& ids) = 0;
  // kDataLoss when there is no such row.
  virtual Result<LogRow> row(std::int64_t id) = 0;
  virtual Result<std::string> value(std::int64_t id) = 0;
  // Rows with id >= first, in order, until `rows` rows or `bytes` bytes are read.
  virtual Result<std::vector<LogRow>> rows_from(std::int64_t first, std::size_t rows,
                                                std::size_t bytes) = 0;
  // Every row in order, with an empty value and its size instead.
  virtual Result<void> scan(
      const std::function<void(const LogRow& row, std::int64_t value_bytes)>& visit) = 0;

  virtual Result<void> put_lease(const LeaseRow& lease) = 0;
  virtual Result<void> erase_lease(std::int64_t id) = 0;
  virtual Result<std::vector<LeaseRow>> leases() = 0;

  // Named numbers: revision, compacted, cluster_id, member_id.
  virtual Result<std::optional<std::int64_t>> number(std::string_view name) = 0;
  virtual Result<void> set_number(std::string_view name, std::int64_t value) = 0;

  virtual std::int64_t file_bytes() = 0;
  virtual std::int64_t used_bytes() = 0;  // without free pages
  virtual Result<void> vacuum() = 0;
};

// A copy that is to live on as a store of its own (a restored backup) must not be taken for the old
// one: gives the file another cluster id.
Result<void> give_new_cluster_id(const std::filesystem::path& file);

}  // namespace tombolo
