// From the watch into the view, and from decisions into the store.
#include <charconv>

#include "core/records/records.h"
#include "core/store/last_known.h"
#include "ipamd/claims/internal.h"

namespace tombolo {
namespace {

static_assert(records::kClaimsPrefix.starts_with(kClaimRecordsPrefix));
static_assert(grants::kPartsPrefix.starts_with(kClaimRecordsPrefix));
static_assert(records::kClaimantsPrefix.starts_with(kClaimRecordsPrefix));

constexpr Duration kRememberEvery = std::chrono::seconds(5);

FollowOptions follow_options(const SharedRecords::Settings& settings) {
  FollowOptions options;
  options.name = settings.name;
  options.prefix = settings.prefix;
  options.retry_cap = settings.retry_cap;
  return options;
}

std::string memory_key(const std::string& name) {
  return "seen/" + name;
}

}  // namespace

std::int64_t unix_ms(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock.wall_now().time_since_epoch())
      .count();
}

void ComparedWrites::compare(const std::string& key, std::int64_t revision) {
  // Of a key that is not there the modification revision is 0.
  request_.compares.push_back({.key = key, .target = Compare::Target::kMod, .number = revision});
  request_.otherwise.emplace_back(RangeRequest{.key = key});
}

void ComparedWrites::put(std::string key, std::int64_t revision, std::string value) {
  compare(key, revision);
  request_.then.emplace_back(Put{std::move(key), std::move(value)});
}

void ComparedWrites::erase(std::string key, std::int64_t revision) {
  compare(key, revision);
  request_.then.emplace_back(Delete{std::move(key), ""});
}

void ComparedWrites::put(const ClaimView& view, const AddressClaim& claim) {
  put(records::claim_key(claim), view.find({claim.pool, claim.ip}).revision,
      records::encode(claim));
}

void ComparedWrites::put(const ClaimView& view, const Claimant& claimant) {
  std::string key = records::claimant_key(claimant);
  std::int64_t revision = view.claimant(claimant.identity).revision;
  if (claimant.addresses.empty())
    erase(std::move(key), revision);
  else
    put(std::move(key), revision, records::encode(claimant));
}

SharedRecords::SharedRecords(Settings settings, RecordView& view, Kv& kv, TaskGroup& tasks,
                             Clock& clock, Rng& rng, Logger log)
    : settings_(std::move(settings)),
      view_(view),
      kv_(kv),
      clock_(clock),
      log_(log.with("records", settings_.name)),
      refused_total_(metrics::counter("tombolo_claims_refused_total",
                                      "Records of shared pools that cannot be read",
                                      {{"records", settings_.name}})),
      conflicts_total_(
          metrics::counter("tombolo_claims_conflicts_total",
                           "Transactions for shared pools that lost against another node",
                           {{"records", settings_.name}})),
      follower_(follow_options(settings_), kv, *this, tasks, clock, rng, log) {
  recall();
}

// What an earlier life saw last: "CLUSTERID REVISION".
void SharedRecords::recall() {
  if (settings_.known == nullptr) return;
  std::string key = memory_key(settings_.name);
  for (const KeyValue& kv : settings_.known->load(key).kvs) {
    if (kv.key != key) continue;
    const char* end = kv.value.data() + kv.value.size();
    auto id = std::from_chars(kv.value.data(), end, seen_.cluster_id);
    bool ok = id.ec == std::errc() && id.ptr != end && *id.ptr == ' ';
    if (ok) {
      auto revision = std::from_chars(id.ptr + 1, end, seen_.revision);
      ok = revision.ec == std::errc() && revision.ptr == end;
    }
    if (ok) continue;
    seen_ = {};
    log_.warning("{}: which store was seen last cannot be read", key);
  }
  remembered_ = seen_;
}

// Not while others say what they hold: a life that begins meanwhile has to wait for them, too.
void SharedRecords::remember() {
  if (settings_.known == nullptr || is_settling() || seen_ == remembered_) return;
  bool other = seen_.cluster_id != remembered_.cluster_id || seen_.revision < remembered_.revision;
  if (!other && clock_.now() - remembered_at_ < kRememberEvery) return;
  settings_.known->put(memory_key(settings_.name),
                       fmt::format("{} {}", seen_.cluster_id, seen_.revision));
  remembered_ = seen_;
  remembered_at_ = clock_.now();
}

Result<void> SharedRecords::ready() const {
  if (synced_) return {};
  return fail(Code::kUnavailable, "{}: the store has not been read yet", settings_.name);
}

bool SharedRecords::is_settling() const {
  return restored_ && clock_.now() - *restored_ < settings_.settle;
}

Result<void> SharedRecords::settled() const {
  TRY_OK(ready());
  if (!is_settling()) return {};
  Duration left = *restored_ + settings_.settle - clock_.now();
  return fail(Code::kUnavailable,
              "{}: the store was restored or is new to this node, and nodes say what they hold: "
              "try again in {} s",
              settings_.name, std::chrono::ceil<std::chrono::seconds>(left).count());
}

void SharedRecords::on_listing(std::int64_t revision, std::uint64_t cluster_id) {
  bool another = cluster_id != seen_.cluster_id || revision < seen_.revision;
  another = std::exchange(went_back_, false) || another;
  if (cluster_id_ == 0 || another) {
    begun_at_ = revision;
    ++stores_;
  }
  if (another && seen_.cluster_id != 0) {
    // Revisions of another store mean nothing beside those of this one.
    view_.clear();
    restored_ = clock_.now();
    log_.warning("another store answers, or an earlier state of it: {} at {} after {} at {}",
                 cluster_id, revision, seen_.cluster_id, seen_.revision);
  }
  synced_ = false;
  in_list_ = true;
  cluster_id_ = cluster_id;
  view_.use_store(cluster_id);
  listing_ = revision;
}

void SharedRecords::on_put(const KeyValue& kv) {
  // A list that is at least as new as what is known, with a record that is older.
  if (std::int64_t known = view_.revision_of(kv.key);
      in_list_ && kv.mod_revision < known && known <= listing_)
    went_back_ = true;
  put(kv);
}

void SharedRecords::put(const KeyValue& kv) {
  if (auto put = view_.put(kv, unix_ms(clock_)); !put) {
    refused_total_.increment();
    log_.warning("refused {}: {}", kv.key, put.error().text());
  }
  tell();
}

void SharedRecords::on_delete(const std::string& key) {
  on_delete_at(key, listing_);
}

void SharedRecords::on_delete_at(const std::string& key, std::int64_t revision) {
  view_.erase(key, revision);
  tell();
}

void SharedRecords::on_listed(const std::set<std::string>& keys) {
  if (went_back_) return follower_.relist();
  view_.keep_only(keys, listing_);
  if (seen_.cluster_id == 0 && settings_.known != nullptr && view_.others_hold())
    restored_ = clock_.now();
  seen_ = {cluster_id_, listing_};
  in_list_ = false;
  synced_ = true;
  remember();
  tell();
}

void SharedRecords::on_revision(std::int64_t revision) {
  seen_.revision = std::max(seen_.revision, revision);
  remember();
}

// Half a list says nothing of what is missing in it.
void SharedRecords::tell() const {
  if (synced_ && changed_) changed_();
}

asio::awaitable<Result<TxnResult>> SharedRecords::ask(TxnRequest request) {
  Seen before = seen_;
  std::uint64_t store = stores_;
  Result<TxnResult> done = co_await kv_.txn(std::move(request));
  if (!done) {
    // The store may have done it: the view hears of it, and reconciling heals what it means. A
    // server that stops cancels what it has not answered.
    Code code = done.error().code;
    if (code == Code::kAborted || code == Code::kDeadlineExceeded || code == Code::kCancelled)
      done.error().code = Code::kUnavailable;
    co_return std::unexpected(std::move(done).error().with_context(settings_.name));
  }
  bool another = done->cluster_id != before.cluster_id || done->revision < before.revision;
  if (another || store != stores_) {
    // Nothing is decided any more by what was read of the other one.
    if (store == stores_) {
      synced_ = false;
      follower_.relist();
    }
    co_return fail(Code::kUnavailable, "{}: another store answered", settings_.name);
  }
  seen_.revision = std::max(seen_.revision, done->revision);
  co_return done;
}

asio::awaitable<Result<bool>> SharedRecords::write(TxnRequest request) {
  std::vector<Operation> operations = request.then;
  std::vector<std::string> read;
  for (const Operation& operation : request.otherwise)
    read.push_back(std::get<RangeRequest>(operation).key);
  CO_TRY(done, co_await ask(std::move(request)));
  if (done.succeeded) {
    learn(done, std::move(operations));
  } else {
    conflicts_total_.increment();
    relearn(done, read);
  }
  co_return done.succeeded;
}

asio::awaitable<Result<void>> SharedRecords::read(std::vector<std::string> keys) {
  TxnRequest request;
  for (const std::string& key : keys) request.then.emplace_back(RangeRequest{.key = key});
  CO_TRY(done, co_await ask(std::move(request)));
  for (std::size_t i = 0; i < keys.size() && i < done.ranges.size(); ++i)
    learn(done.ranges[i], keys[i], done.revision);
  co_return Result<void>{};
}

void SharedRecords::learn(const RangeResult& range, const std::string& key, std::int64_t revision) {
  if (range.kvs.empty())
    on_delete_at(key, revision);
  else
    put(range.kvs[0]);
}

void SharedRecords::learn(const TxnResult& result, std::vector<Operation> operations) {
  for (Operation& operation : operations) {
    if (auto* put = std::get_if<Put>(&operation))
      this->put({std::move(put->key), std::move(put->value), 0, result.revision, 0, 0});
    else
      on_delete_at(std::get<Delete>(operation).key, result.revision);
  }
}

void SharedRecords::relearn(const TxnResult& result, const std::vector<std::string>& keys) {
  for (std::size_t i = 0; i < keys.size() && i < result.ranges.size(); ++i)
    learn(result.ranges[i], keys[i], result.revision);
}

}  // namespace tombolo
