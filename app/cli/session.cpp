// Channels, deadlines and output of a run.
#include "app/cli/session.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/stat.h>

#include <cstdio>

namespace tombolo::cli {
namespace {

constexpr int kLongestAnswer = 64 << 20;

// "unix:///a", "unix:/a" and "/a" are sockets; everything else is host:port.
std::string socket_path(const std::string& address) {
  for (std::string_view prefix : {"unix://", "unix:"})
    if (address.starts_with(prefix)) return address.substr(prefix.size());
  return address.starts_with('/') ? address : "";
}

}  // namespace

int exit_code(const Error& error) {
  switch (error.code) {
    case Code::kNotFound:
      return 3;
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
      return 4;
    case Code::kUnavailable:
      return 5;
    case Code::kDeadlineExceeded:
      return 6;
    default:
      return 1;
  }
}

Result<std::shared_ptr<grpc::Channel>> Session::channel() {
  if (channel_) return channel_;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kLongestAnswer);
  std::string path = socket_path(settings.address);
  if (!path.empty()) {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0)
      return fail(Code::kUnavailable, "{}: {}; is tombolod running? (--address or TOMBOLO_ADDRESS)",
                  path, std::strerror(errno));
    channel_ =
        grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
    return channel_;
  }
  const auto& tls = settings.tls;
  if (tls.certificate.empty() || tls.key.empty() || tls.ca.empty())
    return fail(Code::kInvalidArgument, "{} is reached over TLS: --cert, --key and --ca are needed",
                settings.address);
  TRY(warning, pki::check_tls_files(tls, now()));
  if (!warning.empty()) warn(warning);
  channel_ = grpc::CreateCustomChannel(settings.address, pki::channel_credentials(tls), arguments);
  return channel_;
}

void Session::set_deadline(grpc::ClientContext& context, int seconds) {
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(seconds, GPR_TIMESPAN)));
}

Error Session::explain(const grpc::Status& status) const {
  Error error = admin::from_status(status);
  if (error.code == Code::kUnavailable || error.code == Code::kDeadlineExceeded)
    error.what = fmt::format("{}: {}", settings.address, error.what);
  return error;
}

Result<void> Session::print(const json::value& answer, const View& view) {
  return write(render(answer, view, settings.format));
}

Result<void> Session::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return fail_errno(errno, "standard output cannot be written");
  return {};
}

void Session::warn(std::string_view text) {
  fmt::print(stderr, "tombolo: warning: {}\n", text);
}

}  // namespace tombolo::cli
