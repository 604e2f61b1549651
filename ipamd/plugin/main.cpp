// tombolo-cni: the CNI plugin. Reads the CNI_… variables and standard input, asks the agent over
// its unix socket, prints what it answers. Started once per pod and operation, so it is linked
// without any shared library and does nothing that can be left to the agent.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "ipamd/cni/wire.h"

namespace tombolo::cni {
namespace {

constexpr std::size_t kLongestInput = 1U << 20U;
constexpr auto kConnectTimeout = std::chrono::milliseconds(800);
// Making an interface takes milliseconds; this is for a machine in trouble, and below the
// runtimes' own patience.
constexpr auto kAnswerTimeout = std::chrono::seconds(60);

using SteadyTime = std::chrono::steady_clock::time_point;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::unexpected<Failure> refuse(int code, std::string message) {
  return std::unexpected(Failure{code, std::move(message), ""});
}

Answer<std::string> read_input() {
  std::string input;
  std::array<char, 16'384> buffer;
  while (true) {
    ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got == 0) return input;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse(kIoFailure, fmt::format("read stdin: {}", std::strerror(errno)));
    input.append(buffer.data(), static_cast<std::size_t>(got));
    if (input.size() > kLongestInput)
      return refuse(kNotDecoded, fmt::format("stdin: more than {} bytes", kLongestInput));
  }
}

// False when `until` passes first.
bool wait_for(int fd, short events, SteadyTime until) {
  while (true) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd one{fd, events, 0};
    int ready = ::poll(&one, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

// A connected socket, closed by the end of the process.
Answer<int> connect_to_agent(const Call& call) {
  int code = call.command == Command::kStatus ? kNotAvailable : kTryLater;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  call.socket.copy(address.sun_path, sizeof(address.sun_path) - 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return refuse(kIoFailure, fmt::format("open a socket: {}", std::strerror(errno)));
  auto until = std::chrono::steady_clock::now() + kConnectTimeout;
  // EAGAIN: the agent's queue of connections is full.
  while (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    int error = errno;
    bool again = error == EAGAIN || error == EINTR;
    if (!again || std::chrono::steady_clock::now() > until)
      return refuse(code,
                    fmt::format("no agent answers at {}: {}", call.socket, std::strerror(error)));
    ::poll(nullptr, 0, 5);
  }
  return fd;
}

bool send_all(int fd, std::string_view bytes, SteadyTime until) {
  while (!bytes.empty()) {
    ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0)
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    else if (errno == EAGAIN ? !wait_for(fd, POLLOUT, until) : errno != EINTR)
      return false;
  }
  return true;
}

bool receive_exactly(int fd, std::string& into, std::size_t size, SteadyTime until) {
  into.resize(size);
  for (std::size_t have = 0; have < size;) {
    ssize_t got = ::recv(fd, into.data() + have, size - have, 0);
    if (got > 0)
      have += static_cast<std::size_t>(got);
    else if (got == 0 || (errno == EAGAIN ? !wait_for(fd, POLLIN, until) : errno != EINTR))
      return false;
  }
  return true;
}

// The connection stays open until the process ends: `fd` is for tell_passed_on.
Answer<Reply> ask_agent(const Call& call, const Environment& environment, std::string_view input,
                        int& fd) {
  TRY(connected, connect_to_agent(call));
  fd = connected;
  int code = call.command == Command::kStatus ? kNotAvailable : kTryLater;
  auto until = std::chrono::steady_clock::now() + kAnswerTimeout;
  std::string header;
  std::string body;
  auto broken = [&] {
    bool late = std::chrono::steady_clock::now() >= until;
    return refuse(code, fmt::format("the agent at {} {}", call.socket,
                                    late ? "did not answer in time" : "ended before its answer"));
  };
  // An agent that refuses early (too many connections) answers without reading all: what it says
  // matters more than that it stopped listening.
  bool sent = send_all(fd, encode_frame(encode_request(environment, input)), until);
  if (!receive_exactly(fd, header, kHeaderBytes, until)) return broken();
  auto length = decode_header(header);
  if (!length) return refuse(kAgentMismatch, "the agent's answer: " + length.error().what);
  if (!receive_exactly(fd, body, *length, until)) return broken();
  auto reply = decode_reply(body);
  if (!reply) return refuse(kAgentMismatch, "the agent's answer: " + reply.error().what);
  if (!sent && reply->ok) return broken();
  return *reply;
}

// Best effort: without it the agent undoes an ADD that the runtime knows of, so it comes last, and
// an agent that is gone meanwhile has the lease on its disk.
void tell_passed_on(int fd) {
  if (fd >= 0) static_cast<void>(::send(fd, &kAcknowledgement, 1, MSG_NOSIGNAL));
}

Answer<Reply> run(std::string& cni_version, int& fd) {
  Environment environment{variable("CNI_COMMAND"), variable("CNI_CONTAINERID"),
                          variable("CNI_NETNS"), variable("CNI_IFNAME"), variable("CNI_ARGS")};
  if (environment.command == "VERSION" && ::isatty(STDIN_FILENO) == 1)
    return Reply{true, to_json(encode_versions(cni_version))};
  TRY(input, read_input());
  // VERSION needs no configuration.
  if (environment.command == "VERSION" && input.find_first_not_of(" \t\r\n") == std::string::npos)
    input = "{}";
  TRY(call, decode_call(environment, input));
  cni_version = call.cni_version;
  if (call.command == Command::kVersion) return Reply{true, to_json(encode_versions(cni_version))};
  return ask_agent(call, environment, input, fd);
}

int main_program() {
  std::string cni_version = "1.1.0";
  int fd = -1;
  auto reply = run(cni_version, fd);
  std::string output = reply ? reply->output : to_json(encode_failure(reply.error(), cni_version));
  if (!output.empty()) output += '\n';
  bool printed = std::fwrite(output.data(), 1, output.size(), stdout) == output.size() &&
                 std::fflush(stdout) == 0;
  bool fine = printed && reply && reply->ok;
  if (fine) tell_passed_on(fd);
  return fine ? 0 : 1;
}

}  // namespace
}  // namespace tombolo::cni

int main() {
  return tombolo::cni::main_program();
}
