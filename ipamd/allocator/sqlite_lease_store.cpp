// Leases in SQLite, one writer, one process (exclusive locking). SQLiteCpp's exceptions end here.
// Worker thread.
//
// Rows are keyed by the sequence number, so that a new lease is appended to the tree's right edge:
// a batch of n leases dirties n/40 pages, not n.
#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>
#include <functional>

#include "core/sqlite/sqlite.h"
#include "ipamd/allocator/lease_store.h"

namespace tombolo {
namespace {

// Step n brings a file from schema n to n + 1. Never change one that was released.
constexpr std::array<const char*, 1> kMigrations{
    R"(CREATE TABLE leases(
         sequence INTEGER PRIMARY KEY, state INTEGER NOT NULL, network TEXT NOT NULL,
         pool TEXT NOT NULL, reserved_unix_ms INTEGER NOT NULL, container_id TEXT NOT NULL,
         interface_name TEXT NOT NULL, name_space TEXT NOT NULL, pod_name TEXT NOT NULL,
         pod_uid TEXT NOT NULL, node TEXT NOT NULL, netns_path TEXT NOT NULL,
         host_interface TEXT NOT NULL, mac TEXT NOT NULL, ips TEXT NOT NULL) STRICT;
       CREATE TABLE freed(
         position INTEGER PRIMARY KEY, -- grows: the order of release
         pool TEXT NOT NULL, ip TEXT NOT NULL,
         released_unix_ms INTEGER NOT NULL, UNIQUE(pool, ip)) STRICT;
       CREATE TABLE blocks(
         pool TEXT NOT NULL, prefix TEXT NOT NULL, PRIMARY KEY(pool, prefix)) STRICT;
       CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
       INSERT INTO counters VALUES('last_sequence', 0);)",
};
// "tom1" in the file's header.
constexpr sqlite::Schema kSchema{0x746f6d31, "leases", kMigrations};

std::string join_ips(const std::vector<Ip>& ips) {
  std::string text;
  for (const Ip& ip : ips) text += (text.empty() ? "" : " ") + ip.str();
  return text;
}

Result<std::vector<Ip>> split_ips(const std::string& text) {
  std::vector<Ip> ips;
  std::vector<std::string> parts;
  if (!text.empty()) boost::split(parts, text, boost::is_any_of(" "));
  for (const auto& part : parts) {
    TRY(ip, Ip::parse(part));
    ips.push_back(ip);
  }
  return ips;
}

class SqliteLeaseStore final : public LeaseStore {
 public:
  explicit SqliteLeaseStore(const std::string& path)
      : path_(path), database_(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0) {}

  Result<void> prepare() {
    return sqlite::guarded("lease store: open " + path_, [&]() -> Result<void> {
      database_.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;");
      database_.exec("PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;");
      // Takes the lock now and holds it: a second agent on the same file fails here.
      database_.exec("BEGIN EXCLUSIVE; COMMIT;");
      TRY_OK(sqlite::migrate(database_, path_, kSchema));
      put_ = statement("INSERT OR REPLACE INTO leases VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
      attached_ = statement("UPDATE leases SET state=? WHERE sequence=?");
      erase_ = statement("DELETE FROM leases WHERE sequence=?");
      free_ = statement("INSERT OR REPLACE INTO freed(pool,ip,released_unix_ms) VALUES(?,?,?)");
      sequence_ = statement("UPDATE counters SET value=max(value,?) WHERE name='last_sequence'");
      drop_blocks_ = statement("DELETE FROM blocks WHERE pool=?");
      add_block_ = statement("INSERT OR REPLACE INTO blocks VALUES(?,?)");
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
      SQLite::Statement leases(database_, "SELECT * FROM leases ORDER BY sequence");
      while (leases.executeStep()) {
        TRY(lease, read_lease(leases));
        stored.leases.push_back(std::move(lease));
      }
      SQLite::Statement freed(database_, "SELECT pool, ip FROM freed ORDER BY position");
      while (freed.executeStep()) {
        TRY(ip, Ip::parse(freed.getColumn(1).getString()));
        stored.freed.push_back({freed.getColumn(0).getString(), ip});
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
          last_sequence = std::max(last_sequence, put->lease.sequence);
      }
      if (last_sequence != 0) run(*sequence_, static_cast<std::int64_t>(last_sequence));
      transaction.commit();
      return {};
    });
  }

 private:
  std::unique_ptr<SQLite::Statement> statement(const char* text) {
    return std::make_unique<SQLite::Statement>(database_, text);
  }

  template <class... Values>
  static void run(SQLite::Statement& statement, const Values&... values) {
    statement.reset();
    int index = 0;
    (statement.bind(++index, values), ...);
    statement.exec();
    statement.reset();
  }

  static Result<Lease> read_lease(SQLite::Statement& row) {
    Lease lease;
    int index = 0;
    auto number = [&] { return row.getColumn(index++).getInt64(); };
    auto text = [&] { return row.getColumn(index++).getString(); };
    lease.sequence = static_cast<std::uint64_t>(number());
    auto state = number();
    if (state != 1 && state != 2)
      return fail(Code::kDataLoss, "lease {} has the unknown state {}", lease.sequence, state);
    lease.state = static_cast<LeaseState>(state);
    lease.network = text();
    lease.pool = text();
    lease.reserved_unix_ms = number();
    Attachment& attachment = lease.attachment;
    for (std::string* field :
         {&attachment.container_id, &attachment.interface_name, &attachment.name_space,
          &attachment.pod_name, &attachment.pod_uid, &attachment.node, &attachment.netns_path,
          &attachment.host_interface, &attachment.mac})
      *field = text();
    TRY(ips, split_ips(text()));
    attachment.ips = std::move(ips);
    return lease;
  }

  void write(const PutLease& change) {
    const Lease& lease = change.lease;
    const Attachment& attachment = lease.attachment;
    run(*put_, static_cast<std::int64_t>(lease.sequence), static_cast<int>(lease.state),
        lease.network, lease.pool, lease.reserved_unix_ms, attachment.container_id,
        attachment.interface_name, attachment.name_space, attachment.pod_name, attachment.pod_uid,
        attachment.node, attachment.netns_path, attachment.host_interface, attachment.mac,
        join_ips(attachment.ips));
  }
  void write(const MarkAttached& change) {
    run(*attached_, static_cast<int>(LeaseState::kAttached),
        static_cast<std::int64_t>(change.sequence));
  }
  void write(const EraseLease& change) {
    run(*erase_, static_cast<std::int64_t>(change.sequence));
    for (const Ip& ip : change.ips) run(*free_, change.pool, ip.str(), change.released_unix_ms);
  }
  void write(const SetBlocks& change) {
    run(*drop_blocks_, change.pool);
    for (const Prefix& block : change.blocks) run(*add_block_, change.pool, block.str());
  }

  std::string path_;
  SQLite::Database database_;
  std::unique_ptr<SQLite::Statement> put_, attached_, erase_, free_, sequence_, drop_blocks_,
      add_block_;
};

}  // namespace

std::string_view to_string(LeaseState state) {
  return state == LeaseState::kReserved ? "reserved" : "attached";
}

Result<std::unique_ptr<LeaseStore>> open_sqlite_lease_store(const std::string& path) {
  return sqlite::guarded("lease store: open " + path, [&]() -> Result<std::unique_ptr<LeaseStore>> {
    auto store = std::make_unique<SqliteLeaseStore>(path);
    TRY_OK(store->prepare());
    return store;
  });
}

}  // namespace tombolo
