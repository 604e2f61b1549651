// The load balancer as the daemon sees it: reconciler operations that hand every row to the worker,
// where the maps are written. Control thread, but for what stands in a job.
#include "bpf/internal.h"
#include "core/metrics.h"
#include "core/worker.h"

namespace tombolo::bpf {
namespace {

class KernelLoadBalancer : public LoadBalancer, public ReconcileOperations<Frontend> {
 public:
  KernelLoadBalancer(PinFolder pins, std::unique_ptr<Programs> programs,
                     std::unique_ptr<BpfMaps> maps, Clock& clock, Logger log)
      : pins_(std::move(pins)),
        programs_(std::move(programs)),
        maps_(std::move(maps)),
        clock_(clock),
        log_(log),
        state_(*maps_, log),
        write_seconds_(metrics::latency_histogram("tombolo_lb_write_seconds",
                                                  "From a row to its maps, on the worker")),
        closed_total_(metrics::counter("tombolo_lb_udp_sockets_closed_total",
                                       "UDP sockets closed because their backend is gone")) {}

  Result<void> rebuild() { return state_.rebuild(); }

  ReconcileOperations<Frontend>& operations() override { return *this; }

  asio::awaitable<Result<void>> update(Frontend row) override {
    auto job = [this, row = std::move(row)]() -> Result<LbState::Outcome> {
      return timed([&] { return state_.update(row); });
    };
    return finish(std::move(job));
  }

  asio::awaitable<Result<void>> erase(std::string key) override {
    auto job = [this, key = std::move(key)]() -> Result<LbState::Outcome> {
      return timed([&] { return state_.erase(key); });
    };
    return finish(std::move(job));
  }

  asio::awaitable<Result<void>> prune(std::vector<Frontend> rows) override {
    auto job = [this, rows = std::move(rows)]() -> Result<LbState::Outcome> {
      auto outcome = state_.prune(rows);
      // This version's tables are in force now: links of another ABI version have done their duty.
      TRY(removed, pins_.remove_other_versions());
      if (removed > 0) log_.info("removed the pins of {} other ABI versions", removed);
      return outcome;
    };
    return finish(std::move(job));
  }

  asio::awaitable<Result<std::vector<Entry>>> entries() override {
    auto job = [this] { return state_.entries(); };
    co_return co_await worker_.run(std::move(job));
  }

  asio::awaitable<Result<SocketStats>> stats() override {
    auto job = [this] { return read_counters(programs_->map_fd("counters")); };
    co_return co_await worker_.run(std::move(job));
  }

  Result<std::vector<ProgramFacts>> programs() override { return programs_->facts(); }

  Result<void> close_stuck_udp_in(std::function<std::vector<std::string>()> netns_paths) override {
    TRY(peers, open_udp_peers(programs_->map_fd("sockets")));
    udp_peers_ = std::move(peers);
    netns_paths_ = std::move(netns_paths);
    return {};
  }

 private:
  template <class Change>
  LbState::Outcome timed(Change change) {
    MonotonicTime begin = clock_.now();
    LbState::Outcome outcome = change();
    std::chrono::duration<double> took = clock_.now() - begin;
    write_seconds_.observe(took.count());
    return outcome;
  }

  template <class Job>
  asio::awaitable<Result<void>> finish(Job job) {
    Result<LbState::Outcome> outcome = co_await worker_.run(std::move(job));
    if (!outcome) co_return std::unexpected(std::move(outcome).error());
    co_await close_stuck(std::move(outcome->gone));
    co_return std::move(outcome->done);
  }

  // A failure here is logged, not retried: the sockets' own time-outs remain.
  asio::awaitable<void> close_stuck(LbState::Gone gone) {
    std::erase_if(gone, [](const abi::lb_endpoint& endpoint) {
      return endpoint.protocol != static_cast<std::uint8_t>(Protocol::kUdp);
    });
    if (gone.empty() || !netns_paths_) co_return;
    std::vector<std::string> paths = netns_paths_();
    std::set<abi::lb_endpoint> backends(gone.begin(), gone.end());
    auto job = [this, backends = std::move(backends), paths = std::move(paths)]() -> Result<void> {
      if (auto done = close_in(backends, paths); !done)
        log_.warning("stuck UDP sockets: {}", done.error().text());
      return {};
    };
    co_await closer_.run(std::move(job));
  }

  Result<void> close_in(const std::set<abi::lb_endpoint>& backends,
                        const std::vector<std::string>& paths) {
    TRY(peers, udp_peers_->of(backends));
    if (peers.empty()) return {};
    int total = 0;
    for (const std::string& path : paths) {
      auto closed = close_udp_sockets(path, peers);
      total += closed.value_or(0);
      // A pod may have gone meanwhile, and its sockets with it.
      if (!closed && closed.error().code != Code::kNotFound)
        return std::unexpected(std::move(closed).error());
    }
    closed_total_.increment(total);
    log_.info("closed {} UDP sockets whose backend is gone", total);
    return {};
  }

  PinFolder pins_;
  std::unique_ptr<Programs> programs_;
  std::unique_ptr<BpfMaps> maps_;
  std::unique_ptr<UdpPeers> udp_peers_;
  const Clock& clock_;
  Logger log_;
  LbState state_;
  metrics::Histogram write_seconds_;
  metrics::Counter closed_total_;
  std::function<std::vector<std::string>()> netns_paths_;
  // Last, so that their jobs end before what the jobs use.
  Worker worker_;
  Worker closer_;  // netlink dumps must not hold up the maps
};

}  // namespace

Result<std::unique_ptr<LoadBalancer>> LoadBalancer::open(Settings settings, Clock& clock,
                                                         Logger log) {
  TRY_OK(check_kernel());
  TRY(pins, PinFolder::open(settings.bpffs_root, kBalancingPins));
  TRY(programs, load_programs(pins, settings.cgroup_root));
  TRY(maps, open_kernel_maps(*programs));
  auto balancer = std::make_unique<KernelLoadBalancer>(
      std::move(pins), std::move(programs), std::move(maps), clock, log.with("component", "lb"));
  TRY_OK(balancer->rebuild());
  return balancer;
}

}  // namespace tombolo::bpf
