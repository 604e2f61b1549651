// The server: ports, certificates, limits of the transport, and the end.
#include "core/store/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>

#include "core/store/etcd_errors.h"
#include "core/store/services.h"

namespace tombolo {
namespace {

// etcd's allowance on top of the largest request.
constexpr int kOverheadBytes = 512 * 1024;
constexpr int kMaxStreamsOfConnection = 20'000;

bool is_loopback(const std::string& address) {
  constexpr std::array<std::string_view, 4> kPrefixes{"127.", "[::1]:", "localhost:", "unix:"};
  return std::ranges::any_of(kPrefixes, [&](auto prefix) { return address.starts_with(prefix); });
}

std::shared_ptr<grpc::ServerCredentials> credentials(const std::optional<TlsFiles>& tls) {
  if (!tls) return grpc::InsecureServerCredentials();
  using grpc::experimental::FileWatcherCertificateProvider;
  auto provider = std::make_shared<FileWatcherCertificateProvider>(
      tls->key.string(), tls->certificate.string(), tls->authority.string(),
      tls->reload_interval_s);
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

void set_limits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(etcd::kMaxRequestBytes) + kOverheadBytes);
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsOfConnection);
  // Clients of etcd ping idle connections every few seconds; gRPC would cut them off.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Finds clients that are gone without a word.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

class GrpcStoreServer final : public StoreServer {
 public:
  GrpcStoreServer(StoreServerOptions options, Engine& engine, Logger log)
      : context_{engine, std::move(options), log} {}
  ~GrpcStoreServer() override { stop(std::chrono::milliseconds(0)); }

  Result<void> listen() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    set_limits(builder);
    ports_.resize(context_.options.addresses.size());
    auto secure = credentials(context_.options.tls);
    for (std::size_t i = 0; i < ports_.size(); ++i)
      builder.AddListeningPort(context_.options.addresses[i], secure, &ports_[i]);
    services_.push_back(make_kv_service(context_));
    services_.push_back(make_watch_service(context_));
    services_.push_back(make_lease_service(context_));
    services_.push_back(make_cluster_service(context_));
    services_.push_back(make_maintenance_service(context_));
    services_.push_back(make_auth_service(context_));
    for (const auto& service : services_) builder.RegisterService(service.get());
    server_ = builder.BuildAndStart();
    for (std::size_t i = 0; i < ports_.size(); ++i)
      if (server_ == nullptr ||
          (ports_[i] == 0 && !context_.options.addresses[i].starts_with("unix:")))
        return fail(Code::kUnavailable, "cannot listen on {}", context_.options.addresses[i]);
    fill_client_urls();
    server_->GetHealthCheckService()->SetServingStatus(true);
    return {};
  }

  void stop(std::chrono::milliseconds deadline) override {
    if (server_ == nullptr) return;
    server_->GetHealthCheckService()->Shutdown();
    server_->Shutdown(std::chrono::system_clock::now() + deadline);
    server_->Wait();
    server_.reset();
  }
  const std::vector<int>& ports() const override { return ports_; }

 private:
  void fill_client_urls() {
    auto& urls = context_.options.client_urls;
    if (!urls.empty()) return;
    const char* scheme = context_.options.tls ? "https" : "http";
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      const std::string& address = context_.options.addresses[i];
      urls.push_back(
          fmt::format("{}://{}:{}", scheme, address.substr(0, address.rfind(':')), ports_[i]));
    }
  }

  ServiceContext context_;
  std::vector<int> ports_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
};

Peer peer_of(const grpc::ServerContextBase& call) {
  Peer peer;
  auto auth = call.auth_context();
  for (const auto& uri : auth->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME))
    peer.uris.emplace_back(uri.data(), uri.size());
  for (const auto& name : auth->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME))
    peer.common_name.assign(name.data(), name.size());
  for (const auto& subject : auth->FindPropertyValues(GRPC_X509_SUBJECT_PROPERTY_NAME))
    peer.subject.assign(subject.data(), subject.size());
  return peer;
}

}  // namespace

Result<std::unique_ptr<StoreServer>> StoreServer::start(StoreServerOptions options, Engine& engine,
                                                        Logger log) {
  if (options.addresses.empty()) return fail(Code::kInvalidArgument, "no address to listen on");
  for (const std::string& address : options.addresses)
    if (!options.tls && !is_loopback(address))
      return fail(Code::kInvalidArgument, "{}: without certificates only loopback is served",
                  address);
  auto server = std::make_unique<GrpcStoreServer>(std::move(options), engine, log);
  TRY_OK(server->listen());
  return server;
}

Result<void> ServiceContext::allow(const grpc::ServerContextBase& call, Access access,
                                   std::string_view key, std::string_view range_end) const {
  if (!options.authorize) return {};
  Result<void> allowed = options.authorize(peer_of(call), access, key, range_end);
  if (allowed) return {};
  static const auto denied = metrics::counter("tombolo_store_denied_total",
                                              "Requests to the store that were not permitted");
  denied.increment();
  // A stranger who asks again and again must not fill the log: every one counts, few are told.
  static std::atomic<std::uint64_t> count = 0;
  std::uint64_t number = ++count;
  if (number <= 100 || std::has_single_bit(number))
    log.warning("{}: {} (denied so far: {})", call.peer(), allowed.error().what, number);
  return etcd::kPermissionDenied.fail();
}

Result<void> ServiceContext::allow_all(const grpc::ServerContextBase& call, Access access) const {
  constexpr std::string_view kZero("\0", 1);
  return allow(call, access, kZero, kZero);
}

grpc::Status to_status(const Result<void>& result) {
  if (result) return grpc::Status::OK;
  grpc::StatusCode code = grpc::StatusCode::INTERNAL;
  switch (result.error().code) {
    case Code::kInvalidArgument:
      code = grpc::StatusCode::INVALID_ARGUMENT;
      break;
    case Code::kNotFound:
      code = grpc::StatusCode::NOT_FOUND;
      break;
    case Code::kAlreadyExists:
      code = grpc::StatusCode::ALREADY_EXISTS;
      break;
    case Code::kFailedPrecondition:
      code = grpc::StatusCode::FAILED_PRECONDITION;
      break;
    case Code::kPermissionDenied:
      code = grpc::StatusCode::PERMISSION_DENIED;
      break;
    case Code::kUnauthenticated:
      code = grpc::StatusCode::UNAUTHENTICATED;
      break;
    case Code::kResourceExhausted:
      code = grpc::StatusCode::RESOURCE_EXHAUSTED;
      break;
    case Code::kAborted:
      code = grpc::StatusCode::ABORTED;
      break;
    case Code::kUnavailable:
      code = grpc::StatusCode::UNAVAILABLE;
      break;
    case Code::kDeadlineExceeded:
      code = grpc::StatusCode::DEADLINE_EXCEEDED;
      break;
    case Code::kCancelled:
      code = grpc::StatusCode::CANCELLED;
      break;
    case Code::kOutOfRange:
      code = grpc::StatusCode::OUT_OF_RANGE;
      break;
    case Code::kDataLoss:
      code = grpc::StatusCode::DATA_LOSS;
      break;
    case Code::kInternal:
      break;
  }
  return {code, result.error().what};
}

Engine::Done finish(grpc::ServerUnaryReactor* reactor) {
  return [reactor](const Result<void>& result) { reactor->Finish(to_status(result)); };
}

grpc::ServerUnaryReactor* refuse(grpc::ServerUnaryReactor* reactor, const Error& error) {
  reactor->Finish(to_status(std::unexpected(error)));
  return reactor;
}

}  // namespace tombolo
