// The listeners: one gRPC server each, since gRPC does not tell a call's listener.
#include "app/admin/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <mutex>
#include <optional>

#include "app/admin/internal.h"

namespace tombolo::admin {
namespace {

constexpr int kLongestRequest = 4 << 20;
constexpr int kLongestResponse = 64 << 20;

// Both are switches of the process.
void enable_health_and_reflection() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

}  // namespace

class AdminServer::Impl {
 public:
  Impl(ServerOptions options, AdminHandlers handlers, TaskGroup& tasks, Clock& clock,
       std::shared_ptr<AuditLog> audit)
      : options_(std::move(options)),
        handlers_(handlers),
        tasks_(tasks),
        clock_(clock),
        audit_(std::move(audit)) {}

  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> listen_on_socket(const std::string& path, Listener listener, int mode) {
    TRY(place, SocketPlace::prepare(path, mode));
    auto& at = new_listener(listener);
    at.place.emplace(std::move(place));
    TRY(port, serve(at, at.place->bind_address(), grpc::InsecureServerCredentials()));
    static_cast<void>(port);
    return at.place->publish();
  }

  Result<void> listen_on_tcp() {
    for (const auto& address : options_.listen) {
      TRY(port, serve(new_listener(Listener::kTcp), address,
                      pki::server_credentials(options_.tls, options_.tls_refresh_s)));
      ports_.push_back(port);
    }
    return {};
  }

  void stop() {
    // First the bridges: afterwards no call waits for the control thread, so Shutdown may block.
    for (auto& at : listeners_) at->gate->bridge().close();
    for (auto& at : listeners_)
      if (at->server) at->server->Shutdown(gpr_inf_past(GPR_CLOCK_MONOTONIC));
    listeners_.clear();
  }

  void set_serving(bool serving) {
    for (auto& at : listeners_)
      if (auto* health = at->server->GetHealthCheckService()) health->SetServingStatus(serving);
  }
  const std::vector<int>& ports() const { return ports_; }

 private:
  // In the order of construction: the server goes first, then what it calls.
  struct At {
    std::optional<SocketPlace> place;
    std::shared_ptr<Gate> gate;
    std::unique_ptr<Services> services;
    std::unique_ptr<grpc::Server> server;
  };

  At& new_listener(Listener listener) {
    auto at = std::make_unique<At>();
    auto bridge = std::make_shared<Bridge>(tasks_, clock_, options_.limits);
    at->gate = std::make_shared<Gate>(listener, options_.fleet, options_.cluster, std::move(bridge),
                                      audit_, clock_);
    at->services = std::make_unique<Services>(*at->gate, handlers_);
    listeners_.push_back(std::move(at));
    return *listeners_.back();
  }

  static Result<int> serve(At& at, const std::string& address,
                           std::shared_ptr<grpc::ServerCredentials> credentials) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(address, std::move(credentials), &port);
    // Two daemons on one port would each get a part of the calls.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetMaxReceiveMessageSize(kLongestRequest);
    builder.SetMaxSendMessageSize(kLongestResponse);
    for (const auto& service : at.services->all()) builder.RegisterService(service.get());
    at.server = builder.BuildAndStart();
    if (!at.server || port == 0)
      return fail(Code::kUnavailable, "{}: the admin API cannot listen there", address);
    return port;
  }

  ServerOptions options_;
  AdminHandlers handlers_;
  TaskGroup& tasks_;
  Clock& clock_;
  std::shared_ptr<AuditLog> audit_;
  std::vector<std::unique_ptr<At>> listeners_;
  std::vector<int> ports_;
};

AdminServer::AdminServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdminServer::~AdminServer() = default;

Result<std::unique_ptr<AdminServer>> AdminServer::start(ServerOptions options,
                                                        AdminHandlers handlers, TaskGroup& tasks,
                                                        Clock& clock, Logger log) {
  enable_health_and_reflection();
  if (!options.listen.empty()) {
    TRY(warning, pki::check_tls_files(options.tls, clock.wall_now()));
    if (!warning.empty()) log.warning("{}", warning);
  }
  TRY(audit, AuditLog::open({options.audit_file, options.audit_rotate_bytes}, log));
  std::string socket = options.socket;
  std::string viewer_socket = options.viewer_socket;
  auto impl = std::make_unique<Impl>(std::move(options), handlers, tasks, clock,
                                     std::shared_ptr<AuditLog>(std::move(audit)));
  if (!socket.empty()) TRY_OK(impl->listen_on_socket(socket, Listener::kAdminSocket, 0600));
  if (!viewer_socket.empty())
    TRY_OK(impl->listen_on_socket(viewer_socket, Listener::kViewerSocket, 0666));
  TRY_OK(impl->listen_on_tcp());
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(impl)));
}

void AdminServer::stop() {
  impl_->stop();
}
void AdminServer::set_serving(bool serving) {
  impl_->set_serving(serving);
}
const std::vector<int>& AdminServer::ports() const {
  return impl_->ports();
}

}  // namespace tombolo::admin
