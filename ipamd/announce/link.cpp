// Answers on every chosen interface. Readers are woken by the kernel, one loop looks for
// interfaces that came or went and repeats announcements.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/metrics.h"
#include "ipamd/announce/announce.h"
#include "ipamd/announce/sockets.h"

namespace tombolo::announce {
namespace {

using namespace neighbor;

constexpr int kPacketsPerTurn = 64;
constexpr std::size_t kMostBuckets = 65'536;

struct Bucket {
  double tokens = 0;
  MonotonicTime filled{};
};

// One interface with its sockets. The descriptors only wait; the sockets are theirs.
struct Port {
  Port(LinkInterface which, PacketSocket for_arp, PacketSocket for_ndp, Groups in_groups,
       const asio::any_io_executor& executor)
      : on(std::move(which)),
        arp(std::move(for_arp)),
        ndp(std::move(for_ndp)),
        groups(std::move(in_groups)),
        arp_ready(executor, arp.fd()),
        ndp_ready(executor, ndp.fd()) {}
  ~Port() {
    arp_ready.release();
    ndp_ready.release();
  }
  LinkInterface on;
  PacketSocket arp;
  PacketSocket ndp;
  Groups groups;
  asio::posix::stream_descriptor arp_ready;
  asio::posix::stream_descriptor ndp_ready;
  std::map<Ip, Bucket> buckets;
};

class RealLink final : public Link {
 public:
  RealLink(LinkSettings settings, TaskGroup& tasks, Clock& clock, Logger log)
      : settings_(std::move(settings)),
        tasks_(tasks),
        clock_(clock),
        log_(log.with("part", "announcing link")),
        answers_(metrics::counter("tombolo_announce_answers_total",
                                  "Answers to ARP and neighbour solicitations", {})),
        unanswered_(metrics::counter("tombolo_announce_unanswered_total",
                                     "Questions that were too many to answer", {})),
        announced_(metrics::counter("tombolo_announce_announcements_total",
                                    "Announcements of addresses and questions for other holders",
                                    {})) {}

  void answer_for(std::map<Ip, bool> addresses, MonotonicTime until) override {
    for (const auto& [ip, sure] : addresses) {
      auto before = addresses_.find(ip);
      if (sure && (before == addresses_.end() || !before->second))
        repeats_[ip] = settings_.announcements;
    }
    std::erase_if(repeats_, [&](const auto& entry) {
      auto at = addresses.find(entry.first);
      return at == addresses.end() || !at->second;
    });
    bool same = addresses.size() == addresses_.size() &&
                std::equal(addresses.begin(), addresses.end(), addresses_.begin());
    addresses_ = std::move(addresses);
    until_ = until;
    if (same) return;
    for (auto& [number, port] : ports_) join(*port);
    announce();
  }

  void on_other(std::function<void(const Ip&, const std::string&)> heard) override {
    heard_ = std::move(heard);
  }

  asio::awaitable<void> run() override {
    MonotonicTime look = clock_.now();
    while (!tasks_.cancelled()) {
      if (clock_.now() >= look) {
        look = clock_.now() + settings_.rescan;
        rescan();
      }
      if (auto slept = co_await clock_.sleep_for(settings_.pause); !slept) break;
      announce();
      ask_for_others();
    }
    ports_.clear();
  }

 private:
  void rescan() {
    auto found = find_interfaces(settings_.interfaces);
    if (!found) return complain(found.error().text());
    std::erase_if(ports_, [&](const auto& entry) {
      return std::ranges::find(*found, entry.second->on) == found->end();
    });
    std::string problem = found->empty() ? "no interface fits agent.announce.interfaces" : "";
    bool fresh = false;
    for (const LinkInterface& on : *found) {
      bool known =
          std::ranges::any_of(ports_, [&](const auto& entry) { return entry.second->on == on; });
      if (known) continue;
      auto opened = open(on);
      if (!opened) {
        problem = opened.error().text();
        continue;
      }
      fresh = true;
      log_.info("{} ({}): load balancer addresses are announced here", on.name, to_string(on.mac));
    }
    complain(problem);
    if (!fresh) return;
    for (const auto& [ip, sure] : addresses_)
      if (sure) repeats_[ip] = settings_.announcements;
    announce();
  }

  Result<void> open(const LinkInterface& on) {
    TRY(arp, PacketSocket::open(on, Family::kV4));
    TRY(ndp, PacketSocket::open(on, Family::kV6));
    TRY(groups, Groups::open(on));
    std::uint64_t number = ++last_number_;
    auto port = std::make_unique<Port>(on, std::move(arp), std::move(ndp), std::move(groups),
                                       tasks_.executor());
    join(*port);
    ports_.emplace(number, std::move(port));
    tasks_.spawn("announce on " + on.name + " (ARP)", read(number, false));
    tasks_.spawn("announce on " + on.name + " (NDP)", read(number, true));
    return {};
  }

  void join(Port& port) {
    std::set<Ip> groups;
    for (const auto& [ip, sure] : addresses_)
      if (!ip.is_v4()) groups.insert(solicited_node_group(ip));
    if (auto joined = port.groups.become(groups); !joined)
      complain(fmt::format("{}: {}", port.on.name, joined.error().text()));
  }

  // The port may be gone whenever this resumes: it is looked up by its number.
  asio::awaitable<void> read(std::uint64_t number, bool ndp) {
    while (true) {
      auto at = ports_.find(number);
      if (at == ports_.end()) co_return;
      auto& ready = ndp ? at->second->ndp_ready : at->second->arp_ready;
      auto [error] = co_await ready.async_wait(asio::posix::stream_descriptor::wait_read,
                                               asio::as_tuple(asio::use_awaitable));
      if (error) co_return;
      at = ports_.find(number);
      if (at == ports_.end()) co_return;
      if (auto drained = drain(*at->second, ndp); !drained) {
        // The interface went down or away; the next look opens it again.
        log_.debug("{}: {}", at->second->on.name, drained.error().text());
        ports_.erase(at);
        co_return;
      }
    }
  }

  Result<void> drain(Port& port, bool ndp) {
    std::array<std::uint8_t, 2048> room;
    for (int i = 0; i < kPacketsPerTurn; ++i) {
      TRY(received, (ndp ? port.ndp : port.arp).receive(room));
      if (received.size == 0) return {};
      Bytes packet(room.data(), received.size);
      if (ndp)
        take_ndp(port, packet);
      else
        take_arp(port, packet);
    }
    return {};
  }

  bool answers_for(const Ip& ip) const { return addresses_.contains(ip) && clock_.now() < until_; }

  void take_arp(Port& port, Bytes packet) {
    auto arp = parse_arp(packet);
    if (!arp) return;
    if (arp->sender_mac != port.on.mac && addresses_.contains(arp->sender_ip))
      return other(port, arp->sender_ip, arp->sender_mac);
    if (arp->reply || !answers_for(arp->target_ip) || !may_answer(port, arp->target_ip)) return;
    Arp answer{true, port.on.mac, arp->target_ip, arp->sender_mac, arp->sender_ip};
    sent(port, port.arp.send(encode(answer), arp->sender_mac), answers_);
  }

  void take_ndp(Port& port, Bytes packet) {
    Ndp ndp = parse_ndp(packet);
    if (const auto* said = std::get_if<Advertisement>(&ndp)) {
      if (said->target_mac && *said->target_mac != port.on.mac && addresses_.contains(said->target))
        other(port, said->target, *said->target_mac);
      return;
    }
    const auto* asked = std::get_if<Solicitation>(&ndp);
    if (asked == nullptr || !answers_for(asked->target) || !may_answer(port, asked->target)) return;
    // Who is about to take the address is told that it is taken (RFC 4862 section 5.4.3).
    bool wants_it = asked->source.value() == 0;
    Ip to = wants_it ? all_nodes() : asked->source;
    Advertisement answer{asked->target, to, asked->target, !wants_it, true, port.on.mac};
    Mac mac = wants_it ? multicast_mac(to) : asked->source_mac.value_or(multicast_mac(all_nodes()));
    sent(port, port.ndp.send(encode(answer), mac), answers_);
  }

  // Somebody with another MAC says that the address is his. Another interface of this node that
  // hears our own announcement is nobody else.
  void other(const Port& port, const Ip& ip, const Mac& mac) {
    for (const auto& [number, own] : ports_)
      if (own->on.mac == mac) return;
    log_.debug("{}: {} says that it has {}", port.on.name, to_string(mac), ip.str());
    if (heard_) heard_(ip, to_string(mac));
  }

  bool may_answer(Port& port, const Ip& ip) {
    if (port.buckets.size() >= kMostBuckets) port.buckets.clear();
    auto [at, fresh] = port.buckets.try_emplace(ip);
    Bucket& bucket = at->second;
    MonotonicTime now = clock_.now();
    double whole = settings_.answers_at_once;
    double passed = std::chrono::duration<double>(now - bucket.filled).count();
    bucket.tokens =
        fresh ? whole : std::min(whole, bucket.tokens + passed * settings_.answers_per_s);
    bucket.filled = now;
    if (bucket.tokens < 1) {
      unanswered_.increment();
      return false;
    }
    bucket.tokens -= 1;
    return true;
  }

  // While it is not known whose an address is, the link is asked, as somebody would who is about to
  // take it: its holder answers (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2).
  void ask_for_others() {
    if (clock_.now() >= until_) return;
    for (const auto& [ip, sure] : addresses_) {
      if (sure) continue;
      for (auto& [number, port] : ports_) {
        if (ip.is_v4()) {
          Arp question{false, port->on.mac, Ip::v4(0), Mac{}, ip};
          sent(*port, port->arp.send(encode(question), kBroadcast), announced_);
          continue;
        }
        Ip group = solicited_node_group(ip);
        auto question = encode(Solicitation{Ip::v6(0), ip, std::nullopt}, group);
        sent(*port, port->ndp.send(question, multicast_mac(group)), announced_);
      }
    }
  }

  // One round of what is to be announced (RFC 5227 section 2.3, RFC 4861 section 7.2.6).
  void announce() {
    if (clock_.now() >= until_ || ports_.empty()) return;
    for (auto& [ip, left] : repeats_) {
      if (left <= 0) continue;
      for (auto& [number, port] : ports_) announce_on(*port, ip);
      --left;
    }
    std::erase_if(repeats_, [](const auto& entry) { return entry.second <= 0; });
  }

  void announce_on(Port& port, const Ip& ip) {
    if (ip.is_v4()) {
      Arp said{false, port.on.mac, ip, Mac{}, ip};
      sent(port, port.arp.send(encode(said), kBroadcast), announced_);
      return;
    }
    Advertisement said{ip, all_nodes(), ip, false, true, port.on.mac};
    sent(port, port.ndp.send(encode(said), multicast_mac(all_nodes())), announced_);
  }

  void sent(const Port& port, const Result<void>& result, const metrics::Counter& counter) {
    if (result)
      counter.increment();
    else
      complain(fmt::format("{}: {}", port.on.name, result.error().text()));
  }

  // Once per problem.
  void complain(const std::string& problem) {
    if (problem != complained_ && !problem.empty()) log_.warning("{}", problem);
    complained_ = problem;
  }

  LinkSettings settings_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  metrics::Counter answers_;
  metrics::Counter unanswered_;
  metrics::Counter announced_;
  std::function<void(const Ip&, const std::string&)> heard_;
  std::map<std::uint64_t, std::unique_ptr<Port>> ports_;  // by a number that is never used again
  std::uint64_t last_number_ = 0;
  std::map<Ip, bool> addresses_;
  MonotonicTime until_ = MonotonicTime::max();
  std::map<Ip, int> repeats_;  // announcements that are still to be made
  std::string complained_;
};

}  // namespace

std::unique_ptr<Link> make_link(LinkSettings settings, TaskGroup& tasks, Clock& clock, Logger log) {
  return std::make_unique<RealLink>(std::move(settings), tasks, clock, std::move(log));
}

}  // namespace tombolo::announce
