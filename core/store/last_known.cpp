// Two halves: the file (SQLite, whichever thread has the job), and what waits for it (control
// thread). SQLiteCpp's exceptions end here.
#include "core/store/last_known.h"

#include <array>
#include <filesystem>
#include <optional>
#include <set>

#include "core/metrics.h"
#include "core/sqlite/sqlite.h"
#include "core/worker.h"

namespace tombolo {
namespace {

// Step n brings a file from schema n to n + 1. Never change one that was released.
constexpr std::array<const char*, 1> kMigrations{
    R"(CREATE TABLE known(key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
       CREATE TABLE listed(prefix BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;)",
};
// "toml" in the file's header.
constexpr sqlite::Schema kSchema{0x746f6d6c, "what was last known", kMigrations};

// What is to be written, in one transaction per call of write().
struct Batch {
  std::map<std::string, std::optional<std::string>> changes;  // nothing: erase
  bool doubt = false;                                         // changes were lost before these
  std::vector<std::string> listed;
};

class File {
 public:
  File(const LastKnownOptions& options)
      : path_(options.file),
        database_(options.file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0) {}

  Result<void> prepare(std::int64_t max_bytes) {
    return sqlite::guarded(path_, [&]() -> Result<void> {
      database_.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;");
      database_.exec("PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;");
      // Takes the lock now and holds it: a second agent on the same file fails here.
      database_.exec("BEGIN EXCLUSIVE; COMMIT;");
      TRY_OK(sqlite::migrate(database_, path_, kSchema));
      auto page = database_.execAndGet("PRAGMA page_size").getInt64();
      database_.execAndGet(fmt::format("PRAGMA max_page_count={}", max_bytes / page));
      put_.emplace(database_,
                   "INSERT INTO known VALUES(?,?) ON CONFLICT(key) DO UPDATE SET "
                   "value=excluded.value WHERE value IS NOT excluded.value");
      erase_.emplace(database_, "DELETE FROM known WHERE key=?");
      listed_.emplace(database_, "INSERT OR IGNORE INTO listed VALUES(?)");
      return {};
    });
  }

  // Also walks the whole tree, so that damage shows now and not when it matters.
  Result<void> read(std::map<std::string, std::string>& kvs, std::vector<std::string>& listed) {
    return sqlite::guarded(path_, [&]() -> Result<void> {
      std::string said = database_.execAndGet("PRAGMA quick_check(1)").getString();
      if (said != "ok") return fail(Code::kDataLoss, "{}: {}", path_, said);
      SQLite::Statement rows(database_, "SELECT key, value FROM known ORDER BY key");
      while (rows.executeStep())
        kvs.emplace_hint(kvs.end(), rows.getColumn(0).getString(), rows.getColumn(1).getString());
      SQLite::Statement prefixes(database_, "SELECT prefix FROM listed");
      while (prefixes.executeStep()) listed.push_back(prefixes.getColumn(0).getString());
      return {};
    });
  }

  Result<void> write(const Batch& batch) {
    return sqlite::guarded(path_, [&]() -> Result<void> {
      SQLite::Transaction transaction(database_);
      if (batch.doubt) database_.exec("DELETE FROM listed");
      for (const auto& [key, value] : batch.changes) {
        SQLite::Statement& statement = value ? *put_ : *erase_;
        statement.reset();
        bind(statement, 1, key);
        if (value) bind(statement, 2, *value);
        statement.exec();
        statement.reset();
      }
      for (const std::string& prefix : batch.listed) {
        listed_->reset();
        bind(*listed_, 1, prefix);
        listed_->exec();
        listed_->reset();
      }
      transaction.commit();
      return {};
    });
  }

 private:
  static void bind(SQLite::Statement& statement, int index, const std::string& bytes) {
    statement.bind(index, bytes.data(), static_cast<int>(bytes.size()));
  }

  std::string path_;
  SQLite::Database database_;
  std::optional<SQLite::Statement> put_, erase_, listed_;
};

void set_aside(const std::string& file) {
  std::error_code ignored;  // opening the next one tells what is wrong
  for (const char* part : {"", "-wal", "-shm"})
    std::filesystem::rename(file + part, file + ".damaged" + part, ignored);
}

class SqliteLastKnown final : public LastKnownFile {
 public:
  SqliteLastKnown(LastKnownOptions options, TaskGroup& tasks, Clock& clock, Rng& rng, Logger log)
      : options_(std::move(options)),
        tasks_(tasks),
        clock_(clock),
        rng_(rng),
        log_(log.with("file", options_.file)),
        dropped_(metrics::counter("tombolo_last_known_dropped_total",
                                  "Changes of the store that were not kept for a restart")),
        changed_(tasks.executor()) {}

  Result<void> open() {
    Result<void> done = open_file();
    if (done || done.error().code != Code::kDataLoss) return done;
    log_.error("{}: moved to {}.damaged", done.error().what, options_.file);
    file_.reset();
    loaded_.clear();
    complete_.clear();
    set_aside(options_.file);
    return open_file();
  }

  KnownPrefix load(const std::string& prefix) override {
    KnownPrefix known;
    known.complete = complete_.contains(prefix);
    auto at = loaded_.lower_bound(prefix);
    while (at != loaded_.end() && at->first.starts_with(prefix)) {
      auto node = loaded_.extract(at++);
      KeyValue kv;
      kv.key = std::move(node.key());
      kv.value = std::move(node.mapped());
      known.kvs.push_back(std::move(kv));
    }
    return known;
  }

  void put(const std::string& key, const std::string& value) override { note(key, value); }
  void erase(const std::string& key) override { note(key, std::nullopt); }
  void listed(const std::string& prefix) override {
    // What was dropped before was put again by this list, if it is below the prefix.
    waiting_.listed.push_back(prefix);
    changed_.notify_all();
  }

  asio::awaitable<void> run() override {
    std::uint32_t attempts = 0;
    while (!tasks_.cancelled()) {
      if (settled()) {
        if (auto woken = co_await changed_.wait(); !woken) co_return;
      }
      Duration pause = options_.gather;
      if (attempts > 0) pause = backoff(attempts, options_.retry_base, options_.retry_cap, rng_);
      if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
      auto job = [this] { return file_->write(writing_); };
      Result<void> written;
      while (written && !settled() && !tasks_.cancelled()) {
        take_batch();
        written = co_await worker_.run(job);
        finish_batch(written);
      }
      if (!written && attempts == 0) log_.warning("not written: {}", written.error().what);
      if (written && attempts > 0) log_.info("is written again");
      attempts = written ? 0 : attempts + 1;
    }
  }

  Result<void> finish() override {
    Result<void> written;
    while (written && !settled()) {
      take_batch();
      written = file_->write(writing_);
      finish_batch(written);
    }
    return written;
  }

  bool settled() const override {
    return waiting_.changes.empty() && waiting_.listed.empty() && !waiting_.doubt && !busy_;
  }

 private:
  Result<void> open_file() {
    auto opened = sqlite::guarded(options_.file, [&]() -> Result<std::unique_ptr<File>> {
      return std::make_unique<File>(options_);
    });
    if (!opened) return std::unexpected(opened.error());
    file_ = std::move(*opened);
    TRY_OK(file_->prepare(options_.max_file_bytes));
    std::vector<std::string> listed;
    TRY_OK(file_->read(loaded_, listed));
    complete_.insert(listed.begin(), listed.end());
    return {};
  }

  void note(const std::string& key, std::optional<std::string> value) {
    std::size_t size = key.size() + (value ? value->size() : 0);
    if (waiting_bytes_ + size > options_.max_waiting_bytes) {
      // Half of what changed would be neither the old state nor the new one: drop it all.
      dropped_.increment(static_cast<double>(waiting_.changes.size() + 1));
      log_.warning("over {} bytes wait for the disk: dropped", options_.max_waiting_bytes);
      waiting_ = Batch{};
      waiting_.doubt = true;
      waiting_bytes_ = 0;
    } else {
      waiting_bytes_ += size;
      waiting_.changes.insert_or_assign(key, std::move(value));
    }
    changed_.notify_all();
  }

  // The oldest prefix mark is written behind everything that was said before it, so marks go last.
  void take_batch() {
    busy_ = true;
    writing_ = Batch{};
    writing_.doubt = std::exchange(waiting_.doubt, false);
    while (!waiting_.changes.empty() && writing_.changes.size() < options_.batch)
      writing_.changes.insert(waiting_.changes.extract(waiting_.changes.begin()));
    if (waiting_.changes.empty()) {
      writing_.listed = std::exchange(waiting_.listed, {});
      waiting_bytes_ = 0;
    }
  }

  void finish_batch(const Result<void>& written) {
    busy_ = false;
    if (!written) {
      // What was said meanwhile is newer.
      waiting_.changes.merge(writing_.changes);
      waiting_.listed.insert(waiting_.listed.begin(), writing_.listed.begin(),
                             writing_.listed.end());
      waiting_.doubt = waiting_.doubt || writing_.doubt;
      waiting_bytes_ = 0;
      for (const auto& [key, value] : waiting_.changes)
        waiting_bytes_ += key.size() + (value ? value->size() : 0);
    }
    writing_ = Batch{};
  }

  LastKnownOptions options_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  metrics::Counter dropped_;
  Signal changed_;
  std::unique_ptr<File> file_;
  std::map<std::string, std::string> loaded_;
  std::set<std::string> complete_;
  Batch waiting_;
  std::size_t waiting_bytes_ = 0;  // at least that many: some may have been taken already
  Batch writing_;                  // read by the worker while busy_
  bool busy_ = false;
  Worker worker_;
};

}  // namespace

Result<std::unique_ptr<LastKnownFile>> LastKnownFile::open(LastKnownOptions options,
                                                           TaskGroup& tasks, Clock& clock, Rng& rng,
                                                           Logger log) {
  auto known = std::make_unique<SqliteLastKnown>(std::move(options), tasks, clock, rng, log);
  TRY_OK(known->open());
  return known;
}

}  // namespace tombolo
