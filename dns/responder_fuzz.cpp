// Fuzzes everything behind a socket: any packet, over UDP and TCP, gets silence, a question for
// upstream, or a well-formed reply to it that is no longer than the client takes.
#include <cstdint>

#include "dns/message.h"
#include "dns/responder.h"

namespace {

using namespace tombolo;
using namespace tombolo::dns;

Ip ip(std::string_view text) {
  auto parsed = Ip::parse(text);
  ENSURE(parsed.has_value());
  return *parsed;
}

std::shared_ptr<const ZoneSet> make_zones() {
  ZoneSettings settings;
  settings.cluster = "east";
  settings.server_ips = {ip("169.254.20.10")};
  settings.reverse_prefixes = {*Prefix::parse("10.0.0.0/8"), *Prefix::parse("fd00::/8")};
  auto builder = ZoneBuilder::make(settings);
  ENSURE(builder.has_value());
  for (const char* name : {"web", "db", "ext"}) {
    Frontend row;
    row.name_space = "n";
    row.name = name;
    row.local = row.exported = true;
    row.headless = row.name == "db";
    if (row.name == "ext") row.external_name = "web.n.svc.cluster.local";
    row.cluster_ips = row.clusterset_ips = {ip("10.0.0.1"), ip("fd00::1")};
    row.ports = {{"http", Protocol::kTcp, 80}};
    for (unsigned i = 0; i < 120; ++i) {
      Backend backend;
      backend.ip = i % 2 == 0 ? Ip::v4(0x0a010000 + i) : *ip("fd00::").plus(i);
      backend.port_name = "http";
      backend.port = 80;
      backend.cluster = i % 3 == 0 ? "west.eu" : "east";
      backend.pod_name = fmt::format("p{}", i / 2);
      row.backends.push_back(backend);
    }
    builder->apply(row.key(), &row);
  }
  builder->mark_synced();
  return builder->snapshot(1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<const ZoneSet> zones = make_zones();
  static Responder responder({true, {}, true, 1}, 0);
  for (bool tcp : {false, true}) {
    std::vector<std::uint8_t> out(tcp ? kMaxMessageSize : kUdpSize);
    Reply reply = responder.respond({data, size}, *zones, {ip("10.0.0.9"), tcp}, out);
    if (reply.action == Reply::Action::kForward) {
      ENSURE(reply.forward->question.size() == reply.forward->query.question_size);
      continue;
    }
    if (reply.action == Reply::Action::kDrop) continue;
    ENSURE(size >= kHeaderSize && (data[2] & 0x80) == 0);
    ENSURE(reply.size <= out.size());
    auto message = parse_message({out.data(), reply.size});
    ENSURE(message.has_value(), "{}", message.error().what);
    ENSURE((message->flags & kFlagQr) != 0 && message->id == load16_be(data));
    ENSURE((message->flags & kFlagTc) == 0 || (!tcp && message->answers.empty()));
    auto asked = parse_message({data, size});
    bool plain = asked && !asked->edns;
    ENSURE(!plain || tcp || reply.size <= kPlainUdpSize);
    ENSURE(!plain || !message->edns);
  }
  return 0;
}
