// What the programs tell of packets: a thread reads the ring buffer and keeps the newest events. No
// more than kKept are held; who reads too slowly is told how many were missed.
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "bpf/libbpf_api.h"
#include "bpf/policy/internal.h"

namespace tombolo::bpf {
namespace {

constexpr std::size_t kKept = 8192;

Port port_of(std::uint16_t port_be) {
  return static_cast<Port>(port_be >> 8 | (port_be & 0xff) << 8);
}

std::string interface_name(std::uint32_t ifindex) {
  char name[IF_NAMESIZE] = {};
  return if_indextoname(ifindex, name) == nullptr ? fmt::format("if{}", ifindex) : name;
}

class RingLog final : public FlowLog {
 public:
  explicit RingLog(Clock& clock) : clock_(clock) {}
  ~RingLog() override {
    if (thread_.joinable()) {
      std::uint64_t one = 1;
      ssize_t told = write(stop_.get(), &one, sizeof(one));
      ENSURE(told == sizeof(one), "stop the reader of flows");
      thread_.join();
    }
    ring_buffer__free(ring_);
  }

  Result<void> open(int ring_fd) {
    ring_ = ring_buffer__new(ring_fd, &RingLog::on_sample, this, nullptr);
    if (ring_ == nullptr) return fail_errno(errno, "open the ring of flow events");
    stop_ = Descriptor(eventfd(0, EFD_CLOEXEC));
    poll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
    if (!stop_ || !poll_) return fail_errno(errno, "wait for flow events");
    for (int fd : {stop_.get(), ring_buffer__epoll_fd(ring_)}) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.fd = fd;
      if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        return fail_errno(errno, "wait for flow events");
    }
    // In the network namespace of its maker, where the interfaces' names are known.
    thread_ = std::thread([this] { read(); });
    return {};
  }

  FlowPage page(std::uint64_t after, std::size_t limit) override {
    std::lock_guard lock(mutex_);
    FlowPage page;
    page.last = after;
    std::uint64_t oldest = last_ + 1 - events_.size();
    std::uint64_t from = std::max(after + 1, oldest);
    page.missed = from - (after + 1);
    for (std::uint64_t number = from; number <= last_ && page.events.size() < limit; ++number)
      page.events.push_back(events_[number - oldest]);
    page.last = page.events.empty() ? std::max(after, from - 1) : page.events.back().sequence;
    return page;
  }

  bool wait(std::uint64_t after, Duration limit) override {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, limit, [&] { return last_ > after; });
  }

  std::uint64_t overwritten() const override {
    std::lock_guard lock(mutex_);
    return last_ - events_.size();
  }

 private:
  void read() {
    while (true) {
      epoll_event event{};
      int ready = epoll_wait(poll_.get(), &event, 1, -1);
      if (ready < 0 && errno != EINTR) return;
      if (ready <= 0) continue;
      if (event.data.fd == stop_.get()) return;
      ring_buffer__consume(ring_);
    }
  }

  static int on_sample(void* self, void* data, std::size_t size) {
    abi::policy_event raw{};
    if (size < sizeof(raw)) return 0;
    std::memcpy(&raw, data, sizeof(raw));
    static_cast<RingLog*>(self)->add(raw);
    return 0;
  }

  void add(const abi::policy_event& raw) {
    FlowEvent event;
    auto age = clock_.now().time_since_epoch() - std::chrono::nanoseconds(raw.time_ns);
    event.time = clock_.wall_now() - std::chrono::duration_cast<WallTime::duration>(age);
    event.allowed = raw.allowed != 0;
    event.reason = raw.reason <= abi::kReasonIcmpError ? static_cast<FlowReason>(raw.reason)
                                                       : FlowReason::kMalformed;
    // Whose rules decided: an answer is judged as its question.
    event.direction = raw.judged_egress != 0 ? PolicyDirection::kEgress : PolicyDirection::kIngress;
    event.host_interface = interface_name(raw.ifindex);
    event.source = {ip_of(raw.source_be), port_of(raw.source_port_be)};
    event.destination = {ip_of(raw.destination_be), port_of(raw.destination_port_be)};
    event.protocol = raw.protocol;
    event.identity = raw.own_identity;
    event.peer = raw.peer;
    event.peer_identity = raw.peer_identity;
    event.rule = raw.rule;
    event.length = raw.length;
    std::lock_guard lock(mutex_);
    event.sequence = ++last_;
    events_.push_back(std::move(event));
    if (events_.size() > kKept) events_.pop_front();
    arrived_.notify_all();
  }

  Clock& clock_;
  ring_buffer* ring_ = nullptr;
  Descriptor stop_;
  Descriptor poll_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<FlowEvent> events_;
  std::uint64_t last_ = 0;
  std::thread thread_;
};

}  // namespace

std::string_view to_string(FlowReason reason) {
  switch (reason) {
    case FlowReason::kPolicy:
      return "policy";
    case FlowReason::kRevoked:
      return "revoked";
    case FlowReason::kClosed:
      return "closed";
    case FlowReason::kSourceRefused:
      return "source refused";
    case FlowReason::kUnknownInterface:
      return "unknown interface";
    case FlowReason::kFragment:
      return "fragment";
    case FlowReason::kMalformed:
      return "malformed";
    case FlowReason::kNotIp:
      return "not IP";
    case FlowReason::kIcmpError:
      return "ICMP error";
  }
  return "?";
}

Result<std::unique_ptr<FlowLog>> follow_flows(int ring_fd, Clock& clock) {
  auto log = std::make_unique<RingLog>(clock);
  TRY_OK(log->open(ring_fd));
  return log;
}

}  // namespace tombolo::bpf
