// A node for tests: a network namespace with an agent's CNI service in it, pods' namespaces, and
// the real plugin binary. Everything is gone when the objects are: namespaces are kept by
// descriptors of this process only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>

#include "core/json.h"
#include "core/tables.h"
#include "ipamd/cni/service.h"

namespace tombolo::test {

class Netns {
 public:
  Netns();
  ~Netns();
  Netns(const Netns&) = delete;
  Netns& operator=(const Netns&) = delete;
  bool made() const { return fd_ >= 0; }
  std::string path() const;
  // Runs `body` on a thread of its own in the namespace and waits; what it throws is thrown again.
  void run(const std::function<void()>& body) const;

 private:
  int fd_ = -1;
};

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct AgentOptions {
  std::vector<std::string> blocks{"10.7.0.0/24", "fd07::/64"};
  std::uint32_t mtu = 1450;
  InterfaceHooks* hooks = nullptr;
};

// One life of an agent, on a thread inside the node's namespace. Its end is as abrupt for the
// state on disk and in the kernel as a kill.
class Agent {
 public:
  Agent(const Netns& node, const TemporaryFolder& folder, AgentOptions options = {});
  ~Agent();
  Result<void> started();  // waits for start()
  const std::string& socket() const { return socket_; }
  // The attachments table by key.
  std::map<std::string, Attachment> attachments();
  std::size_t leases();

 private:
  struct Life;
  void live(const Netns& node, const std::string& database, AgentOptions options);
  void on_control_thread(const std::function<void()>& work);

  std::string socket_;
  std::shared_ptr<Life> life_;
  std::thread thread_;
};

struct PluginRun {
  int exit_status = -1;
  std::string output;
  double milliseconds = 0;
};

struct PluginCall {
  std::string command;
  std::string container;
  std::string netns;
  std::string interface_name = "eth0";
  std::string args;
  std::string input;
};
// Runs a CNI plugin as a runtime would. `binary` is a path.
PluginRun run_plugin(const std::string& binary, const PluginCall& call);
std::string plugin_path();
// A member of the JSON object that a plugin printed: a string as it is, anything else as JSON.
std::string member(const PluginRun& run, std::string_view name);

}  // namespace tombolo::test
