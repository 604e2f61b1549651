// From the watch into the view, and from decisions into the store.
#include "core/records/records.h"
#include "ipamd/claims/internal.h"

namespace tombolo {
namespace {

static_assert(records::kClaimsPrefix.starts_with(kClaimRecordsPrefix));
static_assert(grants::kPartsPrefix.starts_with(kClaimRecordsPrefix));
static_assert(records::kClaimantsPrefix.starts_with(kClaimRecordsPrefix));

FollowOptions follow_options(std::string name, std::string_view prefix, Duration retry_cap) {
  FollowOptions options;
  options.name = std::move(name);
  options.prefix = prefix;
  options.retry_cap = retry_cap;
  return options;
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

SharedRecords::SharedRecords(std::string name, std::string_view prefix, Duration retry_cap,
                             RecordView& view, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
                             Logger log)
    : name_(name),
      view_(view),
      kv_(kv),
      clock_(clock),
      log_(log.with("records", name)),
      refused_total_(metrics::counter("tombolo_claims_refused_total",
                                      "Records of shared pools that cannot be read",
                                      {{"records", name}})),
      conflicts_total_(metrics::counter(
          "tombolo_claims_conflicts_total",
          "Transactions for shared pools that lost against another node", {{"records", name}})),
      follower_(follow_options(name, prefix, retry_cap), kv, *this, tasks, clock, rng, log) {}

Result<void> SharedRecords::ready() const {
  if (synced_) return {};
  return fail(Code::kUnavailable, "{}: the store has not been read yet", name_);
}

Result<void> SharedRecords::settled(Duration settle) const {
  TRY_OK(ready());
  if (!restored_ || clock_.now() - *restored_ >= settle) return {};
  return fail(Code::kUnavailable,
              "{}: the store was restored, and nodes say what they hold: try again in {} s", name_,
              std::chrono::ceil<std::chrono::seconds>(*restored_ + settle - clock_.now()).count());
}

void SharedRecords::on_listing(std::int64_t revision, std::uint64_t cluster_id) {
  // Revisions of another store mean nothing beside those of this one.
  if (cluster_id_ != cluster_id) begun_at_ = revision;
  if (cluster_id_ != cluster_id && cluster_id_ != 0) {
    view_.clear();
    restored_ = clock_.now();
  }
  synced_ = false;
  cluster_id_ = cluster_id;
  view_.use_store(cluster_id);
  listing_ = revision;
}

void SharedRecords::on_put(const KeyValue& kv) {
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
  view_.keep_only(keys, listing_);
  synced_ = true;
  tell();
}

// Half a list says nothing of what is missing in it.
void SharedRecords::tell() const {
  if (synced_ && changed_) changed_();
}

asio::awaitable<Result<TxnResult>> SharedRecords::ask(TxnRequest request) {
  std::uint64_t store = cluster_id_;
  Result<TxnResult> done = co_await kv_.txn(std::move(request));
  if (!done) {
    // The store may have done it: the view hears of it, and reconciling heals what it means. A
    // server that stops cancels what it has not answered.
    Code code = done.error().code;
    if (code == Code::kAborted || code == Code::kDeadlineExceeded || code == Code::kCancelled)
      done.error().code = Code::kUnavailable;
    co_return std::unexpected(std::move(done).error().with_context(name_));
  }
  if (done->cluster_id != store || store != cluster_id_)
    co_return fail(Code::kUnavailable, "{}: another store answered", name_);
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
    on_put(range.kvs[0]);
}

void SharedRecords::learn(const TxnResult& result, std::vector<Operation> operations) {
  for (Operation& operation : operations) {
    if (auto* put = std::get_if<Put>(&operation))
      on_put({std::move(put->key), std::move(put->value), 0, result.revision, 0, 0});
    else
      on_delete_at(std::get<Delete>(operation).key, result.revision);
  }
}

void SharedRecords::relearn(const TxnResult& result, const std::vector<std::string>& keys) {
  for (std::size_t i = 0; i < keys.size() && i < result.ranges.size(); ++i)
    learn(result.ranges[i], keys[i], result.revision);
}

}  // namespace tombolo
