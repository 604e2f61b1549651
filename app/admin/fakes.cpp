// Fixed answers, as a small fleet would give them.
#include "app/admin/fakes.h"

#include <cstdlib>

namespace tombolo::admin {
namespace {

api::Service rebel_base() {
  api::Service service;
  service.set_name_space("default");
  service.set_name("rebel-base");
  service.set_type("ClusterIP");
  service.add_cluster_ips("10.96.0.10");
  service.add_cluster_ips("fd00:96::10");
  service.add_ports("http 80/TCP");
  service.set_local(true);
  service.set_global(true);
  service.set_shared(true);
  service.set_affinity("none");
  service.add_clusters("east");
  service.add_clusters("west");
  service.set_backends_used(2);
  service.set_backends_known(3);
  return service;
}

api::PolicyEnd client_of_east() {
  api::PolicyEnd end;
  end.set_cluster("east");
  end.set_name_space("client");
  end.set_pod("client");
  end.set_address("10.1.1.9");
  end.set_identity(65'541);
  end.set_what("pod");
  end.add_labels("role=client");
  return end;
}

api::PolicyEnd backend_of_west() {
  api::PolicyEnd end;
  end.set_cluster("west");
  end.set_name_space("stars");
  end.set_pod("backend");
  end.set_address("10.2.1.7");
  end.set_port(6379);
  end.set_identity(131'073);
  end.set_what("pod");
  end.add_labels("role=backend");
  return end;
}

api::FlowEvent drop_event(std::uint64_t sequence) {
  api::FlowEvent event;
  event.mutable_time()->set_seconds(1'767'225'600);
  event.mutable_time()->set_nanos(250'000'000);
  event.set_verdict("dropped");
  event.set_reason("policy");
  event.set_direction("ingress");
  *event.mutable_source() = client_of_east();
  event.mutable_source()->set_port(41'000);
  *event.mutable_destination() = backend_of_west();
  event.set_protocol("TCP");
  event.add_policies("NetworkPolicy/stars/default-deny");
  event.set_rule("isolation");
  event.set_rule_number(3);
  event.set_by("isolation of stars/default-deny");
  event.set_node("west-1");
  event.set_sequence(sequence);
  return event;
}

}  // namespace

Answer<api::GetStatusResponse> FakeHandlers::get(api::GetStatusRequest, Caller) {
  api::GetStatusResponse status;
  status.set_version("0.1.0");
  status.add_roles("agent");
  status.add_roles("controller");
  status.set_fleet("islands");
  status.set_cluster("east");
  status.set_cluster_id(1);
  status.set_node("east-1");
  status.mutable_started_at()->set_seconds(1'767'225'600);
  status.mutable_uptime()->set_seconds(61);
  status.set_revision(42);
  status.set_synced(true);
  status.set_store("embedded");
  auto* reconciler = status.add_reconcilers();
  reconciler->set_name("lb");
  reconciler->set_state(api::RECONCILER_STATE_DONE);
  reconciler->set_revision(42);
  status.add_warnings("tls.crt ends in 10 days");
  co_return status;
}

Answer<api::WaitResponse> FakeHandlers::wait(api::WaitRequest request, Caller) {
  if (request.revision() > 1'000) {
    ++waiting;
    Signal never(co_await asio::this_coro::executor);
    auto woken = co_await never.wait();
    --waiting;
    CO_TRY_OK(woken);
  }
  if (request.revision() == 999)
    co_return fail(Code::kDeadlineExceeded, "lb is at revision 42, not yet at 999");
  api::WaitResponse response;
  response.set_revision(42);
  co_return response;
}

Answer<api::ShowPlanResponse> FakeHandlers::show(api::ShowPlanRequest, Caller) {
  api::ShowPlanResponse response;
  auto* range = response.add_ranges();
  range->set_cluster("east");
  range->set_use("pod");
  range->set_prefix("10.1.0.0/16");
  range->set_node_prefix_length(24);
  response.add_notes("nothing overlaps");
  response.set_store_revision(7);
  co_return response;
}

Answer<api::ApplyPlanResponse> FakeHandlers::apply(api::ApplyPlanRequest request, Caller) {
  if (request.fleet().text().empty())
    co_return fail(Code::kInvalidArgument, "{}: is empty", request.fleet().name());
  api::ApplyPlanResponse response;
  response.set_store_revision(8);
  co_return response;
}

Answer<api::GetPlanResponse> FakeHandlers::get(api::GetPlanRequest, Caller) {
  api::GetPlanResponse response;
  std::string document =
      R"({"version": 1, "fleet": "islands", "address_space": ["10.0.0.0/8"], "reserved": [],
      "clusterset": [], "clusters": [{"name": "east", "id": 1, "region": "sea", "cloud": "on-prem",
      "nodes": 1, "pods_per_node": 110, "entry": [], "ranges": [{"use": "pod",
      "cidr": "10.1.0.0/16", "node_prefix_length": 24, "origin": "given"}]}])";
  if (stores_fleet)
    document +=
        R"(, "fleet_file": {"name": "islands.yaml", "text": "fleet: islands\n)"
        R"(families: [ipv4]\nregions: [{name: sea, cloud: on-prem}]\n)"
        R"(address_space: [{cidr: 10.0.0.0/8}]\nclusters: [{name: east, id: 1, region: sea,)"
        R"( nodes: 1, growth_per_year: 300, cidrs: {pod: {ipv4: {cidr: 10.1.0.0/16,)"
        R"( node_prefix_length: 24}}}}]\n"})";
  response.set_document(document + "}");
  response.set_store_revision(7);
  response.mutable_change()->set_number(3);
  co_return response;
}

Answer<api::PlanHistoryResponse> FakeHandlers::history(api::PlanHistoryRequest, Caller) {
  api::PlanHistoryResponse response;
  auto* plan = response.add_plans();
  plan->set_number(1);
  plan->mutable_time()->set_seconds(1'767'225'600);
  plan->set_who("operator/ann");
  plan->set_reason("the first");
  plan->set_clusters(2);
  plan->add_changes("+ cluster east");
  co_return response;
}

Answer<api::ApplyPlanResponse> FakeHandlers::rollback(api::RollbackPlanRequest request, Caller) {
  if (request.number() != 1) co_return fail(Code::kNotFound, "there is no plan 2");
  api::ApplyPlanResponse response;
  response.add_changes("- cluster west");
  response.set_store_revision(9);
  response.set_number(3);
  co_return response;
}

Answer<api::PlanRoutesResponse> FakeHandlers::routes(api::PlanRoutesRequest, Caller) {
  api::PlanRoutesResponse response;
  auto* route = response.add_routes();
  route->set_cluster("east");
  route->set_destination("10.1.0.0/16");
  route->add_next_hops("192.0.2.1");
  route->set_command("ip route replace 10.1.0.0/16 via 192.0.2.1");
  co_return response;
}

Answer<api::ListClustersResponse> FakeHandlers::list(api::ListClustersRequest, Caller) {
  api::ListClustersResponse response;
  auto* self = response.add_clusters();
  self->set_name("east");
  self->set_id(1);
  self->set_state(api::CLUSTER_STATE_SELF);
  auto* other = response.add_clusters();
  other->set_name("west");
  other->set_id(2);
  other->set_state(api::CLUSTER_STATE_CONTROL_PLANE_AWAY);
  other->set_address("192.0.2.2:2379");
  other->mutable_last_heard()->set_seconds(1'767'225'600);
  other->set_error("no answer for 12 s");
  self->set_standing("self");
  other->set_standing("control plane away, silent for 12s");
  co_return response;
}

Answer<api::GrantClusterResponse> FakeHandlers::grant(api::GrantClusterRequest request, Caller) {
  api::GrantClusterResponse response;
  response.set_bundle("bundle for " + request.cluster() + "\n");
  response.mutable_not_after()->set_seconds(1'798'761'600);
  co_return response;
}

Answer<api::JoinClusterResponse> FakeHandlers::join(api::JoinClusterRequest request, Caller) {
  if (request.bundle().empty()) co_return fail(Code::kInvalidArgument, "the bundle is empty");
  api::JoinClusterResponse response;
  response.mutable_cluster()->set_name("west");
  response.mutable_cluster()->set_state(api::CLUSTER_STATE_CONNECTING);
  co_return response;
}

Answer<api::LeaveClusterResponse> FakeHandlers::leave(api::LeaveClusterRequest request, Caller) {
  if (request.cluster() == "missing") co_return fail(Code::kNotFound, "no cluster missing");
  if (before_leave) {
    auto allowed = before_leave();
    CO_TRY_OK(allowed);
  }
  co_return api::LeaveClusterResponse();
}

Answer<api::ListNodesResponse> FakeHandlers::list(api::ListNodesRequest, Caller) {
  api::ListNodesResponse response;
  auto* node = response.add_nodes();
  node->set_name("east-1");
  node->set_alive(true);
  node->add_addresses("172.18.0.2");
  node->add_blocks("10.1.1.0/24");
  node->set_interfaces(3);
  co_return response;
}

// "east-1" lives, "east-2" is gone.
Answer<api::ForgetNodeResponse> FakeHandlers::forget(api::ForgetNodeRequest request, Caller) {
  if (request.node() == "east-1") co_return fail(Code::kFailedPrecondition, "node east-1 lives");
  if (request.node() != "east-2") co_return fail(Code::kNotFound, "no node {}", request.node());
  api::ForgetNodeResponse response;
  response.set_node(request.node());
  response.set_forgotten(!request.dry_run());
  auto* holding = response.add_holdings();
  holding->set_what("node block");
  holding->set_name("10.1.2.0/24");
  co_return response;
}

Answer<api::ShowPoolResponse> FakeHandlers::show(api::ShowPoolRequest request, Caller) {
  if (request.pool() == "missing") co_return fail(Code::kNotFound, "no shared pool missing");
  api::ShowPoolResponse response;
  response.set_pool(request.pool());
  response.set_home("east");
  auto* part = response.add_parts();
  part->set_range("10.9.0.0/28");
  part->set_cluster("east");
  part->set_state("held");
  co_return response;
}

Answer<api::ReclaimPoolResponse> FakeHandlers::reclaim(api::ReclaimPoolRequest request, Caller) {
  if (request.cluster() == "missing") co_return fail(Code::kNotFound, "missing has nothing");
  api::ReclaimPoolResponse response;
  response.set_pool(request.pool());
  response.set_cluster(request.cluster());
  response.set_reclaimed(!request.dry_run());
  response.add_parts("10.9.0.16/28");
  co_return response;
}

Answer<api::ListPoolsResponse> FakeHandlers::list(api::ListPoolsRequest request, Caller) {
  api::ListPoolsResponse response;
  auto* pool = response.add_pools();
  pool->set_name("pod");
  pool->set_cluster("east");
  pool->set_node(request.node().empty() ? "east-1" : request.node());
  pool->set_prefix("10.1.1.0/24");
  pool->set_size(254);
  pool->set_used(3);
  pool->set_free(251);
  co_return response;
}

Answer<api::ListIpsResponse> FakeHandlers::list(api::ListIpsRequest, Caller) {
  api::ListIpsResponse response;
  auto* lease = response.add_ips();
  lease->set_ip("10.1.1.5");
  lease->set_cluster("east");
  lease->set_node("east-1");
  lease->set_name_space("default");
  lease->set_pod("web-0");
  lease->set_state("in use");
  co_return response;
}

Answer<api::ExplainIpResponse> FakeHandlers::explain(api::ExplainIpRequest request, Caller) {
  if (request.ip() == "192.0.2.99")
    co_return fail(Code::kNotFound, "nothing is known of {}", request.ip());
  api::ExplainIpResponse response;
  response.set_ip(request.ip());
  response.set_verdict("pod default/web-0 of east");
  auto* finding = response.add_findings();
  finding->set_subject("block");
  finding->set_text("10.1.1.0/24 of node east-1");
  finding->set_source("node_blocks");
  co_return response;
}

Answer<api::ReleaseIpResponse> FakeHandlers::release(api::ReleaseIpRequest request, Caller) {
  if (request.ip() == "192.0.2.99")
    co_return fail(Code::kNotFound, "{} is kept for nobody", request.ip());
  api::ReleaseIpResponse response;
  response.set_ip(request.ip());
  response.set_pool("racks");
  response.set_kept_for("StatefulSet/shop/db/0/eth0");
  co_return response;
}

Answer<api::ListServicesResponse> FakeHandlers::list(api::ListServicesRequest request, Caller) {
  api::ListServicesResponse response;
  if (request.name_space() != "empty") *response.add_services() = rebel_base();
  co_return response;
}

Answer<api::ExplainServiceResponse> FakeHandlers::explain(api::ExplainServiceRequest request,
                                                          Caller) {
  if (request.name_space() == "missing")
    co_return fail(Code::kNotFound, "no service {}/{}", request.name_space(), request.name());
  api::ExplainServiceResponse response;
  *response.mutable_service() = rebel_base();
  auto* backend = response.add_backends();
  backend->set_address("10.2.1.5:80");
  backend->set_protocol("TCP");
  backend->set_cluster("west");
  backend->set_state("active");
  backend->set_used(false);
  backend->set_reason("west does not share the service");
  auto* setting = response.add_settings();
  setting->set_name("affinity");
  setting->set_value("none");
  setting->set_cluster("east");
  setting->set_reason("this cluster's own annotation wins");
  co_return response;
}

Answer<api::ImportServiceResponse> FakeHandlers::import_service(api::ImportServiceRequest request,
                                                                Caller) {
  api::ImportServiceResponse response;
  if (!request.remove()) *response.mutable_service() = rebel_base();
  co_return response;
}

Answer<api::ListEndpointsResponse> FakeHandlers::list(api::ListEndpointsRequest, Caller) {
  api::ListEndpointsResponse response;
  auto* endpoint = response.add_endpoints();
  endpoint->set_name_space("default");
  endpoint->set_pod("web-0");
  endpoint->set_cluster("east");
  endpoint->set_node("east-1");
  endpoint->add_ips("10.1.1.5");
  endpoint->set_state("ready");
  co_return response;
}

Answer<api::ListPoliciesResponse> FakeHandlers::list(api::ListPoliciesRequest request, Caller) {
  api::ListPoliciesResponse response;
  if (request.name_space() == "empty") co_return response;
  auto* policy = response.add_policies();
  policy->set_kind("NetworkPolicy");
  policy->set_name_space("stars");
  policy->set_name("backend-policy");
  policy->add_isolates("ingress");
  policy->set_subjects("role=backend");
  policy->set_rule_count(1);
  policy->add_pods("stars/backend");
  policy->set_state("in force");
  policy->set_flows(7);
  policy->set_packets(70);
  policy->set_bytes(7'000);
  auto* rule = policy->add_rules();
  rule->set_name("ingress[0]");
  rule->set_direction("ingress");
  rule->set_action("allow");
  rule->set_text("from pods role=frontend of namespace stars to TCP/6379");
  rule->add_numbers(4);
  rule->set_flows(7);
  rule->set_packets(70);
  rule->set_bytes(7'000);
  co_return response;
}

Answer<api::ExplainPolicyResponse> FakeHandlers::explain(api::ExplainPolicyRequest request,
                                                         Caller) {
  if (request.source() == "missing/x") co_return fail(Code::kNotFound, "no pod missing/x");
  api::ExplainPolicyResponse response;
  *response.mutable_source() = client_of_east();
  *response.mutable_destination() = backend_of_west();
  response.mutable_destination()->set_port(request.port());
  response.set_protocol(request.protocol());
  response.set_verdict("denied");
  auto* judgement = response.add_judgements();
  judgement->set_direction("ingress");
  judgement->set_verdict("denied");
  judgement->set_by("isolation of stars/default-deny");
  auto* miss = judgement->add_misses();
  miss->set_policy("NetworkPolicy/stars/backend-policy");
  miss->set_rule("ingress[0]");
  miss->set_failed("peer");
  miss->set_why("labels do not match role=frontend");
  co_return response;
}

asio::awaitable<Result<void>> FakeHandlers::follow(api::FollowFlowsRequest request, Caller,
                                                   Stream<api::FollowFlowsResponse>& stream) {
  if (request.cluster() == "missing") co_return fail(Code::kNotFound, "no cluster missing");
  struct Count {
    std::atomic<int>& count;
    explicit Count(std::atomic<int>& of) : count(of) { ++count; }
    ~Count() { --count; }
  };
  Count count(following);
  api::FollowFlowsResponse stored;
  *stored.add_events() = drop_event(1);
  *stored.add_events() = drop_event(2);
  auto sent = co_await stream.write(std::move(stored));
  CO_TRY_OK(sent);
  for (std::uint64_t sequence = 3; request.follow(); ++sequence) {
    api::FollowFlowsResponse next;
    *next.add_events() = drop_event(sequence);
    next.set_lost(sequence == 4 ? 5 : 0);
    auto went = co_await stream.write(std::move(next));
    CO_TRY_OK(went);
    ++written;
  }
  co_return Result<void>{};
}

TemporaryFolder::TemporaryFolder() {
  std::array<char, 32> name{"/tmp/tombolo-admin-XXXXXX"};
  ENSURE(::mkdtemp(name.data()) != nullptr, "no folder under /tmp");
  path_ = name.data();
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

FakeDaemon::FakeDaemon()
    : guard_(asio::make_work_guard(context_)),
      clock_(make_system_clock()),
      tasks_(context_.get_executor()),
      thread_([this] { context_.run(); }) {
  // Refused handshakes are what some tests are about; gRPC would log each of them.
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
}

FakeDaemon::~FakeDaemon() {
  stop();
  guard_.reset();
  thread_.join();
}

void FakeDaemon::on_control_thread(std::function<void()> job) {
  std::promise<void> done;
  asio::post(context_, [&] {
    job();
    done.set_value();
  });
  done.get_future().wait();
}

Result<void> FakeDaemon::start(ServerOptions options, AdminHandlers with) {
  Result<void> result;
  on_control_thread([&] {
    auto server = AdminServer::start(std::move(options), with, tasks_, *clock_, Logger());
    if (server)
      server_ = std::move(*server);
    else
      result = std::unexpected(std::move(server).error());
  });
  return result;
}

void FakeDaemon::stop() {
  on_control_thread([this] {
    if (server_) server_->stop();
    tasks_.cancel();
  });
  std::promise<void> joined;
  asio::co_spawn(context_, tasks_.join(), [&](std::exception_ptr) { joined.set_value(); });
  joined.get_future().wait();
  server_.reset();
}

}  // namespace tombolo::admin
