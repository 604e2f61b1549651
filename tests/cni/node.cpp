// Namespaces by threads that leave theirs; the agent's thread; the plugin by posix_spawn.
#include "tests/cni/node.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <future>

#include "app/netlink/netlink.h"

namespace tombolo::test {

Netns::Netns() {
  std::thread maker([this] {
    if (::unshare(CLONE_NEWNET) == 0)
      fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  });
  maker.join();
}
Netns::~Netns() {
  if (fd_ >= 0) ::close(fd_);
}
std::string Netns::path() const {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_);
}
void Netns::run(const std::function<void()>& body) const {
  std::exception_ptr thrown;
  std::thread visitor([&] {
    try {
      ENSURE(::setns(fd_, CLONE_NEWNET) == 0, "setns: errno {}", errno);
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  visitor.join();
  if (thrown) std::rethrow_exception(thrown);
}

TemporaryFolder::TemporaryFolder() : path_("/tmp/tombolo-cni-XXXXXX") {
  ENSURE(::mkdtemp(path_.data()) != nullptr);
}
TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;  // a folder that is gone already is as good
  std::filesystem::remove_all(path_, ignored);
}

struct Agent::Life {
  asio::io_context context;
  std::promise<Result<void>> started;
  std::shared_future<Result<void>> start_result = started.get_future().share();
  AgentTables tables;
  TaskGroup* tasks = nullptr;
  CniService* service = nullptr;
};

Agent::Agent(const Netns& node, const TemporaryFolder& folder, AgentOptions options)
    : socket_(folder.file("cni.sock")), life_(std::make_shared<Life>()) {
  std::string database = folder.file("leases.db");
  thread_ = std::thread(
      [this, &node, database, options] { node.run([&] { live(node, database, options); }); });
  life_->start_result.wait();
}

Agent::~Agent() {
  on_control_thread([this] {
    if (life_->tasks != nullptr) life_->tasks->cancel();
  });
  thread_.join();
}

Result<void> Agent::started() {
  return life_->start_result.get();
}

void Agent::on_control_thread(const std::function<void()>& work) {
  asio::post(life_->context, work);
}

namespace {

asio::awaitable<void> start(CniService& service, std::promise<Result<void>>& started) {
  started.set_value(co_await service.start());
}

}  // namespace

void Agent::live(const Netns&, const std::string& database, AgentOptions options) {
  Life& life = *life_;
  auto store = open_sqlite_lease_store(database);
  if (!store) {
    life.started.set_value(std::unexpected(store.error()));
    return;
  }
  auto net = make_netlink_net();
  auto clock = make_system_clock();
  TaskGroup tasks(life.context.get_executor());
  auto blocks = life.tables.node_blocks.take_writer("test");
  for (const auto& block : options.blocks) blocks.upsert({"n1", Prefix::parse(block).value()});
  blocks.mark_synced();
  InterfaceHooks none;
  CniSettings settings;
  settings.node = "n1";
  settings.cluster = "east";
  settings.socket_path = socket_;
  settings.dns_addresses = {Ip::parse("169.254.20.10").value()};
  settings.mtu = options.mtu;
  CniService service(settings, *net, **store, life.tables.node_blocks,
                     life.tables.attachments.take_writer("cni"),
                     options.hooks == nullptr ? none : *options.hooks, tasks, *clock, Logger());
  life.tasks = &tasks;
  life.service = &service;
  tasks.spawn("start", start(service, life.started));
  // Not run(): what was posted by the destructor ends it, also with work left to do.
  while (!tasks.cancelled() || tasks.size() > 0) life.context.run_one();
  life.tasks = nullptr;
}

std::map<std::string, Attachment> Agent::attachments() {
  std::promise<std::map<std::string, Attachment>> seen;
  on_control_thread([this, &seen] {
    std::map<std::string, Attachment> rows;
    for (const auto& [key, versioned] : life_->tables.attachments.rows())
      rows.emplace(key, versioned.row);
    seen.set_value(std::move(rows));
  });
  return seen.get_future().get();
}

std::size_t Agent::leases() {
  std::promise<std::size_t> seen;
  on_control_thread([this, &seen] { seen.set_value(life_->service->book().leases().size()); });
  return seen.get_future().get();
}

std::string plugin_path() {
  return std::string(TOMBOLO_BIN_DIR) + "/tombolo-cni";
}

std::string member(const PluginRun& run, std::string_view name) {
  auto parsed = parse_json(run.output);
  if (!parsed || !parsed->is_object()) return "no JSON object: " + run.output;
  const json::value* value = parsed->get_object().if_contains(name);
  if (value == nullptr) return "";
  return value->is_string() ? std::string(value->get_string()) : to_json(*value);
}

namespace {

std::vector<std::string> environment_of(const PluginCall& call) {
  std::vector<std::string> variables{"CNI_PATH=/usr/lib/cni"};
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) variables.push_back(fmt::format("{}={}", name, value));
  };
  add("CNI_COMMAND", call.command);
  add("CNI_CONTAINERID", call.container);
  add("CNI_NETNS", call.netns);
  add("CNI_IFNAME", call.interface_name);
  add("CNI_ARGS", call.args);
  // The sanitizer's own limits, when the build has one.
  if (const char* options = std::getenv("ASAN_OPTIONS")) add("ASAN_OPTIONS", options);
  return variables;
}

// Feeds `input` and gathers the output until both ends are closed.
std::string talk(int to, int from, std::string_view input) {
  std::string output;
  std::array<char, 65'536> buffer;
  while (true) {
    if (input.empty() && to >= 0) {
      ::close(to);
      to = -1;
    }
    std::array<pollfd, 2> wait{pollfd{from, POLLIN, 0}, pollfd{to, POLLOUT, 0}};
    if (::poll(wait.data(), 2, 120'000) <= 0) break;
    if (to >= 0 && (wait[1].revents & (POLLOUT | POLLERR)) != 0) {
      ssize_t sent = ::write(to, input.data(), std::min<std::size_t>(input.size(), 65'536));
      input = sent <= 0 ? std::string_view() : input.substr(static_cast<std::size_t>(sent));
    }
    if (wait[0].revents == 0) continue;
    ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got <= 0) break;
    output.append(buffer.data(), static_cast<std::size_t>(got));
  }
  if (to >= 0) ::close(to);
  return output;
}

}  // namespace

PluginRun run_plugin(const std::string& binary, const PluginCall& call) {
  auto variables = environment_of(call);
  std::vector<char*> environment;
  for (auto& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  ENSURE(::pipe2(in.data(), O_CLOEXEC) == 0 && ::pipe2(out.data(), O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  std::string name = binary;
  std::array<char*, 2> arguments{name.data(), nullptr};
  pid_t pid = -1;
  auto began = std::chrono::steady_clock::now();
  int error =
      ::posix_spawn(&pid, binary.c_str(), &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  ENSURE(error == 0, "start {}: errno {}", binary, error);
  PluginRun run;
  run.output = talk(in[1], out[0], call.input);
  ::close(out[0]);
  int status = 0;
  ENSURE(::waitpid(pid, &status, 0) == pid);
  run.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
  run.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

}  // namespace tombolo::test
