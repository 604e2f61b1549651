// The admin server over TLS on loopback: which certificates get through the handshake, what rights
// they give, and that new files are used without a restart. Also health checking and reflection,
// as any gRPC tool asks for them.
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "app/admin/fakes.h"
#include "app/admin/status.h"
#include "schema/admin/v1/admin.grpc.pb.h"

namespace tombolo::admin {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;
using pki::Kind;
using pki::Role;
using std::chrono::days;

WallTime now() {
  return make_system_clock()->wall_now();
}

pki::IssueRequest request(std::string fleet, std::string cluster, Kind kind, std::string name,
                          Role role = Role::kNone) {
  return {{std::move(fleet), std::move(cluster), kind, std::move(name)},
          role,
          {},
          {*Ip::parse("127.0.0.1")}};
}

pki::TlsFiles files_in(const std::string& folder) {
  return {folder + "/tls.crt", folder + "/tls.key", folder + "/ca.crt"};
}

// A server with a certificate of `authority`, which trusts `authority`.
struct Rig {
  TemporaryFolder folder;
  pki::KeyPair authority = pki::make_authority("islands", "east", {now(), 3650}).value();
  FakeDaemon daemon;

  Rig() {
    auto pair = issue(authority, request("islands", "east", Kind::kController, ""));
    REQUIRE(pki::write_identity(folder / "server", pair, authority.certificate));
    ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    options.tls = files_in(folder / "server");
    options.tls_refresh_s = 1;
    options.audit_file = folder / "audit.log";
    options.fleet = "islands";
    options.cluster = "east";
    REQUIRE(daemon.start(options));
  }

  static pki::KeyPair issue(const pki::KeyPair& by, const pki::IssueRequest& what,
                            WallTime from = now(), int for_days = 90) {
    return pki::issue(by, what, {from, for_days}).value();
  }
  // A channel with `pair`, which trusts the server's authority.
  std::shared_ptr<grpc::Channel> channel(const pki::KeyPair& pair, const std::string& name) const {
    REQUIRE(pki::write_identity(folder / name, pair, authority.certificate));
    return grpc::CreateChannel(fmt::format("127.0.0.1:{}", daemon_port()),
                               pki::channel_credentials(files_in(folder / name), 1));
  }
  int daemon_port() const { return const_cast<FakeDaemon&>(daemon).server().ports().at(0); }
};

template <class Call>
Result<void> ask(Call call, int seconds = 20) {
  grpc::ClientContext context;
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(seconds, GPR_TIMESPAN)));
  grpc::Status status = call(context);
  if (!status.ok()) return std::unexpected(from_status(status));
  return {};
}

Result<void> read(const std::shared_ptr<grpc::Channel>& channel) {
  return ask([&](grpc::ClientContext& context) {
    api::GetStatusResponse response;
    return api::StatusApi::NewStub(channel)->Get(&context, {}, &response);
  });
}

Result<void> write(const std::shared_ptr<grpc::Channel>& channel) {
  return ask([&](grpc::ClientContext& context) {
    api::LeaveClusterResponse response;
    return api::ClusterApi::NewStub(channel)->Leave(&context, {}, &response);
  });
}

std::string code_of(const Result<void>& result) {
  return result ? "ok" : std::string(to_string(result.error().code));
}

TEST_CASE("what a certificate of the cluster's authority may do") {
  struct Case {
    const char* name;
    pki::IssueRequest who;
    const char* read;
    const char* write;
    const char* caller;  // as in errors
  };
  auto c = GENERATE(values<Case>({
      {"admin", request("islands", "east", Kind::kOperator, "ann", Role::kAdmin), "ok", "ok", ""},
      {"viewer", request("islands", "east", Kind::kOperator, "bob", Role::kViewer), "ok",
       "permission denied", "operator/bob"},
      {"admin of another cluster", request("islands", "west", Kind::kOperator, "eve", Role::kAdmin),
       "permission denied", "permission denied", "spiffe://islands/cluster/west/operator/eve"},
      {"admin of another fleet", request("rocks", "east", Kind::kOperator, "eve", Role::kAdmin),
       "permission denied", "permission denied", "spiffe://rocks/cluster/east/operator/eve"},
      {"the controller itself", request("islands", "east", Kind::kController, ""),
       "permission denied", "permission denied", "spiffe://islands/cluster/east/controller"},
      {"a remote controller", request("islands", "west", Kind::kController, ""),
       "permission denied", "permission denied", "spiffe://islands/cluster/west/controller"},
      {"a node", request("islands", "east", Kind::kNode, "east-1"), "permission denied",
       "permission denied", "spiffe://islands/cluster/east/node/east-1"},
  }));
  INFO(c.name);
  Rig rig;
  auto channel = rig.channel(Rig::issue(rig.authority, c.who), "client");
  Result<void> reading = read(channel);
  Result<void> writing = write(channel);
  REQUIRE(code_of(reading) == c.read);
  REQUIRE(code_of(writing) == c.write);
  if (!writing) REQUIRE(writing.error().what.starts_with(std::string(c.caller) + " "));
}

TEST_CASE("certificates that do not get through the handshake") {
  Rig rig;
  auto admin = request("islands", "east", Kind::kOperator, "ann", Role::kAdmin);
  auto other = pki::make_authority("islands", "east", {now(), 3650}).value();
  struct Case {
    const char* name;
    pki::KeyPair pair;
  };
  auto c = GENERATE_REF(values<Case>({
      {"of another authority with the same name", Rig::issue(other, admin)},
      {"ended", Rig::issue(rig.authority, admin, now() - days(10), 1)},
      {"not valid yet", Rig::issue(rig.authority, admin, now() + days(10), 1)},
  }));
  INFO(c.name);
  Result<void> answer = read(rig.channel(c.pair, "client"));
  REQUIRE(code_of(answer) == "unavailable");
}

TEST_CASE("a client talks to no server of another authority or of another name") {
  Rig rig;
  auto admin = request("islands", "east", Kind::kOperator, "ann", Role::kAdmin);
  auto pair = Rig::issue(rig.authority, admin);
  auto other = pki::make_authority("islands", "east", {now(), 3650}).value();
  REQUIRE(pki::write_identity(rig.folder / "client", pair, other.certificate));
  auto credentials = pki::channel_credentials(files_in(rig.folder / "client"));
  auto address = fmt::format("127.0.0.1:{}", rig.daemon_port());
  REQUIRE(code_of(read(grpc::CreateChannel(address, credentials))) == "unavailable");

  auto good = rig.channel(pair, "good");
  REQUIRE(read(good));
  // The certificate names 127.0.0.1 only.
  auto by_other_name = grpc::CreateChannel(fmt::format("127.0.0.2:{}", rig.daemon_port()),
                                           pki::channel_credentials(files_in(rig.folder / "good")));
  REQUIRE(code_of(read(by_other_name)) == "unavailable");
}

TEST_CASE("a client without a certificate is refused") {
  Rig rig;
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = rig.authority.certificate;
  auto channel = grpc::CreateChannel(fmt::format("127.0.0.1:{}", rig.daemon_port()),
                                     grpc::SslCredentials(options));
  REQUIRE(code_of(read(channel)) == "unavailable");
}

TEST_CASE("a new authority in the file is trusted without a restart") {
  Rig rig;
  auto admin = request("islands", "east", Kind::kOperator, "ann", Role::kAdmin);
  auto other = pki::make_authority("islands", "east", {now(), 3650}).value();
  auto pair = Rig::issue(other, admin);
  REQUIRE(code_of(read(rig.channel(pair, "before"))) == "unavailable");
  REQUIRE(pki::write_file_atomically(rig.folder / "server/ca.crt",
                                     rig.authority.certificate + other.certificate, 0644));
  // Each try is a connection of its own; the file is read again within a second or two.
  Result<void> answer = fail(Code::kUnavailable, "not asked yet");
  for (int i = 0; i < 3'000 && !answer; ++i)
    answer = read(rig.channel(pair, fmt::format("after-{}", i % 4)));
  REQUIRE(code_of(answer) == "ok");
}

TEST_CASE("TLS files that do not fit are refused before anything listens") {
  Rig rig;
  TemporaryFolder folder;
  FakeDaemon daemon;
  ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.audit_file = folder / "audit.log";
  options.tls = files_in(rig.folder / "none");
  REQUIRE(daemon.start(options).error().code == Code::kNotFound);
  options.tls = files_in(rig.folder / "server");
  options.listen = {fmt::format("127.0.0.1:{}", rig.daemon_port())};
  auto taken = daemon.start(options);
  REQUIRE(taken.error().code == Code::kUnavailable);
  REQUIRE_THAT(taken.error().what, ContainsSubstring("the admin API cannot listen there"));
}

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  REQUIRE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const auto& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

// One message to a method and the first answer, without generated code.
std::string exchange(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                     const std::string& message) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(20, GPR_TIMESPAN)));
  grpc::CompletionQueue queue;
  auto call = stub.PrepareCall(&context, method, &queue);
  auto next = [&queue] {
    void* tag = nullptr;
    bool good = false;
    REQUIRE(queue.Next(&tag, &good));
    return good;
  };
  call->StartCall(nullptr);
  REQUIRE(next());
  grpc::Slice slice(message);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  REQUIRE(next());
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  REQUIRE(next());
  call->WritesDone(nullptr);
  next();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  return bytes_of(answer);
}

TEST_CASE("health checks and reflection answer") {
  TemporaryFolder folder;
  FakeDaemon daemon;
  ServerOptions options;
  options.socket = folder / "admin.sock";
  options.audit_file = folder / "audit.log";
  REQUIRE(daemon.start(options));
  auto channel = grpc::CreateChannel("unix:" + options.socket, grpc::InsecureChannelCredentials());
  // grpc.health.v1: status (field 1) SERVING is 1, NOT_SERVING 2.
  REQUIRE(exchange(channel, "/grpc.health.v1.Health/Check", "") == "\x08\x01");
  daemon.server().set_serving(false);
  REQUIRE(exchange(channel, "/grpc.health.v1.Health/Check", "") == "\x08\x02");
  // list_services is field 7 of ServerReflectionRequest.
  std::string services =
      exchange(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
               std::string("\x3a\x01*"));
  for (const char* name :
       {"tombolo.admin.v1.StatusApi", "tombolo.admin.v1.AuditApi", "grpc.health.v1.Health"})
    REQUIRE_THAT(services, ContainsSubstring(name));
}

}  // namespace
}  // namespace tombolo::admin
