// Composition. The order of the members is the order of their lives.
#include "app/daemon/daemon.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "app/admin/server.h"
#include "app/config/config.h"
#include "app/daemon/agent.h"
#include "app/daemon/controller.h"
#include "app/daemon/guard_metrics.h"
#include "app/daemon/handlers/addresses.h"
#include "app/daemon/handlers/clusters.h"
#include "app/daemon/handlers/flows.h"
#include "app/daemon/handlers/nodes.h"
#include "app/daemon/handlers/plan.h"
#include "app/daemon/handlers/policy.h"
#include "app/daemon/handlers/services.h"
#include "app/daemon/handlers/shared_pools.h"
#include "app/daemon/handlers/status.h"
#include "app/metrics/metrics.h"
#include "core/store/engine.h"
#include "core/store/etcd_client.h"
#include "core/store/rights.h"
#include "core/store/server.h"

namespace tombolo {
namespace {

using config::v1::DaemonConfig;
using namespace std::chrono_literals;

Result<void> make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    return fail(code_of_errno(error.value()), "{}: cannot be made: {}", path, error.message());
  return {};
}

std::optional<TlsFiles> tls_of(const DaemonConfig& config) {
  const auto& tls = config.store().tls();
  if (tls.certificate().empty()) return std::nullopt;
  return TlsFiles{tls.certificate(), tls.key(), tls.ca()};
}

class Daemon {
 public:
  Daemon(const DaemonConfig& config, Logger log)
      : config_(config),
        log_(log.with("cluster", config.cluster().name()).with("node", config.node().name())),
        tasks_(context_.get_executor()),
        signals_(context_, SIGTERM, SIGINT) {}

  Result<void> run() {
    TRY_OK(make_folder(config_.state_dir()));
    TRY_OK(make_folder(config_.run_dir()));
    if (has_controller() && config_.store().endpoints().empty()) TRY_OK(start_store());
    TRY_OK(open_client());
    Result<void> outcome = open_roles();
    if (outcome) {
      wait_for_signal();
      tasks_.spawn("start", start(outcome));
    } else {
      tasks_.cancel();  // what was opened may have tasks already
    }
    context_.run();
    stop_threads();
    return outcome;
  }

 private:
  bool has_controller() const { return config::has_role(config_, config::v1::ROLE_CONTROLLER); }
  bool has_agent() const { return config::has_role(config_, config::v1::ROLE_AGENT); }

  void wait_for_signal() {
    signals_.async_wait([this](boost::system::error_code error, int) {
      if (error) return;
      // The second signal is from somebody who does not want to wait.
      if (stopping_) std::_Exit(1);
      shut_down();
      wait_for_signal();
    });
  }

  Result<void> start_store() {
    EngineOptions options;
    options.file = config_.state_dir() + "/store.db";
    TRY(engine, Engine::open(std::move(options), *clock_, log_));
    engine_ = std::move(engine);
    StoreServerOptions server;
    const auto& embedded = config_.store().embedded();
    server.addresses = {embedded.listen().begin(), embedded.listen().end()};
    server.tls = tls_of(config_);
    if (server.tls)
      server.authorize = make_authorizer({config_.cluster().fleet(), config_.cluster().name()});
    server.member_name = config_.cluster().name();
    for (const std::string& address : embedded.advertise())
      server.client_urls.push_back((server.tls ? "https://" : "http://") + address);
    TRY(started, StoreServer::start(std::move(server), *engine_, log_));
    store_ = std::move(started);
    return {};
  }

  Result<void> open_client() {
    EtcdClientOptions options;
    options.tls = tls_of(config_);
    std::string scheme = options.tls ? "https://" : "http://";
    const auto& store = config_.store();
    const auto& endpoints =
        store.endpoints().empty() ? store.embedded().listen() : store.endpoints();
    for (const std::string& endpoint : endpoints) options.endpoints.push_back(scheme + endpoint);
    TRY(client, make_etcd_client(std::move(options), context_.get_executor()));
    kv_ = std::move(client);
    return {};
  }

  Result<void> open_roles() {
    RoleContext context{*kv_, tasks_, *clock_, *rng_, log_};
    if (has_controller()) {
      TRY(controller, Controller::open(config_, context));
      controller_ = std::move(controller);
    }
    if (has_agent()) {
      TRY(agent, Agent::open(config_, context));
      agent_ = std::move(agent);
    }
    return {};
  }

  asio::awaitable<void> start(Result<void>& outcome) {
    outcome = co_await start_all();
    if (outcome)
      log_.info("ready");
    else
      shut_down();
  }

  asio::awaitable<Result<void>> start_all() {
    if (agent_) {
      CO_TRY_OK(co_await agent_->start_names());
    }
    if (controller_) controller_->start();
    if (agent_) {
      CO_TRY_OK(co_await agent_->open_datapath());
    }
    CO_TRY_OK(start_admin());
    if (config_.metrics().listen() != "off") {
      CO_TRY(metrics,
             metrics::Server::start(config_.metrics().listen(), TOMBOLO_VERSION, started_at_));
      metrics_ = std::move(metrics);
    }
    if (agent_) {
      CO_TRY_OK(co_await agent_->start());
    }
    co_return Result<void>{};
  }

  Result<void> start_admin() {
    DaemonView view;
    view.config = &config_;
    view.kv = kv_.get();
    view.clock = clock_.get();
    view.started_at = started_at_;
    view.warnings = [this] { return warnings(); };
    if (controller_) {
      view.controller = &controller_->tables();
      view.pools = &controller_->pools();
      view.controller_settling = &controller_->settling();
      view.announcements = &controller_->announcements();
      plan_handlers_ = make_plan_handlers(controller_->plan());
      if (controller_->sync() != nullptr)
        service_handlers_ = make_service_handlers(view, *controller_->sync());
      endpoint_handlers_ = make_endpoint_handlers(view);
    }
    if (agent_) {
      view.agent = &agent_->tables();
      view.agent_settling = &agent_->settling();
      if (agent_->guard() != nullptr) look_at(*agent_->guard(), view);
    }
    if (controller_) {
      cluster_handlers_ = make_cluster_handlers(view, controller_->members());
      node_handlers_ = make_node_handlers(view, controller_->forgetter());
      shared_pool_handlers_ =
          make_shared_pool_handlers(config_.cluster().name(), controller_->grants());
    }
    status_handlers_ = make_status_handlers(view);
    const PoolGrants* grants = controller_ ? &controller_->grants() : nullptr;
    pool_handlers_ = make_pool_handlers(view, grants);
    ip_handlers_ = make_ip_handlers(view, grants, controller_ ? &controller_->janitor() : nullptr);
    policy_handlers_ = make_policy_handlers(view);
    admin::AdminHandlers handlers;
    handlers.status = status_handlers_.get();
    handlers.plan = plan_handlers_.get();
    handlers.cluster = cluster_handlers_.get();
    handlers.pool = pool_handlers_.get();
    handlers.ip = ip_handlers_.get();
    handlers.service = service_handlers_.get();
    handlers.endpoint = endpoint_handlers_.get();
    handlers.policy = policy_handlers_.get();
    handlers.flow = flows_.get();
    handlers.node = node_handlers_.get();
    handlers.shared_pool = shared_pool_handlers_.get();
    admin::ServerOptions options;
    options.socket = config_.admin().socket();
    options.viewer_socket = config_.admin().viewer_socket();
    options.listen = {config_.admin().listen().begin(), config_.admin().listen().end()};
    options.tls = {config_.admin().tls().certificate(), config_.admin().tls().key(),
                   config_.admin().tls().ca()};
    options.fleet = config_.cluster().fleet();
    options.cluster = config_.cluster().name();
    options.audit_file = config_.state_dir() + "/audit.jsonl";
    TRY(server, admin::AdminServer::start(std::move(options), handlers, tasks_, *clock_, log_));
    admin_ = std::move(server);
    return {};
  }

  // What the programs at the pods' interfaces count and tell of. The guard lives as long as the
  // agent, which goes after everything here has been joined.
  void look_at(bpf::Guard& guard, DaemonView& view) {
    view.rule_counters = [&guard] { return guard.rule_counters(); };
    FlowSource source;
    source.page = [&guard](std::uint64_t after, std::size_t limit) {
      return guard.flows(after, limit);
    };
    source.trace_accepts = [&guard](bool on) { return guard.trace_accepts(on); };
    flows_ =
        std::make_unique<FlowHub>(std::move(source), agent_->tables(), config_.cluster().name(),
                                  config_.node().name(), tasks_, *clock_, log_);
    tasks_.spawn("flows", flows_->run());
    tasks_.spawn("guard-metrics", export_guard([&guard] { return guard.stats(); }, *clock_, log_));
  }

  std::vector<std::string> warnings() const {
    std::vector<std::string> found;
    const auto& tls = config_.store().tls();
    if (tls.certificate().empty()) return found;
    auto said = pki::check_tls_files({tls.certificate(), tls.key(), tls.ca()}, clock_->wall_now());
    if (!said) found.push_back(said.error().text());
    if (said && !said->empty()) found.push_back(*said);
    return found;
  }

  // Control thread. What is left runs to its end; then run() returns.
  void shut_down() {
    if (std::exchange(stopping_, true)) return;
    log_.info("stopping");
    if (admin_) admin_->stop();
    tasks_.cancel();
    asio::co_spawn(context_, join(), asio::detached);
  }
  // The wait for a signal would keep the loop running.
  asio::awaitable<void> join() {
    co_await tasks_.join();
    signals_.cancel();
  }

  void stop_threads() {
    // The store takes a moment to end its streams; DNS is stopped behind it, so that names are away
    // for as short as can be.
    if (store_) store_->stop(100ms);
    metrics_.reset();
    admin_.reset();
    if (agent_) agent_->stop();
    agent_.reset();
    controller_.reset();
    kv_.reset();
    store_.reset();
    engine_.reset();
  }

  const DaemonConfig& config_;
  Logger log_;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Rng> rng_ = make_system_rng();
  WallTime started_at_ = clock_->wall_now();
  asio::io_context context_{1};
  TaskGroup tasks_;
  asio::signal_set signals_;
  bool stopping_ = false;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<StoreServer> store_;
  std::unique_ptr<Kv> kv_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<admin::StatusHandlers> status_handlers_;
  std::unique_ptr<admin::PlanHandlers> plan_handlers_;
  std::unique_ptr<admin::ClusterHandlers> cluster_handlers_;
  std::unique_ptr<admin::NodeHandlers> node_handlers_;
  std::unique_ptr<admin::SharedPoolHandlers> shared_pool_handlers_;
  std::unique_ptr<admin::PoolHandlers> pool_handlers_;
  std::unique_ptr<admin::IpHandlers> ip_handlers_;
  std::unique_ptr<admin::ServiceHandlers> service_handlers_;
  std::unique_ptr<admin::EndpointHandlers> endpoint_handlers_;
  std::unique_ptr<admin::PolicyHandlers> policy_handlers_;
  std::unique_ptr<FlowHub> flows_;
  std::unique_ptr<admin::AdminServer> admin_;
  std::unique_ptr<metrics::Server> metrics_;
};

}  // namespace

Result<void> run_daemon(const DaemonConfig& config, Logger log) {
  Daemon daemon(config, std::move(log));
  return daemon.run();
}

}  // namespace tombolo
