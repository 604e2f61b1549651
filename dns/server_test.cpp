// The real server on loopback: UDP, TCP, pipelining, limits, forwarding. Waits are bounded by the
// sockets' own time limits.
#include <sys/time.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <thread>

#include "dns/dns.h"
#include "dns/sockets.h"
#include "dns/test_zone.h"
#include "dns/text.h"

namespace tombolo::dns {
namespace {

using testing::query;

struct Server {
  explicit Server(DnsSettings settings = {}, bool publish = true) {
    if (settings.listen.empty())
      settings.listen = {*Endpoint::parse("127.0.0.1:0"), *Endpoint::parse("[::1]:0")};
    settings.zones = testing::settings();
    auto made = DnsServer::make(settings, Logger());
    REQUIRE(made.has_value());
    dns = std::move(*made);
    if (publish) dns->publish(testing::zones());
    auto started = dns->start();
    INFO((started ? "" : started.error().text()));
    REQUIRE(started.has_value());
    at = dns->addresses().at(0);
  }
  std::unique_ptr<DnsServer> dns;
  Endpoint at;
};

// A plain blocking socket, as a resolver library has it.
class Client {
 public:
  Client(const Endpoint& to, int type)
      : fd_(::socket(to.ip.is_v4() ? AF_INET : AF_INET6, type, 0)) {
    timeval limit{5, 0};
    REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    SocketAddress address = to_socket_address(to);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address.storage), address.size) == 0);
  }
  void send(const std::string& bytes) {
    REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  // One datagram, or nothing when none came in time or the connection ended.
  std::string datagram() {
    std::string bytes(kMaxMessageSize, '\0');
    ssize_t size = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return bytes;
  }
  std::string framed() {
    std::string bytes(2, '\0');
    if (::recv(fd_.get(), bytes.data(), 2, MSG_WAITALL) != 2) return {};
    bytes.resize(load16_be(reinterpret_cast<const std::uint8_t*>(bytes.data())));
    ssize_t size = ::recv(fd_.get(), bytes.data(), bytes.size(), MSG_WAITALL);
    REQUIRE(size == static_cast<ssize_t>(bytes.size()));
    return bytes;
  }

 private:
  Descriptor fd_;
};

Message parsed(const std::string& packet) {
  REQUIRE(!packet.empty());
  auto message =
      parse_message({reinterpret_cast<const std::uint8_t*>(packet.data()), packet.size()});
  INFO((message ? "" : message.error().text()));
  REQUIRE(message.has_value());
  return *message;
}

std::string frame(const Message& message) {
  std::string packet = encode_message(message, kMaxMessageSize);
  std::string out;
  append16_be(out, static_cast<std::uint16_t>(packet.size()));
  return out + packet;
}

Message ask_udp(const Endpoint& at, const Message& question) {
  Client client(at, SOCK_DGRAM);
  client.send(encode_message(question, kMaxMessageSize));
  return parsed(client.datagram());
}

Message ask_tcp(const Endpoint& at, const Message& question) {
  Client client(at, SOCK_STREAM);
  client.send(frame(question));
  return parsed(client.framed());
}

Frontend big_headless(int endpoints, bool both) {
  Frontend row;
  row.name_space = "data";
  row.name = "big";
  row.local = row.exported = row.headless = true;
  for (int i = 1; i <= endpoints; ++i) {
    std::string host = fmt::format("b-{}", i);
    row.backends.push_back(
        testing::backend(fmt::format("10.3.{}.{}", i / 250, i % 250 + 1), "east", host));
    if (both)
      row.backends.push_back(testing::backend(fmt::format("fd00:10:3::{:x}", i), "east", host));
  }
  return row;
}

}  // namespace

TEST_CASE("the server answers over UDP and TCP, IPv4 and IPv6") {
  Server server;
  REQUIRE(server.dns->addresses().size() == 2);
  for (const Endpoint& at : server.dns->addresses()) {
    Message question = query("WEB.default.svc.Cluster.local.", Type::kA);
    for (const Message& reply : {ask_udp(at, question), ask_tcp(at, question)}) {
      REQUIRE(reply.id == question.id);
      REQUIRE(reply.rcode == Rcode::kNoError);
      REQUIRE(reply.questions == question.questions);
      REQUIRE(reply.answers.size() == 1);
      REQUIRE(record_text(reply.answers[0]) == "WEB.default.svc.Cluster.local. 5 IN A 10.1.0.1");
    }
  }
}

TEST_CASE("a server bound to the wildcard answers from the address that was asked") {
  DnsSettings settings;
  settings.listen = {*Endpoint::parse("0.0.0.0:0"), *Endpoint::parse("[::]:0")};
  Server server(settings);
  // Connected sockets accept replies of this address only.
  for (std::string ip : {"127.0.0.1", "127.3.4.5"}) {
    Endpoint at{*Ip::parse(ip), server.dns->addresses()[0].port};
    REQUIRE(ask_udp(at, query("web.default.svc.cluster.local.", Type::kA)).answers.size() == 1);
  }
  Endpoint at{*Ip::parse("::1"), server.dns->addresses()[1].port};
  REQUIRE(ask_udp(at, query("web.default.svc.cluster.local.", Type::kA)).answers.size() == 1);
}

TEST_CASE("several workers share one address") {
  DnsSettings settings;
  settings.udp_workers = 3;
  settings.listen = {*Endpoint::parse("127.0.0.1:0")};
  Server server(settings);
  for (int i = 0; i < 20; ++i)
    REQUIRE(ask_udp(server.at, query("web.default.svc.cluster.local.", Type::kA)).answers.size() ==
            1);
}

TEST_CASE("answers follow what is published") {
  Server server({}, false);
  Message question = query("web.default.svc.cluster.local.", Type::kA);
  REQUIRE(ask_udp(server.at, question).rcode == Rcode::kServFail);
  REQUIRE(ask_tcp(server.at, question).rcode == Rcode::kServFail);
  server.dns->publish(testing::zones());
  REQUIRE(ask_udp(server.at, question).rcode == Rcode::kNoError);
  REQUIRE(ask_tcp(server.at, question).rcode == Rcode::kNoError);
  server.dns->publish(testing::zones_of({}));
  REQUIRE(ask_udp(server.at, question).rcode == Rcode::kNxDomain);
  REQUIRE(ask_tcp(server.at, question).rcode == Rcode::kNxDomain);
}

TEST_CASE("a headless service that is too big for UDP comes over TCP") {
  Server server;
  server.dns->publish(testing::zones_of({big_headless(300, false)}));
  Message question = query("big.data.svc.cluster.local.", Type::kA);
  question.edns = Edns{};
  question.edns->udp_size = 4096;
  Message cut = ask_udp(server.at, question);
  REQUIRE((cut.flags & kFlagTc) != 0);
  REQUIRE(cut.answers.empty());
  Message whole = ask_tcp(server.at, question);
  REQUIRE((whole.flags & kFlagTc) == 0);
  REQUIRE(whole.answers.size() == 300);
  REQUIRE(ask_tcp(server.at, query("_http._tcp.big.data.svc.cluster.local.", Type::kSrv))
              .answers.size() == 300);
}

TEST_CASE("TCP answers pipelined questions on one connection") {
  Server server;
  Client client(server.at, SOCK_STREAM);
  std::string out;
  constexpr int kQuestions = 200;  // more than may be queued
  for (int i = 0; i < kQuestions; ++i) {
    Message question = query("web.default.svc.cluster.local.", Type::kA);
    question.id = static_cast<std::uint16_t>(i);
    out += frame(question);
  }
  // In pieces that end within messages.
  for (std::size_t at = 0; at < out.size(); at += 777) client.send(out.substr(at, 777));
  for (int i = 0; i < kQuestions; ++i) {
    Message reply = parsed(client.framed());
    REQUIRE(reply.id == i);
    REQUIRE(reply.answers.size() == 1);
  }
}

TEST_CASE("TCP connections are limited and end when idle or malformed") {
  DnsSettings settings;
  settings.max_tcp_connections_per_client = 2;
  settings.tcp_idle_timeout = std::chrono::milliseconds(300);
  Server server(settings);
  Message question = query("web.default.svc.cluster.local.", Type::kA);
  {
    Client first(server.at, SOCK_STREAM);
    Client second(server.at, SOCK_STREAM);
    first.send(frame(question));
    REQUIRE(!first.framed().empty());
    second.send(frame(question));
    REQUIRE(!second.framed().empty());
    Client third(server.at, SOCK_STREAM);
    REQUIRE(third.framed().empty());  // closed at once
    REQUIRE(first.framed().empty());  // closed after its idle time
  }
  // Places are free again once the closed connections are noticed.
  bool answered = false;
  for (int attempt = 0; attempt < 100 && !answered; ++attempt) {
    Client again(server.at, SOCK_STREAM);
    again.send(frame(question));
    answered = !again.framed().empty();
  }
  REQUIRE(answered);
  std::string long_frame("\xff\xff", 2);
  Client endless(server.at, SOCK_STREAM);
  endless.send(long_frame + std::string(100, 'x'));
  REQUIRE(endless.framed().empty());
  Client response(server.at, SOCK_STREAM);
  question.flags |= kFlagQr;
  response.send(frame(question));
  REQUIRE(response.framed().empty());
}

TEST_CASE("a server starts again on the same port, and says why it cannot") {
  Server server;
  DnsSettings taken;
  taken.listen = {server.at};
  taken.zones = testing::settings();
  auto second = DnsServer::make(taken, Logger());
  REQUIRE(second.has_value());
  auto refused = (*second)->start();
  REQUIRE(!refused.has_value());
  REQUIRE(refused.error().sys_errno == EADDRINUSE);
  REQUIRE(refused.error().what.find(server.at.str()) != std::string::npos);
  server.dns->stop();
  REQUIRE((*second)->start().has_value());
  REQUIRE(ask_udp(server.at, query("cluster.local.", Type::kSoa)).rcode == Rcode::kServFail);
}

TEST_CASE("settings that cannot work are refused with the reason") {
  auto refusal = [](auto change) {
    DnsSettings settings;
    settings.listen = {*Endpoint::parse("127.0.0.1:53")};
    settings.zones = testing::settings();
    change(settings);
    auto made = DnsServer::make(settings, Logger());
    REQUIRE(!made.has_value());
    return made.error().what;
  };
  REQUIRE(refusal([](DnsSettings& s) { s.listen.clear(); }).find("no address") !=
          std::string::npos);
  REQUIRE(refusal([](DnsSettings& s) { s.udp_workers = 0; }).find("workers") != std::string::npos);
  REQUIRE(refusal([](DnsSettings& s) { s.zones.cluster_zone = "a..b"; }).find("empty label") !=
          std::string::npos);
  REQUIRE(refusal([](DnsSettings& s) {
            s.zones.clusterset_zone = "x.cluster.local";
          }).find("below the other") != std::string::npos);
  REQUIRE(refusal([](DnsSettings& s) {
            s.upstreams = {*Endpoint::parse("127.0.0.1:53")};
          }).find("this server itself") != std::string::npos);
}

}  // namespace tombolo::dns
