// The admin server over real sockets: who may call what, what is recorded, how it ends. Traffic
// stays on unix sockets and loopback.
#include "app/admin/server.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <fstream>

#include "app/admin/fakes.h"
#include "app/admin/internal.h"
#include "core/yaml.h"
#include "schema/admin/v1/admin.grpc.pb.h"
#include "schema/admin/v1/policy.grpc.pb.h"

namespace tombolo::admin {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;

struct Sockets {
  TemporaryFolder folder;
  ServerOptions options() const {
    ServerOptions options;
    options.socket = folder / "admin.sock";
    options.viewer_socket = folder / "viewer.sock";
    options.audit_file = folder / "audit.log";
    options.fleet = "islands";
    options.cluster = "east";
    return options;
  }
};

std::shared_ptr<grpc::Channel> channel_to(const std::string& path) {
  return grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials());
}

// Every call of these tests ends by itself; the deadline only keeps a broken one from hanging.
void bound(grpc::ClientContext& context) {
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(20, GPR_TIMESPAN)));
}

Result<void> leave(const std::shared_ptr<grpc::Channel>& channel, const std::string& cluster) {
  grpc::ClientContext context;
  bound(context);
  api::LeaveClusterRequest request;
  request.set_cluster(cluster);
  api::LeaveClusterResponse response;
  auto status = api::ClusterApi::NewStub(channel)->Leave(&context, request, &response);
  if (!status.ok()) return std::unexpected(from_status(status));
  return {};
}

Result<api::GetStatusResponse> status_of(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  bound(context);
  api::GetStatusResponse response;
  auto status = api::StatusApi::NewStub(channel)->Get(&context, {}, &response);
  if (!status.ok()) return std::unexpected(from_status(status));
  return response;
}

Result<std::vector<api::AuditRecord>> audit_of(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  bound(context);
  api::ListAuditResponse response;
  auto status = api::AuditApi::NewStub(channel)->List(&context, {}, &response);
  if (!status.ok()) return std::unexpected(from_status(status));
  return std::vector<api::AuditRecord>(response.records().begin(), response.records().end());
}

TEST_CASE("every method of the API says whether it reads or writes") {
  int services = 0;
  for (const auto* file :
       {api::GetStatusRequest::descriptor()->file(), api::ListNodesRequest::descriptor()->file(),
        api::ShowPoolRequest::descriptor()->file(),
        api::ListPoliciesRequest::descriptor()->file()}) {
    services += file->service_count();
    for (int i = 0; i < file->service_count(); ++i) {
      for (int k = 0; k < file->service(i)->method_count(); ++k) {
        const auto* method = file->service(i)->method(k);
        INFO(method->full_name());
        REQUIRE(method->options().GetExtension(api::access) != api::ACCESS_UNSPECIFIED);
        REQUIRE(access_of(file->service(i)->name() + "/" + method->name()) ==
                method->options().GetExtension(api::access));
      }
    }
  }
  REQUIRE(services == 12);
}

TEST_CASE("codes are the same on both sides of gRPC") {
  for (int i = 0; i <= static_cast<int>(Code::kInternal); ++i) {
    Error error{static_cast<Code>(i), "text"};
    Error back = from_status(to_status(error));
    REQUIRE(back.code == error.code);
    REQUIRE(back.what == "text");
    // gRPC names them in upper case with underscores; ours is the same word.
    REQUIRE(to_status(error).error_code() != grpc::StatusCode::UNKNOWN);
  }
  REQUIRE(to_status({Code::kNotFound, "open x", ENOENT}).error_message() ==
          "open x (No such file or directory)");
}

TEST_CASE("the admin socket gives all rights, the viewers' one only what reads") {
  Sockets sockets;
  FakeDaemon daemon;
  REQUIRE(daemon.start(sockets.options()));
  auto admin = channel_to(sockets.folder / "admin.sock");
  auto viewer = channel_to(sockets.folder / "viewer.sock");

  REQUIRE(status_of(admin)->cluster() == "east");
  REQUIRE(status_of(viewer)->cluster() == "east");
  Error denied = leave(viewer, "west").error();
  REQUIRE(denied.code == Code::kPermissionDenied);
  REQUIRE(denied.what == "viewer-socket is a viewer; ClusterApi/Leave needs an admin");
  Error missing = leave(admin, "missing").error();
  REQUIRE(missing.code == Code::kNotFound);
  REQUIRE(missing.what == "no cluster missing");

  auto records = audit_of(viewer).value();
  REQUIRE(records.size() == 2);
  REQUIRE(records[0].who() == "viewer-socket");
  REQUIRE(records[0].method() == "ClusterApi/Leave");
  REQUIRE(records[0].request() == "cluster=west");
  REQUIRE_THAT(records[0].result(), ContainsSubstring("permission denied"));
  REQUIRE(records[1].who() == "local");
  REQUIRE(records[1].result() == "not found: no cluster missing");
  REQUIRE(records[1].time().seconds() > 1'700'000'000);
}

TEST_CASE("what this daemon does not serve is said so") {
  Sockets sockets;
  FakeDaemon daemon;
  AdminHandlers handlers;
  handlers.status = &daemon.handlers;
  REQUIRE(daemon.start(sockets.options(), handlers));
  auto channel = channel_to(sockets.folder / "admin.sock");
  REQUIRE(status_of(channel));
  Error error = leave(channel, "west").error();
  REQUIRE(error.code == Code::kFailedPrecondition);
  REQUIRE(error.what ==
          "this daemon does not serve ClusterApi; a daemon with the role controller does");
}

TEST_CASE("the audit log names secrets and long texts by their size") {
  api::JoinClusterRequest join;
  join.set_bundle("-----BEGIN PRIVATE KEY-----");
  join.set_replace(true);
  REQUIRE(summary(join) == "bundle=(secret) replace=true");
  api::ApplyPlanRequest apply;
  apply.mutable_fleet()->set_name("fleet.yaml");
  apply.mutable_fleet()->set_text(std::string(5000, 'x'));
  apply.set_reason("grow east");
  REQUIRE(summary(apply) == "fleet={name=fleet.yaml text=(5000 bytes)} reason=grow east");
  api::GrantClusterRequest grant;
  for (int i = 0; i < 100; ++i) grant.add_addresses(std::string(100, 'a'));
  REQUIRE(summary(grant).size() < 2200);
  REQUIRE(summary(api::GetStatusRequest()) == "");
}

TEST_CASE("nothing is changed while the audit log cannot be written") {
  Sockets sockets;
  FakeDaemon daemon;
  auto options = sockets.options();
  options.audit_file = "/dev/full";
  int changed = 0;
  daemon.handlers.before_leave = [&changed]() -> Result<void> {
    ++changed;
    return {};
  };
  REQUIRE(daemon.start(options));
  auto channel = channel_to(options.socket);
  // The first one finds out; its line is kept and tried again.
  REQUIRE(leave(channel, "west"));
  Result<void> refused;
  for (int i = 0; i < 100 && refused; ++i) refused = leave(channel, "west");
  REQUIRE(refused.error().code == Code::kUnavailable);
  REQUIRE_THAT(refused.error().what, ContainsSubstring("the audit log cannot be written"));
  int before = changed;
  REQUIRE(leave(channel, "west").error().code == Code::kUnavailable);
  REQUIRE(changed == before);
  REQUIRE(status_of(channel));
}

TEST_CASE("the audit log is rotated at its bound and read across the files") {
  Sockets sockets;
  FakeDaemon daemon;
  auto options = sockets.options();
  options.audit_rotate_bytes = 1000;
  REQUIRE(daemon.start(options));
  auto channel = channel_to(options.socket);
  for (int i = 0; i < 20; ++i) REQUIRE(leave(channel, fmt::format("cluster-{}", i)));
  auto records = audit_of(channel).value();
  REQUIRE(records.size() >= 6);
  REQUIRE(records.back().request() == "cluster=cluster-19");
  REQUIRE(std::filesystem::file_size(options.audit_file) <= 1000);
  REQUIRE(std::filesystem::file_size(options.audit_file + ".1") <= 1000);
  struct stat facts{};
  REQUIRE(::stat(options.audit_file.c_str(), &facts) == 0);
  REQUIRE((facts.st_mode & 07777U) == 0600);
}

TEST_CASE("sockets have their modes, replace stale ones, and go with the server") {
  Sockets sockets;
  std::string path = sockets.folder / "admin.sock";
  {
    // What a killed daemon leaves: bound, served by nobody.
    int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    REQUIRE(::bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    ::close(stale);
  }
  FakeDaemon daemon;
  REQUIRE(daemon.start(sockets.options()));
  struct stat facts{};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  REQUIRE((facts.st_mode & 07777U) == 0600);
  REQUIRE(::stat((sockets.folder / "viewer.sock").c_str(), &facts) == 0);
  REQUIRE((facts.st_mode & 07777U) == 0666);

  FakeDaemon second;
  auto refused = second.start(sockets.options());
  REQUIRE(refused.error().code == Code::kAlreadyExists);
  REQUIRE(refused.error().what == path + ": another daemon serves it");
  REQUIRE(status_of(channel_to(path)));

  daemon.stop();
  std::size_t left = 0;
  for (const auto& entry : std::filesystem::directory_iterator(sockets.folder / "")) {
    REQUIRE(entry.path().filename() == "audit.log");
    ++left;
  }
  REQUIRE(left == 1);
}

TEST_CASE("sockets that cannot be") {
  Sockets sockets;
  std::ofstream(sockets.folder / "file") << "x";
  struct Case {
    const char* name;
    std::string path;
    Code code;
  };
  auto c = GENERATE_COPY(values<Case>({
      {"too long", "/tmp/" + std::string(120, 'x'), Code::kInvalidArgument},
      {"a file", "file", Code::kAlreadyExists},
      {"in a file", "file/admin.sock", Code::kInternal},
  }));
  INFO(c.name);
  auto options = sockets.options();
  options.socket = c.path.starts_with('/') ? c.path : sockets.folder / c.path;
  FakeDaemon daemon;
  auto refused = daemon.start(options);
  REQUIRE_FALSE(refused);
  if (c.code != Code::kInternal) REQUIRE(refused.error().code == c.code);
  REQUIRE(refused.error().what.starts_with(options.socket + ":"));
}

TEST_CASE("a caller who goes away stops its call; a stopping server answers those that wait") {
  Sockets sockets;
  FakeDaemon daemon;
  REQUIRE(daemon.start(sockets.options()));
  auto stub = api::StatusApi::NewStub(channel_to(sockets.folder / "admin.sock"));
  api::WaitRequest request;
  request.set_revision(2'000);
  api::WaitResponse response;
  auto reached = [&daemon](int count) {
    for (int i = 0; i < 20'000'000 && daemon.handlers.waiting != count; ++i)
      std::this_thread::yield();
    return daemon.handlers.waiting == count;
  };
  {
    grpc::ClientContext context;
    bound(context);
    std::thread caller([&] {
      REQUIRE(stub->Wait(&context, request, &response).error_code() == grpc::StatusCode::CANCELLED);
    });
    bool inside = reached(1);
    context.TryCancel();
    caller.join();
    REQUIRE(inside);
    REQUIRE(reached(0));
  }
  grpc::ClientContext context;
  bound(context);
  grpc::Status status;
  std::thread caller([&] { status = stub->Wait(&context, request, &response); });
  bool inside = reached(1);
  daemon.stop();
  caller.join();
  REQUIRE(inside);
  REQUIRE(status.error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("more calls than the bound are refused, and other listeners are not affected") {
  Sockets sockets;
  FakeDaemon daemon;
  auto options = sockets.options();
  options.limits.calls = 1;
  REQUIRE(daemon.start(options));
  auto viewer = channel_to(options.viewer_socket);
  auto stub = api::StatusApi::NewStub(viewer);
  grpc::ClientContext context;
  bound(context);
  api::WaitRequest request;
  request.set_revision(2'000);
  api::WaitResponse response;
  std::thread caller([&] { static_cast<void>(stub->Wait(&context, request, &response)); });
  for (int i = 0; i < 20'000'000 && daemon.handlers.waiting == 0; ++i) std::this_thread::yield();
  auto refused = status_of(viewer);
  auto allowed = status_of(channel_to(options.socket));
  context.TryCancel();
  caller.join();
  REQUIRE(refused.error().code == Code::kResourceExhausted);
  REQUIRE(allowed);
}

}  // namespace
}  // namespace tombolo::admin
