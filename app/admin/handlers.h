// What the daemon answers to the admin API (schema/admin/v1): one interface per gRPC service, its
// methods coroutines on the control thread, where they may read tables. app/daemon implements them;
// app/admin/server.h calls them, after it has decided who calls and whether that one may.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <utility>

#include "core/error.h"
#include "schema/admin/v1/admin.pb.h"
#include "schema/admin/v1/node.pb.h"
#include "schema/admin/v1/policy.pb.h"
#include "schema/admin/v1/shared_pool.pb.h"

namespace tombolo::admin {

namespace asio = boost::asio;
namespace api = tombolo::admin::v1;

enum class Access { kNone, kViewer, kAdmin };

// Who calls: "local" for the admin socket, "viewer-socket" for the viewers' one, else the
// certificate's "operator/NAME". A class, not an aggregate: g++ 12 destroys aggregate temporaries
// of a co_await expression twice.
class Caller {
 public:
  Caller(std::string name, Access access) : name_(std::move(name)), access_(access) {}
  const std::string& name() const { return name_; }
  Access access() const { return access_; }

 private:
  std::string name_;
  Access access_;
};

template <class Response>
using Answer = asio::awaitable<Result<Response>>;

// The answers of a streaming method. Control thread.
template <class Message>
class Stream {
 public:
  virtual ~Stream() = default;
  // Returns when the message is on its way: nothing queues up here, who produces keeps a bounded
  // store of its own. kCancelled when the caller is gone.
  virtual asio::awaitable<Result<void>> write(Message message) = 0;
};

class StatusHandlers {
 public:
  virtual ~StatusHandlers() = default;
  virtual Answer<api::GetStatusResponse> get(api::GetStatusRequest request, Caller caller) = 0;
  virtual Answer<api::WaitResponse> wait(api::WaitRequest request, Caller caller) = 0;
};

class PlanHandlers {
 public:
  virtual ~PlanHandlers() = default;
  virtual Answer<api::ShowPlanResponse> show(api::ShowPlanRequest request, Caller caller) = 0;
  virtual Answer<api::ApplyPlanResponse> apply(api::ApplyPlanRequest request, Caller caller) = 0;
  virtual Answer<api::PlanRoutesResponse> routes(api::PlanRoutesRequest request, Caller caller) = 0;
  virtual Answer<api::GetPlanResponse> get(api::GetPlanRequest request, Caller caller) = 0;
  virtual Answer<api::PlanHistoryResponse> history(api::PlanHistoryRequest request,
                                                   Caller caller) = 0;
  virtual Answer<api::ApplyPlanResponse> rollback(api::RollbackPlanRequest request,
                                                  Caller caller) = 0;
};

class ClusterHandlers {
 public:
  virtual ~ClusterHandlers() = default;
  virtual Answer<api::ListClustersResponse> list(api::ListClustersRequest request,
                                                 Caller caller) = 0;
  virtual Answer<api::GrantClusterResponse> grant(api::GrantClusterRequest request,
                                                  Caller caller) = 0;
  virtual Answer<api::JoinClusterResponse> join(api::JoinClusterRequest request, Caller caller) = 0;
  virtual Answer<api::LeaveClusterResponse> leave(api::LeaveClusterRequest request,
                                                  Caller caller) = 0;
};

class NodeHandlers {
 public:
  virtual ~NodeHandlers() = default;
  virtual Answer<api::ListNodesResponse> list(api::ListNodesRequest request, Caller caller) = 0;
  virtual Answer<api::ForgetNodeResponse> forget(api::ForgetNodeRequest request, Caller caller) = 0;
};

class PoolHandlers {
 public:
  virtual ~PoolHandlers() = default;
  virtual Answer<api::ListPoolsResponse> list(api::ListPoolsRequest request, Caller caller) = 0;
};

class SharedPoolHandlers {
 public:
  virtual ~SharedPoolHandlers() = default;
  virtual Answer<api::ShowPoolResponse> show(api::ShowPoolRequest request, Caller caller) = 0;
  virtual Answer<api::ReclaimPoolResponse> reclaim(api::ReclaimPoolRequest request,
                                                   Caller caller) = 0;
};

class IpHandlers {
 public:
  virtual ~IpHandlers() = default;
  virtual Answer<api::ListIpsResponse> list(api::ListIpsRequest request, Caller caller) = 0;
  virtual Answer<api::ExplainIpResponse> explain(api::ExplainIpRequest request, Caller caller) = 0;
  virtual Answer<api::ReleaseIpResponse> release(api::ReleaseIpRequest request, Caller caller) = 0;
};

class ServiceHandlers {
 public:
  virtual ~ServiceHandlers() = default;
  virtual Answer<api::ListServicesResponse> list(api::ListServicesRequest request,
                                                 Caller caller) = 0;
  virtual Answer<api::ExplainServiceResponse> explain(api::ExplainServiceRequest request,
                                                      Caller caller) = 0;
  virtual Answer<api::ImportServiceResponse> import_service(api::ImportServiceRequest request,
                                                            Caller caller) = 0;
};

class EndpointHandlers {
 public:
  virtual ~EndpointHandlers() = default;
  virtual Answer<api::ListEndpointsResponse> list(api::ListEndpointsRequest request,
                                                  Caller caller) = 0;
};

class PolicyHandlers {
 public:
  virtual ~PolicyHandlers() = default;
  virtual Answer<api::ListPoliciesResponse> list(api::ListPoliciesRequest request,
                                                 Caller caller) = 0;
  virtual Answer<api::ExplainPolicyResponse> explain(api::ExplainPolicyRequest request,
                                                     Caller caller) = 0;
};

class FlowHandlers {
 public:
  virtual ~FlowHandlers() = default;
  // Ends with the stored events, or, when it follows, when the caller goes away or at a shutdown.
  virtual asio::awaitable<Result<void>> follow(api::FollowFlowsRequest request, Caller caller,
                                               Stream<api::FollowFlowsResponse>& stream) = 0;
};

// Not owned; they outlive the server. What is null answers kFailedPrecondition: "this daemon does
// not serve ClusterApi; ask the controller". AuditApi is answered by the server itself.
struct AdminHandlers {
  StatusHandlers* status = nullptr;
  PlanHandlers* plan = nullptr;
  ClusterHandlers* cluster = nullptr;
  PoolHandlers* pool = nullptr;
  IpHandlers* ip = nullptr;
  ServiceHandlers* service = nullptr;
  EndpointHandlers* endpoint = nullptr;
  PolicyHandlers* policy = nullptr;
  FlowHandlers* flow = nullptr;
  NodeHandlers* node = nullptr;
  SharedPoolHandlers* shared_pool = nullptr;
};

}  // namespace tombolo::admin
