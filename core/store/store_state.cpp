// Opening, reading, leases and compaction. Writing is in store_write.cpp.
#include "core/store/store_state.h"

#include <algorithm>
#include <boost/crc.hpp>

#include "core/store/etcd_errors.h"

namespace tombolo {
namespace {

constexpr const char* kServedVersion = "3.5.0";  // the newest etcd whose calls are all understood

std::uint64_t random_id(Rng& rng) {
  // Kept positive: SQLite's numbers, and Go's parsers of some tools, are signed.
  std::uint64_t id = rng.next() >> 1U;
  return id == 0 ? 1 : id;
}

using Found = std::pair<const std::string*, const Version*>;

bool passes(const pb::RangeRequest& request, const Version& version) {
  std::int64_t mod = version.revision();
  std::int64_t create = version.create_revision;
  return (request.min_mod_revision() == 0 || mod >= request.min_mod_revision()) &&
         (request.max_mod_revision() == 0 || mod <= request.max_mod_revision()) &&
         (request.min_create_revision() == 0 || create >= request.min_create_revision()) &&
         (request.max_create_revision() == 0 || create <= request.max_create_revision());
}

std::int64_t sort_number(pb::RangeRequest::SortTarget target, const Version& version) {
  if (target == pb::RangeRequest::VERSION) return version.version;
  if (target == pb::RangeRequest::CREATE) return version.create_revision;
  return version.revision();
}

// By key the order of the index is right already; equal ones stay in key order.
void sort_found(const pb::RangeRequest& request, std::vector<Found>& found) {
  auto target = request.sort_target();
  bool descending = request.sort_order() == pb::RangeRequest::DESCEND;
  if (target == pb::RangeRequest::KEY) {
    if (descending) std::ranges::reverse(found);
    return;
  }
  if (target == pb::RangeRequest::VALUE) return;
  std::ranges::sort(found, [&](const Found& a, const Found& b) {
    std::int64_t left = sort_number(target, *a.second);
    std::int64_t right = sort_number(target, *b.second);
    if (left == right) return *a.first < *b.first;
    return descending ? left > right : left < right;
  });
}

void sort_by_value(const pb::RangeRequest& request, pb::RangeResponse& response) {
  bool descending = request.sort_order() == pb::RangeRequest::DESCEND;
  auto& kvs = *response.mutable_kvs();
  std::sort(kvs.pointer_begin(), kvs.pointer_end(), [&](const auto* a, const auto* b) {
    if (a->value() == b->value()) return a->key() < b->key();
    return descending ? a->value() > b->value() : a->value() < b->value();
  });
}

}  // namespace

StoreState::StoreState(std::unique_ptr<Database> database, StoreLimits limits, Clock& clock,
                       Rng& rng)
    : database_(std::move(database)), limits_(limits), clock_(clock), rng_(rng) {}

Result<std::unique_ptr<StoreState>> StoreState::open(const std::filesystem::path& file,
                                                     StoreLimits limits, Clock& clock, Rng& rng) {
  TRY(database, Database::open(file));
  std::unique_ptr<StoreState> state(new StoreState(std::move(database), limits, clock, rng));
  TRY_OK(state->load_numbers());
  TRY_OK(state->load());
  return state;
}

Result<void> StoreState::load_numbers() {
  for (auto [name, number] : {std::pair{"cluster_id", &cluster_id_}, {"member_id", &member_id_}}) {
    TRY(stored, database_->number(name));
    *number = static_cast<std::uint64_t>(stored.value_or(0));
    if (*number != 0) continue;
    *number = random_id(rng_);
    TRY_OK(database_->set_number(name, static_cast<std::int64_t>(*number)));
  }
  return {};
}

Result<void> StoreState::load() {
  index_.clear();
  leases_.clear();
  changes_.clear();
  revision_dirty_ = false;
  TRY(revision, database_->number("revision"));
  TRY(compacted, database_->number("compacted"));
  revision_ = revision.value_or(1);
  compacted_ = compacted.value_or(-1);
  TRY(leases, database_->leases());
  for (const LeaseRow& lease : leases) leases_.grant(lease.id, lease.ttl_s, clock_.now());
  TRY_OK(database_->scan([&](const LogRow& row, std::int64_t) {
    const Version* before = index_.at(row.key, revision_of_id(row.id));
    if (before != nullptr && before->lease != 0) leases_.detach(before->lease, row.key);
    if (row.lease != 0) leases_.attach(row.lease, row.key);
    index_.append(row.key, {row.id, row.create_revision, row.version, row.lease});
    revision_ = std::max(revision_, revision_of_id(row.id));
  }));
  failed_ = false;
  return {};
}

Result<void> StoreState::watch_database(Result<void> done) const {
  if (!done) failed_ = true;
  return done;
}

void StoreState::fill(pb::ResponseHeader& header) const {
  header.set_cluster_id(cluster_id_);
  header.set_member_id(member_id_);
  header.set_revision(revision_);
  header.set_raft_term(1);
}

Result<void> StoreState::fill_pair(const std::string& key, const Version& version, bool with_value,
                                   mvccpb::KeyValue& pair) const {
  pair.set_key(key);
  pair.set_create_revision(version.create_revision);
  pair.set_mod_revision(version.revision());
  pair.set_version(version.version);
  pair.set_lease(version.lease);
  if (with_value) {
    TRY(value, database_->value(version.id));
    pair.set_value(std::move(value));
  }
  return {};
}

Result<void> StoreState::range(const pb::RangeRequest& request, pb::RangeResponse& response) const {
  TRY_OK(check_request(request));
  fill(*response.mutable_header());
  return range_at(request, revision_, response);
}

Result<void> StoreState::range_at(const pb::RangeRequest& request, std::int64_t now,
                                  pb::RangeResponse& response) const {
  TRY_OK(admit_read(request));
  bool by_value = request.sort_target() == pb::RangeRequest::VALUE;
  bool filtered = request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
                  request.min_create_revision() != 0 || request.max_create_revision() != 0;
  bool sorted = request.sort_order() != pb::RangeRequest::NONE ||
                request.sort_target() != pb::RangeRequest::KEY;
  // Without an order etcd cuts first and sorts what is left.
  bool cut_first = request.sort_order() == pb::RangeRequest::NONE &&
                   (request.sort_target() == pb::RangeRequest::KEY || !filtered);
  auto limit = request.limit() > 0 ? static_cast<std::size_t>(request.limit()) : SIZE_MAX;
  std::vector<Found> found;
  std::int64_t count = 0;
  index_.each({request.key(), request.range_end()},
              request.revision() > 0 ? request.revision() : now,
              [&](const std::string& key, const Version& version) {
                ++count;
                if (request.count_only() || (cut_first && found.size() > limit)) return;
                if (!filtered || passes(request, version)) found.emplace_back(&key, &version);
              });
  response.set_count(count);
  if (sorted) sort_found(request, found);
  if (found.size() > limit) {
    response.set_more(true);
    if (!by_value) found.resize(limit);
  }
  std::size_t bytes = 0;
  for (const auto& [key, version] : found) {
    mvccpb::KeyValue& pair = *response.add_kvs();
    TRY_OK(fill_pair(*key, *version, !request.keys_only() || by_value, pair));
    bytes += pair.key().size() + pair.value().size();
    if (bytes > limits_.answer_bytes)
      return fail(Code::kResourceExhausted,
                  "etcdserver: the answer is larger than {} bytes: ask with a limit",
                  limits_.answer_bytes);
  }
  if (by_value) {
    sort_by_value(request, response);
    while (static_cast<std::size_t>(response.kvs_size()) > limit)
      response.mutable_kvs()->RemoveLast();
    if (request.keys_only())
      for (mvccpb::KeyValue& pair : *response.mutable_kvs()) pair.clear_value();
  }
  return {};
}

Result<void> StoreState::admit_read(const pb::RangeRequest& request) const {
  if (request.revision() > revision_) return etcd::kFutureRevision.fail();
  if (request.revision() > 0 && request.revision() < compacted_) return etcd::kCompacted.fail();
  return {};
}

Result<void> StoreState::lease_keep_alive(const pb::LeaseKeepAliveRequest& request,
                                          pb::LeaseKeepAliveResponse& response) {
  fill(*response.mutable_header());
  response.set_id(request.id());
  response.set_ttl(leases_.refresh(request.id(), clock_.now()));
  return {};
}

Result<void> StoreState::lease_time_to_live(const pb::LeaseTimeToLiveRequest& request,
                                            pb::LeaseTimeToLiveResponse& response) const {
  fill(*response.mutable_header());
  response.set_id(request.id());
  const LeaseTable::Lease* lease = leases_.find(request.id());
  if (lease == nullptr) {
    response.set_ttl(-1);
    return {};
  }
  auto left = std::chrono::duration_cast<std::chrono::seconds>(lease->deadline - clock_.now());
  response.set_ttl(std::max<std::int64_t>(left.count(), 0));
  response.set_grantedttl(lease->ttl_s);
  if (request.keys())
    for (const std::string& key : lease->keys) response.add_keys(key);
  return {};
}

Result<void> StoreState::lease_leases(pb::LeaseLeasesResponse& response) const {
  fill(*response.mutable_header());
  for (const auto& [id, lease] : leases_.all()) response.add_leases()->set_id(id);
  return {};
}

// A hash over the live pairs at a revision: equal stores have equal hashes. Not etcd's own hash.
Result<void> StoreState::hash_kv(const pb::HashKVRequest& request,
                                 pb::HashKVResponse& response) const {
  pb::RangeRequest at;
  at.set_revision(request.revision());
  TRY_OK(admit_read(at));
  std::int64_t revision = request.revision() > 0 ? request.revision() : revision_;
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  Result<void> done;
  const std::string all_end(1, '\0');
  index_.each({"", all_end}, revision, [&](const std::string& key, const Version& version) {
    if (!done) return;
    mvccpb::KeyValue pair;
    done = fill_pair(key, version, true, pair);
    std::string bytes = pair.SerializeAsString();
    crc.process_bytes(bytes.data(), bytes.size());
  });
  TRY_OK(done);
  fill(*response.mutable_header());
  response.set_hash(crc.checksum());
  response.set_hash_revision(revision);
  response.set_compact_revision(compacted_);
  return {};
}

Result<void> StoreState::status(pb::StatusResponse& response) const {
  fill(*response.mutable_header());
  response.set_version(kServedVersion);
  response.set_storageversion(kServedVersion);
  response.set_dbsize(database_->file_bytes());
  response.set_dbsizeinuse(database_->used_bytes());
  response.set_dbsizequota(limits_.quota_bytes);
  response.set_leader(member_id_);
  response.set_raftterm(1);
  response.set_raftindex(static_cast<std::uint64_t>(revision_));
  response.set_raftappliedindex(static_cast<std::uint64_t>(revision_));
  if (response.dbsizeinuse() > limits_.quota_bytes)
    response.add_errors("NOSPACE: the store is larger than its quota");
  return {};
}

std::vector<std::int64_t> StoreState::expired_leases(std::size_t limit) const {
  return leases_.expired(clock_.now(), limit);
}

Result<void> StoreState::compact(std::int64_t revision) {
  if (revision <= compacted_) return etcd::kCompacted.fail();
  if (revision > revision_) return etcd::kFutureRevision.fail();
  TRY_OK(watch_database(database_->set_number("compacted", revision)));
  compacted_ = revision;
  return {};
}

Result<bool> StoreState::forget_some(std::size_t limit) {
  std::vector<std::int64_t> ids = index_.forget(compacted_, limit);
  TRY_OK(watch_database(database_->erase(ids)));
  return ids.size() == limit;
}

std::vector<ChangePtr> StoreState::take_changes() {
  return std::exchange(changes_, {});
}

std::shared_ptr<const mvccpb::KeyValue> StoreState::previous(const Change& change) const {
  const Version* before = index_.before(change.kv.key(), change.id);
  if (before == nullptr || before->deleted()) return nullptr;
  auto pair = std::make_shared<mvccpb::KeyValue>();
  if (!fill_pair(change.kv.key(), *before, true, *pair)) return nullptr;
  return pair;
}

}  // namespace tombolo
