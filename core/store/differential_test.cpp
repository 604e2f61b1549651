// The embedded server beside Debian's etcd: the same random requests to both, and every answer and
// every refusal must be the same, to the letter. Requests range over everything that is served, bad
// ones too.
#include <grpcpp/grpcpp.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <random>

#include "core/store/test_stores.h"
#include "schema/etcd/rpc.grpc.pb.h"

namespace tombolo {
namespace {

struct Connection {
  explicit Connection(const std::string& address)
      : channel(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        kv(pb::KV::NewStub(channel)),
        lease(pb::Lease::NewStub(channel)),
        watch(pb::Watch::NewStub(channel)) {}
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::KV::Stub> kv;
  std::unique_ptr<pb::Lease::Stub> lease;
  std::unique_ptr<pb::Watch::Stub> watch;
};

// What two stores may differ in: who they are.
void forget_names(pb::ResponseHeader& header) {
  header.clear_cluster_id();
  header.clear_member_id();
  header.clear_raft_term();
}

template <class Response>
std::string text_of(const grpc::Status& status, Response& response) {
  if (!status.ok())
    return fmt::format("error {}: {}", static_cast<int>(status.error_code()),
                       status.error_message());
  forget_names(*response.mutable_header());
  return response.DebugString();
}

// Draws requests over a few keys, so that they meet.
class Requests {
 public:
  explicit Requests(std::uint64_t seed) : engine_(seed) {}

  std::int64_t below(std::int64_t bound) {
    return std::uniform_int_distribution<std::int64_t>(0, bound - 1)(engine_);
  }
  bool rarely() { return below(12) == 0; }
  std::string key() {
    if (below(60) == 0) return "";
    static const std::vector<std::string> kKeys{
        "a", "ab", "a/1", "a/2", "b", "c", "c\xff", std::string("c\0", 2), "d"};
    return kKeys[static_cast<std::size_t>(below(static_cast<std::int64_t>(kKeys.size())))];
  }
  std::string range_end() {
    switch (below(6)) {
      case 0:
        return std::string(1, '\0');
      case 1:
        return "b";
      case 2:
        return key();
      default:
        return "";
    }
  }
  std::string value() { return std::string(static_cast<std::size_t>(below(4)), 'v') + "x"; }
  std::int64_t lease() { return below(3) == 0 ? 100 + below(4) : 0; }
  std::int64_t revision() { return below(3) == 0 ? below(revision_now + 2) : 0; }

  pb::RangeRequest range() {
    pb::RangeRequest request;
    request.set_key(key());
    request.set_range_end(range_end());
    request.set_revision(revision());
    if (below(3) == 0) request.set_limit(below(4));
    request.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(below(3)));
    // Equal values and versions come in no order in etcd: only keys that tell apart are compared.
    static const std::vector<pb::RangeRequest::SortTarget> kTargets{pb::RangeRequest::KEY,
                                                                    pb::RangeRequest::MOD};
    request.set_sort_target(kTargets[static_cast<std::size_t>(below(2))]);
    request.set_serializable(below(2) == 0);
    request.set_keys_only(rarely());
    request.set_count_only(rarely());
    if (rarely()) request.set_min_mod_revision(below(revision_now + 1));
    if (rarely()) request.set_max_mod_revision(below(revision_now + 1));
    if (rarely()) request.set_min_create_revision(below(revision_now + 1));
    if (rarely()) request.set_max_create_revision(below(revision_now + 1));
    return request;
  }
  pb::PutRequest put() {
    pb::PutRequest request;
    request.set_key(key());
    request.set_ignore_value(rarely());
    request.set_ignore_lease(rarely());
    if (!request.ignore_value() || rarely()) request.set_value(value());
    request.set_lease(lease());
    request.set_prev_kv(below(2) == 0);
    return request;
  }
  pb::DeleteRangeRequest erase() {
    pb::DeleteRangeRequest request;
    request.set_key(key());
    request.set_range_end(range_end());
    request.set_prev_kv(below(2) == 0);
    return request;
  }
  pb::TxnRequest txn(int depth = 0) {
    pb::TxnRequest request;
    for (std::int64_t i = below(3); i > 0; --i) compare(*request.add_compare());
    for (std::int64_t i = below(4); i > 0; --i) operation(*request.add_success(), depth);
    for (std::int64_t i = below(4); i > 0; --i) operation(*request.add_failure(), depth);
    return request;
  }

  std::int64_t revision_now = 1;

 private:
  void compare(pb::Compare& compare) {
    compare.set_key(key());
    if (rarely()) compare.set_range_end(range_end());
    compare.set_result(static_cast<pb::Compare::CompareResult>(below(4)));
    switch (below(5)) {
      case 0:
        compare.set_target(pb::Compare::VERSION);
        compare.set_version(below(3));
        break;
      case 1:
        compare.set_target(pb::Compare::CREATE);
        compare.set_create_revision(below(revision_now + 1));
        break;
      case 2:
        compare.set_target(pb::Compare::MOD);
        compare.set_mod_revision(below(revision_now + 1));
        break;
      case 3:
        compare.set_target(pb::Compare::VALUE);
        compare.set_value(value());
        break;
      default:
        compare.set_target(pb::Compare::LEASE);
        compare.set_lease(lease());
    }
  }
  void operation(pb::RequestOp& operation, int depth) {
    switch (below(depth < 2 ? 9 : 8)) {
      case 0:
      case 1:
      case 2:
      case 3:
        *operation.mutable_request_put() = put();
        break;
      case 4:
      case 5:
        *operation.mutable_request_range() = range();
        break;
      case 6:
        *operation.mutable_request_delete_range() = erase();
        // "To the end" is not seen as overlapping with puts, and then etcd can panic.
        if (operation.request_delete_range().range_end() == std::string(1, '\0'))
          operation.mutable_request_delete_range()->set_range_end("zz");
        break;
      case 7:
        if (!rarely()) *operation.mutable_request_put() = put();
        break;  // else: an operation without content
      default:
        *operation.mutable_request_txn() = txn(depth + 1);
    }
  }
  std::mt19937_64 engine_;
};

// One random request: its answer from each store, as text.
struct Exchange {
  std::string request;
  std::string embedded;
  std::string etcd;
  std::int64_t revision = 0;
};

template <class Request, class Response, class Call>
Exchange exchange(Connection& embedded, Connection& etcd, const Request& request, Call call) {
  Exchange result;
  result.request = request.GetTypeName() + " { " + request.ShortDebugString() + " }";
  for (auto [connection, text] : {std::pair{&embedded, &result.embedded}, {&etcd, &result.etcd}}) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    Response response;
    grpc::Status status = call(*connection, &context, request, &response);
    *text = text_of(status, response);
    result.revision = std::max(result.revision, response.header().revision());
  }
  return result;
}

Exchange random_exchange(Requests& draw, Connection& embedded, Connection& etcd) {
  auto kv = [&](auto method) {
    return [method](Connection& to, grpc::ClientContext* context, const auto& request,
                    auto* response) { return ((*to.kv).*method)(context, request, response); };
  };
  auto lease = [&](auto method) {
    return [method](Connection& to, grpc::ClientContext* context, const auto& request,
                    auto* response) { return ((*to.lease).*method)(context, request, response); };
  };
  std::int64_t kind = draw.below(100);
  if (kind < 30)
    return exchange<pb::RangeRequest, pb::RangeResponse>(embedded, etcd, draw.range(),
                                                         kv(&pb::KV::Stub::Range));
  if (kind < 55)
    return exchange<pb::PutRequest, pb::PutResponse>(embedded, etcd, draw.put(),
                                                     kv(&pb::KV::Stub::Put));
  if (kind < 62)
    return exchange<pb::DeleteRangeRequest, pb::DeleteRangeResponse>(
        embedded, etcd, draw.erase(), kv(&pb::KV::Stub::DeleteRange));
  if (kind < 90)
    return exchange<pb::TxnRequest, pb::TxnResponse>(embedded, etcd, draw.txn(),
                                                     kv(&pb::KV::Stub::Txn));
  if (kind < 92) {
    pb::CompactionRequest request;
    request.set_revision(draw.below(draw.revision_now + 2));
    request.set_physical(true);
    return exchange<pb::CompactionRequest, pb::CompactionResponse>(embedded, etcd, request,
                                                                   kv(&pb::KV::Stub::Compact));
  }
  if (kind < 96) {
    pb::LeaseGrantRequest request;
    request.set_id(100 + draw.below(4));
    request.set_ttl(draw.rarely() ? 9'000'000'001 : 1000 + draw.below(5));
    return exchange<pb::LeaseGrantRequest, pb::LeaseGrantResponse>(
        embedded, etcd, request, lease(&pb::Lease::Stub::LeaseGrant));
  }
  if (kind < 98) {
    pb::LeaseRevokeRequest request;
    request.set_id(100 + draw.below(5));
    return exchange<pb::LeaseRevokeRequest, pb::LeaseRevokeResponse>(
        embedded, etcd, request, lease(&pb::Lease::Stub::LeaseRevoke));
  }
  pb::LeaseLeasesRequest request;
  return exchange<pb::LeaseLeasesRequest, pb::LeaseLeasesResponse>(
      embedded, etcd, request,
      [&](Connection& to, grpc::ClientContext* context, const auto& ask, auto* response) {
        grpc::Status status = to.lease->LeaseLeases(context, ask, response);
        std::sort(response->mutable_leases()->begin(), response->mutable_leases()->end(),
                  [](const auto& a, const auto& b) { return a.id() < b.id(); });
        return status;
      });
}

// The whole history as a watch tells it.
std::string watch_all(Connection& connection, std::int64_t start, std::int64_t until) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  auto stream = connection.watch->Watch(&context);
  pb::WatchRequest request;
  pb::WatchCreateRequest& create = *request.mutable_create_request();
  create.set_key(std::string(1, '\0'));
  create.set_range_end(std::string(1, '\0'));
  create.set_start_revision(start);
  create.set_prev_kv(true);
  stream->Write(request);
  std::string history;
  std::int64_t seen = start - 1;
  pb::WatchResponse response;
  while (seen < until && stream->Read(&response)) {
    for (const mvccpb::Event& event : response.events()) {
      history += event.ShortDebugString() + "\n";
      seen = event.kv().mod_revision();
    }
    if (response.canceled()) return history + "canceled";
  }
  context.TryCancel();
  (void)stream->Finish();  // cancelled just now
  return history;
}

TEST_CASE("the embedded server answers as etcd does, letter for letter") {
  std::unique_ptr<EtcdStore> etcd_store = EtcdStore::start();
  if (etcd_store == nullptr) SKIP("etcd is not installed (Debian package etcd-server)");
  std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U);
  EmbeddedStore embedded_store;
  Connection embedded(embedded_store.endpoints()[0]);
  Connection etcd(etcd_store->endpoints()[0]);
  Requests draw(seed);
  for (int i = 0; i < 1200; ++i) {
    Exchange one = random_exchange(draw, embedded, etcd);
    INFO("seed " << seed << ", request " << i << ": " << one.request);
    REQUIRE(one.embedded == one.etcd);
    draw.revision_now = std::max(draw.revision_now, one.revision);
  }
  pb::CompactionRequest compaction;
  compaction.set_revision(draw.revision_now - 20);
  std::int64_t start = std::max<std::int64_t>(draw.revision_now - 20, 1);
  for (Connection* connection : {&embedded, &etcd}) {
    grpc::ClientContext context;
    pb::CompactionResponse response;
    (void)connection->kv->Compact(&context, compaction, &response);  // may be compacted further
  }
  INFO("seed " << seed);
  REQUIRE(watch_all(embedded, start + 1, draw.revision_now) ==
          watch_all(etcd, start + 1, draw.revision_now));
}

}  // namespace
}  // namespace tombolo
