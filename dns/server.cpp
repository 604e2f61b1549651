// DnsServer: sockets, threads and their order of life. The io thread runs TCP and forwarding; each
// UDP worker has a thread of its own.
#include <sys/random.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <thread>

#include "dns/dns.h"
#include "dns/forwarder.h"
#include "dns/snapshot_box.h"
#include "dns/sockets.h"
#include "dns/tcp_server.h"
#include "dns/udp_worker.h"

namespace tombolo::dns {
namespace {

// Ids of questions must not be guessed from earlier ones (RFC 5452).
class KernelRng final : public Rng {
 public:
  std::uint64_t next() override {
    std::uint64_t value = 0;
    ENSURE(::getrandom(&value, sizeof value, 0) == sizeof value, "getrandom: {}",
           std::strerror(errno));
    return value;
  }
};

// UDP questions that wait for the forwarder or for an upstream; more are answered by silence, as
// the resolvers of pods ask again.
constexpr std::size_t kMaxUdpForwards = 4096;

bool is_own_address(const Endpoint& upstream, const std::vector<Endpoint>& listen) {
  return std::ranges::any_of(listen, [&](const Endpoint& own) {
    bool wildcard = own.ip.value() == 0 && own.ip.family() == upstream.ip.family();
    bool loopback =
        upstream.ip.is_v4() ? (upstream.ip.value() >> 24) == 127 : upstream.ip.value() == 1;
    return own.port == upstream.port && (own.ip == upstream.ip || (wildcard && loopback));
  });
}

}  // namespace

// Everything that exists between start() and stop(). Members are destroyed in reverse order: first
// what uses the sockets, then the sockets.
struct DnsServer::Running {
  Running(const DnsSettings& settings, std::shared_ptr<const ZoneSet> first, Logger logger)
      : log(std::move(logger)),
        clock(make_system_clock()),
        snapshots(std::move(first)),
        tasks(io.get_executor()) {
    process = rng.next() | 1;
    if (!settings.upstreams.empty()) {
      ForwarderSettings forwarding{settings.upstreams, settings.upstream_timeout,
                                   settings.cache_entries, settings.max_forwards, process};
      forwarder = std::make_unique<Forwarder>(std::move(forwarding), tasks, *clock, rng);
    }
  }

  Responder responder(const DnsSettings& settings) {
    return {{forwarder != nullptr, settings.forward_clients, settings.clusterset_subset, process},
            rng.next()};
  }

  Result<void> open(const DnsSettings& settings);
  Result<void> open_address(const Endpoint& at, const BindOptions& options, std::size_t workers);
  Result<void> run(const DnsSettings& settings);
  void stop();
  bool forward(std::unique_ptr<ForwardRequest> request, const UdpReturn& to, MonotonicTime arrived);
  asio::awaitable<void> forward_udp(std::shared_ptr<const ForwardRequest> request, UdpReturn to,
                                    MonotonicTime arrived);
  asio::awaitable<void> flush_counters();
  asio::awaitable<void> end_tasks();

  Logger log;
  std::unique_ptr<Clock> clock;
  KernelRng rng;
  std::uint64_t process = 0;
  SnapshotBox snapshots;
  std::vector<std::vector<BoundSocket>> udp;  // by worker
  std::vector<BoundSocket> tcp;
  std::vector<Endpoint> addresses;
  asio::io_context io{1};
  TaskGroup tasks;
  std::atomic<std::size_t> udp_forwards = 0;
  RequestCounters forward_counters{"udp"};
  std::unique_ptr<Forwarder> forwarder;
  std::unique_ptr<TcpServer> tcp_server;
  std::thread io_thread;
  std::vector<std::unique_ptr<UdpWorker>> workers;
};

Result<void> DnsServer::Running::open_address(const Endpoint& at, const BindOptions& options,
                                              std::size_t worker_count) {
  // A port that the kernel chose for UDP may be taken for TCP: then another one.
  constexpr int kAttempts = 16;
  for (int attempt = 1;; ++attempt) {
    TRY(first, open_udp(at, options));
    Endpoint local = first.local;
    auto listener = open_tcp(local, options);
    if (!listener && at.port == 0 && attempt < kAttempts) continue;
    if (!listener) return std::unexpected(std::move(listener).error());
    tcp.push_back(std::move(*listener));
    udp[0].push_back(std::move(first));
    for (std::size_t worker = 1; worker < worker_count; ++worker) {
      TRY(shared, open_udp(local, options));
      udp[worker].push_back(std::move(shared));
    }
    addresses.push_back(local);
    return {};
  }
}

Result<void> DnsServer::Running::open(const DnsSettings& settings) {
  BindOptions options{settings.udp_workers > 1, settings.free_bind};
  udp.resize(settings.udp_workers);
  for (const Endpoint& at : settings.listen)
    TRY_OK(open_address(at, options, settings.udp_workers));
  return {};
}

Result<void> DnsServer::Running::run(const DnsSettings& settings) {
  TcpSettings limits{settings.max_tcp_connections, settings.max_tcp_connections_per_client,
                     settings.tcp_idle_timeout};
  tcp_server = std::make_unique<TcpServer>(limits, snapshots, responder(settings), forwarder.get(),
                                           tasks, *clock, log);
  for (BoundSocket& socket : tcp) tcp_server->listen(std::move(socket));
  tasks.spawn("dns-counters", flush_counters());
  io_thread = std::thread([this] { io.run(); });
  for (const auto& sockets : udp) {
    std::vector<const BoundSocket*> own;
    for (const BoundSocket& socket : sockets) own.push_back(&socket);
    auto hand_over = [this](std::unique_ptr<ForwardRequest> request, const UdpReturn& to,
                            MonotonicTime arrived) {
      return forward(std::move(request), to, arrived);
    };
    workers.push_back(std::make_unique<UdpWorker>(std::move(own), snapshots, responder(settings),
                                                  *clock, hand_over, log));
    TRY_OK(workers.back()->start());
  }
  return {};
}

void DnsServer::Running::stop() {
  for (auto& worker : workers) worker->stop();
  if (io_thread.joinable()) {
    asio::post(io, [this] { asio::co_spawn(io, end_tasks(), asio::detached); });
    io_thread.join();
  }
}

asio::awaitable<void> DnsServer::Running::end_tasks() {
  tasks.cancel();
  co_await tasks.join();
}

bool DnsServer::Running::forward(std::unique_ptr<ForwardRequest> request, const UdpReturn& to,
                                 MonotonicTime arrived) {
  if (udp_forwards.fetch_add(1, std::memory_order_relaxed) >= kMaxUdpForwards) {
    udp_forwards.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  asio::post(io, [this, shared = std::shared_ptr<const ForwardRequest>(std::move(request)), to,
                  arrived] { tasks.spawn("dns-forward", forward_udp(shared, to, arrived)); });
  return true;
}

asio::awaitable<void> DnsServer::Running::forward_udp(std::shared_ptr<const ForwardRequest> request,
                                                      UdpReturn to, MonotonicTime arrived) {
  Rcode rcode = Rcode::kServFail;
  std::string packet = co_await forwarder->answer(request, false, &rcode);
  udp_forwards.fetch_sub(1, std::memory_order_relaxed);
  bool truncated =
      (load16_be(reinterpret_cast<const std::uint8_t*>(packet.data()) + 2) & kFlagTc) != 0;
  if (!send_reply(to, packet)) forward_counters.count_dropped();
  forward_counters.count(ZoneLabel::kOther, request->query.type, rcode, truncated,
                         clock->now() - arrived);
}

asio::awaitable<void> DnsServer::Running::flush_counters() {
  constexpr auto kEvery = std::chrono::milliseconds(200);
  while (!tasks.cancelled()) {
    auto slept = co_await clock->sleep_for(kEvery);
    tcp_server->counters().flush();
    forward_counters.flush();
    if (!slept) co_return;
  }
}

DnsServer::DnsServer(DnsSettings settings, std::shared_ptr<const ZoneSet> first, Logger log)
    : settings_(std::move(settings)), latest_(std::move(first)), log_(log.with("part", "dns")) {}

DnsServer::~DnsServer() {
  stop();
}

Result<std::unique_ptr<DnsServer>> DnsServer::make(DnsSettings settings, Logger log) {
  if (settings.listen.empty()) return fail(Code::kInvalidArgument, "dns: no address to listen on");
  if (settings.udp_workers == 0 || settings.udp_workers > 64)
    return fail(Code::kInvalidArgument, "dns: {} UDP workers; 1 to 64 are possible",
                settings.udp_workers);
  for (const Endpoint& upstream : settings.upstreams) {
    if (upstream.port == 0)
      return fail(Code::kInvalidArgument, "dns: upstream {} has no port", upstream.str());
    if (is_own_address(upstream, settings.listen))
      return fail(Code::kInvalidArgument, "dns: upstream {} is this server itself", upstream.str());
  }
  auto builder = ZoneBuilder::make(settings.zones);
  if (!builder) return std::unexpected(std::move(builder).error().with_context("dns"));
  auto first = builder->snapshot(0);
  return std::unique_ptr<DnsServer>(
      new DnsServer(std::move(settings), std::move(first), std::move(log)));
}

Result<void> DnsServer::start() {
  ENSURE(!running_, "the DNS server runs already");
  auto running = std::make_unique<Running>(settings_, latest_, log_);
  TRY_OK(running->open(settings_));
  if (auto started = running->run(settings_); !started) {
    running->stop();
    return started;
  }
  for (const Endpoint& at : running->addresses) log_.info("answering on {}", at.str());
  running_ = std::move(running);
  return {};
}

void DnsServer::stop() {
  if (!running_) return;
  running_->stop();
  running_.reset();
}

void DnsServer::publish(std::shared_ptr<const ZoneSet> zones) {
  latest_ = zones;
  if (running_) running_->snapshots.put(std::move(zones));
}

std::vector<Endpoint> DnsServer::addresses() const {
  return running_ ? running_->addresses : std::vector<Endpoint>{};
}

}  // namespace tombolo::dns
