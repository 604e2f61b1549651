// Ping sockets number and check their messages themselves; raw ones of IPv4 do neither, and their
// answers begin with the IP header.
#include "app/probe/echo.h"

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace tombolo::probe {
namespace {

constexpr std::size_t kHeader = 8;  // of an echo message, in both families
constexpr std::size_t kMessage = kHeader + sizeof(std::uint64_t);
constexpr std::size_t kMostIpHeader = 60;
constexpr int kMostReads = 64;  // per call: a flood of answers must not hold the thread

using Message = std::array<std::uint8_t, kMessage>;

// RFC 1071, over big-endian words.
std::uint16_t checksum(const Message& message) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < message.size(); i += 2)
    sum += static_cast<std::uint32_t>(message[i]) << 8U | message[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

Message request(bool v4, std::uint64_t token) {
  Message message{};
  message[0] = v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
  // The identifier; a ping socket writes its own over it.
  message[4] = static_cast<std::uint8_t>(token >> 8U);
  message[5] = static_cast<std::uint8_t>(token);
  message[7] = 1;
  std::memcpy(message.data() + kHeader, &token, sizeof(token));
  if (!v4) return message;  // the kernel sums ICMPv6, which covers the addresses
  std::uint16_t sum = checksum(message);
  message[2] = static_cast<std::uint8_t>(sum >> 8U);
  message[3] = static_cast<std::uint8_t>(sum);
  return message;
}

// Of a raw socket: only echo replies are worth waking up for.
Result<void> filter(int fd, bool v4) {
  int done = 0;
  if (v4) {
    icmp_filter wanted{~(1U << ICMP_ECHOREPLY)};
    done = ::setsockopt(fd, SOL_RAW, ICMP_FILTER, &wanted, sizeof(wanted));
  } else {
    struct icmp6_filter wanted{};
    ICMP6_FILTER_SETBLOCKALL(&wanted);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &wanted);
    done = ::setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &wanted, sizeof(wanted));
  }
  if (done != 0) return fail_errno(errno, "a filter for echo replies");
  return {};
}

int connect_to(int fd, const Ip& ip) {
  std::string bytes = ip.bytes_be();
  if (ip.is_v4()) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    std::memcpy(&to.sin_addr, bytes.data(), sizeof(to.sin_addr));
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  }
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  std::memcpy(&to.sin6_addr, bytes.data(), sizeof(to.sin6_addr));
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
}

}  // namespace

bool is_unreachable(int sys_errno) {
  return sys_errno == ENETUNREACH || sys_errno == EHOSTUNREACH || sys_errno == ENETDOWN ||
         sys_errno == EHOSTDOWN || sys_errno == ETIMEDOUT || sys_errno == ENONET;
}

Echo::~Echo() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> Echo::open() {
  int family = ip_.is_v4() ? AF_INET : AF_INET6;
  int protocol = ip_.is_v4() ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
  constexpr int kFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;
  fd_ = ::socket(family, SOCK_DGRAM | kFlags, protocol);
  // net.ipv4.ping_group_range shuts ping sockets to everybody by default, root too.
  raw_ = fd_ < 0;
  if (raw_) fd_ = ::socket(family, SOCK_RAW | kFlags, protocol);
  if (fd_ < 0) return fail_errno(errno, "a socket for ICMP echo to {}", ip_.str());
  if (raw_) TRY_OK(filter(fd_, ip_.is_v4()));
  return {};
}

Result<bool> Echo::send() {
  TRY_OK(open());
  Message message = request(ip_.is_v4(), token_);
  if (connect_to(fd_, ip_) == 0 && ::send(fd_, message.data(), message.size(), 0) >= 0) return true;
  int error = errno;
  if (is_unreachable(error)) return false;
  return fail_errno(error, "ICMP echo to {}", ip_.str());
}

bool Echo::answered() {
  std::array<std::uint8_t, kMostIpHeader + kMessage> buffer{};
  for (int i = 0; i < kMostReads; ++i) {
    ssize_t length = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    // Errors that routers report come out here once; the answer may come all the same.
    if (length < 0 && errno != EAGAIN && errno != EWOULDBLOCK) continue;
    if (length < 0) return false;
    std::size_t at = raw_ && ip_.is_v4() ? std::size_t{4} * (buffer[0] & 0x0fU) : 0;
    if (static_cast<std::size_t>(length) < at + kMessage) continue;
    int wanted = ip_.is_v4() ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    std::uint64_t token = 0;
    std::memcpy(&token, buffer.data() + at + kHeader, sizeof(token));
    if (buffer[at] == wanted && token == token_) return true;
  }
  return false;
}

}  // namespace tombolo::probe
