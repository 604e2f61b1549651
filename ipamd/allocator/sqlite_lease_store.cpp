// Leases in SQLite, one writer, one process (exclusive locking). SQLiteCpp's exceptions end here.
// Worker thread.
//
// A lease is one packed record (lease_codec.h), keyed by its sequence number, so that a new one is
// appended to the tree's right edge: a batch of n leases dirties n/20 pages, not n.
#include "core/sqlite/sqlite.h"
#include "ipamd/allocator/lease_store.h"
#include "ipamd/allocator/sqlite_schema.h"

namespace tombolo {
namespace {

class SqliteLeaseStore final : public LeaseStore {
 public:
  SqliteLeaseStore(const std::string& path, const SqliteSettings& settings)
      : path_(path),
        database_(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0, settings.vfs),
        checkpoint_pages_(settings.checkpoint_pages),
        most_freed_(settings.most_freed) {}

  Result<void> prepare() {
    return sqlite::guarded("lease store: open " + path_, [&]() -> Result<void> {
      database_.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;");
      database_.exec("PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;");
      // 8 MB of cache: the edges of the trees and what was freed lately.
      database_.exec("PRAGMA cache_size=-8192;");
      database_.exec(fmt::format("PRAGMA wal_autocheckpoint={};", checkpoint_pages_));
      // Takes the lock now and holds it: a second agent on the same file fails here.
      database_.exec("BEGIN EXCLUSIVE; COMMIT;");
      TRY_OK(sqlite::migrate(database_, path_, lease_schema()));
      TRY_OK(pack_leases_of_schema_1(database_));
      put_ = statement("INSERT OR REPLACE INTO records VALUES(?,?,?)");
      attached_ = statement("UPDATE records SET state=? WHERE sequence=?");
      erase_ = statement("DELETE FROM records WHERE sequence=?");
      free_ = statement("INSERT OR REPLACE INTO released VALUES(?,?,?,?)");
      forget_ = statement("DELETE FROM released WHERE position<=?");
      counter_ = statement("UPDATE counters SET value=max(value,?) WHERE name='last_sequence'");
      drop_blocks_ = statement("DELETE FROM blocks WHERE pool=?");
      add_block_ = statement("INSERT OR REPLACE INTO blocks VALUES(?,?)");
      SQLite::Statement last(database_, "SELECT ifnull(max(position), 0) FROM released");
      if (last.executeStep()) last_position_ = last.getColumn(0).getInt64();
      last.reset();
      forget_freed();
      return {};
    });
  }

  Result<StoredLeases> load() override {
    return sqlite::guarded("lease store: load " + path_, [&]() -> Result<StoredLeases> {
      StoredLeases stored;
      SQLite::Statement counters(database_,
                                 "SELECT value FROM counters WHERE name='last_sequence'");
      if (counters.executeStep())
        stored.last_sequence = static_cast<std::uint64_t>(counters.getColumn(0).getInt64());
      TRY_OK(load_leases(stored.leases));
      SQLite::Statement freed(database_,
                              "SELECT pool, ip, released_unix_ms FROM released ORDER BY position");
      while (freed.executeStep()) {
        TRY(ip, Ip::parse(freed.getColumn(1).getString()));
        stored.freed.push_back({freed.getColumn(0).getString(), ip, freed.getColumn(2).getInt64()});
      }
      SQLite::Statement blocks(database_, "SELECT pool, prefix FROM blocks ORDER BY pool, prefix");
      while (blocks.executeStep()) {
        TRY(prefix, Prefix::parse(blocks.getColumn(1).getString()));
        std::string pool = blocks.getColumn(0).getString();
        if (stored.blocks.empty() || stored.blocks.back().pool != pool)
          stored.blocks.push_back({pool, {}});
        stored.blocks.back().blocks.push_back(prefix);
      }
      return stored;
    });
  }

  Result<void> commit(const std::vector<LeaseChange>& changes) override {
    return sqlite::guarded("lease store: commit", [&]() -> Result<void> {
      SQLite::Transaction transaction(database_);
      std::uint64_t last_sequence = 0;
      for (const auto& change : changes) {
        std::visit([&](const auto& one) { write(one); }, change);
        if (const auto* put = std::get_if<PutLease>(&change))
          last_sequence = std::max(last_sequence, put->sequence);
      }
      if (last_sequence != 0) run(*counter_, static_cast<std::int64_t>(last_sequence));
      if (last_position_ - forgotten_at_ > most_freed_ / 4) forget_freed();
      transaction.commit();
      return {};
    });
  }

 private:
  std::unique_ptr<SQLite::Statement> statement(const char* text) {
    return std::make_unique<SQLite::Statement>(database_, text);
  }

  // Texts are not copied: they live until the statement has run.
  static void bind(SQLite::Statement& statement, int index, const std::string& text) {
    statement.bindNoCopy(index, text);
  }
  static void bind(SQLite::Statement& statement, int index, std::string_view blob) {
    statement.bindNoCopy(index, blob.data(), static_cast<int>(blob.size()));
  }
  static void bind(SQLite::Statement& statement, int index, std::int64_t number) {
    statement.bind(index, number);
  }
  template <class... Values>
  static void run(SQLite::Statement& statement, const Values&... values) {
    // Also after a step that failed: reset() would throw its error once more, at the next commit.
    struct AtEnd {
      SQLite::Statement& statement;
      ~AtEnd() { static_cast<void>(statement.tryReset()); }
    } at_end{statement};
    int index = 0;
    (bind(statement, ++index, values), ...);
    statement.exec();
  }

  Result<void> load_leases(StoredLeaseList& leases) {
    // The file's size is more than enough, and memory that is not touched costs nothing.
    std::int64_t pages = database_.execAndGet("PRAGMA page_count").getInt64();
    std::int64_t page_size = database_.execAndGet("PRAGMA page_size").getInt64();
    leases.reserve(static_cast<std::size_t>(pages * page_size));
    SQLite::Statement rows(database_, "SELECT sequence, state, record FROM records ORDER BY 1");
    while (rows.executeStep()) {
      std::int64_t state = rows.getColumn(1).getInt64();
      if (state != 1 && state != 2)
        return fail(Code::kDataLoss, "lease {} has the unknown state {}",
                    rows.getColumn(0).getInt64(), state);
      auto record = rows.getColumn(2);
      leases.add(static_cast<LeaseState>(state), {static_cast<const char*>(record.getBlob()),
                                                  static_cast<std::size_t>(record.getBytes())});
    }
    return {};
  }

  void write(const PutLease& change) {
    run(*put_, static_cast<std::int64_t>(change.sequence),
        std::int64_t{static_cast<int>(change.state)}, std::string_view(change.packed));
  }
  void write(const MarkAttached& change) {
    run(*attached_, std::int64_t{static_cast<int>(LeaseState::kAttached)},
        static_cast<std::int64_t>(change.sequence));
  }
  void write(const EraseLease& change) {
    run(*erase_, static_cast<std::int64_t>(change.sequence));
    for (const PooledIp& address : change.freed)
      run(*free_, address.pool, address.ip.str(), ++last_position_, change.released_unix_ms);
  }
  // Looks at every row, once per so many new ones.
  void forget_freed() {
    run(*forget_, last_position_ - most_freed_);
    forgotten_at_ = last_position_;
  }
  void write(const SetBlocks& change) {
    run(*drop_blocks_, change.pool);
    for (const Prefix& block : change.blocks) run(*add_block_, change.pool, block.str());
  }

  std::string path_;
  SQLite::Database database_;
  int checkpoint_pages_;
  std::int64_t most_freed_;
  std::unique_ptr<SQLite::Statement> put_, attached_, erase_, free_, forget_, counter_,
      drop_blocks_, add_block_;
  // Of `released`: the order in which addresses were freed, whatever the clock says.
  std::int64_t last_position_ = 0;
  std::int64_t forgotten_at_ = 0;
};

}  // namespace

Result<std::unique_ptr<LeaseStore>> open_sqlite_lease_store(const std::string& path,
                                                            const SqliteSettings& settings) {
  return sqlite::guarded("lease store: open " + path, [&]() -> Result<std::unique_ptr<LeaseStore>> {
    auto store = std::make_unique<SqliteLeaseStore>(path, settings);
    TRY_OK(store->prepare());
    return store;
  });
}

}  // namespace tombolo
