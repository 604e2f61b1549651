// etcdserverpb.Lease. Anybody may hold a lease; giving one back deletes keys, so it needs the right
// to write them.
#include "core/store/services.h"

namespace tombolo {
namespace {

// One answer at a time, in the order of the questions.
class KeepAliveReactor final
    : public grpc::ServerBidiReactor<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> {
 public:
  explicit KeepAliveReactor(Engine& engine) : engine_(engine) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_.Clear();
    engine_.lease_keep_alive(request_, response_, [this](const Result<void>& result) {
      if (result)
        StartWrite(&response_);
      else
        Finish(to_status(result));
    });
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  Engine& engine_;
  pb::LeaseKeepAliveRequest request_;
  pb::LeaseKeepAliveResponse response_;
};

class LeaseService final : public pb::Lease::CallbackService {
 public:
  explicit LeaseService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* LeaseGrant(grpc::CallbackServerContext* call,
                                       const pb::LeaseGrantRequest* request,
                                       pb::LeaseGrantResponse* response) override {
    auto* reactor = call->DefaultReactor();
    context_.engine.lease_grant(*request, *response, finish(reactor));
    return reactor;
  }

  grpc::ServerUnaryReactor* LeaseRevoke(grpc::CallbackServerContext* call,
                                        const pb::LeaseRevokeRequest* request,
                                        pb::LeaseRevokeResponse* response) override {
    auto* reactor = call->DefaultReactor();
    when_allowed(call, reactor, request->id(), Access::kWrite, [this, request, response, reactor] {
      context_.engine.lease_revoke(*request, *response, finish(reactor));
    });
    return reactor;
  }

  grpc::ServerBidiReactor<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>* LeaseKeepAlive(
      grpc::CallbackServerContext*) override {
    return new KeepAliveReactor(context_.engine);
  }

  grpc::ServerUnaryReactor* LeaseTimeToLive(grpc::CallbackServerContext* call,
                                            const pb::LeaseTimeToLiveRequest* request,
                                            pb::LeaseTimeToLiveResponse* response) override {
    auto* reactor = call->DefaultReactor();
    auto ask = [this, request, response, reactor] {
      context_.engine.lease_time_to_live(*request, *response, finish(reactor));
    };
    if (request->keys())
      when_allowed(call, reactor, request->id(), Access::kRead, ask);
    else
      ask();
    return reactor;
  }

  grpc::ServerUnaryReactor* LeaseLeases(grpc::CallbackServerContext* call,
                                        const pb::LeaseLeasesRequest*,
                                        pb::LeaseLeasesResponse* response) override {
    auto* reactor = call->DefaultReactor();
    context_.engine.lease_leases(*response, finish(reactor));
    return reactor;
  }

 private:
  // Runs `then` when the peer may access every key of the lease, else ends the call.
  void when_allowed(grpc::CallbackServerContext* call, grpc::ServerUnaryReactor* reactor,
                    std::int64_t lease, Access access, std::function<void()> then) {
    if (!context_.options.authorize) return then();
    auto keys = std::make_shared<std::vector<std::string>>();
    context_.engine.lease_keys(lease, *keys,
                               [this, call, reactor, access, keys, then](Result<void> result) {
                                 for (const std::string& key : *keys)
                                   if (result) result = context_.allow(*call, access, key, "");
                                 if (result)
                                   then();
                                 else
                                   reactor->Finish(to_status(result));
                               });
  }

  ServiceContext& context_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_lease_service(ServiceContext& context) {
  return std::make_unique<LeaseService>(context);
}

}  // namespace tombolo
