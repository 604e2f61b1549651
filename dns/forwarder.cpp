// See forwarder.h.
#include "dns/forwarder.h"

#include <algorithm>

#include "dns/exchange.h"

namespace tombolo::dns {
namespace {

constexpr auto kDownFor = std::chrono::seconds(2);

std::string key_of(const ForwardRequest& request) {
  std::string key = request.target.wire();
  append16_be(key, static_cast<std::uint16_t>(request.query.type));
  key.push_back(request.query.dnssec_ok ? '1' : '0');
  key.push_back((request.query.flags & kFlagCd) != 0 ? '1' : '0');
  return key;
}

// What goes upstream: our own id, name and EDNS. Nothing of the client's options (client subnet,
// cookie) is passed on.
Message upstream_query(const ForwardRequest& request, std::uint64_t process, bool plain, Rng& rng) {
  Message query =
      make_query(static_cast<std::uint16_t>(rng.next()), request.target, request.query.type);
  query.flags = static_cast<std::uint16_t>(query.flags | (request.query.flags & kFlagCd));
  query.edns->dnssec_ok = request.query.dnssec_ok;
  std::string marker;
  append32_be(marker, static_cast<std::uint32_t>(process >> 32));
  append32_be(marker, static_cast<std::uint32_t>(process));
  marker.push_back(static_cast<char>(request.query.hops + 1));
  query.edns->options.push_back({kOptionHopMarker, std::move(marker)});
  if (plain) query.edns.reset();
  return query;
}

// The upstream's word on the name; another server may know better.
bool is_final(const Message& reply) {
  return reply.rcode == Rcode::kNoError || reply.rcode == Rcode::kNxDomain;
}

std::string client_reply(const ForwardRequest& request, const CachedAnswer& answer, bool tcp) {
  Message reply;
  reply.id = request.query.id;
  reply.flags =
      static_cast<std::uint16_t>(kFlagQr | kFlagRa | (request.query.flags & (kFlagRd | kFlagCd)));
  Name asked = Name::from_wire(request.question.substr(0, request.question.size() - 4));
  reply.questions.push_back({std::move(asked), request.query.type, kClassIn});
  if (request.query.edns) {
    reply.edns = Edns{};
    reply.edns->dnssec_ok = request.query.dnssec_ok;
  }
  reply.rcode = Rcode::kServFail;
  if (answer.message && is_final(*answer.message)) {
    const Message& from = *answer.message;
    reply.rcode = from.rcode;
    reply.answers = request.chain;
    reply.answers.insert(reply.answers.end(), from.answers.begin(), from.answers.end());
    reply.authorities = from.authorities;
    for (auto* section : {&reply.answers, &reply.authorities})
      for (Record& record : *section) record.ttl_s -= std::min(record.ttl_s, answer.age_s);
  } else if (answer.message && answer.message->rcode == Rcode::kRefused) {
    reply.rcode = Rcode::kRefused;  // the client may have another server to ask
  }
  return encode_message(reply, reply_limit(request.query, tcp));
}

}  // namespace

Forwarder::Forwarder(ForwarderSettings settings, TaskGroup& tasks, Clock& clock, Rng& rng)
    : settings_(std::move(settings)),
      tasks_(tasks),
      clock_(clock),
      rng_(rng),
      cache_(settings_.cache_entries),
      hits_(metrics::counter("tombolo_dns_forward_cache_total", "Look-ups in the forward cache",
                             {{"result", "hit"}})),
      misses_(metrics::counter("tombolo_dns_forward_cache_total", "Look-ups in the forward cache",
                               {{"result", "miss"}})) {
  for (const Endpoint& at : settings_.upstreams) upstreams_.push_back({at, {}, false});
}

asio::awaitable<std::string> Forwarder::answer(std::shared_ptr<const ForwardRequest> request,
                                               bool tcp, Rcode* rcode) {
  CachedAnswer found = co_await resolve(request);
  std::string packet = client_reply(*request, found, tcp);
  *rcode = static_cast<Rcode>(load16_be(reinterpret_cast<const std::uint8_t*>(packet.data()) + 2) &
                              kRcodeMask);
  co_return packet;
}

asio::awaitable<CachedAnswer> Forwarder::resolve(std::shared_ptr<const ForwardRequest> request) {
  std::string key = key_of(*request);
  CachedAnswer found;
  if (cache_.find(key, clock_.now(), found) != nullptr) {
    hits_.increment();
    co_return found;
  }
  misses_.increment();
  auto at = pending_.find(key);
  if (at == pending_.end()) {
    if (pending_.size() >= settings_.max_in_flight) {
      Error overload{Code::kResourceExhausted, "too many questions to upstream servers"};
      count_error(overload);
      co_return found;
    }
    auto made = std::make_shared<Pending>(tasks_.executor());
    at = pending_.emplace(key, std::move(made)).first;
    tasks_.spawn("dns-upstream", ask_upstreams(key, at->second, request));
  }
  std::shared_ptr<Pending> pending = at->second;
  while (!pending->result.message)
    if (auto woken = co_await pending->done.wait(); !woken) break;
  co_return pending->result;
}

std::vector<std::size_t> Forwarder::order() const {
  std::vector<std::size_t> all;
  MonotonicTime now = clock_.now();
  for (bool down : {false, true})
    for (std::size_t i = 0; i < upstreams_.size(); ++i)
      if ((upstreams_[i].down_until > now) == down) all.push_back(i);
  // A single server gets a second chance, many servers no more than three turns.
  if (all.size() == 1) all.push_back(all.front());
  if (all.size() > 3) all.resize(3);
  return all;
}

asio::awaitable<void> Forwarder::ask_upstreams(std::string key, std::shared_ptr<Pending> pending,
                                               std::shared_ptr<const ForwardRequest> request) {
  std::shared_ptr<const Message> best;
  for (std::size_t upstream : order()) {
    auto reply = co_await ask_one(upstream, request);
    if (tasks_.cancelled()) break;
    if (!reply) {
      count_error(reply.error());
      upstreams_[upstream].down_until = clock_.now() + kDownFor;
      continue;
    }
    upstreams_[upstream].down_until = {};
    reply->additionals.clear();
    best = std::make_shared<const Message>(std::move(*reply));
    if (is_final(*best)) break;
  }
  if (!best) {
    Message failure;
    failure.rcode = Rcode::kServFail;
    best = std::make_shared<const Message>(std::move(failure));
  }
  cache_.put(key, best, clock_.now());
  pending->result.message = std::move(best);
  pending_.erase(key);
  pending->done.notify_all();
}

asio::awaitable<Result<Message>> Forwarder::ask_one(std::size_t upstream,
                                                    std::shared_ptr<const ForwardRequest> request) {
  ExchangeOptions options{settings_.timeout};
  const bool plain = upstreams_[upstream].plain;
  Endpoint at = upstreams_[upstream].at;
  Message query = upstream_query(*request, settings_.process, plain, rng_);
  auto reply = co_await exchange(at, std::move(query), options);
  bool refused_edns = reply && !plain && !reply->edns &&
                      (reply->rcode == Rcode::kFormErr || reply->rcode == Rcode::kNotImp);
  if (!refused_edns) co_return reply;
  upstreams_[upstream].plain = true;
  Message again = upstream_query(*request, settings_.process, true, rng_);
  co_return co_await exchange(at, std::move(again), options);
}

void Forwarder::count_error(const Error& error) {
  std::string_view kind = error.code == Code::kDeadlineExceeded    ? "timeout"
                          : error.code == Code::kInvalidArgument   ? "malformed"
                          : error.code == Code::kResourceExhausted ? "overload"
                                                                   : "network";
  metrics::counter("tombolo_dns_forward_errors_total", "Questions that an upstream did not answer",
                   {{"kind", std::string(kind)}})
      .increment();
}

}  // namespace tombolo::dns
