// The decisions of responder.h: refusals, names of our zones, CNAME chains, truncation.
#include "dns/responder.h"

#include <algorithm>
#include <array>
#include <optional>

#include "dns/reply_writer.h"

namespace tombolo::dns {
namespace {

using Section = ReplyWriter::Section;

constexpr int kMaxChain = 8;
constexpr std::uint32_t kVersionTtlS = 28800;  // as in both specifications' examples

ZoneLabel label_of(const Found& found) {
  if (found.kind == Found::Kind::kOutside) return ZoneLabel::kOther;
  if (found.reverse) return ZoneLabel::kReverse;
  return found.zone->kind == ZoneKind::kCluster ? ZoneLabel::kCluster : ZoneLabel::kClusterset;
}

// Types that mean something other than "records of this type" wherever they are asked.
std::optional<Rcode> refused_type(Type type) {
  switch (type) {
    case Type::kAxfr:
    case Type::kIxfr:
      return Rcode::kRefused;
    case Type::kMaila:
    case Type::kMailb:
      return Rcode::kNotImp;
    case Type::kOpt:
    case Type::kTsig:
    case Type::kTkey:
      return Rcode::kFormErr;
    default:
      return std::nullopt;
  }
}

// One question against one snapshot.
class Answerer {
 public:
  Answerer(const ZoneSet& zones, const ClientQuery& query, const ClientAddress& client,
           std::uint64_t rotation, bool subset, ReplyWriter& writer)
      : zones_(zones),
        query_(query),
        client_(client),
        rotation_(rotation),
        subset_(subset),
        writer_(writer) {}

  Rcode rcode = Rcode::kNoError;
  bool truncated = false;
  // Set when the chain of CNAMEs leaves our zones.
  std::optional<Name> outside;
  std::vector<Record> chain;

  void run(const Found& found) {
    bool fits = answer(found, query_.name, kQuestionPointer);
    if (fits) return;
    writer_.clear_records();
    truncated = true;
  }

 private:
  // `owner` is the pointer to `name`, which is the question's or, behind a CNAME, its target.
  bool answer(Found found, const QueryName& name, std::uint16_t owner) {
    QueryName target;
    for (int links = 0;; ++links) {
      const QueryName& current = links == 0 ? name : target;
      const Rrset* alias = found.node == nullptr ? nullptr : found.node->find(Type::kCname);
      bool follow = alias != nullptr && query_.type != Type::kCname && query_.type != Type::kAny;
      if (!follow) return answer_at(found, current, owner);
      if (links == kMaxChain) {
        rcode = Rcode::kServFail;
        writer_.clear_records();
        return true;
      }
      std::string_view name_wire = std::string_view(alias->rdata).substr(2);
      std::size_t name_at = 0;
      if (!writer_.put_name_record(Section::kAnswer, owner, Type::kCname, zones_.ttl_s, name_wire,
                                   name_at))
        return false;
      chain.push_back({Name::from_wire(std::string(current.wire())), Type::kCname, kClassIn,
                       zones_.ttl_s, std::string(name_wire)});
      bool read =
          target.read({reinterpret_cast<const std::uint8_t*>(name_wire.data()), name_wire.size()});
      ENSURE(read, "a CNAME target of the zone is malformed");
      owner = static_cast<std::uint16_t>(0xc000U | name_at);
      found = zones_.find(target);
      if (found.kind == Found::Kind::kOutside) {
        outside = Name::from_wire(std::string(target.wire()));
        return true;
      }
    }
  }

  bool answer_at(const Found& found, const QueryName& name, std::uint16_t owner) {
    if (found.kind == Found::Kind::kNotThere) {
      rcode = Rcode::kNxDomain;
      return negative(found, name);
    }
    if (found.kind == Found::Kind::kZoneApex) return apex(found, owner);
    if (query_.type == Type::kAny && !found.node->sets().empty())
      return writer_.put_hinfo(zones_.ttl_s);
    const Rrset* set = found.node->find(query_.type);
    if (set == nullptr) return negative(found, name);
    std::uint32_t ttl_s = set->type == Type::kTxt ? kVersionTtlS : zones_.ttl_s;
    if (!writer_.put_set(Section::kAnswer, owner, *set, ttl_s, rotation_ % set->count, set->count))
      return put_part(found, owner, *set, ttl_s);
    add_targets();
    return true;
  }

  // What of a set that is too long is shown: over TCP as much as fits; over UDP a subset where one
  // is allowed, else nothing (and TC).
  bool put_part(const Found& found, std::uint16_t owner, const Rrset& set, std::uint32_t ttl_s) {
    bool addresses = set.type == Type::kA || set.type == Type::kAaaa;
    if (!client_.tcp && !(subset_ && found.subset_allowed && addresses)) return false;
    if (!addresses) {
      // Stops at the first record that does not fit; what is written stays.
      std::size_t first = rotation_ % set.count;
      for (std::size_t i = 0; i < set.count; ++i)
        if (!writer_.put_set(Section::kAnswer, owner, set, ttl_s, (first + i) % set.count, 1))
          break;
      return true;
    }
    // By the client and the name, not by chance: A and AAAA of one client show the same endpoints.
    const std::size_t from = set.paired > 0 ? set.paired : set.count;
    const std::size_t size = set.paired > 0 || set.type == Type::kAaaa ? 28 : 16;
    const std::size_t wanted = std::min(from, writer_.room() / size);
    std::uint64_t start = hash_bytes(query_.name.wire()) ^ hash_bytes(client_.ip.bytes_be());
    for (std::size_t i = 0; i < wanted; ++i)
      if (!writer_.put_set(Section::kAnswer, owner, set, ttl_s, (start % from + i) % from, 1))
        return false;
    return wanted > 0;
  }

  bool apex(const Found& found, std::uint16_t owner) {
    std::uint16_t zone = owner;
    std::string_view owner_bytes = pointer_bytes(zone);
    if (query_.type == Type::kSoa)
      return writer_.put_soa(Section::kAnswer, owner_bytes, *found.zone, zones_.negative_ttl_s);
    if (query_.type == Type::kAny) return writer_.put_hinfo(zones_.ttl_s);
    if (query_.type != Type::kNs)
      return writer_.put_soa(Section::kAuthority, owner_bytes, *found.zone, zones_.negative_ttl_s);
    std::string server = "\2ns\3dns" + found.zone->name;
    std::size_t name_at = 0;
    if (!writer_.put_name_record(Section::kAnswer, owner, Type::kNs, zones_.ttl_s, server, name_at))
      return false;
    add_addresses(found.zone->name_server, static_cast<std::uint16_t>(0xc000U | name_at));
    return true;
  }

  bool negative(const Found& found, const QueryName& name) {
    if (&name != &query_.name) {
      std::string_view wire = name.wire();
      auto index = static_cast<std::size_t>(name.label_count - found.zone_labels);
      return writer_.put_soa(Section::kAuthority, wire.substr(name.label_at[index]), *found.zone,
                             zones_.negative_ttl_s);
    }
    return writer_.put_soa(Section::kAuthority,
                           pointer_bytes(pointer_to_suffix(name, found.zone_labels)), *found.zone,
                           zones_.negative_ttl_s);
  }

  // Addresses of SRV targets, as far as they fit: a missing one is no truncation (RFC 2181 9).
  void add_targets() {
    constexpr std::size_t kSmallest = 28;  // one A record
    std::array<std::string_view, ReplyWriter::kMaxTargets> shown;
    std::size_t count = 0;
    for (std::uint16_t at : writer_.targets()) {
      QueryName target;
      if (at > 0x3fff || writer_.room() < kSmallest) return;
      if (!target.read(writer_.written().subspan(at))) return;
      std::string_view text{reinterpret_cast<const char*>(&writer_.written()[at]), target.size};
      if (std::find(shown.begin(), shown.begin() + count, text) != shown.begin() + count) continue;
      shown[count++] = text;
      Found found = zones_.find(target);
      if (found.node != nullptr)
        add_addresses(*found.node, static_cast<std::uint16_t>(0xc000U | at));
    }
  }

  void add_addresses(const Node& node, std::uint16_t owner) {
    for (const Rrset& set : node.sets())
      if (set.type == Type::kA || set.type == Type::kAaaa)
        writer_.put_set(Section::kAdditional, owner, set, zones_.ttl_s, 0, set.count);
  }

  std::string_view pointer_bytes(std::uint16_t pointer) {
    store16_be(reinterpret_cast<std::uint8_t*>(pointer_), pointer);
    return {pointer_, 2};
  }

  const ZoneSet& zones_;
  const ClientQuery& query_;
  const ClientAddress& client_;
  std::uint64_t rotation_;
  bool subset_;
  ReplyWriter& writer_;
  char pointer_[2];
};

}  // namespace

std::size_t reply_limit(const ClientQuery& query, bool tcp) {
  if (tcp) return kMaxMessageSize;
  return std::min<std::size_t>(query.udp_size, kUdpSize);
}

bool Responder::may_forward(const ClientAddress& client) const {
  if (!options_.forwarding) return false;
  if (options_.forward_clients.empty()) return true;
  return std::ranges::any_of(options_.forward_clients,
                             [&](const Prefix& prefix) { return prefix.contains(client.ip); });
}

Reply Responder::respond(std::span<const std::uint8_t> packet, const ZoneSet& zones,
                         const ClientAddress& client, std::span<std::uint8_t> out) {
  Reply reply;
  ClientQuery query;
  QueryVerdict verdict = read_query(packet, query);
  reply.type = query.type;
  reply.malformed = verdict == QueryVerdict::kDrop || verdict == QueryVerdict::kFormErr;
  if (verdict == QueryVerdict::kDrop) return reply;
  reply.action = Reply::Action::kSend;
  ReplyWriter writer(out, reply_limit(query, client.tcp), query, packet);
  bool forwards = may_forward(client);
  auto flags = static_cast<std::uint16_t>(
      kFlagQr | (query.flags & (kOpcodeMask | kFlagRd | kFlagCd)) | (forwards ? kFlagRa : 0));
  auto refuse = [&](Rcode rcode, int extended_error = -1) {
    reply.rcode = rcode;
    reply.size = writer.finish(flags, rcode, extended_error);
    return std::move(reply);
  };
  if (verdict == QueryVerdict::kNotImp) return refuse(Rcode::kNotImp);
  if (verdict == QueryVerdict::kFormErr) return refuse(Rcode::kFormErr);
  if (verdict == QueryVerdict::kNotAuth) return refuse(Rcode::kNotAuth);
  if (query.edns && query.edns_version > 0) return refuse(Rcode::kBadVers);
  if (query.klass != kClassIn) return refuse(Rcode::kRefused);
  if (auto rcode = refused_type(query.type)) return refuse(*rcode);

  Found found = zones.find(query.name);
  reply.zone = label_of(found);
  std::optional<Name> outside;
  std::vector<Record> chain;
  if (found.kind != Found::Kind::kOutside) {
    if (!zones.synced) return refuse(Rcode::kServFail, kErrorNotReady);
    bool subset = options_.clusterset_subset;
    Answerer answerer(zones, query, client, rotation_++, subset, writer);
    answerer.run(found);
    bool ask = answerer.outside && forwards && (query.flags & kFlagRd) != 0;
    if (!ask) {
      reply.truncated = answerer.truncated;
      auto tc = static_cast<std::uint16_t>(answerer.truncated ? kFlagTc : 0);
      auto aa = static_cast<std::uint16_t>(answerer.rcode == Rcode::kServFail ? 0 : kFlagAa);
      reply.rcode = answerer.rcode;
      reply.size = writer.finish(flags | tc | aa, answerer.rcode, -1);
      return reply;
    }
    outside = std::move(answerer.outside);
    chain = std::move(answerer.chain);
  }
  if (!forwards || (query.flags & kFlagRd) == 0) return refuse(Rcode::kRefused);
  // A query that this process forwarded, or that has come far already: someone sends our own
  // questions back.
  if ((query.hops > 0 && query.hop_process == options_.process) || query.hops >= kMaxHops)
    return refuse(Rcode::kServFail);
  reply.action = Reply::Action::kForward;
  reply.forward = std::make_unique<ForwardRequest>();
  reply.forward->question.assign(reinterpret_cast<const char*>(&packet[kHeaderSize]),
                                 query.question_size);
  reply.forward->target =
      outside ? std::move(*outside) : Name::from_wire(std::string(query.name.wire()));
  reply.forward->chain = std::move(chain);
  reply.forward->query = query;
  return reply;
}

}  // namespace tombolo::dns
