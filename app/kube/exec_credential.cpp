// Credentials from a program (client.authentication.k8s.io, KEP-541): it is told what is wanted in
// KUBERNETES_EXEC_INFO and prints an ExecCredential. Its standard error is the user's. Blocking.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/algorithm/string/predicate.hpp>
#include <cerrno>
#include <cstring>

#include "app/kube/internal.h"
#include "app/kube/kube.h"

extern "C" {
#include <sys/pidfd.h>  // glibc 2.36's has no extern "C" of its own

extern char** environ;  // environ(7)
}

namespace tombolo::kube {
namespace {

constexpr std::size_t kLongestAnswer = 1U << 20U;

std::vector<std::string> environment_of(const ExecCommand& exec) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (!boost::starts_with(*entry, "KUBERNETES_EXEC_INFO=")) result.emplace_back(*entry);
  // Of two entries of one name it is not said which counts: the earlier one goes.
  for (const auto& [name, value] : exec.environment) {
    std::erase_if(result, [&](const std::string& entry) { return entry.starts_with(name + "="); });
    result.push_back(name + "=" + value);
  }
  json::object info{{"kind", "ExecCredential"},
                    {"apiVersion", exec.api_version},
                    {"spec", json::object{{"interactive", false}}}};
  result.push_back("KUBERNETES_EXEC_INFO=" + to_json(info));
  return result;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// A process in a group of its own, which is gone when this is.
class Child {
 public:
  static Result<Child> start(const ExecCommand& exec) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      return fail(Code::kResourceExhausted, "{}: {}", exec.command, std::strerror(errno));
    std::vector<std::string> arguments{exec.command};
    arguments.insert(arguments.end(), exec.arguments.begin(), exec.arguments.end());
    std::vector<std::string> environment = environment_of(exec);
    auto argv = pointers_to(arguments);
    auto envp = pointers_to(environment);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, ends[1], 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    Child child;
    int error = ::posix_spawnp(&child.pid_, argv[0], &files, &attributes, argv.data(), envp.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
    child.output_ = ends[0];
    if (error == 0) return child;
    child.pid_ = 0;
    std::string hint = exec.install_hint.empty() ? "" : "; " + exec.install_hint;
    return fail(Code::kNotFound, "{}: {}{}", exec.command, std::strerror(error), hint);
  }
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), output_(std::exchange(other.output_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (output_ >= 0) ::close(output_);
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // All of its output, up to its end.
  Result<std::string> read(Clock& clock, MonotonicTime deadline) const {
    std::string text;
    char buffer[4096];
    while (true) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.now());
      pollfd ready{output_, POLLIN, 0};
      int count = left.count() <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left.count()));
      if (count < 0 && errno == EINTR) continue;
      if (count == 0) return fail(Code::kDeadlineExceeded, "did not end in time");
      ssize_t length = ::read(output_, buffer, sizeof buffer);
      if (length < 0 && errno == EINTR) continue;
      if (length < 0) return fail(Code::kUnavailable, "{}", std::strerror(errno));
      if (length == 0) return text;
      text.append(buffer, static_cast<std::size_t>(length));
      if (text.size() > kLongestAnswer)
        return fail(Code::kInvalidArgument, "prints more than {} bytes", kLongestAnswer);
    }
  }
  Result<void> wait(Clock& clock, MonotonicTime deadline) {
    // It has closed its output; that it ends too is not said yet.
    pollfd ended{::pidfd_open(pid_, 0), POLLIN, 0};
    if (ended.fd < 0) return fail(Code::kUnavailable, "{}", std::strerror(errno));
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.now());
    int count = ::poll(&ended, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    ::close(ended.fd);
    if (count <= 0) return fail(Code::kDeadlineExceeded, "did not end in time");
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    if (WIFEXITED(status))
      return fail(Code::kUnauthenticated, "ended with {}", WEXITSTATUS(status));
    return fail(Code::kUnauthenticated, "was ended by signal {}", WTERMSIG(status));
  }

 private:
  Child() = default;
  pid_t pid_ = 0;
  int output_ = -1;
};

}  // namespace

Result<void> take_credential(const Cursor& root, Access& access) {
  TRY_OK(root.expect_object());
  TRY(kind, root["kind"].string());
  if (kind != "ExecCredential") return root["kind"].error("must be ExecCredential");
  Cursor status = root["status"];
  TRY_OK(status.expect_object());
  TRY(token, status["token"].string_or(""));
  TRY(certificate, status["clientCertificateData"].string_or(""));
  TRY(key, status["clientKeyData"].string_or(""));
  if (token.empty() && certificate.empty())
    return status.error("has neither a token nor a certificate", Code::kUnauthenticated);
  if (!token.empty()) access.token = std::move(token);
  if (!certificate.empty()) {
    access.certificate_pem = std::move(certificate);
    access.key_pem = std::move(key);
  }
  return {};
}

Result<Access> obtain_credentials(Access access, Duration limit) {
  // Credentials in the file come before the program, as in client-go.
  if (!access.exec || !access.token.empty() || !access.certificate_pem.empty()) return access;
  const ExecCommand exec = *access.exec;
  auto clock = make_system_clock();
  MonotonicTime deadline = clock->now() + limit;
  TRY(child, Child::start(exec));
  auto text = child.read(*clock, deadline);
  if (!text) return std::unexpected(std::move(text).error().with_context(exec.command));
  if (auto ended = child.wait(*clock, deadline); !ended)
    return std::unexpected(std::move(ended).error().with_context(exec.command));
  auto document = parse_json(*text);
  if (!document) return std::unexpected(std::move(document).error().with_context(exec.command));
  DocumentPlace place{exec.command, {}};
  TRY_OK(take_credential(Cursor(*document, place), access));
  return access;
}

}  // namespace tombolo::kube
