// Endpoints, credentials and channel settings.
#include "core/store/etcd_channels.h"

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <unistd.h>

#include <cerrno>

namespace tombolo {
namespace {

constexpr int kMaxAnswerBytes = 512 << 20;

Result<void> check_readable(const std::filesystem::path& file) {
  if (::access(file.c_str(), R_OK) != 0) return fail_errno(errno, "{}", file.string());
  return {};
}

Result<std::shared_ptr<grpc::ChannelCredentials>> credentials(const TlsFiles& files) {
  TRY_OK(check_readable(files.certificate));
  TRY_OK(check_readable(files.key));
  TRY_OK(check_readable(files.authority));
  using grpc::experimental::FileWatcherCertificateProvider;
  auto provider = std::make_shared<FileWatcherCertificateProvider>(
      files.key.string(), files.certificate.string(), files.authority.string(),
      files.reload_interval_s);
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_verify_server_certs(true);
  return grpc::experimental::TlsCredentials(options);
}

grpc::ChannelArguments arguments(const EtcdClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options.keepalive_time.count()));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   static_cast<int>(options.keepalive_timeout.count()));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  // Also the longest that one attempt takes, SYN to settings: a store that is back is found within
  // this, and one that is a second of round trips away is still reached.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Clients of one process must not share a connection: they may have different certificates, and
  // a cut of one must not cut the other.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  if (!options.server_name.empty()) arguments.SetSslTargetNameOverride(options.server_name);
  return arguments;
}

struct Target {
  std::string address;
  bool secure = false;
};

Result<Target> parse_endpoint(const std::string& endpoint, bool have_tls) {
  Target target{endpoint, have_tls};
  for (auto [scheme, secure] : {std::pair{"https://", true}, {"http://", false}})
    if (endpoint.starts_with(scheme)) target = {endpoint.substr(std::strlen(scheme)), secure};
  if (target.address.starts_with("unix:")) return target;
  std::size_t colon = target.address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == target.address.size() ||
      target.address.find('/') != std::string::npos)
    return fail(Code::kInvalidArgument, "store endpoint '{}' is not [http[s]://]HOST:PORT",
                endpoint);
  if (target.secure && !have_tls)
    return fail(Code::kInvalidArgument, "store endpoint '{}' needs certificates", endpoint);
  return target;
}

Code code_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      return Code::kInvalidArgument;
    case grpc::StatusCode::NOT_FOUND:
      return Code::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS:
      return Code::kAlreadyExists;
    case grpc::StatusCode::FAILED_PRECONDITION:
      return Code::kFailedPrecondition;
    case grpc::StatusCode::PERMISSION_DENIED:
      return Code::kPermissionDenied;
    case grpc::StatusCode::UNAUTHENTICATED:
      return Code::kUnauthenticated;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Code::kResourceExhausted;
    case grpc::StatusCode::ABORTED:
      return Code::kAborted;
    case grpc::StatusCode::UNAVAILABLE:
      return Code::kUnavailable;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Code::kDeadlineExceeded;
    case grpc::StatusCode::CANCELLED:
      return Code::kCancelled;
    case grpc::StatusCode::OUT_OF_RANGE:
      return Code::kOutOfRange;
    case grpc::StatusCode::DATA_LOSS:
      return Code::kDataLoss;
    default:
      return Code::kInternal;
  }
}

// gRPC 1.51 runs callbacks on threads that it ends with the last channel that made one; when one of
// these threads lets that channel go, it waits for itself and frees its queue twice
// (CallbackAlternativeCQ in completion_queue_cc.cc). A channel that is never let go keeps them.
struct CallbackThreads {
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateChannel("unix:/dev/null", grpc::InsecureChannelCredentials());
  std::unique_ptr<pb::Lease::Stub> stub = pb::Lease::NewStub(channel);
  grpc::ClientContext context;
  pb::LeaseGrantRequest request;
  pb::LeaseGrantResponse response;

  CallbackThreads() {
    // Ended before it begins: no connection is made.
    context.TryCancel();
    stub->async()->LeaseGrant(&context, &request, &response, [](const grpc::Status&) {});
  }
};

void keep_callback_threads() {
  // To the end of the process: whoever is last must not be on one of them. "used": else g++ keeps
  // no pointer to it, and it looks leaked.
  [[gnu::used]] static CallbackThreads* kept = std::make_unique<CallbackThreads>().release();
}

}  // namespace

Result<std::unique_ptr<EtcdChannels>> EtcdChannels::open(const EtcdClientOptions& options) {
  if (options.endpoints.empty()) return fail(Code::kInvalidArgument, "no endpoint of a store");
  keep_callback_threads();
  std::shared_ptr<grpc::ChannelCredentials> secure;
  if (options.tls) {
    TRY(made, credentials(*options.tls));
    secure = std::move(made);
  }
  auto channels = std::make_unique<EtcdChannels>();
  for (const std::string& text : options.endpoints) {
    TRY(target, parse_endpoint(text, secure != nullptr));
    auto endpoint = std::make_shared<EtcdEndpoint>();
    endpoint->target = target.address;
    endpoint->channel = grpc::CreateCustomChannel(
        target.address, target.secure ? secure : grpc::InsecureChannelCredentials(),
        arguments(options));
    endpoint->kv = pb::KV::NewStub(endpoint->channel);
    endpoint->watch = pb::Watch::NewStub(endpoint->channel);
    endpoint->lease = pb::Lease::NewStub(endpoint->channel);
    channels->endpoints_.push_back(std::move(endpoint));
  }
  return channels;
}

std::shared_ptr<EtcdEndpoint> EtcdChannels::pick() {
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    std::size_t at = (active_ + i) % endpoints_.size();
    if (endpoints_[at]->channel->GetState(true) != GRPC_CHANNEL_TRANSIENT_FAILURE) {
      active_ = at;
      break;
    }
  }
  return endpoints_[active_];
}

void EtcdChannels::report_failure(const EtcdEndpoint& endpoint) {
  if (endpoints_[active_].get() == &endpoint) active_ = (active_ + 1) % endpoints_.size();
}

Result<void> EtcdChannels::note_cluster(std::uint64_t cluster_id) {
  std::uint64_t before = std::exchange(cluster_id_, cluster_id);
  if (before != 0 && before != cluster_id)
    return fail(Code::kAborted, "cluster id changed from {:x} to {:x}", before, cluster_id);
  return {};
}

Error error_of(const grpc::Status& status) {
  return Error{code_of(status.error_code()), status.error_message()};
}

bool surely_not_sent(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         status.error_message().starts_with("failed to connect");
}

}  // namespace tombolo
