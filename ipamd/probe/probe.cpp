// Rounds of questions; between them answers are read as they come.
#include "ipamd/probe/probe.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "ipamd/probe/claims.h"

namespace tombolo {
namespace {

using neighbor::Device;
using neighbor::PacketSocket;
using probe::Claim;

// Packets that are read before others get their turn.
constexpr int kMostReads = 256;

// One question under way.
class Probing {
 public:
  Probing(const asio::any_io_executor& executor, ProbeQuestion question)
      : question_(std::move(question)), ready_(executor) {}

  Result<void> open() {
    if (question_.device.empty()) {
      std::vector<Ip> all = question_.unused;
      all.insert(all.end(), question_.gateways.begin(), question_.gateways.end());
      TRY(name, neighbor::device_on_network_of(all));
      question_.device = std::move(name);
    }
    TRY(device, neighbor::find_device(question_.device));
    device_ = device;
    int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return fail_errno(errno, "wait for packets");
    ready_.assign(epoll);
    bool tagged = question_.vlan != 0 && neighbor::vlan_of_device(device_.name) != question_.vlan;
    for (Family family : {Family::kV4, Family::kV6}) {
      if (!asks_about(family)) continue;
      TRY_OK(hear(family, 0));
      if (tagged) TRY_OK(hear(family, question_.vlan));
    }
    return {};
  }

  Result<void> send() {
    for (const auto* list : {&question_.unused, &question_.gateways})
      for (const Ip& ip : *list) {
        if (answer_.gateways.contains(ip)) continue;
        auto question = probe::question_for(device_.mac, ip);
        for (const Ear& ear : ears_) {
          if (ear.family != ip.family()) continue;
          auto sent = ear.socket.send(question.packet, question.to);
          // A full queue drops a probe, as a network does: there are several.
          bool full =
              !sent && (sent.error().sys_errno == EAGAIN || sent.error().sys_errno == ENOBUFS);
          if (!sent && !full) return std::unexpected(std::move(sent).error());
        }
      }
    return {};
  }

  // Reads what has come; true when nothing more has to be waited for.
  bool read() {
    for (const Ear& ear : ears_) listen_to(ear);
    if (!answer_.conflicts.empty()) return true;
    return question_.unused.empty() && answer_.gateways.size() == question_.gateways.size();
  }

  asio::posix::stream_descriptor& ready() { return ready_; }
  ProbeAnswer& answer() { return answer_; }

 private:
  struct Ear {
    Family family;
    PacketSocket socket;
  };
  static bool has(const std::vector<Ip>& list, Ip ip) {
    return std::ranges::find(list, ip) != list.end();
  }
  bool asks_about(Family family) const {
    auto of_family = [family](Ip ip) { return ip.family() == family; };
    return std::ranges::any_of(question_.unused, of_family) ||
           std::ranges::any_of(question_.gateways, of_family);
  }
  Result<void> hear(Family family, std::uint16_t vlan) {
    TRY(socket, PacketSocket::open(device_, family, vlan));
    // Answers to a question from :: go to all nodes.
    if (family == Family::kV6) TRY_OK(socket.join(neighbor::multicast_mac(neighbor::all_nodes())));
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(ready_.native_handle(), EPOLL_CTL_ADD, socket.fd(), &event) != 0)
      return fail_errno(errno, "wait for packets");
    ears_.push_back({family, std::move(socket)});
    return {};
  }
  void listen_to(const Ear& ear) {
    std::array<std::uint8_t, 1500> room;
    for (int i = 0; i < kMostReads; ++i) {
      auto received = ear.socket.receive(room);
      if (!received || received->size == 0) return;  // nothing waits, or the interface went down
      auto claim = probe::read_claim(ear.family, neighbor::Bytes(room).first(received->size));
      if (!claim) continue;
      if (!claim->mac) claim->mac = received->from;
      // Our own question that a bridge brings back, and other questions of this node.
      if (received->from != device_.mac && *claim->mac != device_.mac) note(*claim);
    }
  }
  void note(const Claim& claim) {
    std::string mac = neighbor::to_string(*claim.mac);
    // Somebody who probes for an address as we do is a conflict as well (RFC 5227 section 2.1.1,
    // RFC 4862 section 5.4.3); no gateway is one that only wants to be.
    if (has(question_.unused, claim.ip)) answer_.conflicts.try_emplace(claim.ip, mac);
    if (!claim.asks && has(question_.gateways, claim.ip))
      answer_.gateways.try_emplace(claim.ip, mac);
  }

  ProbeQuestion question_;
  Device device_;
  std::vector<Ear> ears_;
  asio::posix::stream_descriptor ready_;
  ProbeAnswer answer_;
};

class PacketProber final : public AddressProber {
 public:
  PacketProber(asio::any_io_executor executor, ProbeTiming timing)
      : executor_(std::move(executor)), timing_(timing) {}

  asio::awaitable<Result<ProbeAnswer>> probe(ProbeQuestion question) override {
    for (auto* list : {&question.unused, &question.gateways}) {
      std::ranges::sort(*list);
      list->erase(std::ranges::unique(*list).begin(), list->end());
    }
    if (question.unused.size() + question.gateways.size() > kMostProbed)
      co_return fail(Code::kInvalidArgument, "{} addresses are asked for at once; the limit is {}",
                     question.unused.size() + question.gateways.size(), kMostProbed);
    std::string device = question.device.empty() ? "the addresses' network" : question.device;
    // Shared with the timer's handler, which may come after the end of a task that was cancelled.
    auto probing = std::make_shared<Probing>(executor_, std::move(question));
    auto opened = probing->open();
    bool done = false;
    for (int round = 0; opened && !done && round < timing_.rounds; ++round) {
      opened = probing->send();
      if (!opened) break;
      CO_TRY(complete, co_await listen(probing));
      done = complete;
    }
    if (!opened)
      co_return std::unexpected(std::move(opened).error().with_context("probe on " + device));
    co_return std::move(probing->answer());
  }

 private:
  // Until the window is over, or true: nothing is left to wait for.
  asio::awaitable<Result<bool>> listen(std::shared_ptr<Probing> probing) {
    auto over = std::make_shared<bool>(false);
    asio::steady_timer window(executor_, timing_.window);
    window.async_wait([probing, over](boost::system::error_code error) {
      if (error) return;
      *over = true;
      probing->ready().cancel();
    });
    while (true) {
      if (probing->read()) co_return true;
      if (*over) co_return false;
      auto [error] = co_await probing->ready().async_wait(asio::posix::stream_descriptor::wait_read,
                                                          asio::as_tuple(asio::use_awaitable));
      if (error && !*over) co_return fail(Code::kCancelled, "the probe was cancelled");
    }
  }

  asio::any_io_executor executor_;
  ProbeTiming timing_;
};

}  // namespace

std::unique_ptr<AddressProber> make_packet_prober(asio::any_io_executor executor,
                                                  ProbeTiming timing) {
  return std::make_unique<PacketProber>(std::move(executor), timing);
}

}  // namespace tombolo
