// Rows of the log as etcd's records and back. Buckets and records: etcd's server/mvcc (revision.go,
// kvstore.go) and server/lease (leasepb).
#include "core/store/snapshot.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <optional>
#include <vector>

#include "core/store/bolt_file.h"
#include "core/store/database.h"
#include "schema/etcd/kv.pb.h"
#include "schema/etcd/lease.pb.h"

namespace tombolo {
namespace {

constexpr std::size_t kRevisionBytes = 17;  // revision, '_', number of the change within it
constexpr std::size_t kHashBytes = 32;
constexpr std::size_t kRestoreBatch = 10'000;

std::string big_endian(std::int64_t number) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i)
    bytes[i] = static_cast<char>(static_cast<std::uint64_t>(number) >> (56 - 8 * i));
  return bytes;
}

std::int64_t from_big_endian(std::string_view bytes) {
  std::uint64_t number = 0;
  for (char byte : bytes.substr(0, 8)) number = number << 8U | static_cast<unsigned char>(byte);
  return static_cast<std::int64_t>(number);
}

std::string revision_key(std::int64_t revision, std::int64_t change) {
  return big_endian(revision) + "_" + big_endian(change);
}

// The SHA-256 of the first `bytes` bytes of a file.
Result<std::string> hash_of(const std::filesystem::path& file, std::uint64_t bytes) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  ENSURE(context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  std::ifstream in(file, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  while (bytes > 0) {
    auto part = static_cast<std::streamsize>(std::min<std::uint64_t>(bytes, buffer.size()));
    if (!in.read(buffer.data(), part)) return fail_errno(errno, "read {}", file.string());
    ENSURE(EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(part)) == 1);
    bytes -= static_cast<std::uint64_t>(part);
  }
  std::string hash(kHashBytes, '\0');
  ENSURE(EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(hash.data()),
                            nullptr) == 1);
  return hash;
}

Result<void> write_keys(Database& database, BoltWriter& writer, SnapshotFacts& facts) {
  TRY_OK(writer.bucket("key"));
  std::int64_t next = 0;
  while (true) {
    TRY(rows, database.rows_from(next, 1000, 4 << 20));
    if (rows.empty()) return {};
    for (LogRow& row : rows) {
      std::int64_t revision = revision_of_id(row.id);
      std::string key = revision_key(revision, row.id - first_id_of(revision));
      if (row.version == 0) key += 't';
      mvccpb::KeyValue pair;
      pair.set_key(std::move(row.key));
      if (row.version != 0) {
        pair.set_value(std::move(row.value));
        pair.set_create_revision(row.create_revision);
        pair.set_mod_revision(revision);
        pair.set_version(row.version);
        pair.set_lease(row.lease);
      }
      TRY_OK(writer.add(std::move(key), pair.SerializeAsString()));
      ++facts.versions;
    }
    next = rows.back().id + 1;
  }
}

Result<void> write_leases(Database& database, BoltWriter& writer, SnapshotFacts& facts) {
  TRY_OK(writer.bucket("lease"));
  TRY(leases, database.leases());
  facts.leases = leases.size();
  for (const LeaseRow& row : leases) {
    leasepb::Lease lease;
    lease.set_id(row.id);
    lease.set_ttl(row.ttl_s);
    TRY_OK(writer.add(big_endian(row.id), lease.SerializeAsString()));
  }
  return {};
}

// A store's revision can be ahead of its last record when a compaction took that. etcd has no place
// for it; so the number travels in a record of our own, which etcd does not look at.
Result<void> write_meta(Database& database, BoltWriter& writer, SnapshotFacts& facts) {
  TRY(revision, database.number("revision"));
  TRY(compacted, database.number("compacted"));
  facts.revision = revision.value_or(1);
  facts.compacted = compacted.value_or(-1);
  TRY_OK(writer.bucket("meta"));
  TRY_OK(writer.add("consistent_index", big_endian(1)));
  if (facts.compacted >= 0) {
    std::string at = revision_key(facts.compacted, 0);
    TRY_OK(writer.add("finishedCompactRev", at));
    TRY_OK(writer.add("scheduledCompactRev", at));
  }
  TRY_OK(writer.add("tomboloRevision", big_endian(facts.revision)));
  return {};
}

Result<LogRow> parse_record(std::string_view key, std::string_view value) {
  bool deleted = key.size() == kRevisionBytes + 1 && key.back() == 't';
  if ((key.size() != kRevisionBytes && !deleted) || key[8] != '_')
    return fail(Code::kDataLoss, "damaged snapshot: a record's key has {} bytes", key.size());
  std::int64_t revision = from_big_endian(key);
  std::int64_t change = from_big_endian(key.substr(9));
  mvccpb::KeyValue pair;
  if (!pair.ParseFromArray(value.data(), static_cast<int>(value.size())) || pair.key().empty() ||
      revision < 1 || revision >= std::int64_t{1} << (62 - kIdRevisionShift) || change < 0 ||
      change >= kMaxChangesOfRevision)
    return fail(Code::kDataLoss, "damaged snapshot: record {}_{} cannot be read", revision, change);
  LogRow row;
  row.id = first_id_of(revision) + change;
  row.key = std::move(*pair.mutable_key());
  if (deleted) return row;
  if (pair.version() < 1 || pair.mod_revision() != revision || pair.create_revision() < 1 ||
      pair.create_revision() > revision)
    return fail(Code::kDataLoss, "damaged snapshot: record {}_{} contradicts itself", revision,
                change);
  row.value = std::move(*pair.mutable_value());
  row.create_revision = pair.create_revision();
  row.version = pair.version();
  row.lease = pair.lease();
  return row;
}

Result<void> restore_keys(const BoltReader& reader, Database& database, SnapshotFacts& facts) {
  std::int64_t last = -1;
  return reader.each("key", [&](std::string_view key, std::string_view value) -> Result<void> {
    TRY(row, parse_record(key, value));
    if (row.id <= last)
      return fail(Code::kDataLoss, "damaged snapshot: records out of order at revision {}",
                  revision_of_id(row.id));
    last = row.id;
    facts.revision = std::max(facts.revision, revision_of_id(row.id));
    if (++facts.versions % kRestoreBatch == 0) {
      TRY_OK(database.commit());
      TRY_OK(database.begin());
    }
    return database.append(row);
  });
}

Result<void> restore_rest(const BoltReader& reader, Database& database, SnapshotFacts& facts) {
  TRY_OK(reader.each("lease", [&](std::string_view, std::string_view value) -> Result<void> {
    leasepb::Lease lease;
    if (!lease.ParseFromArray(value.data(), static_cast<int>(value.size())) || lease.id() == 0)
      return fail(Code::kDataLoss, "damaged snapshot: a lease cannot be read");
    ++facts.leases;
    return database.put_lease({lease.id(), lease.ttl()});
  }));
  TRY_OK(reader.each("meta", [&](std::string_view key, std::string_view value) -> Result<void> {
    if (key == "finishedCompactRev" && value.size() >= 8) facts.compacted = from_big_endian(value);
    if (key == "tomboloRevision" && value.size() == 8)
      facts.revision = std::max(facts.revision, from_big_endian(value));
    return {};
  }));
  TRY_OK(database.set_number("revision", facts.revision));
  if (facts.compacted >= 0) TRY_OK(database.set_number("compacted", facts.compacted));
  return {};
}

Result<void> check_hash(const std::filesystem::path& snapshot) {
  std::error_code error;
  std::uint64_t bytes = std::filesystem::file_size(snapshot, error);
  if (error) return fail_errno(error.value(), "{}", snapshot.string());
  // Pages are multiples of 512 bytes: what is over is the hash. A file copied from etcd's data
  // folder has none.
  if (bytes % 512 != kHashBytes) return {};
  TRY(hash, hash_of(snapshot, bytes - kHashBytes));
  std::ifstream in(snapshot, std::ios::binary);
  std::string told(kHashBytes, '\0');
  in.seekg(static_cast<std::streamoff>(bytes - kHashBytes));
  if (!in.read(told.data(), kHashBytes)) return fail_errno(errno, "read {}", snapshot.string());
  if (told != hash)
    return fail(Code::kDataLoss, "{} is damaged: its SHA-256 is not that of its content",
                snapshot.string());
  return {};
}

}  // namespace

Result<SnapshotFacts> write_snapshot(const std::filesystem::path& store,
                                     const std::filesystem::path& snapshot) {
  TRY(database, Database::open_for_reading(store));
  SnapshotFacts facts;
  TRY(writer, BoltWriter::create(snapshot));
  TRY_OK(write_keys(*database, writer, facts));
  TRY_OK(write_leases(*database, writer, facts));
  // etcd looks for its members here; empty, they come from its own flags.
  TRY_OK(writer.bucket("members"));
  TRY_OK(write_meta(*database, writer, facts));
  TRY_OK(writer.finish());
  std::error_code error;
  std::uint64_t bytes = std::filesystem::file_size(snapshot, error);
  if (error) return fail_errno(error.value(), "{}", snapshot.string());
  TRY(hash, hash_of(snapshot, bytes));
  std::ofstream out(snapshot, std::ios::binary | std::ios::app);
  out << hash;
  out.close();
  if (!out) return fail_errno(errno, "write {}", snapshot.string());
  return facts;
}

Result<SnapshotFacts> restore_snapshot(const std::filesystem::path& snapshot,
                                       const std::filesystem::path& store) {
  if (std::filesystem::exists(store))
    return fail(Code::kAlreadyExists, "{} exists: a restore makes a new store", store.string());
  TRY_OK(check_hash(snapshot));
  TRY(reader, BoltReader::open(snapshot));
  // A half restored store must not look like one: it gets its name at the end.
  std::filesystem::path partial = store;
  partial += ".partial";
  std::filesystem::remove(partial);
  SnapshotFacts facts;
  facts.revision = 1;
  facts.compacted = -1;
  {
    TRY(database, Database::open(partial));
    TRY_OK(database->begin());
    TRY_OK(restore_keys(reader, *database, facts));
    TRY_OK(restore_rest(reader, *database, facts));
    TRY_OK(database->commit());
  }
  TRY_OK(give_new_cluster_id(partial));
  std::error_code error;
  std::filesystem::rename(partial, store, error);
  if (error) return fail_errno(error.value(), "rename {}", partial.string());
  std::filesystem::remove(partial.string() + ".lock", error);  // may stay: it holds nothing
  return facts;
}

}  // namespace tombolo
