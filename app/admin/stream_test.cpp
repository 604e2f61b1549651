// Streams of the admin server over real sockets: order, rights, what a reader that does not read
// costs, and how they end. Traffic stays on unix sockets.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <catch2/catch_test_macros.hpp>

#include "app/admin/fakes.h"
#include "app/admin/status.h"
#include "schema/admin/v1/admin.grpc.pb.h"
#include "schema/admin/v1/policy.grpc.pb.h"

namespace tombolo::admin {
namespace {

struct Fixture {
  TemporaryFolder folder;
  FakeDaemon daemon;
  ServerOptions options;

  Fixture() {
    options.socket = folder / "admin.sock";
    options.viewer_socket = folder / "viewer.sock";
    options.audit_file = folder / "audit.log";
    options.fleet = "islands";
    options.cluster = "east";
  }
  std::unique_ptr<api::FlowApi::Stub> stub(const std::string& path) const {
    return api::FlowApi::NewStub(
        grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials()));
  }
  bool reached(auto condition) const {
    for (int i = 0; i < 20'000'000 && !condition(); ++i) std::this_thread::yield();
    return condition();
  }
};

void bound(grpc::ClientContext& context) {
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(20, GPR_TIMESPAN)));
}

api::FollowFlowsRequest following() {
  api::FollowFlowsRequest request;
  request.set_follow(true);
  return request;
}

TEST_CASE("a stream gives its messages and ends; viewers may read it") {
  Fixture f;
  REQUIRE(f.daemon.start(f.options));
  auto stub = f.stub(f.options.viewer_socket);
  grpc::ClientContext context;
  bound(context);
  auto reader = stub->Follow(&context, {});
  api::FollowFlowsResponse message;
  REQUIRE(reader->Read(&message));
  REQUIRE(message.events_size() == 2);
  REQUIRE(message.events(1).by() == "isolation of stars/default-deny");
  REQUIRE_FALSE(reader->Read(&message));
  REQUIRE(reader->Finish().ok());
}

TEST_CASE("a refused stream says why") {
  Fixture f;
  AdminHandlers handlers = f.daemon.handlers.all();
  SECTION("by its handler") {
    REQUIRE(f.daemon.start(f.options, handlers));
    grpc::ClientContext context;
    bound(context);
    api::FollowFlowsRequest request;
    request.set_cluster("missing");
    auto reader = f.stub(f.options.socket)->Follow(&context, request);
    Error error = from_status(reader->Finish());
    REQUIRE(error.code == Code::kNotFound);
    REQUIRE(error.what == "no cluster missing");
  }
  SECTION("not served here") {
    handlers.flow = nullptr;
    REQUIRE(f.daemon.start(f.options, handlers));
    grpc::ClientContext context;
    bound(context);
    auto reader = f.stub(f.options.socket)->Follow(&context, {});
    Error error = from_status(reader->Finish());
    REQUIRE(error.code == Code::kFailedPrecondition);
    REQUIRE(error.what ==
            "this daemon does not serve FlowApi; a daemon with the role agent and the subsystem "
            "policy does");
  }
}

TEST_CASE("a reader keeps the order, and its going away ends the stream") {
  Fixture f;
  REQUIRE(f.daemon.start(f.options));
  auto stub = f.stub(f.options.socket);
  grpc::ClientContext context;
  bound(context);
  auto reader = stub->Follow(&context, following());
  api::FollowFlowsResponse message;
  REQUIRE(reader->Read(&message));
  for (std::uint64_t sequence = 3; sequence < 500; ++sequence) {
    REQUIRE(reader->Read(&message));
    REQUIRE(message.events(0).sequence() == sequence);
  }
  REQUIRE(f.daemon.handlers.following == 1);
  context.TryCancel();
  REQUIRE(reader->Finish().error_code() == grpc::StatusCode::CANCELLED);
  REQUIRE(f.reached([&] { return f.daemon.handlers.following == 0; }));
}

TEST_CASE("a reader that does not read holds its handler up, and nobody else") {
  Fixture f;
  REQUIRE(f.daemon.start(f.options));
  auto stub = f.stub(f.options.socket);
  grpc::ClientContext context;
  bound(context);
  auto reader = stub->Follow(&context, following());
  auto& written = f.daemon.handlers.written;
  // What gRPC takes into its windows and buffers, and then no more.
  std::uint64_t before = 0;
  int still = 0;
  for (int i = 0; i < 20'000 && still < 200; ++i) {
    std::uint64_t now = written;
    still = now > 0 && now == before ? still + 1 : 0;
    before = now;
    api::GetStatusResponse status;
    grpc::ClientContext other;
    bound(other);
    auto channel =
        grpc::CreateChannel("unix:" + f.options.socket, grpc::InsecureChannelCredentials());
    if (still % 50 == 0)
      REQUIRE(api::StatusApi::NewStub(channel)->Get(&other, {}, &status).ok());
    else
      std::this_thread::yield();
  }
  REQUIRE(written < 100'000);
  f.daemon.stop();
  REQUIRE(f.daemon.handlers.following == 0);
  api::FollowFlowsResponse message;
  while (reader->Read(&message)) {
  }
  REQUIRE_FALSE(reader->Finish().ok());
}

TEST_CASE("more streams than the bound are refused; calls go on, and the place is free again") {
  Fixture f;
  f.options.limits.streams = 1;
  REQUIRE(f.daemon.start(f.options));
  auto stub = f.stub(f.options.socket);
  grpc::ClientContext context;
  bound(context);
  auto first = stub->Follow(&context, following());
  api::FollowFlowsResponse message;
  REQUIRE(first->Read(&message));
  {
    grpc::ClientContext second_context;
    bound(second_context);
    auto second = stub->Follow(&second_context, following());
    REQUIRE(second->Finish().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  context.TryCancel();
  REQUIRE(first->Finish().error_code() == grpc::StatusCode::CANCELLED);
  auto again = [&] {
    grpc::ClientContext third_context;
    bound(third_context);
    auto third = stub->Follow(&third_context, {});
    api::FollowFlowsResponse third_message;
    while (third->Read(&third_message)) {
    }
    return third->Finish().error_code();
  };
  grpc::StatusCode code = grpc::StatusCode::RESOURCE_EXHAUSTED;
  for (int i = 0; i < 10'000 && code == grpc::StatusCode::RESOURCE_EXHAUSTED; ++i) code = again();
  REQUIRE(code == grpc::StatusCode::OK);
}

}  // namespace
}  // namespace tombolo::admin
