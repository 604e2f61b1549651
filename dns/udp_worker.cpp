// See udp_worker.h.
#include "dns/udp_worker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace tombolo::dns {
namespace {

constexpr std::size_t kBatch = 32;
constexpr std::size_t kQuerySize = 2048;  // longer packets are cut by the kernel and dropped
constexpr std::size_t kControlSize = CMSG_SPACE(sizeof(in6_pktinfo));
constexpr int kBatchesInTurn = 16;  // then the other sockets have their turn
constexpr auto kFlushEvery = std::chrono::milliseconds(200);

bool is_link_local(const Ip& ip) {
  return !ip.is_v4() && (ip.value() >> 118) == 0x3fa;  // fe80::/10
}

// Fills the control message that sets the source address. `control` has kControlSize bytes.
void set_source(msghdr& header, char* control, const UdpReturn& to) {
  std::memset(control, 0, kControlSize);
  header.msg_control = control;
  header.msg_controllen = kControlSize;
  cmsghdr* message = CMSG_FIRSTHDR(&header);
  std::string bytes = to.local.bytes_be();
  if (to.local.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, bytes.data(), bytes.size());
    message->cmsg_level = IPPROTO_IP;
    message->cmsg_type = IP_PKTINFO;
    message->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(message), &info, sizeof info);
    header.msg_controllen = CMSG_SPACE(sizeof info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, bytes.data(), bytes.size());
    info.ipi6_ifindex = to.interface;
    message->cmsg_level = IPPROTO_IPV6;
    message->cmsg_type = IPV6_PKTINFO;
    message->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(message), &info, sizeof info);
    header.msg_controllen = CMSG_SPACE(sizeof info);
  }
}

void read_destination(msghdr& header, UdpReturn& to) {
  for (cmsghdr* message = CMSG_FIRSTHDR(&header); message != nullptr;
       message = CMSG_NXTHDR(&header, message)) {
    const auto* data = reinterpret_cast<const char*>(CMSG_DATA(message));
    if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, data, sizeof info);
      to.has_local = true;
      to.local = Ip::v4(ntohl(info.ipi_addr.s_addr));
    } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, data, sizeof info);
      uint128 value = 0;
      for (std::uint8_t byte : info.ipi6_addr.s6_addr) value = (value << 8) | byte;
      to.has_local = true;
      to.local = Ip::v6(value);
      to.interface = is_link_local(to.local) ? info.ipi6_ifindex : 0;
    }
  }
}

}  // namespace

Result<void> send_reply(const UdpReturn& to, std::string_view packet) {
  iovec data{const_cast<char*>(packet.data()), packet.size()};
  SocketAddress client = to.client;
  msghdr header{};
  header.msg_name = &client.storage;
  header.msg_namelen = client.size;
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, kControlSize> control;
  if (to.has_local) set_source(header, control.data(), to);
  if (::sendmsg(to.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
    return fail_errno(errno, "send to {}", to_endpoint(to.client.storage).str());
  return {};
}

// Everything that the kernel reads from and writes to, once per thread.
struct UdpWorker::Batch {
  std::array<mmsghdr, kBatch> in{};
  std::array<mmsghdr, kBatch> out{};
  std::array<iovec, kBatch> in_data{};
  std::array<iovec, kBatch> out_data{};
  std::array<SocketAddress, kBatch> clients{};
  std::array<std::array<std::uint8_t, kQuerySize>, kBatch> queries;
  std::array<std::array<std::uint8_t, kUdpSize>, kBatch> replies;
  struct Control {
    alignas(cmsghdr) std::array<char, kControlSize> bytes;
  };
  std::array<Control, kBatch> in_control;
  std::array<Control, kBatch> out_control;

  void prepare(bool with_control) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      in_data[i] = {queries[i].data(), queries[i].size()};
      msghdr& header = in[i].msg_hdr;
      header = {};
      header.msg_name = &clients[i].storage;
      header.msg_namelen = sizeof clients[i].storage;
      header.msg_iov = &in_data[i];
      header.msg_iovlen = 1;
      if (with_control) {
        header.msg_control = in_control[i].bytes.data();
        header.msg_controllen = kControlSize;
      }
    }
  }
};

UdpWorker::UdpWorker(std::vector<const BoundSocket*> sockets, const SnapshotBox& snapshots,
                     Responder responder, Clock& clock, Forward forward, Logger log)
    : sockets_(std::move(sockets)),
      snapshots_(snapshots),
      responder_(std::move(responder)),
      clock_(clock),
      forward_(std::move(forward)),
      log_(std::move(log)) {}

Result<void> UdpWorker::start() {
  wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (wake_.get() < 0) return fail_errno(errno, "eventfd");
  for (const BoundSocket* socket : sockets_) polled_.push_back({socket->fd.get(), POLLIN, 0});
  polled_.push_back({wake_.get(), POLLIN, 0});
  thread_ = std::thread([this] { run(); });
  return {};
}

void UdpWorker::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  std::uint64_t one = 1;
  ENSURE(::write(wake_.get(), &one, sizeof one) == sizeof one);
  thread_.join();
}

void UdpWorker::run() {
  auto batch = std::make_unique<Batch>();
  while (!stopping_.load(std::memory_order_relaxed)) {
    bool more = false;
    for (const BoundSocket* socket : sockets_)
      for (int turn = 0; turn < kBatchesInTurn; ++turn) {
        bool again = serve(*socket, *batch);
        if (turn + 1 == kBatchesInTurn) more = more || again;
        if (!again) break;
      }
    if (counters_.dirty() && clock_.now() - flushed_ >= kFlushEvery) {
      counters_.flush();
      flushed_ = clock_.now();
    }
    if (!more) wait();
  }
  counters_.flush();
}

void UdpWorker::wait() {
  int timeout_ms = counters_.dirty() ? static_cast<int>(kFlushEvery.count()) : -1;
  if (::poll(polled_.data(), polled_.size(), timeout_ms) < 0)
    ENSURE(errno == EINTR, "poll: {}", std::strerror(errno));
}

bool UdpWorker::serve(const BoundSocket& socket, Batch& batch) {
  batch.prepare(socket.wildcard);
  int received = ::recvmmsg(socket.fd.get(), batch.in.data(), kBatch, MSG_DONTWAIT, nullptr);
  if (received < 0) {
    // An ICMP error of an earlier reply is reported here; the next packet is not its fault.
    if (errno != EAGAIN && errno != EINTR) log_.debug("recvmmsg: {}", std::strerror(errno));
    return false;
  }
  answer(socket, batch, static_cast<std::size_t>(received), clock_.now());
  return true;
}

void UdpWorker::answer(const BoundSocket& socket, Batch& batch, std::size_t received,
                       MonotonicTime arrived) {
  const ZoneSet& zones = snapshots_.current();
  std::array<Reply, kBatch> replies;
  std::size_t count = 0;
  for (std::size_t i = 0; i < received; ++i) {
    msghdr& in = batch.in[i].msg_hdr;
    Endpoint client = to_endpoint(batch.clients[i].storage);
    if ((in.msg_flags & MSG_TRUNC) != 0 || client.port == 0) {
      counters_.count_malformed();
      continue;
    }
    std::span<const std::uint8_t> query(batch.queries[i].data(), batch.in[i].msg_len);
    Reply reply = responder_.respond(query, zones, {client.ip, false}, batch.replies[count]);
    if (reply.malformed) counters_.count_malformed();
    if (reply.action == Reply::Action::kDrop) continue;
    UdpReturn to;
    if (socket.wildcard) read_destination(in, to);
    if (reply.action == Reply::Action::kForward) {
      to.fd = socket.fd.get();
      to.client = batch.clients[i];
      to.client.size = in.msg_namelen;
      if (!forward_(std::move(reply.forward), to, arrived)) counters_.count_dropped();
      continue;
    }
    batch.out_data[count] = {batch.replies[count].data(), reply.size};
    msghdr& out = batch.out[count].msg_hdr;
    out = {};
    out.msg_name = in.msg_name;
    out.msg_namelen = in.msg_namelen;
    out.msg_iov = &batch.out_data[count];
    out.msg_iovlen = 1;
    if (to.has_local) set_source(out, batch.out_control[count].bytes.data(), to);
    replies[count++] = std::move(reply);
  }
  // A client that cannot be reached must not keep the replies behind it from being sent.
  for (std::size_t sent = 0; sent < count;) {
    int done = ::sendmmsg(socket.fd.get(), &batch.out[sent], static_cast<unsigned>(count - sent),
                          MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) counters_.count_dropped();
    sent += done > 0 ? static_cast<std::size_t>(done) : 1U;
  }
  Duration took = clock_.now() - arrived;
  for (std::size_t i = 0; i < count; ++i)
    counters_.count(replies[i].zone, replies[i].type, replies[i].rcode, replies[i].truncated, took);
}

}  // namespace tombolo::dns
