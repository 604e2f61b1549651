// The client against a real gRPC server on a real socket, in this process.
#include "app/cri/cri.h"

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "schema/cri/runtime.grpc.pb.h"

namespace tombolo {
namespace {

namespace api = runtime::v1;

class Folder {
 public:
  Folder() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = "/tmp/tombolo-cri-XXXXXX";
};

class Service final : public api::RuntimeService::Service {
 public:
  api::ListPodSandboxResponse answer;
  grpc::Status status;
  void add(const std::string& id, api::PodSandboxState state) {
    auto* sandbox = answer.add_items();
    sandbox->set_id(id);
    sandbox->set_state(state);
  }

 private:
  grpc::Status ListPodSandbox(grpc::ServerContext*, const api::ListPodSandboxRequest*,
                              api::ListPodSandboxResponse* response) override {
    *response = answer;
    return status;
  }
};

std::unique_ptr<grpc::Server> serve(Service& service, const std::string& path) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  REQUIRE(server != nullptr);
  return server;
}

TEST_CASE("no socket is no runtime") {
  Folder folder;
  auto runtime = make_cri_runtime({folder.file("none.sock")});
  REQUIRE(!runtime->life().value().present);
  auto listed = runtime->list();
  REQUIRE(listed);
  REQUIRE(!listed->life.present);
  REQUIRE(listed->ready.empty());
}

TEST_CASE("sandboxes of every runtime of the node") {
  Folder folder;
  Service one;
  Service two;
  one.add("a", api::SANDBOX_READY);
  one.add("b", api::SANDBOX_NOTREADY);
  two.add("c", api::SANDBOX_READY);
  auto first = serve(one, folder.file("one.sock"));
  auto runtime = make_cri_runtime({folder.file("one.sock"), folder.file("two.sock")});
  auto alone = runtime->list();
  REQUIRE(alone);
  REQUIRE(alone->ready == std::map<std::string, bool>{{"a", true}, {"b", false}});
  // This process and its start.
  REQUIRE(alone->life.processes.size() == 1);
  const std::string& process = *alone->life.processes.begin();
  REQUIRE(process.starts_with(fmt::format("{} {} ", folder.file("one.sock"), ::getpid())));
  REQUIRE(!process.ends_with(" 0"));
  REQUIRE(runtime->life().value() == alone->life);

  auto second = serve(two, folder.file("two.sock"));
  auto both = runtime->list();
  REQUIRE(both);
  REQUIRE(both->ready == std::map<std::string, bool>{{"a", true}, {"b", false}, {"c", true}});
  REQUIRE(both->life != alone->life);
  // One that fails makes the list no list.
  two.status = grpc::Status(grpc::StatusCode::UNKNOWN, "server is not initialized yet");
  auto part = runtime->list();
  REQUIRE(part.error().code == Code::kUnavailable);
  REQUIRE(part.error().what.find("not initialized") != std::string::npos);
  // One that speaks something else is none; it is not asked again.
  two.status = grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "unknown service");
  auto without = runtime->list();
  REQUIRE(without);
  REQUIRE(without->life == alone->life);
  REQUIRE(runtime->life().value() == alone->life);
}

TEST_CASE("a socket that nobody listens on, as a killed runtime leaves it, is silence") {
  Folder folder;
  std::string path = folder.file("dead.sock");
  int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(::close(socket) == 0);
  auto runtime = make_cri_runtime({path});
  REQUIRE(runtime->life().value() == ContainerRuntime::Life{true, {}});
  REQUIRE(runtime->list().error().code == Code::kUnavailable);
}

TEST_CASE("a runtime that takes calls and never answers is silence") {
  Folder folder;
  std::string path = folder.file("mute.sock");
  int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(::listen(socket, 8) == 0);
  auto runtime = make_cri_runtime({path});
  REQUIRE(runtime->life().value().processes.size() == 1);
  REQUIRE(runtime->list().error().code == Code::kUnavailable);
  REQUIRE(::close(socket) == 0);
}

}  // namespace
}  // namespace tombolo
