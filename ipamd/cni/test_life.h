// One life of the service for unit tests, over a kernel in memory and a real lease file whose
// commits fail on request.
#pragma once

#include <optional>

#include "ipamd/allocator/test_loop.h"
#include "ipamd/cni/fake_net.h"
#include "ipamd/cni/service.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::Command;

class RecordingHooks final : public InterfaceHooks {
 public:
  std::vector<std::string> events;
  bool refuse = false;
  asio::awaitable<Result<void>> before_up(Attachment attachment) override {
    events.push_back("before_up " + attachment.key());
    if (refuse) co_return fail(Code::kInternal, "no program");
    co_return Result<void>{};
  }
  asio::awaitable<void> removed(Attachment attachment) override {
    events.push_back("removed " + attachment.key());
    co_return;
  }
};

// One life of an agent's service.
class Life {
 public:
  Life(const Folder& folder, FakeNet& net, InterfaceHooks& hooks, Store& store,
       std::vector<std::string> blocks = {"10.7.0.0/29", "fd07::/64"}, bool synced = true,
       Store* adopted = nullptr, AddressProber* prober = nullptr,
       ContainerRuntime* runtime = nullptr, DeviceNet* devices = nullptr) {
    CniSettings settings;
    settings.node = "n1";
    settings.socket_path = folder.file("cni.sock");
    auto writer = tables_.node_blocks.take_writer("test");
    for (const auto& block : blocks) writer.upsert({"n1", Prefix::parse(block).value()});
    writer.upsert({"n2", Prefix::parse("10.9.0.0/24").value()});
    if (synced) writer.mark_synced();
    settings.dns_addresses = {Ip::parse("169.254.20.10").value()};
    service_.emplace(settings, net, store, tables_.node_blocks,
                     tables_.attachments.take_writer("cni"), hooks, loop_.tasks(), loop_.clock(),
                     Logger());
    if (prober != nullptr) service_->probe_with(*prober);
    if (runtime != nullptr) service_->ask_runtime(*runtime);
    if (devices != nullptr) service_->lend_devices(*devices, folder.file("devices"));
    if (adopted != nullptr) service_->keep_adoptions_in(*adopted);
    started_ = run(service_->start());
  }
  ~Life() { loop_.end(); }
  template <class T>
  T run(asio::awaitable<T> task) {
    return loop_.run(std::move(task));
  }
  Answer<json::object> call(Command command, const std::string& container,
                            const std::string& netns = "/run/netns/a") {
    return run(service_->handle(call_of(command, container, netns)));
  }
  static Call call_of(Command command, const std::string& container, const std::string& netns) {
    Call call;
    call.command = command;
    call.cni_version = "1.1.0";
    call.network = "pods";
    call.container_id = container;
    call.interface_name = "eth0";
    call.netns_path = netns;
    if (command == Command::kCheck) call.previous.emplace();
    return call;
  }
  int code(Command command, const std::string& container,
           const std::string& netns = "/run/netns/a") {
    auto answer = call(command, container, netns);
    return answer ? 0 : answer.error().code;
  }
  Answer<json::object> call(Call call) { return run(service_->handle(std::move(call))); }
  template <class Condition>
  bool reaches(Condition condition, std::chrono::milliseconds within = std::chrono::seconds(5)) {
    return loop_.reaches(std::move(condition), within);
  }
  void spawn(asio::awaitable<void> task) { loop_.tasks().spawn("test", std::move(task)); }
  CniService& service() { return *service_; }
  const Result<void>& started() const { return started_; }
  const Table<Attachment>& attachments() const { return tables_.attachments; }
  std::size_t in_use() {
    return service_->book().allocator().pool(kNodePool)->usage(Family::kV4).in_use;
  }

 private:
  TestLoop loop_;
  AgentTables tables_;
  std::optional<CniService> service_;
  Result<void> started_;
};

}  // namespace tombolo
