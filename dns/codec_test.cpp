// Names, whole messages and the strict reader of questions: tables of malformed packets with what
// becomes of them, and the round trip of random messages.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "dns/test_zone.h"
#include "dns/text.h"

namespace tombolo::dns {
namespace {

using testing::ask_packet;

std::string unhex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size();) {
    if (text[i] == ' ') {
      ++i;
      continue;
    }
    bytes.push_back(static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    i += 2;
  }
  return bytes;
}

Result<Message> parse(const std::string& packet) {
  return parse_message({reinterpret_cast<const std::uint8_t*>(packet.data()), packet.size()});
}

// Question "a." A IN, and headers for it.
const std::string kQuestion = "01 61 00 0001 0001 ";
const std::string kOpt = "00 0029 04d0 00000000 0000 ";

std::string labels(int count, int size) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    out += fmt::format("{:02x} ", size);
    for (int j = 0; j < size; ++j) out += "61 ";
  }
  return out;
}

rc::Gen<std::string> label() {
  return rc::gen::mapcat(rc::gen::inRange(1, 6), [](int size) {
    return rc::gen::container<std::string>(static_cast<std::size_t>(size),
                                           rc::gen::element('a', 'B', 'c', '.', '\\', '\0', '7'));
  });
}

// Few labels, so that names share suffixes and compression has something to do.
rc::Gen<Name> name() {
  return rc::gen::map(rc::gen::mapcat(rc::gen::inRange(0, 6),
                                      [](int count) {
                                        return rc::gen::container<std::vector<std::string>>(
                                            static_cast<std::size_t>(count), label());
                                      }),
                      [](const std::vector<std::string>& parts) {
                        std::string wire;
                        for (const std::string& part : parts) {
                          wire.push_back(static_cast<char>(part.size()));
                          wire += part;
                        }
                        wire.push_back('\0');
                        return Name::from_wire(wire);
                      });
}

rc::Gen<Record> record() {
  return rc::gen::exec([] {
    Record made;
    made.name = *name();
    made.type = *rc::gen::element(Type::kA, Type::kAaaa, Type::kSrv, Type::kPtr, Type::kTxt,
                                  Type::kSoa, Type::kNs, Type::kCname, Type::kMx, Type::kHinfo,
                                  static_cast<Type>(17), static_cast<Type>(65280));
    made.klass = *rc::gen::element<std::uint16_t>(1, 3, 255);
    made.ttl_s = *rc::gen::inRange<std::uint32_t>(0, 0x7fffffff);
    auto bytes = [](std::size_t size) {
      return *rc::gen::container<std::string>(size, rc::gen::arbitrary<char>());
    };
    const NameLayout* layout = name_layout(made.type);
    if (layout != nullptr) {
      made.rdata = bytes(layout->before);
      for (int i = 0; i < layout->names; ++i) made.rdata += (*name()).wire();
      made.rdata += bytes(layout->after);
    } else if (made.type == Type::kA) {
      made.rdata = bytes(4);
    } else if (made.type == Type::kAaaa) {
      made.rdata = bytes(16);
    } else if (made.type == Type::kTxt) {
      made.rdata = std::string("\3") + bytes(3) + std::string(1, '\0');
    } else {
      made.rdata = bytes(static_cast<std::size_t>(*rc::gen::inRange(0, 9)));
    }
    return made;
  });
}

rc::Gen<Message> message() {
  return rc::gen::exec([] {
    Message made;
    made.id = *rc::gen::arbitrary<std::uint16_t>();
    made.flags = *rc::gen::arbitrary<std::uint16_t>() & static_cast<std::uint16_t>(~kRcodeMask);
    made.questions.push_back({*name(), Type::kA, kClassIn});
    for (auto* section : {&made.answers, &made.authorities, &made.additionals})
      *section = *rc::gen::scale(0.1, rc::gen::container<std::vector<Record>>(record()));
    if (*rc::gen::arbitrary<bool>()) {
      made.edns = Edns{*rc::gen::arbitrary<std::uint16_t>(), 0, *rc::gen::arbitrary<bool>(), {}};
      made.edns->options.push_back({*rc::gen::arbitrary<std::uint16_t>(), "xyz"});
    }
    made.rcode = static_cast<Rcode>(*rc::gen::inRange(0, made.edns ? 4096 : 16));
    return made;
  });
}

// Names compare without case once they went through compression.
Message lowered(Message from) {
  auto lower_record = [](Record& record) {
    record.name = record.name.lowered();
    if (name_layout(record.type) != nullptr)
      for (char& c : record.rdata) c = static_cast<char>(lower(static_cast<std::uint8_t>(c)));
  };
  for (auto& question : from.questions) question.name = question.name.lowered();
  for (auto* section : {&from.answers, &from.authorities, &from.additionals})
    for (Record& record : *section) lower_record(record);
  return from;
}

}  // namespace

TEST_CASE("names are read from text or refused with the reason") {
  struct Case {
    std::string name;
    std::string text;
    std::string wire_or_error;
    bool good;
  };
  auto c = GENERATE(values<Case>({
      {"root", ".", std::string(1, '\0'), true},
      {"no final dot", "a.bc", std::string("\1a\2bc\0", 6), true},
      {"final dot", "a.bc.", std::string("\1a\2bc\0", 6), true},
      {"escaped dot", R"(a\.b.c)", std::string("\3a.b\1c\0", 7), true},
      {"escaped number", R"(\000\255.)", std::string("\2\0\xff\0", 4), true},
      {"empty", "", "is empty", false},
      {"empty label", "a..b", "empty label", false},
      {"leading dot", ".a", "empty label", false},
      {"label of 64", std::string(64, 'x'), "longer than 63", false},
      {"backslash at the end", "a\\", "lone backslash", false},
      {"bad escape", R"(\25x)", "three digits", false},
      {"escape past a byte", R"(\256)", "no byte", false},
      {"256 bytes",
       std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." +
           std::string(62, 'd'),
       "longer than 255", false},
  }));
  CAPTURE(c.name);
  auto parsed = Name::parse(c.text);
  REQUIRE(parsed.has_value() == c.good);
  if (c.good)
    REQUIRE(parsed->wire() == c.wire_or_error);
  else
    REQUIRE(parsed.error().what.find(c.wire_or_error) != std::string::npos);
}

TEST_CASE("names survive text and reverse names spell addresses") {
  REQUIRE(rc::check("parse(text) is the identity", [] {
    Name made = *name();
    auto again = Name::parse(made.text());
    RC_ASSERT(again.has_value());
    RC_ASSERT(*again == made);
  }));
  REQUIRE(Name::reverse_of(*Ip::parse("10.0.2.1")).text() == "1.2.0.10.in-addr.arpa.");
  REQUIRE(Name::reverse_of(*Ip::parse("fd00::1")).text() ==
          "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.");
  REQUIRE(dashed(*Ip::parse("10.0.0.1")) == "10-0-0-1");
  REQUIRE(dashed(*Ip::parse("fd00::")) == "fd00--0");
  REQUIRE(dashed(*Ip::parse("::1")) == "0--1");
}

TEST_CASE("messages survive the wire") {
  REQUIRE(rc::check("parse(encode(m)) is m", [] {
    Message made = *message();
    std::string packet = encode_message(made, kMaxMessageSize);
    auto again = parse(packet);
    RC_ASSERT(again.has_value());
    RC_ASSERT(lowered(*again) == lowered(made));
  }));
  REQUIRE(rc::check("a limit is kept, by sending nothing but the question and TC", [] {
    Message made = *message();
    std::string packet = encode_message(made, kPlainUdpSize);
    RC_ASSERT(packet.size() <= kPlainUdpSize);
    auto again = parse(packet);
    RC_ASSERT(again.has_value());
    bool whole = encode_message(made, kMaxMessageSize).size() <= kPlainUdpSize;
    RC_ASSERT(whole || ((again->flags & kFlagTc) != 0 && again->answers.empty()));
  }));
  REQUIRE(rc::check("no prefix of a message is a message", [] {
    Message made = *message();
    std::string packet = encode_message(made, kMaxMessageSize);
    std::string cut = packet.substr(0, *rc::gen::inRange<std::size_t>(0, packet.size()));
    RC_ASSERT(!parse(cut).has_value());
  }));
}

TEST_CASE("compression shortens names of the types that allow it, and only those") {
  Message made;
  Name www = *Name::parse("www.example.org");
  made.questions.push_back({www, Type::kA, kClassIn});
  made.answers.push_back({www, Type::kCname, kClassIn, 1, Name::parse("b.example.org")->wire()});
  std::string cname = encode_message(made, kMaxMessageSize);
  REQUIRE(cname.size() == 12 + 17 + 4 + 12 + 4);
  made.answers[0].type = Type::kSrv;
  made.answers[0].rdata = std::string(6, '\0') + Name::parse("b.example.org")->wire();
  REQUIRE(encode_message(made, kMaxMessageSize).size() == 12 + 17 + 4 + 12 + 6 + 15);
}

TEST_CASE("malformed messages are refused with the reason") {
  struct Case {
    std::string name;
    std::string hex;
    std::string error;
  };
  const std::string head = "1234 8180 0001 0001 0000 0000 ";
  const std::string head_extra = "1234 8180 0001 0000 0000 0001 ";
  auto c = GENERATE_COPY(values<Case>({
      {"nothing", "", "no DNS message"},
      {"11 bytes", "1234 8180 0000 0000 0000 00", "no DNS message"},
      {"question missing", "1234 8180 0001 0000 0000 0000", "leaves the packet"},
      {"question cut", "1234 8180 0001 0000 0000 0000 01 61 00 0001 00", "leaves the packet"},
      {"name cut", "1234 8180 0001 0000 0000 0000 05 61", "leaves the packet"},
      {"answer missing", head + kQuestion, "answer record 1"},
      {"record cut", head + kQuestion + "c00c 0001 0001 0000", "a record leaves"},
      {"rdata cut", head + kQuestion + "c00c 0001 0001 00000001 0004 0a0000", "rdata leaves"},
      {"pointer to itself", head + kQuestion + "c013 0001 0001 00000001 0004 0a000001",
       "does not point backward"},
      {"pointer forward", head + kQuestion + "c020 0001 0001 00000001 0004 0a000001",
       "does not point backward"},
      {"pointer into the header", head + kQuestion + "c002 0001 0001 00000001 0004 0a000001",
       "does not point backward"},
      {"pointer cut", head + kQuestion + "c0", "leaves the packet"},
      {"two pointers in a ring", head + "01 61 c00e 0001 0001", "does not point backward"},
      {"labels that run into their pointer", head + "01 61 c00c 0001 0001",
       "does not point backward"},
      {"label type 01", head + "41 61 00 0001 0001", "unknown label type"},
      {"label type 10", head + "81 61 00 0001 0001", "unknown label type"},
      {"256 bytes of name", head + labels(4, 63) + "00 0001 0001", "longer than 255"},
      {"128 labels", head + labels(128, 1) + "00 0001 0001", "longer than 255"},
      {"A of 3 bytes", head + kQuestion + "c00c 0001 0001 00000001 0003 0a0000", "A record"},
      {"AAAA of 4 bytes", head + kQuestion + "c00c 001c 0001 00000001 0004 0a000001",
       "AAAA record"},
      {"TXT without string", head + kQuestion + "c00c 0010 0001 00000001 0000", "TXT record"},
      {"TXT string too long", head + kQuestion + "c00c 0010 0001 00000001 0002 0561", "TXT record"},
      {"CNAME with a tail", head + kQuestion + "c00c 0005 0001 00000001 0004 01 61 00 00",
       "CNAME record"},
      {"CNAME longer than its rdata", head + kQuestion + "c00c 0005 0001 00000001 0001 01 61 00",
       "CNAME record"},
      {"SOA without numbers", head + kQuestion + "c00c 0006 0001 00000001 0004 c00c c00c",
       "SOA record"},
      {"SRV of 5 bytes", head + kQuestion + "c00c 0021 0001 00000001 0005 0000000000",
       "SRV record is too short"},
      {"OPT in the answer", head + kQuestion + kOpt, "additional"},
      {"OPT under a name", head_extra + kQuestion + "01 61 00 0029 04d0 00000000 0000", "root"},
      {"OPT option cut", head_extra + kQuestion + "00 0029 04d0 00000000 0005 0003 0004 61",
       "option"},
      {"two OPT", "1234 8180 0001 0000 0000 0002 " + kQuestion + kOpt + kOpt, "one OPT"},
      {"bytes at the end", "1234 8180 0001 0000 0000 0000 " + kQuestion + "00",
       "behind the last record"},
      {"65,535 answers", "1234 8180 0001 ffff 0000 0000 " + kQuestion, "answer record 1"},
  }));
  CAPTURE(c.name);
  auto parsed = parse(unhex(c.hex));
  REQUIRE(!parsed.has_value());
  INFO(parsed.error().what);
  REQUIRE(parsed.error().what.find(c.error) != std::string::npos);
}

TEST_CASE("malformed questions are dropped or refused") {
  struct Case {
    std::string name;
    std::string hex;
    std::optional<Rcode> rcode;  // nothing: no reply at all
    bool malformed;
  };
  const std::string one = "1234 0100 0001 0000 0000 0000 ";
  const std::string with_extra = "1234 0100 0001 0000 0000 0001 ";
  auto c = GENERATE_COPY(values<Case>({
      {"nothing", "", {}, true},
      {"11 bytes", "1234 0100 0001 0000 0000 00", {}, true},
      {"a response", "1234 8100 0001 0000 0000 0000 " + kQuestion, {}, true},
      {"a response to NOTIFY", "1234 a000 0001 0000 0000 0000 " + kQuestion, {}, true},
      {"header only", one, Rcode::kFormErr, true},
      {"no question", "1234 0100 0000 0000 0000 0000", Rcode::kFormErr, true},
      {"two questions", "1234 0100 0002 0000 0000 0000 " + kQuestion + kQuestion, Rcode::kFormErr,
       true},
      {"IQUERY", "1234 0900 0001 0000 0000 0000 " + kQuestion, Rcode::kNotImp, false},
      {"STATUS", "1234 1100 0001 0000 0000 0000 " + kQuestion, Rcode::kNotImp, false},
      {"NOTIFY", "1234 2100 0001 0000 0000 0000 " + kQuestion, Rcode::kNotImp, false},
      {"UPDATE", "1234 2900 0001 0000 0000 0000 " + kQuestion, Rcode::kNotImp, false},
      {"opcode 15", "1234 7900 0001 0000 0000 0000 " + kQuestion, Rcode::kNotImp, false},
      {"name cut", one + "05 61", Rcode::kFormErr, true},
      {"name without end", one + "01 61", Rcode::kFormErr, true},
      {"no type", one + "01 61 00", Rcode::kFormErr, true},
      {"no class", one + "01 61 00 0001 00", Rcode::kFormErr, true},
      {"pointer", one + "c00c 0001 0001", Rcode::kFormErr, true},
      {"pointer behind a label", one + "01 61 c00c 0001 0001", Rcode::kFormErr, true},
      {"label type 01", one + "41 61 00 0001 0001", Rcode::kFormErr, true},
      {"256 bytes of name", one + labels(4, 63) + "00 0001 0001", Rcode::kFormErr, true},
      {"128 labels", one + labels(128, 1) + "00 0001 0001", Rcode::kFormErr, true},
      {"127 labels", one + labels(127, 1) + "00 0001 0001", Rcode::kRefused, false},
      {"bytes at the end", one + kQuestion + "00", Rcode::kFormErr, true},
      {"an answer in a question",
       "1234 0100 0001 0001 0000 0000 " + kQuestion + "c00c 0001 0001 00000001 0004 0a000001",
       Rcode::kFormErr, true},
      {"authority in a question",
       "1234 0100 0001 0000 0001 0000 " + kQuestion + "c00c 0001 0001 00000001 0004 0a000001",
       Rcode::kFormErr, true},
      {"nine additional records", "1234 0100 0001 0000 0000 0009 " + kQuestion, Rcode::kFormErr,
       true},
      {"additional missing", with_extra + kQuestion, Rcode::kFormErr, true},
      {"OPT cut", with_extra + kQuestion + "00 0029 04d0 0000", Rcode::kFormErr, true},
      {"OPT under a name", with_extra + kQuestion + "01 61 00 0029 04d0 00000000 0000",
       Rcode::kFormErr, true},
      {"OPT option cut", with_extra + kQuestion + "00 0029 04d0 00000000 0005 0003 0004 61",
       Rcode::kFormErr, true},
      {"two OPT", "1234 0100 0001 0000 0000 0002 " + kQuestion + kOpt + kOpt, Rcode::kFormErr,
       true},
      {"EDNS version 1", with_extra + kQuestion + "00 0029 04d0 00010000 0000", Rcode::kBadVers,
       false},
      {"TSIG", with_extra + kQuestion + "00 00fa 00ff 00000000 0000", Rcode::kNotAuth, false},
      {"other additional record", with_extra + kQuestion + "c00c 0001 0001 00000000 0004 0a000001",
       Rcode::kRefused, false},
      {"class CH", one + "01 61 00 0001 0003", Rcode::kRefused, false},
      {"class ANY", one + "01 61 00 0001 00ff", Rcode::kRefused, false},
      {"type 0", one + "01 61 00 0000 0001", Rcode::kRefused, false},
      {"reserved bit set", "1234 0140 0001 0000 0000 0000 " + kQuestion, Rcode::kRefused, false},
  }));
  CAPTURE(c.name);
  auto zones = testing::zones();
  for (bool tcp : {false, true}) {
    testing::Asked asked = ask_packet(*zones, unhex(c.hex), tcp);
    REQUIRE(asked.reply.malformed == c.malformed);
    REQUIRE((asked.reply.action == Reply::Action::kSend) == c.rcode.has_value());
    if (!c.rcode) continue;
    REQUIRE(to_string(asked.message.rcode) == to_string(*c.rcode));
    REQUIRE(asked.message.id == 0x1234);
    REQUIRE(asked.message.answers.empty());
    // Neither the reserved bit nor AD is ever copied.
    REQUIRE((asked.message.flags & (kFlagAd | 0x0040)) == 0);
  }
}

TEST_CASE("EDNS: sizes, unknown options, DO and the version") {
  auto zones = testing::zones();
  Message question = testing::query("web.default.svc.cluster.local.", Type::kA);
  question.edns = Edns{100, 0, true, {{10, "cookie-8"}, {8, "subnet"}, {65001, ""}}};
  testing::Asked asked = testing::ask(*zones, question);
  REQUIRE(asked.message.edns == Edns{kUdpSize, 0, true, {}});
  question.edns->version = 9;
  asked = testing::ask(*zones, question);
  REQUIRE(asked.message.rcode == Rcode::kBadVers);
  REQUIRE(asked.message.edns->version == 0);
  ClientQuery query;
  query.udp_size = 4096;
  REQUIRE(reply_limit(query, false) == kUdpSize);
  REQUIRE(reply_limit(query, true) == kMaxMessageSize);
}

}  // namespace tombolo::dns
