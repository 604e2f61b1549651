// SQLite behind Database; its exceptions end here.
#include "core/store/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <random>

#include "core/sqlite/sqlite.h"

namespace tombolo {
namespace {

constexpr int kApplicationId = 0x746d626f;  // "tmbo"

// Migration n brings a file from schema n to n + 1. Never change one that was released.
constexpr std::array<const char*, 1> kMigrations{
    "CREATE TABLE log (id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL,"
    "  create_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL) STRICT;"
    "CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_s INTEGER NOT NULL) STRICT;"
    "CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
};
constexpr sqlite::Schema kSchema{kApplicationId, "a store", kMigrations};

std::string blob(const SQLite::Column& column) {
  const void* bytes = column.getBlob();
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(column.getBytes())};
}

void bind_blob(SQLite::Statement& statement, int index, const std::string& bytes) {
  // A null pointer would bind NULL; an empty string has a pointer.
  statement.bindNoCopy(index, static_cast<const void*>(bytes.data()),
                       static_cast<int>(bytes.size()));
}

// Holds an exclusive lock of FILE.lock for the life of the process that uses the store.
class FileLock {
 public:
  static Result<FileLock> take(const std::filesystem::path& file) {
    std::string name = file.string() + ".lock";
    int descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) return fail_errno(errno, "open {}", name);
    FileLock lock(descriptor);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0)
      return fail(Code::kFailedPrecondition, "{} is in use by another process", file.string());
    return lock;
  }
  FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

class SqliteDatabase final : public Database {
 public:
  SqliteDatabase(const std::filesystem::path& file, FileLock lock)
      : name_(file.string()),
        lock_(std::move(lock)),
        database_(name_, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 5000) {}

  // For reading only.
  explicit SqliteDatabase(const std::filesystem::path& file)
      : name_(file.string()), database_(name_, SQLite::OPEN_READONLY, 5000) {}

  Result<void> prepare_reading() {
    if (database_.execAndGet("PRAGMA application_id").getInt64() != kApplicationId)
      return fail(Code::kFailedPrecondition, "{} is a database, but not of a store", name_);
    prepare_reads();
    // One moment for all reads; it begins with the first.
    database_.exec("BEGIN");
    return {};
  }

  void prepare_reads() {
    value_.emplace(database_, "SELECT value FROM log WHERE id = ?");
    row_.emplace(database_, "SELECT * FROM log WHERE id = ?");
    rows_.emplace(database_, "SELECT * FROM log WHERE id >= ? ORDER BY id LIMIT ?");
    number_.emplace(database_, "SELECT value FROM number WHERE name = ?");
    page_count_.emplace(database_, "PRAGMA page_count");
    free_count_.emplace(database_, "PRAGMA freelist_count");
    page_bytes_ = database_.execAndGet("PRAGMA page_size").getInt64();
  }

  Result<void> prepare() {
    database_.exec("PRAGMA journal_mode = WAL");
    database_.exec("PRAGMA synchronous = FULL");
    database_.exec("PRAGMA wal_autocheckpoint = 4000");
    database_.exec("PRAGMA journal_size_limit = 67108864");
    database_.exec("PRAGMA cache_size = -65536");
    database_.exec("PRAGMA mmap_size = 1073741824");
    TRY_OK(sqlite::migrate(database_, name_, kSchema));
    prepare_reads();
    append_.emplace(database_, "INSERT INTO log VALUES (?,?,?,?,?,?)");
    erase_.emplace(database_, "DELETE FROM log WHERE id = ?");
    set_number_.emplace(database_, "INSERT OR REPLACE INTO number VALUES (?, ?)");
    begin_.emplace(database_, "BEGIN IMMEDIATE");
    commit_.emplace(database_, "COMMIT");
    return {};
  }

  Result<void> begin() override { return execute(*begin_); }
  Result<void> commit() override { return execute(*commit_); }
  void rollback() override {
    // A failed COMMIT may have rolled back already.
    if (sqlite3_get_autocommit(database_.getHandle()) == 0)
      (void)sqlite::guarded(name_, [&]() -> Result<void> {
        database_.exec("ROLLBACK");
        return {};
      });
  }

  Result<void> append(const LogRow& row) override {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      append_->reset();
      append_->bind(1, row.id);
      bind_blob(*append_, 2, row.key);
      bind_blob(*append_, 3, row.value);
      append_->bind(4, row.create_revision);
      append_->bind(5, row.version);
      append_->bind(6, row.lease);
      append_->exec();
      return {};
    });
  }

  Result<void> erase(const std::vector<std::int64_t>& ids) override {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      for (std::int64_t id : ids) {
        erase_->reset();
        erase_->bind(1, id);
        erase_->exec();
      }
      return {};
    });
  }

  Result<std::string> value(std::int64_t id) override {
    return sqlite::guarded(name_, [&]() -> Result<std::string> {
      value_->reset();
      value_->bind(1, id);
      if (!value_->executeStep()) return fail(Code::kDataLoss, "{}: no row {}", name_, id);
      std::string bytes = blob(value_->getColumn(0));
      value_->reset();
      return bytes;
    });
  }

  Result<LogRow> row(std::int64_t id) override {
    return sqlite::guarded(name_, [&]() -> Result<LogRow> {
      row_->reset();
      row_->bind(1, id);
      if (!row_->executeStep()) return fail(Code::kDataLoss, "{}: no row {}", name_, id);
      LogRow found = read_row(*row_);
      row_->reset();
      return found;
    });
  }

  Result<std::vector<LogRow>> rows_from(std::int64_t first, std::size_t rows,
                                        std::size_t bytes) override {
    return sqlite::guarded(name_, [&]() -> Result<std::vector<LogRow>> {
      std::vector<LogRow> found;
      std::size_t read = 0;
      rows_->reset();
      rows_->bind(1, first);
      rows_->bind(2, static_cast<std::int64_t>(rows));
      while (read < bytes && rows_->executeStep()) {
        found.push_back(read_row(*rows_));
        read += found.back().key.size() + found.back().value.size();
      }
      rows_->reset();
      return found;
    });
  }

  Result<void> scan(const std::function<void(const LogRow&, std::int64_t)>& visit) override {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      SQLite::Statement all(
          database_,
          "SELECT id, key, length(value), create_revision, version, lease FROM log ORDER BY id");
      while (all.executeStep()) {
        LogRow row{
            all.getColumn(0).getInt64(), blob(all.getColumn(1)),      "",
            all.getColumn(3).getInt64(), all.getColumn(4).getInt64(), all.getColumn(5).getInt64()};
        visit(row, all.getColumn(2).getInt64());
      }
      return {};
    });
  }

  Result<void> put_lease(const LeaseRow& lease) override {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      SQLite::Statement put(database_, "INSERT OR REPLACE INTO lease VALUES (?, ?)");
      put.bind(1, lease.id);
      put.bind(2, lease.ttl_s);
      put.exec();
      return {};
    });
  }

  Result<void> erase_lease(std::int64_t id) override {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      SQLite::Statement erase(database_, "DELETE FROM lease WHERE id = ?");
      erase.bind(1, id);
      erase.exec();
      return {};
    });
  }

  Result<std::vector<LeaseRow>> leases() override {
    return sqlite::guarded(name_, [&]() -> Result<std::vector<LeaseRow>> {
      std::vector<LeaseRow> found;
      SQLite::Statement all(database_, "SELECT id, ttl_s FROM lease ORDER BY id");
      while (all.executeStep())
        found.push_back({all.getColumn(0).getInt64(), all.getColumn(1).getInt64()});
      return found;
    });
  }

  Result<std::optional<std::int64_t>> number(std::string_view name) override {
    return sqlite::guarded(name_, [&]() -> Result<std::optional<std::int64_t>> {
      number_->reset();
      number_->bind(1, std::string(name));
      std::optional<std::int64_t> found;
      if (number_->executeStep()) found = number_->getColumn(0).getInt64();
      number_->reset();
      return found;
    });
  }

  Result<void> set_number(std::string_view name, std::int64_t value) override {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      set_number_->reset();
      set_number_->bind(1, std::string(name));
      set_number_->bind(2, value);
      set_number_->exec();
      return {};
    });
  }

  std::int64_t file_bytes() override { return pages(*page_count_) * page_bytes_; }
  std::int64_t used_bytes() override {
    return (pages(*page_count_) - pages(*free_count_)) * page_bytes_;
  }

  Result<void> vacuum() override {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      database_.exec("VACUUM");
      database_.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      return {};
    });
  }

 private:
  static LogRow read_row(SQLite::Statement& from) {
    return {from.getColumn(0).getInt64(), blob(from.getColumn(1)),
            blob(from.getColumn(2)),      from.getColumn(3).getInt64(),
            from.getColumn(4).getInt64(), from.getColumn(5).getInt64()};
  }
  Result<void> execute(SQLite::Statement& statement) {
    return sqlite::guarded(name_, [&]() -> Result<void> {
      statement.reset();
      statement.exec();
      return {};
    });
  }
  std::int64_t pages(SQLite::Statement& pragma) {
    auto answer = sqlite::guarded(name_, [&]() -> Result<std::int64_t> {
      pragma.reset();
      pragma.executeStep();
      std::int64_t count = pragma.getColumn(0).getInt64();
      pragma.reset();
      return count;
    });
    return answer.value_or(0);
  }

  std::string name_;
  std::optional<FileLock> lock_;
  SQLite::Database database_;
  std::optional<SQLite::Statement> append_, erase_, value_, row_, rows_, number_, set_number_,
      begin_, commit_, page_count_, free_count_;
  std::int64_t page_bytes_ = 4096;
};

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file) {
  TRY(lock, FileLock::take(file));
  // SQLite would make it readable for everybody; its journal takes the rights of the file.
  int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return fail_errno(errno, "open {}", file.string());
  ::close(descriptor);
  return sqlite::guarded(file.string(), [&]() -> Result<std::unique_ptr<Database>> {
    auto database = std::make_unique<SqliteDatabase>(file, std::move(lock));
    TRY_OK(database->prepare());
    return database;
  });
}

Result<std::unique_ptr<Database>> Database::open_for_reading(const std::filesystem::path& file) {
  return sqlite::guarded(file.string(), [&]() -> Result<std::unique_ptr<Database>> {
    auto database = std::make_unique<SqliteDatabase>(file);
    TRY_OK(database->prepare_reading());
    return database;
  });
}

Result<void> give_new_cluster_id(const std::filesystem::path& file) {
  TRY(database, Database::open(file));
  std::random_device device;
  // Kept positive: SQLite's numbers are signed.
  auto id = static_cast<std::int64_t>((std::uint64_t{device()} << 31U | device()) >> 1U);
  return database->set_number("cluster_id", id == 0 ? 1 : id);
}

}  // namespace tombolo
