// Benchmark `cni`: ADD and DEL of addresses in turn with host-local's; the plugin's ADD beside
// Debian's host-local (which only picks an address) and ptp (which, like us, makes a veth pair),
// interleaved in one run; and durable allocations per second of one agent. Needs root and the
// package containernetworking-plugins.
//
//   bench_cni [--folder DIR] [--rounds N] [--allocations N]
//
// Prints figures, then lines `goal: NAME = VALUE UNIT (bound OP NUMBER) ok|short`. Exit status 1
// when something could not be measured; a goal that is short is not an error here.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>

#include "tests/cni/node.h"

namespace tombolo::test {
namespace {

struct Options {
  std::string folder = "/var/tmp";
  int rounds = 300;
  int allocations = 200'000;
};

class Folder {
 public:
  explicit Folder(const std::string& parent) : path_(parent + "/tombolo-bench-XXXXXX") {
    ENSURE(::mkdtemp(path_.data()) != nullptr, "make a folder in {}", parent);
  }
  ~Folder() {
    std::error_code ignored;  // what cannot be removed is left to the system's cleaner
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void goal(const std::string& name, double value, const std::string& unit, const std::string& op,
          double bound) {
  bool ok = op == "<=" ? value <= bound : value >= bound;
  fmt::print("goal: {} = {:.3g} {} (bound {} {:.6g}) {}\n", name, value, unit, op, bound,
             ok ? "ok" : "short");
}

struct Series {
  std::string name;
  std::vector<double> milliseconds;
  double at(double quantile) {
    std::ranges::sort(milliseconds);
    auto last = static_cast<double>(milliseconds.size() - 1);
    return milliseconds.at(static_cast<std::size_t>(last * quantile));
  }
  void print() {
    fmt::print("{:<32} p50 {:6.2f} ms  p99 {:6.2f} ms  ({} runs)\n", name, at(0.5), at(0.99),
               milliseconds.size());
  }
};

bool timed(Series& series, const std::string& binary, const PluginCall& call) {
  PluginRun run = run_plugin(binary, call);
  if (run.exit_status != 0) {
    fmt::print(stderr, "{} {}: {}\n", binary, call.command, run.output);
    return false;
  }
  series.milliseconds.push_back(run.milliseconds);
  return true;
}

bool measure_add(const Options& options, const Folder& folder) {
  Netns node;
  Netns pod;
  Netns peer_node;
  if (!node.made() || !pod.made() || !peer_node.made()) {
    fmt::print(stderr, "needs the right to make network namespaces (root)\n");
    return false;
  }
  for (const char* peer : {"host-local", "ptp"})
    if (::access(fmt::format("/usr/lib/cni/{}", peer).c_str(), X_OK) != 0) {
      fmt::print(stderr, "needs /usr/lib/cni/{}: apt-get install containernetworking-plugins\n",
                 peer);
      return false;
    }
  TemporaryFolder socket_folder;
  Agent agent(node, socket_folder);
  if (auto started = agent.started(); !started) {
    fmt::print(stderr, "{}\n", started.error().text());
    return false;
  }
  std::string ours =
      fmt::format(R"({{"cniVersion":"1.0.0","name":"bench","type":"tombolo-cni","socket":"{}"}})",
                  agent.socket());
  std::string ranges = fmt::format(
      R"("ipam":{{"type":"host-local","dataDir":"{}","ranges":[[{{"subnet":"10.99.0.0/16"}}],)"
      R"([{{"subnet":"fd99::/64"}}]]}})",
      folder.path());
  std::string host_local =
      fmt::format(R"({{"cniVersion":"1.0.0","name":"bench","type":"host-local",{}}})", ranges);
  // ptp waits a second or two for IPv6's duplicate address detection: it is measured with IPv4.
  std::string ptp = fmt::format(
      R"({{"cniVersion":"1.0.0","name":"ptp","type":"ptp","ipam":{{"type":"host-local",)"
      R"("dataDir":"{}","ranges":[[{{"subnet":"10.98.0.0/16"}}]]}}}})",
      folder.path());
  Series plugin{"tombolo-cni ADD (veth, durable)", {}};
  Series local{"host-local ADD (address only)", {}};
  Series pair{"ptp ADD (veth, IPv4 only)", {}};
  Series removal{"tombolo-cni DEL", {}};
  bool fine = true;
  for (int round = 0; fine && round < options.rounds; ++round) {
    std::string id = fmt::format("c{}", round);
    PluginCall call{"ADD", id, pod.path(), "eth0", "", ours};
    fine = timed(plugin, plugin_path(), call);
    call.input = host_local;
    fine = fine && timed(local, "/usr/lib/cni/host-local", call);
    call.command = "DEL";
    fine = fine && run_plugin("/usr/lib/cni/host-local", call).exit_status == 0;
    call.input = ours;
    fine = fine && timed(removal, plugin_path(), call);
    // ptp works in the namespace it is started in.
    PluginCall other{"ADD", "p" + id, pod.path(), "eth0", "", ptp};
    peer_node.run([&] {
      fine = fine && timed(pair, "/usr/lib/cni/ptp", other);
      other.command = "DEL";
      fine = fine && run_plugin("/usr/lib/cni/ptp", other).exit_status == 0;
    });
  }
  if (!fine) return false;
  for (Series* series : {&plugin, &local, &pair, &removal}) series->print();
  goal("cni_add_p50", plugin.at(0.5), "ms", "<=", local.at(0.5));
  goal("cni_add_p99", plugin.at(0.99), "ms", "<=", local.at(0.99));
  goal("cni_add_p50_of_ptp", plugin.at(0.5) / pair.at(0.5), "x", "<=", 1.0);
  return true;
}

// Addresses only, as other plugins ask for them: ADD and DEL, in turn with host-local's.
bool measure_addresses(const Options& options, const Folder& folder) {
  Netns node;
  Netns pod;
  if (!node.made() || !pod.made()) return false;
  TemporaryFolder agent_folder;
  Agent agent(node, agent_folder);
  if (auto started = agent.started(); !started) {
    fmt::print(stderr, "{}\n", started.error().text());
    return false;
  }
  struct Subject {
    std::string binary;
    std::string config;
    Series add;
    Series del;
  };
  std::vector<Subject> subjects(2);
  subjects[0] = {plugin_path(),
                 fmt::format(R"({{"cniVersion":"1.0.0","name":"bench","type":"bridge","ipam":)"
                             R"({{"type":"tombolo-cni","socket":"{}"}}}})",
                             agent.socket()),
                 {"tombolo-cni ADD (address only)", {}},
                 {"tombolo-cni DEL (address only)", {}}};
  subjects[1] = {
      "/usr/lib/cni/host-local",
      fmt::format(R"({{"cniVersion":"1.0.0","name":"turns","type":"bridge","ipam":)"
                  R"({{"type":"host-local","dataDir":"{}","ranges":[[{{"subnet":"10.97.0.0/16"}}],)"
                  R"([{{"subnet":"fd97::/64"}}]]}}}})",
                  folder.path()),
      {"host-local ADD (address only)", {}},
      {"host-local DEL (address only)", {}}};
  for (int round = 0; round < options.rounds; ++round)
    for (const char* command : {"ADD", "DEL"})
      for (int turn = 0; turn < 2; ++turn) {
        Subject& subject = subjects.at(static_cast<std::size_t>((round + turn) % 2));
        PluginCall call{command, fmt::format("a{}", round), pod.path(), "eth0", "", subject.config};
        Series& series = call.command == "ADD" ? subject.add : subject.del;
        if (!timed(series, subject.binary, call)) return false;
      }
  for (Subject& subject : subjects)
    for (Series* series : {&subject.add, &subject.del}) series->print();
  for (auto [name, quantile] : {std::pair("p50", 0.5), std::pair("p99", 0.99)}) {
    goal(fmt::format("cni_addresses_add_{}_over_host_local", name),
         subjects[0].add.at(quantile) / subjects[1].add.at(quantile), "x", "<=", 1.0);
    goal(fmt::format("cni_addresses_del_{}_over_host_local", name),
         subjects[0].del.at(quantile) / subjects[1].del.at(quantile), "x", "<=", 1.0);
  }
  return true;
}

asio::awaitable<void> client(LeaseBook& book, int number, int& left) {
  for (int i = 0; left > 0; ++i) {
    --left;
    Lease lease;
    lease.network = "bench";
    Attachment& attachment = lease.attachment;
    // The lengths that a runtime's rows have.
    attachment.container_id =
        fmt::format("{:016x}{:048x}", std::hash<int>{}(i) * 0x9e3779b97f4a7c15ULL, number);
    attachment.interface_name = "eth0";
    attachment.name_space = "default";
    attachment.pod_name = fmt::format("shop-5d8f7c6b9-{:05}", i);
    attachment.pod_uid = "0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11";
    attachment.node = "node-1";
    attachment.netns_path = "/var/run/netns/cni-0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11";
    attachment.host_interface = "tbo0123456789ab";
    attachment.mac = "02:00:00:00:00:01";
    auto reservation = book.reserve(std::move(lease), kNodePool, {});
    ENSURE(reservation, "{}", reservation.error().text());
    auto durable = co_await book.durable(reservation->ticket);
    ENSURE(durable, "{}", durable.error().text());
  }
}

// Clients that wait for the disk after each allocation, as plugins do.
bool measure_allocations(const Options& options, const Folder& folder, int clients) {
  auto store = open_sqlite_lease_store(fmt::format("{}/leases-{}.db", folder.path(), clients));
  if (!store) {
    fmt::print(stderr, "{}\n", store.error().text());
    return false;
  }
  asio::io_context context;
  Worker worker;
  TaskGroup tasks(context.get_executor());
  auto clock = make_system_clock();
  LeaseBook book(**store, worker, tasks, *clock, Logger());
  auto set = book.set_blocks(
      kNodePool, {Prefix::parse("10.0.0.0/10").value(), Prefix::parse("fd00::/64").value()});
  ENSURE(set);
  int total = clients == 1 ? options.allocations / 50 : options.allocations;
  int left = total;
  auto began = clock->now();
  std::size_t own_loops = tasks.size();
  for (int i = 0; i < clients; ++i) tasks.spawn("client", client(book, i, left));
  while (tasks.size() > own_loops) context.run_one();
  double seconds = std::chrono::duration<double>(clock->now() - began).count();
  double rate = total / seconds;
  fmt::print("durable allocations, {:4} clients   {:8.0f} /s  ({} in {:.2f} s, {} commits)\n",
             clients, rate, total, seconds, book.journal().batches_written());
  if (clients > 1) goal("durable_allocations", rate, "/s", ">=", 50'000);
  tasks.cancel();
  while (tasks.size() > 0) context.run_one();
  return true;
}

}  // namespace
}  // namespace tombolo::test

int main(int argc, char** argv) {
  using namespace tombolo::test;
  Options options;
  CLI::App app("Benchmark cni: ADD beside host-local and ptp, durable allocations");
  app.add_option("--folder", options.folder, "a folder on the disk that leases would be on");
  app.add_option("--rounds", options.rounds, "ADDs of each plugin")->check(CLI::Range(10, 100'000));
  app.add_option("--allocations", options.allocations, "allocations in all")
      ->check(CLI::Range(1000, 4'000'000));
  CLI11_PARSE(app, argc, argv);
  Folder folder(options.folder);
  bool fine = measure_allocations(options, folder, 1);
  fine = measure_allocations(options, folder, 1024) && fine;
  fine = measure_addresses(options, folder) && fine;
  return measure_add(options, folder) && fine ? 0 : 1;
}
