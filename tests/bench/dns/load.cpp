// The load: a closed loop with a bounded number of questions under way, so that no server is
// drowned and none has to drop.
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "dns/message.h"
#include "dns/sockets.h"
#include "tests/bench/dns/bench.h"

namespace tombolo::bench {
namespace {

constexpr std::size_t kSockets = 8;
constexpr std::size_t kWindow = 32;  // per socket
constexpr auto kGiveUp = std::chrono::milliseconds(100);

struct Flow {
  Descriptor fd;
  std::size_t under_way = 0;
  MonotonicTime heard{};
};

class Load {
 public:
  Load(const std::vector<std::string>& questions, const Clock& clock)
      : questions_(questions), clock_(clock) {}

  Result<void> open(const Endpoint& at) {
    dns::SocketAddress to = dns::to_socket_address(at);
    for (Flow& flow : flows_) {
      flow.fd = Descriptor(::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (::connect(flow.fd.get(), reinterpret_cast<sockaddr*>(&to.storage), to.size) != 0)
        return fail_errno(errno, "connect {}", at.str());
    }
    return {};
  }

  LoadResult run(Duration duration) {
    MonotonicTime begun = clock_.now();
    MonotonicTime now = begun;
    for (Flow& flow : flows_) flow.heard = begun;
    while (now - begun < duration) {
      std::size_t moved = 0;
      for (Flow& flow : flows_) moved += send(flow) + receive(flow, now);
      if (moved == 0) wait();
      now = clock_.now();
    }
    result_.took = now - begun;
    return result_;
  }

 private:
  std::size_t send(Flow& flow) {
    std::array<mmsghdr, kWindow> out{};
    std::array<iovec, kWindow> data{};
    // In halves: a question or two at a time would measure system calls, not servers.
    if (flow.under_way > kWindow / 2) return 0;
    std::size_t count = kWindow - flow.under_way;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string& question = questions_[next_++ % questions_.size()];
      data[i] = {const_cast<char*>(question.data()), question.size()};
      out[i].msg_hdr.msg_iov = &data[i];
      out[i].msg_hdr.msg_iovlen = 1;
    }
    int sent = ::sendmmsg(flow.fd.get(), out.data(), static_cast<unsigned>(count), MSG_DONTWAIT);
    if (sent <= 0) return 0;
    flow.under_way += static_cast<std::size_t>(sent);
    return static_cast<std::size_t>(sent);
  }

  std::size_t receive(Flow& flow, MonotonicTime now) {
    std::array<mmsghdr, kWindow> in{};
    std::array<iovec, kWindow> data{};
    for (std::size_t i = 0; i < kWindow; ++i) {
      data[i] = {packets_[i].data(), packets_[i].size()};
      in[i].msg_hdr.msg_iov = &data[i];
      in[i].msg_hdr.msg_iovlen = 1;
    }
    int got = ::recvmmsg(flow.fd.get(), in.data(), kWindow, MSG_DONTWAIT, nullptr);
    if (got <= 0) {
      if (flow.under_way > 0 && now - flow.heard > kGiveUp) {
        result_.lost += flow.under_way;
        flow.under_way = 0;
        flow.heard = now;
      }
      return 0;
    }
    flow.heard = now;
    for (int i = 0; i < got; ++i) {
      const std::uint8_t* packet = packets_[static_cast<std::size_t>(i)].data();
      bool answered = in[static_cast<std::size_t>(i)].msg_len > dns::kHeaderSize &&
                      (packet[3] & 0x0f) == 0 && dns::load16_be(packet + 6) == 1;
      ++(answered ? result_.answers : result_.others);
    }
    flow.under_way -= std::min(flow.under_way, static_cast<std::size_t>(got));
    return static_cast<std::size_t>(got);
  }

  void wait() {
    std::array<pollfd, kSockets> polled{};
    for (std::size_t i = 0; i < kSockets; ++i) polled[i] = {flows_[i].fd.get(), POLLIN, 0};
    ::poll(polled.data(), polled.size(), 20);
  }

  const std::vector<std::string>& questions_;
  const Clock& clock_;
  std::array<Flow, kSockets> flows_;
  std::array<std::array<std::uint8_t, 2048>, kWindow> packets_;
  std::size_t next_ = 0;
  LoadResult result_;
};

}  // namespace

Result<LoadResult> run_load(const Endpoint& at, const std::vector<std::string>& questions,
                            Duration duration) {
  auto clock = make_system_clock();
  auto load = std::make_unique<Load>(questions, *clock);
  TRY_OK(load->open(at));
  return load->run(duration);
}

std::string service_namespace(int index) {
  return fmt::format("team-{}", index % 100);
}

std::string service_name(int index) {
  return fmt::format("service-{}", index);
}

Frontend service_row(int index) {
  Frontend row;
  row.name_space = service_namespace(index);
  row.name = service_name(index);
  row.local = row.exported = true;
  row.cluster_ips = {Ip::v4(0x0a600000U + static_cast<std::uint32_t>(index))};
  row.clusterset_ips = {Ip::v4(0x0a700000U + static_cast<std::uint32_t>(index))};
  row.ports = {{"http", Protocol::kTcp, 80}};
  return row;
}

std::vector<std::string> service_questions() {
  auto rng = make_seeded_rng(7);
  std::vector<std::string> questions;
  for (int i = 0; i < kServices; ++i) {
    auto name = dns::Name::parse(
        fmt::format("{}.{}.svc.cluster.local", service_name(i), service_namespace(i)));
    ENSURE(name.has_value());
    dns::Message question =
        dns::make_query(static_cast<std::uint16_t>(i), std::move(*name), dns::Type::kA);
    question.edns.reset();
    questions.push_back(dns::encode_message(question, dns::kPlainUdpSize));
  }
  for (std::size_t i = questions.size() - 1; i > 0; --i)
    std::swap(questions[i], questions[rng->below(i + 1)]);
  return questions;
}

void pin_to(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(processor) % std::thread::hardware_concurrency(), &set);
  // Without the right to pin, the numbers are noisier; they are still per CPU second.
  (void)::sched_setaffinity(0, sizeof set, &set);
}

}  // namespace tombolo::bench
