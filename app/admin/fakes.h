// Handlers with fixed answers, and a control thread for a server in a test: for the tests of the
// admin server and of the command line. Not part of any program.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "app/admin/server.h"

namespace tombolo::admin {

// Two clusters, two services, a few addresses. What a request asks for decides the answer:
// namespace or cluster "missing" is kNotFound.
class FakeHandlers final : public StatusHandlers,
                           public PlanHandlers,
                           public ClusterHandlers,
                           public NodeHandlers,
                           public PoolHandlers,
                           public SharedPoolHandlers,
                           public IpHandlers,
                           public ServiceHandlers,
                           public EndpointHandlers,
                           public PolicyHandlers,
                           public FlowHandlers {
 public:
  // Whether the plan in force has its fleet file.
  std::atomic<bool> stores_fleet = true;
  AdminHandlers all() { return {this, this, this, this, this, this, this, this, this, this, this}; }

  Answer<api::GetStatusResponse> get(api::GetStatusRequest request, Caller caller) override;
  // Waits for ever when a revision over 1,000 is asked for.
  Answer<api::WaitResponse> wait(api::WaitRequest request, Caller caller) override;
  Answer<api::ShowPlanResponse> show(api::ShowPlanRequest request, Caller caller) override;
  Answer<api::ApplyPlanResponse> apply(api::ApplyPlanRequest request, Caller caller) override;
  Answer<api::PlanRoutesResponse> routes(api::PlanRoutesRequest request, Caller caller) override;
  Answer<api::GetPlanResponse> get(api::GetPlanRequest request, Caller caller) override;
  Answer<api::PlanHistoryResponse> history(api::PlanHistoryRequest request, Caller caller) override;
  Answer<api::ApplyPlanResponse> rollback(api::RollbackPlanRequest request, Caller caller) override;
  Answer<api::ListClustersResponse> list(api::ListClustersRequest request, Caller caller) override;
  Answer<api::GrantClusterResponse> grant(api::GrantClusterRequest request, Caller caller) override;
  Answer<api::JoinClusterResponse> join(api::JoinClusterRequest request, Caller caller) override;
  Answer<api::LeaveClusterResponse> leave(api::LeaveClusterRequest request, Caller caller) override;
  Answer<api::ListNodesResponse> list(api::ListNodesRequest request, Caller caller) override;
  Answer<api::ForgetNodeResponse> forget(api::ForgetNodeRequest request, Caller caller) override;
  Answer<api::ShowPoolResponse> show(api::ShowPoolRequest request, Caller caller) override;
  Answer<api::ReclaimPoolResponse> reclaim(api::ReclaimPoolRequest request, Caller caller) override;
  Answer<api::ListPoolsResponse> list(api::ListPoolsRequest request, Caller caller) override;
  Answer<api::ListIpsResponse> list(api::ListIpsRequest request, Caller caller) override;
  Answer<api::ExplainIpResponse> explain(api::ExplainIpRequest request, Caller caller) override;
  Answer<api::ReleaseIpResponse> release(api::ReleaseIpRequest request, Caller caller) override;
  Answer<api::ListServicesResponse> list(api::ListServicesRequest request, Caller caller) override;
  Answer<api::ExplainServiceResponse> explain(api::ExplainServiceRequest request,
                                              Caller caller) override;
  Answer<api::ImportServiceResponse> import_service(api::ImportServiceRequest request,
                                                    Caller caller) override;
  Answer<api::ListEndpointsResponse> list(api::ListEndpointsRequest request,
                                          Caller caller) override;

  Answer<api::ListPoliciesResponse> list(api::ListPoliciesRequest request, Caller caller) override;
  Answer<api::ExplainPolicyResponse> explain(api::ExplainPolicyRequest request,
                                             Caller caller) override;
  // Two events, then, when it follows, events without end, as fast as they are taken.
  asio::awaitable<Result<void>> follow(api::FollowFlowsRequest request, Caller caller,
                                       Stream<api::FollowFlowsResponse>& stream) override;

  std::atomic<int> following = 0;              // calls inside follow()
  std::atomic<std::uint64_t> written = 0;      // messages that follow() got rid of
  std::atomic<int> waiting = 0;                // calls inside wait() that do not end by themselves
  std::function<Result<void>()> before_leave;  // what leave() answers; empty: ok
};

// A folder under /tmp that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

 private:
  std::string path_;
};

// A control thread with an admin server and fake handlers on it.
class FakeDaemon {
 public:
  FakeDaemon();
  ~FakeDaemon();  // stop()
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  Result<void> start(ServerOptions options) { return start(std::move(options), handlers.all()); }
  Result<void> start(ServerOptions options, AdminHandlers with);
  void stop();
  AdminServer& server() { return *server_; }

  FakeHandlers handlers;

 private:
  void on_control_thread(std::function<void()> job);

  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::unique_ptr<Clock> clock_;
  TaskGroup tasks_;
  std::unique_ptr<AdminServer> server_;
  std::thread thread_;
};

}  // namespace tombolo::admin
