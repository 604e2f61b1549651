// Forwarding through the real server to a scripted upstream on loopback, and the publisher's way
// from table to answer.
#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <map>
#include <mutex>
#include <thread>

#include "dns/dns.h"
#include "dns/forward_cache.h"
#include "dns/sockets.h"
#include "dns/test_zone.h"
#include "dns/text.h"

namespace tombolo::dns {
namespace {

using testing::query;

Message parsed(const std::string& packet) {
  auto message =
      parse_message({reinterpret_cast<const std::uint8_t*>(packet.data()), packet.size()});
  INFO((message ? "" : message.error().text()));
  REQUIRE(message.has_value());
  return *message;
}

// Answers by the first label of the name: "silent" never, "forged" with wrong packets first, "big"
// only over TCP, "gone" NXDOMAIN, "fail" SERVFAIL, "noedns" FORMERR to EDNS, others 192.0.2.1.
class Upstream {
 public:
  Upstream() {
    auto udp = open_udp(*Endpoint::parse("127.0.0.1:0"), {});
    REQUIRE(udp.has_value());
    udp_ = std::move(*udp);
    auto tcp = open_tcp(udp_.local, {});
    REQUIRE(tcp.has_value());
    tcp_ = std::move(*tcp);
    thread_ = std::thread([this] { run(); });
  }
  ~Upstream() {
    stopping_ = true;
    thread_.join();
  }
  Endpoint at() const { return udp_.local; }
  std::vector<Message> seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }
  int count(const std::string& name) {
    int matches = 0;
    for (const Message& message : seen())
      matches += message.questions[0].name.text() == name ? 1 : 0;
    return matches;
  }

 private:
  void run() {
    while (!stopping_) {
      std::array<pollfd, 2> polled{{{udp_.fd.get(), POLLIN, 0}, {tcp_.fd.get(), POLLIN, 0}}};
      if (::poll(polled.data(), polled.size(), 20) <= 0) continue;
      if (polled[0].revents != 0) serve_udp();
      if (polled[1].revents != 0) serve_tcp();
    }
  }
  void serve_udp() {
    std::string bytes(4096, '\0');
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    ssize_t got = ::recvfrom(udp_.fd.get(), bytes.data(), bytes.size(), 0,
                             reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return;
    bytes.resize(static_cast<std::size_t>(got));
    for (const std::string& reply : answer(bytes, false))
      (void)::sendto(udp_.fd.get(), reply.data(), reply.size(), 0,
                     reinterpret_cast<sockaddr*>(&from), size);
  }
  void serve_tcp() {
    Descriptor peer(::accept4(tcp_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    timeval limit{2, 0};
    ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::string bytes(2, '\0');
    if (::recv(peer.get(), bytes.data(), 2, MSG_WAITALL) != 2) return;
    bytes.resize(load16_be(reinterpret_cast<const std::uint8_t*>(bytes.data())));
    if (::recv(peer.get(), bytes.data(), bytes.size(), MSG_WAITALL) < 0) return;
    for (const std::string& reply : answer(bytes, true)) {
      std::string framed;
      append16_be(framed, static_cast<std::uint16_t>(reply.size()));
      framed += reply;
      (void)::send(peer.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
    }
  }
  std::vector<std::string> answer(const std::string& bytes, bool tcp) {
    auto asked = parse_message({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    if (!asked) return {};
    {
      std::lock_guard lock(mutex_);
      seen_.push_back(*asked);
    }
    std::string text = asked->questions[0].name.text();
    std::string label = text.substr(0, text.find('.'));
    Message reply;
    reply.id = asked->id;
    reply.flags = kFlagQr | kFlagRd | kFlagRa;
    reply.questions = asked->questions;
    if (asked->edns) reply.edns = Edns{};
    Record record{asked->questions[0].name, Type::kA, kClassIn, 60, std::string("\xc0\0\2\1", 4)};
    if (label == "silent") return {};
    if (label == "fail") {
      reply.rcode = Rcode::kServFail;
      return {encode_message(reply, 512)};
    }
    if (label == "noedns" && asked->edns) {
      reply.rcode = Rcode::kFormErr;
      reply.edns.reset();
      return {encode_message(reply, 512)};
    }
    if (label == "gone") {
      reply.rcode = Rcode::kNxDomain;
      reply.authorities.push_back({*Name::parse("example.org"), Type::kSoa, kClassIn, 60,
                                   std::string(2, '\0') + std::string(20, '\1')});
      return {encode_message(reply, 512)};
    }
    for (int i = label == "big" ? 90 : 1; i > 0; --i) {
      record.rdata.back() = static_cast<char>(i);
      reply.answers.push_back(record);
    }
    if (label == "big") return {encode_message(reply, tcp ? kMaxMessageSize : 512)};
    if (label != "forged") return {encode_message(reply, 512)};
    Message forged = reply;
    forged.answers[0].rdata.back() = 66;
    std::vector<std::string> packets;
    forged.id = static_cast<std::uint16_t>(reply.id + 1);
    packets.push_back(encode_message(forged, 512));
    forged.id = reply.id;
    forged.questions[0].name = *Name::parse("another.example.org");
    packets.push_back(encode_message(forged, 512));
    packets.push_back("garbage that is longer than a header");
    packets.push_back(encode_message(reply, 512));
    return packets;
  }

  BoundSocket udp_;
  BoundSocket tcp_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<Message> seen_;
};

struct Pair {
  explicit Pair(DnsSettings settings = {}, std::vector<Endpoint> before = {}) {
    settings.listen = {*Endpoint::parse("127.0.0.1:0")};
    settings.zones = testing::settings();
    settings.upstreams = std::move(before);
    settings.upstreams.push_back(upstream.at());
    settings.upstream_timeout = std::chrono::milliseconds(300);
    auto made = DnsServer::make(settings, Logger());
    REQUIRE(made.has_value());
    dns = std::move(*made);
    dns->publish(testing::zones());
    REQUIRE(dns->start().has_value());
    at = dns->addresses().at(0);
  }
  Message ask(const Message& question, int type = SOCK_DGRAM) const {
    Descriptor fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    timeval limit{10, 0};
    REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    SocketAddress to = to_socket_address(at);
    REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to.storage), to.size) == 0);
    std::string packet = encode_message(question, kMaxMessageSize);
    std::string out;
    if (type == SOCK_STREAM) append16_be(out, static_cast<std::uint16_t>(packet.size()));
    out += packet;
    REQUIRE(::send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(out.size()));
    std::string reply(2, '\0');
    if (type == SOCK_STREAM) {
      REQUIRE(::recv(fd.get(), reply.data(), 2, MSG_WAITALL) == 2);
      reply.resize(load16_be(reinterpret_cast<const std::uint8_t*>(reply.data())));
    } else {
      reply.resize(kMaxMessageSize);
    }
    ssize_t got = ::recv(fd.get(), reply.data(), reply.size(), MSG_WAITALL);
    REQUIRE(got > 0);
    reply.resize(static_cast<std::size_t>(got));
    return parsed(reply);
  }
  Upstream upstream;
  std::unique_ptr<DnsServer> dns;
  Endpoint at;
};

}  // namespace

TEST_CASE("other names are asked upstream, once per TTL") {
  Pair pair;
  for (int type : {SOCK_DGRAM, SOCK_STREAM, SOCK_DGRAM}) {
    Message question = query("WwW.example.ORG.", Type::kA);
    question.edns = Edns{1400, 0, false, {{8, "subnet"}, {10, "cookie-8"}}};
    Message reply = pair.ask(question, type);
    REQUIRE(reply.id == question.id);
    REQUIRE(reply.rcode == Rcode::kNoError);
    REQUIRE(reply.questions == question.questions);  // in the client's spelling
    REQUIRE((reply.flags & (kFlagRa | kFlagAa)) == kFlagRa);
    REQUIRE(reply.answers.size() == 1);
    REQUIRE(reply.answers[0].ttl_s <= 60);
    REQUIRE(reply.answers[0].name.text() == "WwW.example.ORG.");
    REQUIRE(reply.edns == Edns{kUdpSize, 0, false, {}});
  }
  std::vector<Message> seen = pair.upstream.seen();
  REQUIRE(seen.size() == 1);
  // Nothing of the client's options goes on; the hop marker does.
  REQUIRE(seen[0].edns->options.size() == 1);
  REQUIRE(seen[0].edns->options[0].code == kOptionHopMarker);
  // Names of our zones never leave, whatever their answer.
  pair.ask(query("nothing.default.svc.cluster.local.", Type::kA));
  pair.ask(query("x.clusterset.local.", Type::kA));
  REQUIRE(pair.upstream.seen().size() == 1);
}

TEST_CASE("ExternalName leads to an upstream's answer") {
  Pair pair;
  Message reply = pair.ask(query("out.ext.svc.cluster.local.", Type::kA));
  REQUIRE(reply.answers.size() == 2);
  REQUIRE(record_text(reply.answers[0]) ==
          "out.ext.svc.cluster.local. 5 IN CNAME www.example.org.");
  REQUIRE(record_text(reply.answers[1]) == "www.example.org. 60 IN A 192.0.2.1");
}

TEST_CASE("answers that are not the upstream's are ignored, cut ones asked again over TCP") {
  Pair pair;
  Message honest = pair.ask(query("forged.example.org.", Type::kA));
  REQUIRE(honest.answers.size() == 1);
  REQUIRE(rdata_text(Type::kA, honest.answers[0].rdata) == "192.0.2.1");
  Message cut = pair.ask(query("big.example.org.", Type::kA));
  REQUIRE((cut.flags & kFlagTc) != 0);  // does not fit this client's UDP either
  REQUIRE(pair.ask(query("big.example.org.", Type::kA), SOCK_STREAM).answers.size() == 90);
  REQUIRE(pair.upstream.count("big.example.org.") == 2);  // UDP and TCP, then from the cache
}

TEST_CASE("failures: silence, SERVFAIL, no EDNS, NXDOMAIN") {
  Pair pair;
  REQUIRE(pair.ask(query("silent.example.org.", Type::kA)).rcode == Rcode::kServFail);
  REQUIRE(pair.upstream.count("silent.example.org.") == 2);
  REQUIRE(pair.ask(query("fail.example.org.", Type::kA)).rcode == Rcode::kServFail);
  REQUIRE(pair.ask(query("noedns.example.org.", Type::kA)).answers.size() == 1);
  for (int i = 0; i < 2; ++i) {
    Message gone = pair.ask(query("gone.example.org.", Type::kA));
    REQUIRE(gone.rcode == Rcode::kNxDomain);
    REQUIRE(gone.authorities.size() == 1);
  }
  REQUIRE(pair.upstream.count("gone.example.org.") == 1);
}

TEST_CASE("a dead upstream costs one timeout, then the other one is asked first") {
  auto dead = open_udp(*Endpoint::parse("127.0.0.1:0"), {});
  REQUIRE(dead.has_value());
  Pair pair({}, {dead->local});
  REQUIRE(pair.ask(query("a.example.org.", Type::kA)).answers.size() == 1);
  REQUIRE(pair.ask(query("b.example.org.", Type::kA)).answers.size() == 1);
  // The second question did not go to the dead one.
  std::string bytes(512, '\0');
  int arrived = 0;
  while (::recv(dead->fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) ++arrived;
  REQUIRE(arrived == 1);
}

TEST_CASE("many clients with one question make one question upstream") {
  Pair pair;
  std::vector<std::thread> clients;
  std::atomic<int> failed = 0;
  for (int i = 0; i < 8; ++i)
    clients.emplace_back([&] {
      Descriptor fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      timeval limit{10, 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      SocketAddress to = to_socket_address(pair.at);
      ::connect(fd.get(), reinterpret_cast<sockaddr*>(&to.storage), to.size);
      Message question = make_query(7, *Name::parse("silent.example.org."), Type::kA);
      std::string packet = encode_message(question, 512);
      ::send(fd.get(), packet.data(), packet.size(), 0);
      std::string reply(512, '\0');
      failed += ::recv(fd.get(), reply.data(), reply.size(), 0) > 12 ? 1 : 0;
    });
  for (std::thread& client : clients) client.join();
  REQUIRE(failed == 8);                                      // each got its SERVFAIL
  REQUIRE(pair.upstream.count("silent.example.org.") == 2);  // two attempts, not sixteen
}

TEST_CASE("who may not, or does not want to, is not forwarded") {
  DnsSettings settings;
  settings.forward_clients = {*Prefix::parse("10.0.0.0/8")};
  Pair closed(settings);
  Message refused = closed.ask(query("www.example.org.", Type::kA));
  REQUIRE(refused.rcode == Rcode::kRefused);
  REQUIRE((refused.flags & kFlagRa) == 0);
  REQUIRE(closed.ask(query("web.default.svc.cluster.local.", Type::kA)).answers.size() == 1);
  Pair open;
  Message iterative = query("www.example.org.", Type::kA);
  iterative.flags = 0;
  REQUIRE(open.ask(iterative).rcode == Rcode::kRefused);
  Message travelled = query("www.example.org.", Type::kA);
  travelled.edns = Edns{};
  travelled.edns->options.push_back({kOptionHopMarker, std::string(8, 'p') + '\4'});
  REQUIRE(open.ask(travelled).rcode == Rcode::kServFail);
  REQUIRE(open.upstream.seen().empty());
}

TEST_CASE("two servers that forward to each other end the loop") {
  DnsSettings settings;
  settings.zones = testing::settings();
  settings.upstream_timeout = std::chrono::milliseconds(300);
  // Both need the other's port: the first is made twice, the second time with the port it had.
  settings.listen = {*Endpoint::parse("127.0.0.1:0")};
  auto probe = DnsServer::make(settings, Logger());
  REQUIRE((*probe)->start().has_value());
  Endpoint first_at = (*probe)->addresses()[0];
  settings.upstreams = {first_at};
  auto second = DnsServer::make(settings, Logger());
  REQUIRE((*second)->start().has_value());
  (*probe)->stop();
  settings.listen = {first_at};
  settings.upstreams = {(*second)->addresses()[0]};
  auto first = DnsServer::make(settings, Logger());
  REQUIRE((*first)->start().has_value());
  Descriptor fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  timeval limit{10, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  SocketAddress to = to_socket_address(first_at);
  ::connect(fd.get(), reinterpret_cast<sockaddr*>(&to.storage), to.size);
  std::string packet = encode_message(query("www.example.org.", Type::kA), 512);
  ::send(fd.get(), packet.data(), packet.size(), 0);
  std::string reply(512, '\0');
  ssize_t got = ::recv(fd.get(), reply.data(), reply.size(), 0);
  REQUIRE(got > 0);
  reply.resize(static_cast<std::size_t>(got));
  REQUIRE(parsed(reply).rcode == Rcode::kServFail);
}

TEST_CASE("the cache keeps what it may, as long as it may, and no more than it may") {
  ForwardCache cache(2);
  auto made = [](std::uint32_t ttl_s, Rcode rcode = Rcode::kNoError) {
    auto message = std::make_shared<Message>();
    message->questions.push_back({Name(), Type::kA, kClassIn});
    message->rcode = rcode;
    if (ttl_s > 0)
      message->answers.push_back({Name(), Type::kA, kClassIn, ttl_s, std::string(4, '\1')});
    return message;
  };
  MonotonicTime now{std::chrono::hours(1)};
  CachedAnswer found;
  cache.put("a", made(10), now);
  REQUIRE(cache.find("a", now + std::chrono::seconds(9), found) != nullptr);
  REQUIRE(found.age_s == 9);
  REQUIRE(cache.find("a", now + std::chrono::seconds(10), found) == nullptr);
  cache.put("zero", made(0), now);  // NODATA without SOA
  REQUIRE(cache.size() == 0);
  cache.put("failed", made(0, Rcode::kServFail), now);
  REQUIRE(cache.find("failed", now + std::chrono::milliseconds(999), found) != nullptr);
  REQUIRE(cache.find("failed", now + std::chrono::milliseconds(1000), found) == nullptr);
  for (std::string key : {"x", "y"}) cache.put(key, made(100), now);
  REQUIRE(cache.find("x", now, found) != nullptr);
  cache.put("z", made(100), now);
  REQUIRE(cache.size() == 2);
  REQUIRE(cache.find("y", now, found) == nullptr);  // the one not used for longest
  REQUIRE(cache.find("x", now, found) != nullptr);
  REQUIRE(keep_s(*made(1000000)) == 3600);
}

TEST_CASE("the publisher serves nothing before the table is synced, then every change") {
  asio::io_context io;
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(1);
  RevisionCounter revisions;
  Table<Frontend> table("frontends", revisions);
  Table<ReconcileStatus> status("status", revisions);
  auto writer = table.take_writer("test");
  std::shared_ptr<const ZoneSet> latest;
  int published = 0;
  auto publisher = ZonePublisher::make(
      testing::settings(), *clock,
      [&](std::shared_ptr<const ZoneSet> next) {
        latest = std::move(next);
        ++published;
      },
      Logger());
  REQUIRE(publisher.has_value());
  TaskGroup tasks(io.get_executor());
  Reconciler<Frontend> reconciler({.name = "dns"}, table, **publisher, status.take_writer("test"),
                                  tasks, *clock, *rng, Logger());
  tasks.spawn("reconciler", reconciler.run());
  for (const Frontend& row : testing::rows()) writer.upsert(row);
  for (int i = 0; i < 1000; ++i) io.poll();
  REQUIRE(published == 0);
  writer.mark_synced();
  for (int i = 0; i < 1000 && !reconciler.settled(); ++i) io.poll();
  REQUIRE(reconciler.settled());
  REQUIRE(latest != nullptr);
  REQUIRE(latest->synced);
  Message question = query("web.default.svc.cluster.local.", Type::kA);
  REQUIRE(testing::ask(*latest, question).message.answers.size() == 1);
  std::uint32_t serial = latest->zones[0].serial;
  writer.erase("default/web");
  for (int i = 0; i < 1000 && !reconciler.settled(); ++i) io.poll();
  REQUIRE(testing::ask(*latest, question).message.rcode == Rcode::kNxDomain);
  REQUIRE(static_cast<std::int32_t>(latest->zones[0].serial - serial) > 0);
  int before = published;
  for (int i = 0; i < 200; ++i) {
    Frontend row = testing::rows()[1];
    row.name = fmt::format("s{}", i);
    writer.upsert(row);
  }
  for (int i = 0; i < 1000 && !reconciler.settled(); ++i) io.poll();
  REQUIRE(published == before + 1);  // one snapshot for what came at once
  (*publisher)->set_namespace("brand-new", true);
  REQUIRE(testing::ask(*latest, query("brand-new.svc.cluster.local.", Type::kA)).message.rcode ==
          Rcode::kNoError);
  tasks.cancel();
  io.restart();
  asio::co_spawn(io, tasks.join(), asio::detached);
  io.run();
}

}  // namespace tombolo::dns
