// The servers of bench_dns as child processes. All answer the same 10,000 A records with one UDP
// worker on processor 0.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "dns/dns.h"
#include "dns/sockets.h"
#include "tests/bench/dns/bench.h"

namespace tombolo::bench {
namespace {

// A port that is free now.
Result<Endpoint> free_port() {
  TRY(probe, dns::open_udp(*Endpoint::parse("127.0.0.1:0"), {}));
  return probe.local;
}

Result<pid_t> spawn(const std::vector<std::string>& words) {
  pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pin_to(0);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

Result<void> wait_until_answering(const ServerProcess& server) {
  auto questions = service_questions();
  for (int attempt = 0; attempt < 100; ++attempt) {
    TRY(result, run_load(server.at(), questions, std::chrono::milliseconds(50)));
    if (result.answers > 0 && result.others == 0) return {};
  }
  return fail(Code::kDeadlineExceeded, "{} does not answer on {}", server.name(),
              server.at().str());
}

Result<std::unique_ptr<ServerProcess>> started(std::string name,
                                               const std::vector<std::string>& words,
                                               const Endpoint& at, std::string directory) {
  TRY(pid, spawn(words));
  auto server = std::make_unique<ServerProcess>(std::move(name), pid, at, std::move(directory));
  TRY_OK(wait_until_answering(*server));
  return server;
}

Result<void> wait_for_end() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  int which = 0;
  int error = ::sigwait(&ends, &which);
  if (error != 0) return fail_errno(error, "sigwait");
  return {};
}

void block_end_signals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
}

// Echoes each question with one fixed A record: what any server pays the kernel.
void answer_forever(int fd) {
  constexpr std::size_t kBatch = 32;
  constexpr std::string_view kRecord{"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\0\0\1", 16};
  std::array<mmsghdr, kBatch> messages{};
  std::array<iovec, kBatch> data{};
  std::array<sockaddr_storage, kBatch> peers{};
  std::array<std::array<char, 1500>, kBatch> packets{};
  while (true) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      data[i] = {packets[i].data(), packets[i].size() - kRecord.size()};
      messages[i].msg_hdr = {};
      messages[i].msg_hdr.msg_name = &peers[i];
      messages[i].msg_hdr.msg_namelen = sizeof peers[i];
      messages[i].msg_hdr.msg_iov = &data[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    int got = ::recvmmsg(fd, messages.data(), kBatch, MSG_WAITFORONE, nullptr);
    for (int n = 0; n < got; ++n) {
      auto i = static_cast<std::size_t>(n);
      std::size_t size = messages[i].msg_len;
      packets[i][2] = static_cast<char>(packets[i][2] | '\x84');
      packets[i][7] = 1;
      std::memcpy(packets[i].data() + size, kRecord.data(), kRecord.size());
      data[i].iov_len = size + kRecord.size();
    }
    if (got > 0) ::sendmmsg(fd, messages.data(), static_cast<unsigned>(got), 0);
  }
}

Result<std::string> write_knot_files(const Endpoint& at) {
  std::string directory = "/tmp/tombolo-bench-knot-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return fail_errno(errno, "mkdtemp");
  std::ofstream config(directory + "/knot.conf");
  config << fmt::format(
      "server:\n    rundir: \"{0}\"\n    listen: {1}@{2}\n    udp-workers: 1\n    tcp-workers: 1\n"
      "    background-workers: 1\nlog:\n  - target: stderr\n    any: error\n"
      "database:\n    storage: \"{0}\"\nzone:\n  - domain: cluster.local\n    storage: \"{0}\"\n"
      "    file: zone\n    zonefile-sync: -1\n    journal-content: none\n",
      directory, at.ip.str(), at.port);
  std::ofstream zone(directory + "/zone");
  zone << "$ORIGIN cluster.local.\n$TTL 5\n"
          "@ SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ NS ns.dns\nns.dns A 127.0.0.1\n";
  for (int i = 0; i < kServices; ++i)
    zone << service_name(i) << '.' << service_namespace(i) << ".svc A "
         << service_row(i).cluster_ips[0].str() << '\n';
  zone.close();
  config.close();
  if (!zone || !config) return fail(Code::kInternal, "cannot write to {}", directory);
  return directory;
}

}  // namespace

ServerProcess::~ServerProcess() {
  ::kill(pid_, SIGTERM);
  // Knot saves its state first; nobody waits for that longer than two seconds.
  for (int i = 0; i < 200 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (::kill(pid_, SIGKILL) == 0) ::waitpid(pid_, nullptr, 0);
  std::error_code ignored;  // what is left lies in /tmp
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

Result<Duration> ServerProcess::cpu_time() const {
  clockid_t clock{};
  if (int error = ::clock_getcpuclockid(pid_, &clock); error != 0)
    return fail_errno(error, "CPU clock of {}", name_);
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) return fail_errno(errno, "CPU time of {}", name_);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

Result<std::size_t> ServerProcess::resident_bytes() const {
  std::ifstream file(fmt::format("/proc/{}/statm", pid_));
  std::size_t size = 0;
  std::size_t resident = 0;
  if (!(file >> size >> resident)) return fail(Code::kNotFound, "no memory figures of {}", name_);
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

Result<std::unique_ptr<ServerProcess>> start_tombolo(const std::string& self) {
  TRY(at, free_port());
  return started("tombolo", {self, "--serve", "tombolo", at.str()}, at, "");
}

Result<std::unique_ptr<ServerProcess>> start_floor(const std::string& self) {
  TRY(at, free_port());
  return started("floor", {self, "--serve", "floor", at.str()}, at, "");
}

Result<std::unique_ptr<ServerProcess>> start_knot() {
  const char* program = "/usr/sbin/knotd";
  if (::access(program, X_OK) != 0)
    return fail(Code::kNotFound, "{} is not there (Debian package knot)", program);
  TRY(at, free_port());
  TRY(directory, write_knot_files(at));
  return started("knot", {program, "-c", directory + "/knot.conf"}, at, directory);
}

Result<void> serve_tombolo(const Endpoint& at) {
  block_end_signals();
  dns::DnsSettings settings;
  settings.listen = {at};
  settings.zones.cluster = "east";
  TRY(server, dns::DnsServer::make(settings, make_logger(LogLevel::kWarning, false)));
  TRY(builder, dns::ZoneBuilder::make(settings.zones));
  for (int i = 0; i < kServices; ++i) {
    Frontend row = service_row(i);
    builder.apply(row.key(), &row);
  }
  builder.mark_synced();
  server->publish(builder.snapshot(1));
  TRY_OK(server->start());
  return wait_for_end();
}

Result<void> serve_floor(const Endpoint& at) {
  TRY(socket, dns::open_udp(at, {}));
  // Blocking: the floor has no second socket to look at.
  if (::fcntl(socket.fd.get(), F_SETFL, 0) != 0) return fail_errno(errno, "fcntl");
  answer_forever(socket.fd.get());
  return {};
}

}  // namespace tombolo::bench
