// The service over a kernel in memory and a real lease file: failures at every step leave nothing,
// a restart finishes or undoes what a crash interrupted, hooks come at their moment.
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/cni/interface.h"
#include "ipamd/cni/test_life.h"

namespace tombolo {
namespace {

TEST_CASE("an ADD that fails at any step leaves nothing behind") {
  struct Case {
    std::string name;
    std::string failing;  // the kernel's operation, "hook" or "disk"
    int code;
    std::string message;
  };
  auto test = GENERATE(values<Case>({
      {"no MTU", "uplink_mtu", cni::kTryLater, "internal: broken"},
      {"no veth", "create_veth eth0", cni::kKernelRefused, "internal: broken"},
      {"the datapath", "hook", cni::kHookRefused, "internal: no program"},
      {"the host's end", "set_up host", cni::kKernelRefused, "internal: broken"},
      {"the pod's end", "set_up eth0", cni::kKernelRefused, "internal: broken"},
      {"the disk", "disk", cni::kIoFailure, "resource exhausted: disk full"},
  }));
  INFO(test.name);
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a"};
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  Life life(folder, net, hooks, store);
  REQUIRE(life.started());
  net.before = [&](const std::string& operation) -> Result<void> {
    if (operation == test.failing) return fail(Code::kInternal, "broken");
    return {};
  };
  hooks.refuse = test.failing == "hook";
  store.refuse = test.failing == "disk";
  auto answer = life.call(Command::kAdd, "a");
  REQUIRE(!answer);
  REQUIRE(answer.error().message == test.message);
  REQUIRE(answer.error().code == test.code);
  REQUIRE(net.link_count() == 0);
  REQUIRE(life.in_use() == 0);
  REQUIRE(life.attachments().size() == 0);
  if (test.failing == "disk") REQUIRE(life.code(Command::kStatus, "") == cni::kNotAvailable);
  // Then it works.
  net.before = [](const std::string&) { return Result<void>{}; };
  hooks.refuse = false;
  store.refuse = false;
  REQUIRE(life.code(Command::kAdd, "a") == 0);
  REQUIRE(life.code(Command::kStatus, "") == 0);
  REQUIRE(life.attachments().size() == 1);
}

TEST_CASE("addresses stay taken while the kernel may still have the interface") {
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a"};
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  Life life(folder, net, hooks, store);
  net.before = [&](const std::string& operation) -> Result<void> {
    if (operation == "set_up eth0" || operation == "delete") return fail(Code::kInternal, "broken");
    return {};
  };
  REQUIRE(life.code(Command::kAdd, "a") == cni::kKernelRefused);
  REQUIRE(life.in_use() == 1);
  REQUIRE(life.code(Command::kDel, "a") == cni::kKernelRefused);
  REQUIRE(life.in_use() == 1);
  net.before = [](const std::string&) { return Result<void>{}; };
  // The runtime may try the same ADD again: it gets the same lease.
  REQUIRE(life.code(Command::kAdd, "a") == 0);
  REQUIRE(life.in_use() == 1);
  REQUIRE(life.code(Command::kDel, "a") == 0);
  REQUIRE(net.link_count() == 0);
  REQUIRE(life.reaches([&] { return life.in_use() == 0; }));
}

TEST_CASE("a DEL whose erasure the disk refuses: nobody gets the address, and it is tried again") {
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a"};
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  Life life(folder, net, hooks, store);
  REQUIRE(life.code(Command::kAdd, "a") == 0);
  store.refuse = true;
  // The first one is answered before the disk refuses; after that they wait for it.
  REQUIRE(life.code(Command::kDel, "a") == 0);
  REQUIRE(life.reaches([&] { return !life.service().book().journal().trouble().empty(); }));
  REQUIRE(life.in_use() == 1);
  REQUIRE(life.attachments().rows().empty());
  REQUIRE(life.code(Command::kDel, "a") == cni::kTryLater);
  REQUIRE(life.in_use() == 1);
  store.refuse = false;
  SECTION("by the next DEL") {
    REQUIRE(life.code(Command::kDel, "a") == 0);
    REQUIRE(life.in_use() == 0);
  }
  SECTION("by itself") {
    REQUIRE(life.reaches([&] { return life.in_use() == 0; }));
  }
}

TEST_CASE("a DEL does not wait for the disk; whoever wants the address does") {
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a", "/run/netns/b"};
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  std::optional<int> added;
  Life life(folder, net, hooks, store, {"10.7.0.0/32"});
  REQUIRE(life.code(Command::kAdd, "a") == 0);
  // Whatever was queued is on the disk, so that nothing but the erasure is slow.
  auto& journal = life.service().book().journal();
  REQUIRE(life.reaches([&] { return journal.batches_written() >= 2; }));
  store.slow = true;
  auto free_again = [&] {
    store.slow = false;
    store.slow.notify_all();
  };
  int deleted = life.code(Command::kDel, "a");
  std::size_t in_use = life.in_use();
  life.spawn([](Life& one, std::optional<int>& code) -> asio::awaitable<void> {
    Call call = Life::call_of(Command::kAdd, "b", "/run/netns/b");
    auto answer = co_await one.service().handle(std::move(call));
    code = answer ? 0 : answer.error().code;
  }(life, added));
  bool early = life.reaches([&] { return added.has_value(); }, std::chrono::milliseconds(100));
  free_again();
  REQUIRE(deleted == 0);
  REQUIRE(in_use == 1);
  REQUIRE(!early);
  REQUIRE(life.reaches([&] { return added.has_value(); }));
  REQUIRE(*added == 0);
  REQUIRE(life.service().book().find("b/eth0")->attachment.ips.at(0).str() == "10.7.0.0");
}

// What a power cut leaves when it comes between the answer to a DEL and the sync: the lease.
TEST_CASE("an erasure that was lost after its DEL: recovery frees it, nobody has it twice") {
  bool namespace_is_gone = GENERATE(true, false);
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a", "/run/netns/b"};
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  {
    Life life(folder, net, hooks, store);
    REQUIRE(life.code(Command::kAdd, "a") == 0);
    REQUIRE(life.reaches([&] { return life.service().book().journal().batches_written() >= 2; }));
    store.refuses = [](const LeaseChange& change) {
      return std::holds_alternative<EraseLease>(change);
    };
    REQUIRE(life.code(Command::kDel, "a") == 0);
  }
  store.refuses = nullptr;
  net.remove_namespace("/run/netns/a");
  if (!namespace_is_gone) net.namespaces.insert("/run/netns/a");
  Life life(folder, net, hooks, store);
  REQUIRE(life.started());
  REQUIRE(life.in_use() == 1);
  REQUIRE(life.code(Command::kAdd, "b", "/run/netns/b") == 0);
  auto a = life.service().book().find("a/eth0");
  auto b = life.service().book().find("b/eth0");
  REQUIRE((!a || a->attachment.ips != b->attachment.ips));
  if (namespace_is_gone) {
    REQUIRE(life.reaches([&] { return life.in_use() == 1; }));
    REQUIRE(!life.service().book().find("a/eth0"));
  } else {
    // The same path again, as a process id after a restart: it is kept until a DEL, or its end.
    REQUIRE(life.code(Command::kDel, "a") == 0);
    REQUIRE(life.reaches([&] { return life.in_use() == 1; }));
  }
}

TEST_CASE("hooks come before the interface is up and after it is gone") {
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a"};
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  Life life(folder, net, hooks, store);
  net.before = [&](const std::string& operation) -> Result<void> {
    hooks.events.push_back(operation);
    return {};
  };
  REQUIRE(life.code(Command::kAdd, "a") == 0);
  REQUIRE(hooks.events == std::vector<std::string>{"uplink_mtu", "create_veth eth0",
                                                   "before_up a/eth0", "set_up host",
                                                   "set_up eth0"});
  hooks.events.clear();
  REQUIRE(life.code(Command::kDel, "a") == 0);
  REQUIRE(hooks.events == std::vector<std::string>{"delete", "removed a/eth0"});
}

TEST_CASE("a restart finishes what is complete, undoes what is not, and removes orphans") {
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a", "/run/netns/b", "/run/netns/c"};
  RecordingHooks hooks;
  std::vector<Attachment> rows;
  {
    Store store(folder.file("leases.db"));
    Life life(folder, net, hooks, store);
    for (const char* name : {"a", "b", "c"})
      REQUIRE(life.code(Command::kAdd, name, std::string("/run/netns/") + name) == 0);
    for (const auto& [key, lease] : life.service().book().leases())
      rows.push_back(lease.attachment);
    std::ranges::sort(rows, {}, &Attachment::key);
  }
  {
    // As if the daemon had died before the marks were written.
    Store store(folder.file("leases.db"));
    auto stored = store.load().value();
    REQUIRE(stored.leases.size() == 3);
    auto leases = stored.leases.all().value();
    for (Lease lease : leases) {
      lease.state = LeaseState::kReserved;
      REQUIRE(store.commit({PutLease{lease}}));
    }
  }
  // b's interface was not complete, c's namespace cannot be looked at.
  InterfaceSetup bare;
  bare.name = "eth0";
  REQUIRE(net.set_up_interface("/run/netns/b", bare));
  net.add_host_link("tbo0123456789ab");
  net.add_host_link("tbox");  // not a name that we give
  int reads = 0;
  net.before = [&](const std::string& operation) -> Result<void> {
    // Leases are looked at in the order of their keys: a, b, c; two reads each.
    if (operation.starts_with("read") && ++reads > 4) return fail(Code::kInternal, "not now");
    return {};
  };
  Store store(folder.file("leases.db"));
  Life life(folder, net, hooks, store);
  REQUIRE(life.started());
  net.before = [](const std::string&) { return Result<void>{}; };
  const auto& leases = life.service().book().leases();
  REQUIRE(leases.size() == 2);
  REQUIRE(leases.at("a/eth0").state == LeaseState::kAttached);
  REQUIRE(leases.at("c/eth0").state == LeaseState::kReserved);
  REQUIRE(life.attachments().synced());
  REQUIRE(life.attachments().size() == 1);
  REQUIRE(*life.attachments().find("a/eth0") == rows.at(0));
  REQUIRE(net.link_count() == 5);  // two pairs and tbox
  // c is asked for again: the same addresses.
  REQUIRE(life.code(Command::kAdd, "c", "/run/netns/c") == 0);
  REQUIRE(life.attachments().find("c/eth0")->ips == rows.at(2).ips);
}

TEST_CASE("without the cluster's store the last blocks hold; with it the new ones") {
  Folder folder;
  FakeNet net;
  net.namespaces = {"/run/netns/a", "/run/netns/b", "/run/netns/c"};
  RecordingHooks hooks;
  {
    Store store(folder.file("leases.db"));
    Life life(folder, net, hooks, store);
    REQUIRE(life.code(Command::kAdd, "a") == 0);
  }
  {
    Store store(folder.file("leases.db"));
    Life life(folder, net, hooks, store, {}, false);
    REQUIRE(life.code(Command::kStatus, "") == 0);
    REQUIRE(life.code(Command::kAdd, "b", "/run/netns/b") == 0);
    REQUIRE(life.attachments().find("b/eth0")->ips.at(0) == Ip::parse("10.7.0.2").value());
  }
  Store store(folder.file("leases.db"));
  Life life(folder, net, hooks, store, {"10.8.0.0/29", "fd08::/64"});
  REQUIRE(life.code(Command::kAdd, "c", "/run/netns/c") == 0);
  REQUIRE(life.attachments().find("c/eth0")->ips.at(0) == Ip::parse("10.8.0.1").value());
  REQUIRE(life.attachments().size() == 3);
}

TEST_CASE("a node without blocks is not ready") {
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  Life life(folder, net, hooks, store, {});
  auto status = life.call(Command::kStatus, "");
  REQUIRE(status.error() == cni::Failure{50, "this node has no block of addresses yet", ""});
  REQUIRE(life.code(Command::kAdd, "a") == cni::kTryLater);
  REQUIRE(life.code(Command::kDel, "a") == 0);
}

TEST_CASE("names and MAC addresses of an interface are stable and differ") {
  REQUIRE(cni::host_interface_name("tbo", "a/eth0") == cni::host_interface_name("tbo", "a/eth0"));
  std::set<std::string> names;
  std::set<std::string> macs;
  for (int i = 0; i < 5000; ++i) {
    std::string key = "c" + std::to_string(i) + "/eth0";
    std::string name = cni::host_interface_name("tbo", key);
    REQUIRE(name.size() == 15);
    REQUIRE(names.insert(name).second);
    REQUIRE(macs.insert(cni::pod_mac(key)).second);
    REQUIRE(macs.insert(cni::host_mac(key)).second);
  }
}

}  // namespace
}  // namespace tombolo
