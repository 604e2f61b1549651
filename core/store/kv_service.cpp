// etcdserverpb.KV: what is asked, may it be asked, hand it to the engine.
#include "core/store/services.h"

namespace tombolo {
namespace {

class KvService final : public pb::KV::CallbackService {
 public:
  explicit KvService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* Range(grpc::CallbackServerContext* call,
                                  const pb::RangeRequest* request,
                                  pb::RangeResponse* response) override {
    auto* reactor = call->DefaultReactor();
    if (auto allowed = allow(*call, *request); !allowed) return refuse(reactor, allowed.error());
    context_.engine.range(*request, *response, finish(reactor));
    return reactor;
  }
  grpc::ServerUnaryReactor* Put(grpc::CallbackServerContext* call, const pb::PutRequest* request,
                                pb::PutResponse* response) override {
    auto* reactor = call->DefaultReactor();
    if (auto allowed = allow(*call, *request); !allowed) return refuse(reactor, allowed.error());
    context_.engine.put(*request, *response, finish(reactor));
    return reactor;
  }
  grpc::ServerUnaryReactor* DeleteRange(grpc::CallbackServerContext* call,
                                        const pb::DeleteRangeRequest* request,
                                        pb::DeleteRangeResponse* response) override {
    auto* reactor = call->DefaultReactor();
    if (auto allowed = allow(*call, *request); !allowed) return refuse(reactor, allowed.error());
    context_.engine.delete_range(*request, *response, finish(reactor));
    return reactor;
  }
  grpc::ServerUnaryReactor* Txn(grpc::CallbackServerContext* call, const pb::TxnRequest* request,
                                pb::TxnResponse* response) override {
    auto* reactor = call->DefaultReactor();
    // Looked at first, because it bounds how deep the request is nested.
    if (auto valid = check_request(*request); !valid) return refuse(reactor, valid.error());
    if (auto allowed = allow(*call, *request); !allowed) return refuse(reactor, allowed.error());
    context_.engine.txn(*request, *response, finish(reactor));
    return reactor;
  }
  grpc::ServerUnaryReactor* Compact(grpc::CallbackServerContext* call,
                                    const pb::CompactionRequest* request,
                                    pb::CompactionResponse* response) override {
    auto* reactor = call->DefaultReactor();
    if (auto allowed = context_.allow_all(*call, Access::kWrite); !allowed)
      return refuse(reactor, allowed.error());
    context_.engine.compact(*request, *response, finish(reactor));
    return reactor;
  }

 private:
  using Call = grpc::ServerContextBase;
  Result<void> allow(const Call& call, const pb::RangeRequest& request) const {
    return context_.allow(call, Access::kRead, request.key(), request.range_end());
  }
  Result<void> allow(const Call& call, const pb::PutRequest& request) const {
    TRY_OK(context_.allow(call, Access::kWrite, request.key(), ""));
    if (request.prev_kv()) return context_.allow(call, Access::kRead, request.key(), "");
    return {};
  }
  Result<void> allow(const Call& call, const pb::DeleteRangeRequest& request) const {
    TRY_OK(context_.allow(call, Access::kWrite, request.key(), request.range_end()));
    if (request.prev_kv())
      return context_.allow(call, Access::kRead, request.key(), request.range_end());
    return {};
  }
  Result<void> allow(const Call& call, const pb::RequestOp& operation) const {
    if (operation.has_request_range()) return allow(call, operation.request_range());
    if (operation.has_request_put()) return allow(call, operation.request_put());
    if (operation.has_request_delete_range()) return allow(call, operation.request_delete_range());
    return allow(call, operation.request_txn());
  }
  Result<void> allow(const Call& call, const pb::TxnRequest& request) const {
    if (!context_.options.authorize) return {};
    for (const pb::Compare& compare : request.compare())
      TRY_OK(context_.allow(call, Access::kRead, compare.key(), compare.range_end()));
    for (const pb::RequestOp& operation : request.success()) TRY_OK(allow(call, operation));
    for (const pb::RequestOp& operation : request.failure()) TRY_OK(allow(call, operation));
    return {};
  }

  ServiceContext& context_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_kv_service(ServiceContext& context) {
  return std::make_unique<KvService>(context);
}

}  // namespace tombolo
