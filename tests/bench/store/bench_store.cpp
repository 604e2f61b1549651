// Durable writes of the embedded store beside Debian's etcd, in one run on one machine,
// interleaved: each round asks one store, then the other, with the same load of 64 writers that
// each wait for their answer before they write again. Every server is a process of its own, so that
// its CPU time can be told from the load's. Output: a line per round, then lines "goal: NAME =
// VALUE UNIT (bound OP NUMBER) ok|short".
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "core/log.h"
#include "core/store/test_stores.h"
#include "schema/etcd/rpc.grpc.pb.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;
using Seconds = std::chrono::duration<double>;

constexpr int kWriters = 64;
constexpr int kChannels = 8;
constexpr int kRounds = 7;
constexpr auto kRoundLength = 1500ms;
constexpr std::size_t kValueBytes = 256;

// CPU seconds that a process has used so far (proc(5), stat: utime and stime).
double cpu_seconds(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(in, line);
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::string field;
  double ticks = 0;
  for (int i = 3; i <= 15 && fields >> field; ++i)
    if (i == 14 || i == 15) ticks += std::stod(field);
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

struct Sample {
  double puts_per_s = 0;
  double puts_per_cpu_s = 0;
  double p50_ms = 0;
  double p99_ms = 0;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// One writer: puts one after the other until the round is over.
struct Writer {
  etcdserverpb::KV::Stub* stub = nullptr;
  std::string key;
  std::atomic<bool>* over = nullptr;
  std::atomic<int>* running = nullptr;
  std::vector<double> latencies_ms;
  bool failed = false;

  std::unique_ptr<grpc::ClientContext> context;
  etcdserverpb::PutRequest request;
  etcdserverpb::PutResponse response;
  std::chrono::steady_clock::time_point started;

  void next() {
    if (*over || failed) {
      --*running;
      running->notify_all();
      return;
    }
    context = std::make_unique<grpc::ClientContext>();
    request.set_key(key);
    request.set_value(std::string(kValueBytes, 'v'));
    started = std::chrono::steady_clock::now();
    stub->async()->Put(context.get(), &request, &response, [this](const grpc::Status& status) {
      failed = !status.ok();
      latencies_ms.push_back(Seconds(std::chrono::steady_clock::now() - started).count() * 1000);
      next();
    });
  }
};

class Target {
 public:
  Target(std::string name, const std::string& endpoint, pid_t pid)
      : name_(std::move(name)), pid_(pid) {
    for (int i = 0; i < kChannels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      stubs_.push_back(etcdserverpb::KV::NewStub(
          grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments)));
    }
  }
  const std::string& name() const { return name_; }
  const std::vector<Sample>& samples() const { return samples_; }

  bool round(int number) {
    std::atomic<bool> over = false;
    std::atomic<int> running = kWriters;
    std::vector<Writer> writers(kWriters);
    double cpu = cpu_seconds(pid_);
    auto started = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < writers.size(); ++i) {
      writers[i].stub = stubs_[i % kChannels].get();
      writers[i].key = fmt::format("bench/{}/{:03}", number, i);
      writers[i].over = &over;
      writers[i].running = &running;
      writers[i].next();
    }
    std::this_thread::sleep_for(kRoundLength);
    over = true;
    for (int left = running; left != 0; left = running) running.wait(left);
    double seconds = Seconds(std::chrono::steady_clock::now() - started).count();
    cpu = cpu_seconds(pid_) - cpu;
    std::vector<double> all;
    for (const Writer& writer : writers) {
      if (writer.failed) return false;
      all.insert(all.end(), writer.latencies_ms.begin(), writer.latencies_ms.end());
    }
    std::ranges::sort(all);
    auto count = static_cast<double>(all.size());
    Sample sample{count / seconds, count / std::max(cpu, 0.01), all[all.size() / 2],
                  all[all.size() * 99 / 100]};
    fmt::print(
        "{:9} round {}: {:7.0f} puts/s, {:7.0f} puts per CPU second, p50 {:.2f} ms, "
        "p99 {:.2f} ms\n",
        name_, number, sample.puts_per_s, sample.puts_per_cpu_s, sample.p50_ms, sample.p99_ms);
    std::fflush(stdout);
    // The first round fills caches and opens connections.
    if (number > 0) samples_.push_back(sample);
    return true;
  }
  double middle(double Sample::* what) const {
    std::vector<double> values;
    for (const Sample& sample : samples_) values.push_back(sample.*what);
    return median(std::move(values));
  }

 private:
  std::string name_;
  pid_t pid_;
  std::vector<std::unique_ptr<etcdserverpb::KV::Stub>> stubs_;
  std::vector<Sample> samples_;
};

void goal(const char* name, double value, const char* unit, double bound) {
  fmt::print("goal: {} = {:.2f} {} (bound >= {:g}) {}\n", name, value, unit, bound,
             value >= bound ? "ok" : "short");
}

// The embedded server as a process: `bench_store --serve FILE ADDRESS`.
int serve(const char* file, const char* address) {
  auto clock = make_system_clock();
  EngineOptions options;
  options.file = file;
  auto engine = Engine::open(options, *clock, make_logger(LogLevel::kWarning, false));
  if (!engine) {
    fmt::print(stderr, "{}\n", engine.error().text());
    return 1;
  }
  StoreServerOptions server_options;
  server_options.addresses = {address};
  auto server = StoreServer::start(server_options, **engine, Logger());
  if (!server) {
    fmt::print(stderr, "{}\n", server.error().text());
    return 1;
  }
  while (true) ::pause();  // until the bench kills it
}

int measure() {
  auto etcd = EtcdStore::start();
  if (etcd == nullptr) {
    fmt::print(stderr, "etcd is not installed (Debian package etcd-server)\n");
    return 1;
  }
  TempDir dir;
  std::string address = fmt::format("127.0.0.1:{}", free_port());
  auto embedded =
      Process::start({"/proc/self/exe", "--serve", (dir.path() / "store.db").string(), address},
                     dir.path() / "log");
  if (!embedded || !wait_until_serving(address)) {
    fmt::print(stderr, "the embedded store does not start\n");
    return 1;
  }
  std::vector<Target> targets;
  targets.emplace_back("embedded", address, embedded->pid());
  targets.emplace_back("etcd", etcd->endpoints()[0], etcd->pid(0));
  for (int number = 0; number < kRounds; ++number)
    for (Target& target : targets)
      if (!target.round(number)) {
        fmt::print(stderr, "{}: a put failed\n", target.name());
        return 1;
      }
  double rate = targets[0].middle(&Sample::puts_per_s);
  double etcd_rate = targets[1].middle(&Sample::puts_per_s);
  double work = targets[0].middle(&Sample::puts_per_cpu_s);
  double etcd_work = targets[1].middle(&Sample::puts_per_cpu_s);
  fmt::print(
      "medians: {:.0f} and {:.0f} puts/s, {:.0f} and {:.0f} puts per CPU second, p99 "
      "{:.2f} and {:.2f} ms (embedded, etcd)\n",
      rate, etcd_rate, work, etcd_work, targets[0].middle(&Sample::p99_ms),
      targets[1].middle(&Sample::p99_ms));
  goal("store_durable_puts", rate, "puts/s", 1000);
  goal("store_puts_over_etcd", rate / etcd_rate, "x", 1);
  goal("store_work_per_cpu_second_over_etcd", work / etcd_work, "x", 1);
  return 0;
}

}  // namespace
}  // namespace tombolo

int main(int count, char** arguments) {
  if (count == 4 && std::string_view(arguments[1]) == "--serve")
    return tombolo::serve(arguments[2], arguments[3]);
  return tombolo::measure();
}
