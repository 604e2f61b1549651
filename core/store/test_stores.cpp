// Processes, folders and certificates of the tests.
#include "core/store/test_stores.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "schema/etcd/rpc.grpc.pb.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

// gRPC tells of every refused handshake on standard error; the tests refuse many on purpose.
[[maybe_unused]] const int kQuiet = ::setenv("GRPC_VERBOSITY", "NONE", 0);

pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
            const std::filesystem::path& output) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid != 0) return pid;
  // A test that crashes must not leave its processes behind.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(out, 1);
  ::dup2(out, 2);
  for (const std::string& entry : environment) ::putenv(const_cast<char*>(entry.c_str()));
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

bool wait_until_serving(const std::string& address) {
  auto stub =
      etcdserverpb::KV::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  auto end = std::chrono::steady_clock::now() + 30s;
  while (std::chrono::steady_clock::now() < end) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 1s);
    context.set_wait_for_ready(true);
    etcdserverpb::RangeRequest request;
    request.set_key("x");
    etcdserverpb::RangeResponse response;
    if (stub->Range(&context, request, &response).ok()) return true;
  }
  return false;
}

TempDir::TempDir() {
  std::string name = "/tmp/tombolo-store-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;  // nothing to be done in a destructor
  std::filesystem::remove_all(path_, ignored);
}

int free_port() {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no free port");
  ::close(fd);
  return ntohs(address.sin_port);
}

std::string find_program(const std::string& name) {
  std::stringstream path(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "/usr/bin:/bin");
  std::string dir;
  while (std::getline(path, dir, ':'))
    if (std::string file = dir + "/" + name; ::access(file.c_str(), X_OK) == 0) return file;
  return "";
}

Result<Process> Process::start(const std::vector<std::string>& arguments,
                               const std::filesystem::path& output) {
  pid_t pid = spawn(arguments, {}, output);
  if (pid < 0) return fail_errno(errno, "fork");
  return Process(pid);
}

Process& Process::operator=(Process&& other) noexcept {
  kill();
  pid_ = std::exchange(other.pid_, -1);
  return *this;
}

void Process::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Ran run_program(const std::vector<std::string>& arguments,
                const std::vector<std::string>& environment, std::chrono::seconds limit) {
  TempDir dir;
  pid_t pid = spawn(arguments, environment, dir.path() / "output");
  auto end = std::chrono::steady_clock::now() + limit;
  int status = 0;
  Ran ran;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      ran.output = read_file(dir.path() / "output") + "\n(did not end in time)";
      return ran;
    }
    std::this_thread::sleep_for(5ms);
  }
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  ran.output = read_file(dir.path() / "output");
  return ran;
}

EmbeddedStore::EmbeddedStore(EngineOptions engine, StoreServerOptions server)
    : options_(std::move(engine)), server_options_(std::move(server)) {
  if (options_.file.empty()) options_.file = dir_.path() / "store.db";
  if (server_options_.addresses.empty()) server_options_.addresses = {"127.0.0.1:0"};
  start();
}

EmbeddedStore::~EmbeddedStore() {
  stop();
}

void EmbeddedStore::start() {
  auto engine = Engine::open(options_, *clock_, Logger());
  if (!engine) throw std::runtime_error(engine.error().text());
  engine_ = std::move(*engine);
  auto server = StoreServer::start(server_options_, *engine_, Logger());
  if (!server) throw std::runtime_error(server.error().text());
  server_ = std::move(*server);
  // The next start takes the same port.
  server_options_.addresses = {fmt::format("127.0.0.1:{}", server_->ports()[0])};
}

void EmbeddedStore::stop() {
  if (server_) server_->stop(0ms);
  server_.reset();
  engine_.reset();
}

void EmbeddedStore::restart() {
  stop();
  start();
}

std::vector<std::string> EmbeddedStore::endpoints() const {
  return server_options_.addresses;
}

std::unique_ptr<EtcdStore> EtcdStore::start(int members) {
  return start(members, "");
}

std::unique_ptr<EtcdStore> EtcdStore::start_from(const std::filesystem::path& snapshot) {
  return find_program("etcdctl").empty() ? nullptr : start(1, snapshot);
}

std::unique_ptr<EtcdStore> EtcdStore::start(int members, const std::filesystem::path& snapshot) {
  std::string program = find_program("etcd");
  if (program.empty()) return nullptr;
  std::unique_ptr<EtcdStore> store(new EtcdStore());
  std::string cluster;
  std::vector<std::string> peers;
  for (int i = 0; i < members; ++i) {
    store->ports_.push_back(free_port());
    peers.push_back(fmt::format("http://127.0.0.1:{}", free_port()));
    cluster += fmt::format("{}m{}={}", i == 0 ? "" : ",", i, peers.back());
  }
  if (!snapshot.empty()) {
    Ran restored =
        run_program({"etcdctl", "snapshot", "restore", snapshot.string(), "--name", "m0",
                     "--data-dir", (store->dir_.path() / "m0").string(), "--initial-cluster",
                     cluster, "--initial-cluster-token", store->dir_.path().string(),
                     "--initial-advertise-peer-urls", peers[0]},
                    {"ETCDCTL_API=3"});
    if (restored.status != 0) throw std::runtime_error("etcdctl restore: " + restored.output);
  }
  for (int i = 0; i < members; ++i) {
    auto index = static_cast<std::size_t>(i);
    std::string client = fmt::format("http://127.0.0.1:{}", store->ports_[index]);
    store->arguments_.push_back(
        {program, "--name", fmt::format("m{}", i), "--data-dir",
         (store->dir_.path() / fmt::format("m{}", i)).string(), "--listen-client-urls", client,
         "--advertise-client-urls", client, "--listen-peer-urls", peers[index],
         "--initial-advertise-peer-urls", peers[index], "--initial-cluster", cluster,
         "--initial-cluster-token", store->dir_.path().string(), "--log-level", "error"});
    auto process = Process::start(store->arguments_.back(), store->dir_.path() / "log");
    if (!process) throw std::runtime_error(process.error().text());
    store->processes_.push_back(std::move(*process));
  }
  for (const std::string& endpoint : store->endpoints())
    if (!wait_until_serving(endpoint))
      throw std::runtime_error("etcd does not serve: " + read_file(store->dir_.path() / "log"));
  return store;
}

void EtcdStore::restart_member(std::size_t index) {
  auto process = Process::start(arguments_[index], dir_.path() / "log");
  if (!process) throw std::runtime_error(process.error().text());
  processes_[index] = std::move(*process);
  if (!wait_until_serving(endpoints()[index]))
    throw std::runtime_error("etcd does not serve: " + read_file(dir_.path() / "log"));
}

std::vector<std::string> EtcdStore::endpoints() const {
  std::vector<std::string> all;
  for (int port : ports_) all.push_back(fmt::format("127.0.0.1:{}", port));
  return all;
}

bool make_certificates(const std::filesystem::path& dir,
                       const std::vector<CertificateWish>& wishes) {
  std::string openssl = find_program("openssl");
  if (openssl.empty()) return false;
  auto file = [&](const std::string& name) { return (dir / name).string(); };
  std::vector<std::string> key{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"};
  std::vector<std::string> authority{openssl,
                                     "req",
                                     "-x509",
                                     "-subj",
                                     "/CN=test authority",
                                     "-keyout",
                                     file("authority.key"),
                                     "-out",
                                     file("authority.pem"),
                                     "-days",
                                     "2"};
  authority.insert(authority.end(), key.begin(), key.end());
  if (run_program(authority).status != 0) return false;
  for (const CertificateWish& wish : wishes) {
    std::ofstream(file(wish.name + ".ext")) << "subjectAltName=IP:127.0.0.1,DNS:localhost"
                                            << (wish.uri.empty() ? "" : ",URI:" + wish.uri) << "\n";
    std::string subject = "/CN=" + wish.name + (wish.unit.empty() ? "" : "/OU=" + wish.unit);
    std::vector<std::string> request{openssl,
                                     "req",
                                     "-new",
                                     "-subj",
                                     subject,
                                     "-keyout",
                                     file(wish.name + ".key"),
                                     "-out",
                                     file(wish.name + ".csr")};
    request.insert(request.end(), key.begin(), key.end());
    if (run_program(request).status != 0) return false;
    Ran signing = run_program({openssl, "x509", "-req", "-in", file(wish.name + ".csr"), "-CA",
                               file("authority.pem"), "-CAkey", file("authority.key"),
                               "-CAcreateserial", "-days", "2", "-extfile",
                               file(wish.name + ".ext"), "-out", file(wish.name + ".pem")});
    if (signing.status != 0) return false;
  }
  return true;
}

TlsFiles tls_files(const std::filesystem::path& dir, const std::string& name) {
  TlsFiles files;
  files.certificate = dir / (name + ".pem");
  files.key = dir / (name + ".key");
  files.authority = dir / "authority.pem";
  files.reload_interval_s = 1;
  return files;
}

}  // namespace tombolo
