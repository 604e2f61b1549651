// Each RPC of the API and the handler that answers it: nothing else happens here.
#include "app/admin/internal.h"
#include "schema/admin/v1/admin.grpc.pb.h"
#include "schema/admin/v1/node.grpc.pb.h"
#include "schema/admin/v1/policy.grpc.pb.h"
#include "schema/admin/v1/shared_pool.grpc.pb.h"

namespace tombolo::admin {
namespace {

using Context = grpc::CallbackServerContext;
using Reply = grpc::ServerUnaryReactor;

class StatusService final : public api::StatusApi::CallbackService {
 public:
  StatusService(Gate& gate, StatusHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* Get(Context* context, const api::GetStatusRequest* request,
             api::GetStatusResponse* response) override {
    return gate_.call("StatusApi/Get", context, request, response, handlers_, &StatusHandlers::get);
  }
  Reply* Wait(Context* context, const api::WaitRequest* request,
              api::WaitResponse* response) override {
    return gate_.call("StatusApi/Wait", context, request, response, handlers_,
                      &StatusHandlers::wait);
  }

 private:
  Gate& gate_;
  StatusHandlers* handlers_;
};

class PlanService final : public api::PlanApi::CallbackService {
 public:
  PlanService(Gate& gate, PlanHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* Show(Context* context, const api::ShowPlanRequest* request,
              api::ShowPlanResponse* response) override {
    return gate_.call("PlanApi/Show", context, request, response, handlers_, &PlanHandlers::show);
  }
  Reply* Apply(Context* context, const api::ApplyPlanRequest* request,
               api::ApplyPlanResponse* response) override {
    return gate_.call("PlanApi/Apply", context, request, response, handlers_, &PlanHandlers::apply);
  }
  Reply* Routes(Context* context, const api::PlanRoutesRequest* request,
                api::PlanRoutesResponse* response) override {
    return gate_.call("PlanApi/Routes", context, request, response, handlers_,
                      &PlanHandlers::routes);
  }
  Reply* Get(Context* context, const api::GetPlanRequest* request,
             api::GetPlanResponse* response) override {
    return gate_.call("PlanApi/Get", context, request, response, handlers_, &PlanHandlers::get);
  }
  Reply* History(Context* context, const api::PlanHistoryRequest* request,
                 api::PlanHistoryResponse* response) override {
    return gate_.call("PlanApi/History", context, request, response, handlers_,
                      &PlanHandlers::history);
  }
  Reply* Rollback(Context* context, const api::RollbackPlanRequest* request,
                  api::ApplyPlanResponse* response) override {
    return gate_.call("PlanApi/Rollback", context, request, response, handlers_,
                      &PlanHandlers::rollback);
  }

 private:
  Gate& gate_;
  PlanHandlers* handlers_;
};

class ClusterService final : public api::ClusterApi::CallbackService {
 public:
  ClusterService(Gate& gate, ClusterHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListClustersRequest* request,
              api::ListClustersResponse* response) override {
    return gate_.call("ClusterApi/List", context, request, response, handlers_,
                      &ClusterHandlers::list);
  }
  Reply* Grant(Context* context, const api::GrantClusterRequest* request,
               api::GrantClusterResponse* response) override {
    return gate_.call("ClusterApi/Grant", context, request, response, handlers_,
                      &ClusterHandlers::grant);
  }
  Reply* Join(Context* context, const api::JoinClusterRequest* request,
              api::JoinClusterResponse* response) override {
    return gate_.call("ClusterApi/Join", context, request, response, handlers_,
                      &ClusterHandlers::join);
  }
  Reply* Leave(Context* context, const api::LeaveClusterRequest* request,
               api::LeaveClusterResponse* response) override {
    return gate_.call("ClusterApi/Leave", context, request, response, handlers_,
                      &ClusterHandlers::leave);
  }

 private:
  Gate& gate_;
  ClusterHandlers* handlers_;
};

class NodeService final : public api::NodeApi::CallbackService {
 public:
  NodeService(Gate& gate, NodeHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListNodesRequest* request,
              api::ListNodesResponse* response) override {
    return gate_.call("NodeApi/List", context, request, response, handlers_, &NodeHandlers::list);
  }
  Reply* Forget(Context* context, const api::ForgetNodeRequest* request,
                api::ForgetNodeResponse* response) override {
    return gate_.call("NodeApi/Forget", context, request, response, handlers_,
                      &NodeHandlers::forget);
  }

 private:
  Gate& gate_;
  NodeHandlers* handlers_;
};

class PoolService final : public api::PoolApi::CallbackService {
 public:
  PoolService(Gate& gate, PoolHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListPoolsRequest* request,
              api::ListPoolsResponse* response) override {
    return gate_.call("PoolApi/List", context, request, response, handlers_, &PoolHandlers::list);
  }

 private:
  Gate& gate_;
  PoolHandlers* handlers_;
};

class SharedPoolService final : public api::SharedPoolApi::CallbackService {
 public:
  SharedPoolService(Gate& gate, SharedPoolHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* Show(Context* context, const api::ShowPoolRequest* request,
              api::ShowPoolResponse* response) override {
    return gate_.call("SharedPoolApi/Show", context, request, response, handlers_,
                      &SharedPoolHandlers::show);
  }
  Reply* Reclaim(Context* context, const api::ReclaimPoolRequest* request,
                 api::ReclaimPoolResponse* response) override {
    return gate_.call("SharedPoolApi/Reclaim", context, request, response, handlers_,
                      &SharedPoolHandlers::reclaim);
  }

 private:
  Gate& gate_;
  SharedPoolHandlers* handlers_;
};

class IpService final : public api::IpApi::CallbackService {
 public:
  IpService(Gate& gate, IpHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListIpsRequest* request,
              api::ListIpsResponse* response) override {
    return gate_.call("IpApi/List", context, request, response, handlers_, &IpHandlers::list);
  }
  Reply* Explain(Context* context, const api::ExplainIpRequest* request,
                 api::ExplainIpResponse* response) override {
    return gate_.call("IpApi/Explain", context, request, response, handlers_, &IpHandlers::explain);
  }
  Reply* Release(Context* context, const api::ReleaseIpRequest* request,
                 api::ReleaseIpResponse* response) override {
    return gate_.call("IpApi/Release", context, request, response, handlers_, &IpHandlers::release);
  }

 private:
  Gate& gate_;
  IpHandlers* handlers_;
};

class ServiceService final : public api::ServiceApi::CallbackService {
 public:
  ServiceService(Gate& gate, ServiceHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListServicesRequest* request,
              api::ListServicesResponse* response) override {
    return gate_.call("ServiceApi/List", context, request, response, handlers_,
                      &ServiceHandlers::list);
  }
  Reply* Explain(Context* context, const api::ExplainServiceRequest* request,
                 api::ExplainServiceResponse* response) override {
    return gate_.call("ServiceApi/Explain", context, request, response, handlers_,
                      &ServiceHandlers::explain);
  }
  Reply* Import(Context* context, const api::ImportServiceRequest* request,
                api::ImportServiceResponse* response) override {
    return gate_.call("ServiceApi/Import", context, request, response, handlers_,
                      &ServiceHandlers::import_service);
  }

 private:
  Gate& gate_;
  ServiceHandlers* handlers_;
};

class EndpointService final : public api::EndpointApi::CallbackService {
 public:
  EndpointService(Gate& gate, EndpointHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListEndpointsRequest* request,
              api::ListEndpointsResponse* response) override {
    return gate_.call("EndpointApi/List", context, request, response, handlers_,
                      &EndpointHandlers::list);
  }

 private:
  Gate& gate_;
  EndpointHandlers* handlers_;
};

class PolicyService final : public api::PolicyApi::CallbackService {
 public:
  PolicyService(Gate& gate, PolicyHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListPoliciesRequest* request,
              api::ListPoliciesResponse* response) override {
    return gate_.call("PolicyApi/List", context, request, response, handlers_,
                      &PolicyHandlers::list);
  }
  Reply* Explain(Context* context, const api::ExplainPolicyRequest* request,
                 api::ExplainPolicyResponse* response) override {
    return gate_.call("PolicyApi/Explain", context, request, response, handlers_,
                      &PolicyHandlers::explain);
  }

 private:
  Gate& gate_;
  PolicyHandlers* handlers_;
};

class FlowService final : public api::FlowApi::CallbackService {
 public:
  FlowService(Gate& gate, FlowHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  grpc::ServerWriteReactor<api::FollowFlowsResponse>* Follow(
      Context* context, const api::FollowFlowsRequest* request) override {
    return gate_.stream("FlowApi/Follow", context, request, handlers_, &FlowHandlers::follow);
  }

 private:
  Gate& gate_;
  FlowHandlers* handlers_;
};

class AuditService final : public api::AuditApi::CallbackService {
 public:
  AuditService(Gate& gate, AuditHandlers* handlers) : gate_(gate), handlers_(handlers) {}
  Reply* List(Context* context, const api::ListAuditRequest* request,
              api::ListAuditResponse* response) override {
    return gate_.call("AuditApi/List", context, request, response, handlers_, &AuditHandlers::list);
  }

 private:
  Gate& gate_;
  AuditHandlers* handlers_;
};

}  // namespace

Services::Services(Gate& gate, const AdminHandlers& handlers) {
  services_.push_back(std::make_unique<StatusService>(gate, handlers.status));
  services_.push_back(std::make_unique<PlanService>(gate, handlers.plan));
  services_.push_back(std::make_unique<ClusterService>(gate, handlers.cluster));
  services_.push_back(std::make_unique<PoolService>(gate, handlers.pool));
  services_.push_back(std::make_unique<IpService>(gate, handlers.ip));
  services_.push_back(std::make_unique<ServiceService>(gate, handlers.service));
  services_.push_back(std::make_unique<EndpointService>(gate, handlers.endpoint));
  services_.push_back(std::make_unique<PolicyService>(gate, handlers.policy));
  services_.push_back(std::make_unique<FlowService>(gate, handlers.flow));
  services_.push_back(std::make_unique<NodeService>(gate, handlers.node));
  services_.push_back(std::make_unique<SharedPoolService>(gate, handlers.shared_pool));
  services_.push_back(std::make_unique<AuditService>(gate, gate.audit_handlers()));
}

Services::~Services() = default;

}  // namespace tombolo::admin
