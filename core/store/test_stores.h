// Stores for tests: the embedded server and Debian's etcd, each in a temporary folder on a free
// loopback port, gone when the object is. Test code only.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/store/engine.h"
#include "core/store/server.h"

namespace tombolo {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A port that nobody listens on now.
int free_port();
// Until the store there answers a linearizable read; false when it does not within half a minute.
bool wait_until_serving(const std::string& address);
// The path of a program, empty when it is not installed.
std::string find_program(const std::string& name);

// A child process, killed when the object goes.
class Process {
 public:
  static Result<Process> start(const std::vector<std::string>& arguments,
                               const std::filesystem::path& output);
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Process& operator=(Process&& other) noexcept;
  ~Process() { kill(); }
  void kill();  // SIGKILL, and waits
  pid_t pid() const { return pid_; }

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
};

struct Ran {
  int status = -1;     // exit status; -1: it did not end in time
  std::string output;  // standard output and error
};
Ran run_program(const std::vector<std::string>& arguments,
                const std::vector<std::string>& environment = {},
                std::chrono::seconds limit = std::chrono::seconds(20));

class TestStore {
 public:
  virtual ~TestStore() = default;
  virtual std::vector<std::string> endpoints() const = 0;
};

class EmbeddedStore final : public TestStore {
 public:
  explicit EmbeddedStore(EngineOptions engine = {}, StoreServerOptions server = {});
  ~EmbeddedStore() override;
  std::vector<std::string> endpoints() const override;
  Engine& engine() { return *engine_; }
  StoreServer& server() { return *server_; }
  const std::filesystem::path& file() const { return options_.file; }
  // The same file and port again, as after a restart of the daemon.
  void restart();
  void stop();
  void start();

 private:
  TempDir dir_;
  EngineOptions options_;
  StoreServerOptions server_options_;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<StoreServer> server_;
};

// `members` processes; null when etcd is not installed.
class EtcdStore final : public TestStore {
 public:
  static std::unique_ptr<EtcdStore> start(int members = 1);
  // One member, from a snapshot by `etcdctl snapshot restore`; null without etcd or etcdctl.
  static std::unique_ptr<EtcdStore> start_from(const std::filesystem::path& snapshot);
  std::vector<std::string> endpoints() const override;
  void kill_member(std::size_t index) { processes_[index].kill(); }
  // With the data and the port that it had; returns when it serves again.
  void restart_member(std::size_t index);
  pid_t pid(std::size_t index) const { return processes_[index].pid(); }

 private:
  EtcdStore() = default;
  static std::unique_ptr<EtcdStore> start(int members, const std::filesystem::path& snapshot);
  TempDir dir_;
  std::vector<int> ports_;
  std::vector<std::vector<std::string>> arguments_;
  std::vector<Process> processes_;
};

// Certificates of a fleet "test": made with the openssl program into `dir`; false without it.
// authority.pem, and NAME.pem and NAME.key for every name.
struct CertificateWish {
  std::string name;
  std::string uri;        // its URI name, or empty
  std::string unit = "";  // OU of its subject
};
bool make_certificates(const std::filesystem::path& dir,
                       const std::vector<CertificateWish>& wishes);
TlsFiles tls_files(const std::filesystem::path& dir, const std::string& name);

}  // namespace tombolo
