// prometheus-cpp's Exposer behind Server, and the process_* metrics of Prometheus' client
// libraries.
#include "app/metrics/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/ip.h"
#include "core/metrics.h"

namespace tombolo::metrics {
namespace {

prometheus::MetricFamily family(std::string name, std::string help, prometheus::MetricType type,
                                double value) {
  prometheus::MetricFamily result;
  result.name = std::move(name);
  result.help = std::move(help);
  result.type = type;
  prometheus::ClientMetric metric;
  metric.gauge.value = value;
  metric.counter.value = value;
  result.metric.push_back(std::move(metric));
  return result;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// proc(5), /proc/self/statm: the second number is the resident pages.
double resident_bytes() {
  std::ifstream in("/proc/self/statm");
  double total = 0;
  double resident = 0;
  in >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double open_files() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  if (error) return 0;
  return static_cast<double>(std::distance(begin(files), end(files)));
}

class Process final : public prometheus::Collectable {
 public:
  explicit Process(WallTime started)
      : started_s_(std::chrono::duration<double>(started.time_since_epoch()).count()) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    using Type = prometheus::MetricType;
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    std::vector<prometheus::MetricFamily> all;
    all.push_back(family("process_cpu_seconds_total", "User and system CPU time spent",
                         Type::Counter, seconds(usage.ru_utime) + seconds(usage.ru_stime)));
    all.push_back(
        family("process_resident_memory_bytes", "Resident memory", Type::Gauge, resident_bytes()));
    all.push_back(family("process_open_fds", "Open file descriptors", Type::Gauge, open_files()));
    all.push_back(family("process_start_time_seconds", "Start of the process, Unix time",
                         Type::Gauge, started_s_));
    return all;
  }

 private:
  double started_s_;
};

}  // namespace

class Server::Impl {
 public:
  Impl(const std::string& listen, WallTime started)
      : process_(std::make_shared<Process>(started)),
        registry_(registry()),
        exposer_(std::vector<std::string>{"listening_ports", listen, "num_threads", "2",
                                          "request_timeout_ms", "5000", "enable_keep_alive",
                                          "no"}) {
    exposer_.RegisterCollectable(registry_);
    exposer_.RegisterCollectable(process_);
  }
  int port() const { return exposer_.GetListeningPorts().at(0); }

 private:
  std::shared_ptr<Process> process_;
  std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Exposer exposer_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(const std::string& listen, std::string_view version,
                                              WallTime started) {
  auto address = Endpoint::parse(listen);
  if (!address) return fail(Code::kInvalidArgument, "metrics: \"{}\" is not address:port", listen);
  gauge("tombolo_build_info", "1, with the version of the program",
        {{"version", std::string(version)}})
      .set(1);
  try {
    auto impl = std::make_unique<Impl>(listen, started);
    if (impl->port() == 0) return fail(Code::kUnavailable, "metrics: cannot listen on {}", listen);
    return std::unique_ptr<Server>(new Server(std::move(impl)));
  } catch (const std::exception& error) {
    return fail(Code::kUnavailable, "metrics: cannot listen on {}: {}", listen, error.what());
  }
}

int Server::port() const {
  return impl_->port();
}

}  // namespace tombolo::metrics
