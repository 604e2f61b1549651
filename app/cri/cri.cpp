// Sandboxes by CRI, and who it is that lists them.
#include "app/cri/cri.h"

#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "core/descriptor.h"
#include "schema/cri/runtime.grpc.pb.h"

namespace tombolo {
namespace {

namespace api = runtime::v1;

constexpr int kPatienceMs = 2000;
constexpr int kMostBytes = 16 << 20;  // of one list; the kubelet has the same limit
constexpr int kReconnectMs = 100;

// When the process began, in clock ticks since the machine did (proc(5), stat, field 22); 0: cannot
// be told.
std::uint64_t start_of_process(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  if (pid <= 0 || !std::getline(file, text)) return 0;
  // The name, field 2, is in parentheses and may have anything in it.
  std::size_t end = text.rfind(')');
  if (end == std::string::npos) return 0;
  std::istringstream rest(text.substr(end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) rest >> skipped;
  std::uint64_t start = 0;
  rest >> start;
  return start;
}

// "PATH PID START". kNotFound: nobody made this socket; kFailedPrecondition: nobody listens on it.
Result<std::string> life_of(const std::string& path) {
  struct stat state{};
  if (::stat(path.c_str(), &state) != 0 && (errno == ENOENT || errno == ENOTDIR))
    return fail(Code::kNotFound, "{} is not there", path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    return fail(Code::kInvalidArgument, "{}: too long for a socket", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return fail_errno(errno, "open a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return fail(errno == ECONNREFUSED ? Code::kFailedPrecondition : Code::kUnavailable, "{}: {}",
                path, std::strerror(errno));
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return fail_errno(errno, "ask who listens on {}", path);
  return fmt::format("{} {} {}", path, peer.pid, start_of_process(peer.pid));
}

class Endpoint {
 public:
  explicit Endpoint(std::string path) : path_(std::move(path)) {}

  // Adds who listens, if there is one.
  Result<void> add_life(ContainerRuntime::Life& into) const {
    auto life = life_of(path_);
    if (!life && life.error().code == Code::kNotFound) return {};
    if (life && *life == without_cri_) return {};
    into.present = true;
    if (!life && life.error().code == Code::kFailedPrecondition) return {};
    if (!life) return std::unexpected(std::move(life).error());
    into.processes.insert(std::move(*life));
    return {};
  }

  // Adds what this one has, and its life.
  Result<void> list(ContainerRuntime::Sandboxes& into) {
    ContainerRuntime::Life before;
    TRY_OK(add_life(before));
    if (!before.present) return {};
    if (before.processes.empty())
      return fail(Code::kUnavailable, "{}: nobody listens on it", path_);
    if (!stub_) connect();
    grpc::ClientContext context;
    context.set_deadline(
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_millis(kPatienceMs, GPR_TIMESPAN)));
    api::ListPodSandboxResponse response;
    grpc::Status status = stub_->ListPodSandbox(&context, {}, &response);
    // The same process as before has answered, or nobody knows who.
    ContainerRuntime::Life after;
    TRY_OK(add_life(after));
    if (before != after) return fail(Code::kUnavailable, "{}: was started anew meanwhile", path_);
    if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
      without_cri_ = *before.processes.begin();
      return {};
    }
    if (!status.ok()) return fail(Code::kUnavailable, "{}: {}", path_, status.error_message());
    for (const api::PodSandbox& sandbox : response.items())
      into.ready[sandbox.id()] = sandbox.state() == api::SANDBOX_READY;
    into.life.present = true;
    into.life.processes.merge(after.processes);
    return {};
  }

 private:
  void connect() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMostBytes);
    // A runtime that was started anew is asked at once.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
    stub_ = api::RuntimeService::NewStub(
        grpc::CreateCustomChannel("unix:" + path_, grpc::InsecureChannelCredentials(), arguments));
  }

  std::string path_;
  std::unique_ptr<api::RuntimeService::Stub> stub_;
  std::string without_cri_;  // the process that speaks no CRI v1
};

class CriRuntime final : public ContainerRuntime {
 public:
  explicit CriRuntime(std::vector<std::string> sockets) {
    // One that is named twice is asked once.
    std::set<std::string> known;
    for (std::string& path : sockets)
      if (known.insert(path).second) endpoints_.emplace_back(std::move(path));
  }

  Result<Life> life() override {
    Life all;
    for (const Endpoint& endpoint : endpoints_) TRY_OK(endpoint.add_life(all));
    return all;
  }

  Result<Sandboxes> list() override {
    Sandboxes found;
    for (Endpoint& endpoint : endpoints_) TRY_OK(endpoint.list(found));
    return found;
  }

 private:
  std::vector<Endpoint> endpoints_;
};

}  // namespace

std::vector<std::string> usual_runtime_sockets() {
  return {"/run/containerd/containerd.sock", "/run/crio/crio.sock",
          "/run/k3s/containerd/containerd.sock"};
}

std::unique_ptr<ContainerRuntime> make_cri_runtime(std::vector<std::string> sockets) {
  return std::make_unique<CriRuntime>(std::move(sockets));
}

}  // namespace tombolo
