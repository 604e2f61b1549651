// Packet in, packet out: what a question is answered with from a snapshot, or that it has to be
// asked upstream. Pure and without allocation for names of our own zones; one per DNS thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/ip.h"
#include "dns/message.h"
#include "dns/question.h"
#include "dns/zone.h"

namespace tombolo::dns {

struct ResponderOptions {
  bool forwarding = false;              // there is an upstream
  std::vector<Prefix> forward_clients;  // who may use it; empty: everybody
  // Headless names of clusterset.local that do not fit UDP show a subset, the same one for A and
  // AAAA, instead of an empty answer with TC. The specification allows it; resolvers without TCP
  // (musl before 1.2.4) depend on it.
  bool clusterset_subset = true;
  std::uint64_t process = 0;  // random, marks queries that this process forwards
};

// Whose question it was, for metrics.
enum class ZoneLabel : std::uint8_t { kCluster, kClusterset, kReverse, kOther };

// What the forwarder needs to answer in our place.
struct ForwardRequest {
  ClientQuery query;
  std::string question;       // its bytes as the client wrote them (0x20)
  Name target;                // what to ask for; differs from the question behind a CNAME
  std::vector<Record> chain;  // the CNAME records that led to `target`
};

struct Reply {
  enum class Action : std::uint8_t { kDrop, kSend, kForward } action = Action::kDrop;
  ZoneLabel zone = ZoneLabel::kOther;
  Type type = static_cast<Type>(0);
  Rcode rcode = Rcode::kNoError;
  bool truncated = false;
  bool malformed = false;
  std::size_t size = 0;  // bytes written
  std::unique_ptr<ForwardRequest> forward;
};

struct ClientAddress {
  Ip ip;
  bool tcp = false;
};

// Hops after which a forwarded query is taken for a loop.
inline constexpr std::uint8_t kMaxHops = 4;

class Responder {
 public:
  // `seed` starts the rotation of answers with several addresses.
  Responder(ResponderOptions options, std::uint64_t seed)
      : options_(std::move(options)), rotation_(seed) {}

  // Writes at most out.size() bytes; `out` has room for 512 at least. Over UDP an answer is at most
  // as long as the client takes and 1,232 bytes.
  Reply respond(std::span<const std::uint8_t> packet, const ZoneSet& zones,
                const ClientAddress& client, std::span<std::uint8_t> out);
  bool may_forward(const ClientAddress& client) const;

 private:
  ResponderOptions options_;
  std::uint64_t rotation_;
};

// The size that an answer to this query may have.
std::size_t reply_limit(const ClientQuery& query, bool tcp);

}  // namespace tombolo::dns
