// The client: port requests to etcd's messages and back, retries on other endpoints.
#include "core/store/etcd_client.h"

#include "core/store/etcd_call.h"
#include "core/store/etcd_channels.h"
#include "core/store/etcd_errors.h"
#include "core/store/etcd_watch.h"

namespace tombolo {
namespace {

pb::RangeRequest to_message(const RangeRequest& from) {
  pb::RangeRequest to;
  to.set_key(from.key);
  to.set_range_end(from.range_end);
  to.set_revision(from.revision);
  to.set_limit(from.limit);
  to.set_keys_only(from.keys_only);
  return to;
}

RangeResult from_message(pb::RangeResponse& from) {
  RangeResult to;
  to.revision = from.header().revision();
  to.cluster_id = from.header().cluster_id();
  to.more = from.more();
  to.count = from.count();
  to.kvs.reserve(static_cast<std::size_t>(from.kvs_size()));
  for (mvccpb::KeyValue& kv : *from.mutable_kvs())
    to.kvs.push_back({std::move(*kv.mutable_key()), std::move(*kv.mutable_value()),
                      kv.create_revision(), kv.mod_revision(), kv.version(), kv.lease()});
  return to;
}

void fill(const Compare& from, pb::Compare& to) {
  to.set_key(from.key);
  switch (from.op) {
    case Compare::Operator::kEqual:
      to.set_result(pb::Compare::EQUAL);
      break;
    case Compare::Operator::kGreater:
      to.set_result(pb::Compare::GREATER);
      break;
    case Compare::Operator::kLess:
      to.set_result(pb::Compare::LESS);
      break;
    case Compare::Operator::kNotEqual:
      to.set_result(pb::Compare::NOT_EQUAL);
      break;
  }
  switch (from.target) {
    case Compare::Target::kVersion:
      to.set_target(pb::Compare::VERSION);
      to.set_version(from.number);
      break;
    case Compare::Target::kCreate:
      to.set_target(pb::Compare::CREATE);
      to.set_create_revision(from.number);
      break;
    case Compare::Target::kMod:
      to.set_target(pb::Compare::MOD);
      to.set_mod_revision(from.number);
      break;
    case Compare::Target::kLease:
      to.set_target(pb::Compare::LEASE);
      to.set_lease(from.number);
      break;
    case Compare::Target::kValue:
      to.set_target(pb::Compare::VALUE);
      to.set_value(from.value);
      break;
  }
}

void fill(const Operation& from, pb::RequestOp& to) {
  if (const auto* put = std::get_if<Put>(&from)) {
    to.mutable_request_put()->set_key(put->key);
    to.mutable_request_put()->set_value(put->value);
    to.mutable_request_put()->set_lease(put->lease);
  } else if (const auto* erase = std::get_if<Delete>(&from)) {
    to.mutable_request_delete_range()->set_key(erase->key);
    to.mutable_request_delete_range()->set_range_end(erase->range_end);
  } else {
    *to.mutable_request_range() = to_message(std::get<RangeRequest>(from));
  }
}

pb::TxnRequest to_message(const TxnRequest& from) {
  pb::TxnRequest to;
  for (const Compare& compare : from.compares) fill(compare, *to.add_compare());
  for (const Operation& operation : from.then) fill(operation, *to.add_success());
  for (const Operation& operation : from.otherwise) fill(operation, *to.add_failure());
  return to;
}

// A keep-alive is a stream in etcd's API; one question and one answer are enough.
class KeepAliveOnce final
    : public grpc::ClientBidiReactor<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> {
 public:
  KeepAliveOnce(pb::LeaseKeepAliveResponse* response, std::function<void(grpc::Status)> done)
      : response_(response), done_(std::move(done)) {}
  void OnReadDone(bool ok) override { answered_ = ok; }
  void OnDone(const grpc::Status& status) override {
    // The server may still count the stream as open: what matters is that it answered.
    done_(answered_ ? grpc::Status::OK : status);
    delete this;
  }
  void begin(const pb::LeaseKeepAliveRequest* request) {
    StartWriteLast(request, grpc::WriteOptions());
    StartRead(response_);
    StartCall();
  }

 private:
  pb::LeaseKeepAliveResponse* response_;
  std::function<void(grpc::Status)> done_;
  bool answered_ = false;
};

class EtcdClient final : public Kv {
 public:
  EtcdClient(EtcdClientOptions options, std::unique_ptr<EtcdChannels> channels,
             asio::any_io_executor executor)
      : options_(std::move(options)),
        channels_(std::move(channels)),
        executor_(std::move(executor)) {}

  asio::awaitable<Result<RangeResult>> range(RangeRequest request) override {
    auto start = [](EtcdEndpoint& endpoint, auto& call, auto done) {
      endpoint.kv->async()->Range(&call.context, &call.request, &call.response, std::move(done));
    };
    CO_TRY(response,
           co_await ask<pb::RangeRequest, pb::RangeResponse>(to_message(request), true, start));
    co_return from_message(response);
  }

  asio::awaitable<Result<TxnResult>> txn(TxnRequest request) override {
    auto start = [](EtcdEndpoint& endpoint, auto& call, auto done) {
      endpoint.kv->async()->Txn(&call.context, &call.request, &call.response, std::move(done));
    };
    CO_TRY(response,
           co_await ask<pb::TxnRequest, pb::TxnResponse>(to_message(request), false, start));
    TxnResult result;
    result.succeeded = response.succeeded();
    result.revision = response.header().revision();
    result.cluster_id = response.header().cluster_id();
    for (pb::ResponseOp& answer : *response.mutable_responses()) {
      if (!answer.has_response_range()) continue;
      result.ranges.push_back(from_message(*answer.mutable_response_range()));
      // etcd leaves the ids out of the headers inside a transaction.
      result.ranges.back().cluster_id = result.cluster_id;
    }
    co_return result;
  }

  asio::awaitable<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override {
    for (std::size_t attempt = 1;; ++attempt) {
      std::shared_ptr<EtcdEndpoint> endpoint = channels_->pick();
      auto opened =
          co_await open_etcd_watch(endpoint, request, executor_, options_.request_timeout);
      if (opened) co_return opened;
      Code code = opened.error().code;
      if (code != Code::kUnavailable && code != Code::kDeadlineExceeded) co_return opened;
      channels_->report_failure(*endpoint);
      if (attempt >= channels_->size()) co_return opened;
    }
  }

  asio::awaitable<Result<std::int64_t>> lease_grant(std::chrono::seconds ttl) override {
    pb::LeaseGrantRequest request;
    request.set_ttl(ttl.count());
    auto start = [](EtcdEndpoint& endpoint, auto& call, auto done) {
      endpoint.lease->async()->LeaseGrant(&call.context, &call.request, &call.response,
                                          std::move(done));
    };
    CO_TRY(response, co_await ask<pb::LeaseGrantRequest, pb::LeaseGrantResponse>(std::move(request),
                                                                                 false, start));
    co_return response.id();
  }

  asio::awaitable<Result<void>> lease_keep_alive(std::int64_t lease) override {
    pb::LeaseKeepAliveRequest request;
    request.set_id(lease);
    auto start = [](EtcdEndpoint& endpoint, auto& call, auto done) {
      auto* reactor = new KeepAliveOnce(&call.response, std::move(done));
      endpoint.lease->async()->LeaseKeepAlive(&call.context, reactor);
      reactor->begin(&call.request);
    };
    CO_TRY(response, co_await ask<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>(
                         std::move(request), true, start));
    if (response.ttl() <= 0) co_return etcd::kLeaseNotFound.fail();
    co_return Result<void>{};
  }

  asio::awaitable<Result<void>> lease_revoke(std::int64_t lease) override {
    pb::LeaseRevokeRequest request;
    request.set_id(lease);
    auto start = [](EtcdEndpoint& endpoint, auto& call, auto done) {
      endpoint.lease->async()->LeaseRevoke(&call.context, &call.request, &call.response,
                                           std::move(done));
    };
    auto response = co_await ask<pb::LeaseRevokeRequest, pb::LeaseRevokeResponse>(
        std::move(request), false, start);
    if (!response) co_return std::unexpected(std::move(response).error());
    co_return Result<void>{};
  }

 private:
  // One call. A request that `may_repeat` is asked at every endpoint until one answers; any other
  // only as long as no server can have seen it.
  template <class Request, class Response, class Start>
  asio::awaitable<Result<Response>> ask(Request request, bool may_repeat, Start start) {
    for (std::size_t attempt = 1;; ++attempt) {
      auto endpoint = channels_->pick();
      auto call = std::make_shared<EtcdCall<Request, Response>>();
      call->request = request;
      call->context.set_deadline(std::chrono::system_clock::now() + options_.request_timeout);
      call->context.AddMetadata("hasleader", "true");
      auto begin = [endpoint, start](auto& self, auto done) {
        start(*endpoint, self, std::move(done));
      };
      co_await perform(call, std::move(begin));
      if (call->status.ok()) {
        if (auto same = channels_->note_cluster(call->response.header().cluster_id()); !same)
          co_return std::unexpected(std::move(same).error());
        co_return std::move(call->response);
      }
      Error error = error_of(call->status).with_context(endpoint->target);
      if (error.code != Code::kUnavailable && error.code != Code::kDeadlineExceeded) {
        error.what = call->status.error_message();
        co_return std::unexpected(std::move(error));
      }
      channels_->report_failure(*endpoint);
      bool again = may_repeat || surely_not_sent(call->status);
      if (!again || attempt >= channels_->size()) co_return std::unexpected(std::move(error));
    }
  }

  EtcdClientOptions options_;
  std::unique_ptr<EtcdChannels> channels_;
  asio::any_io_executor executor_;
};

}  // namespace

Result<std::unique_ptr<Kv>> make_etcd_client(EtcdClientOptions options,
                                             asio::any_io_executor executor) {
  TRY(channels, EtcdChannels::open(options));
  std::unique_ptr<Kv> client =
      std::make_unique<EtcdClient>(std::move(options), std::move(channels), std::move(executor));
  return client;
}

}  // namespace tombolo
