// Packet -> Message. Bounded: a name is at most 127 labels and 255 bytes, each compression pointer
// points strictly before the place that was read, and records are at most as many as 11 bytes each
// fit a packet. Pure.
#include <array>

#include "dns/message.h"

namespace tombolo::dns {
namespace {

constexpr std::array<NameLayout, 16> kLayouts{{
    {Type::kNs, 0, 1, 0, true},
    {static_cast<Type>(3), 0, 1, 0, true},  // MD
    {static_cast<Type>(4), 0, 1, 0, true},  // MF
    {Type::kCname, 0, 1, 0, true},
    {Type::kSoa, 0, 2, 20, true},
    {static_cast<Type>(7), 0, 1, 0, true},  // MB
    {static_cast<Type>(8), 0, 1, 0, true},  // MG
    {static_cast<Type>(9), 0, 1, 0, true},  // MR
    {Type::kPtr, 0, 1, 0, true},
    {static_cast<Type>(14), 0, 2, 0, true},  // MINFO
    {Type::kMx, 2, 1, 0, true},
    {static_cast<Type>(17), 0, 2, 0, false},  // RP
    {static_cast<Type>(18), 2, 1, 0, false},  // AFSDB
    {Type::kSrv, 6, 1, 0, false},
    {static_cast<Type>(36), 2, 1, 0, false},  // KX
    {static_cast<Type>(39), 0, 1, 0, false},  // DNAME
}};

class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> packet) : packet_(packet) {}

  std::size_t at() const { return at_; }
  std::size_t left() const { return packet_.size() - at_; }
  const std::uint8_t* here() const { return packet_.data() + at_; }
  void skip(std::size_t count) { at_ += count; }
  std::uint16_t take16() {
    at_ += 2;
    return load16_be(packet_.data() + at_ - 2);
  }
  std::uint32_t take32() {
    at_ += 4;
    return load32_be(packet_.data() + at_ - 4);
  }
  std::string take(std::size_t count) {
    at_ += count;
    return {reinterpret_cast<const char*>(packet_.data() + at_ - count), count};
  }

  Result<Name> name() {
    std::string wire;
    std::size_t from = at_;    // where the current run of labels is read
    std::size_t lowest = at_;  // pointers must point before the start of every run so far
    bool jumped = false;
    for (int labels = 0;; ++labels) {
      while (true) {
        if (from >= packet_.size()) return fail(Code::kInvalidArgument, "a name leaves the packet");
        std::uint8_t length = packet_[from];
        if (length < 0xc0) break;
        if (from + 1 >= packet_.size())
          return fail(Code::kInvalidArgument, "a name leaves the packet");
        std::size_t target = load16_be(&packet_[from]) & 0x3fffU;
        if (target >= lowest || target < kHeaderSize)
          return fail(Code::kInvalidArgument, "a compression pointer does not point backward");
        if (!jumped) at_ = from + 2;
        jumped = true;
        from = lowest = target;
      }
      std::uint8_t length = packet_[from];
      if (length > kMaxLabelSize) return fail(Code::kInvalidArgument, "unknown label type");
      if (wire.size() + length + 1U > kMaxNameSize || labels > 127)
        return fail(Code::kInvalidArgument, "a name is longer than 255 bytes");
      if (from + length + 1U > packet_.size())
        return fail(Code::kInvalidArgument, "a name leaves the packet");
      wire.append(reinterpret_cast<const char*>(&packet_[from]), length + 1U);
      from += length + 1U;
      if (length == 0) break;
    }
    if (!jumped) at_ = from;
    return Name::from_wire(std::move(wire));
  }

 private:
  std::span<const std::uint8_t> packet_;
  std::size_t at_ = 0;
};

// A sequence of <character-string>, at least one.
bool valid_strings(std::string_view rdata) {
  if (rdata.empty()) return false;
  while (!rdata.empty()) {
    std::size_t size = static_cast<std::uint8_t>(rdata.front()) + 1U;
    if (size > rdata.size()) return false;
    rdata.remove_prefix(size);
  }
  return true;
}

Result<std::string> read_rdata(Reader& reader, Type type, std::size_t size) {
  std::size_t end = reader.at() + size;
  const NameLayout* layout = name_layout(type);
  if (layout == nullptr) {
    std::string rdata = reader.take(size);
    bool good = type == Type::kA      ? size == 4
                : type == Type::kAaaa ? size == 16
                : type == Type::kTxt  ? valid_strings(rdata)
                                      : true;
    if (!good) return fail(Code::kInvalidArgument, "{} record of {} bytes", to_string(type), size);
    return rdata;
  }
  if (size < layout->before)
    return fail(Code::kInvalidArgument, "{} record is too short", to_string(type));
  std::string rdata = reader.take(layout->before);
  for (int i = 0; i < layout->names; ++i) {
    TRY(name, reader.name());
    rdata += name.wire();
  }
  if (reader.at() + layout->after != end)
    return fail(Code::kInvalidArgument, "{} record of {} bytes does not end with its fields",
                to_string(type), size);
  rdata += reader.take(layout->after);
  return rdata;
}

Result<Edns> read_edns(const Record& record) {
  if (!record.name.is_root())
    return fail(Code::kInvalidArgument, "OPT record under a name other than the root");
  Edns edns;
  edns.udp_size = record.klass;
  edns.version = static_cast<std::uint8_t>(record.ttl_s >> 16);
  edns.dnssec_ok = (record.ttl_s & 0x8000U) != 0;
  std::string_view left = record.rdata;
  while (!left.empty()) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(left.data());
    if (left.size() < 4 || left.size() < 4U + load16_be(bytes + 2))
      return fail(Code::kInvalidArgument, "an EDNS option leaves its record");
    std::size_t size = load16_be(bytes + 2);
    edns.options.push_back({load16_be(bytes), std::string(left.substr(4, size))});
    left.remove_prefix(4 + size);
  }
  return edns;
}

Result<Record> read_record(Reader& reader) {
  Record record;
  TRY(name, reader.name());
  record.name = std::move(name);
  if (reader.left() < 10) return fail(Code::kInvalidArgument, "a record leaves the packet");
  record.type = static_cast<Type>(reader.take16());
  record.klass = reader.take16();
  record.ttl_s = reader.take32();
  std::size_t size = reader.take16();
  if (reader.left() < size) return fail(Code::kInvalidArgument, "rdata leaves the packet");
  TRY(rdata, read_rdata(reader, record.type, size));
  record.rdata = std::move(rdata);
  return record;
}

Result<void> read_section(Reader& reader, std::string_view section, std::uint16_t count,
                          std::vector<Record>& out, Message& message) {
  for (std::uint16_t i = 0; i < count; ++i) {
    auto record = read_record(reader);
    if (!record)
      return std::unexpected(
          std::move(record).error().with_context(fmt::format("{} record {}", section, i + 1)));
    if (record->type != Type::kOpt) {
      // A TTL with its top bit set is zero (RFC 2181 section 8).
      if (record->ttl_s > 0x7fffffffU) record->ttl_s = 0;
      out.push_back(std::move(*record));
      continue;
    }
    if (section != "additional" || message.edns)
      return fail(Code::kInvalidArgument,
                  "{} record {}: one OPT record may be in the additional "
                  "section",
                  section, i + 1);
    TRY(edns, read_edns(*record));
    message.edns = std::move(edns);
    message.rcode =
        static_cast<Rcode>(static_cast<unsigned>(message.rcode) | ((record->ttl_s >> 24) << 4));
  }
  return {};
}

}  // namespace

const NameLayout* name_layout(Type type) {
  for (const NameLayout& layout : kLayouts)
    if (layout.type == type) return &layout;
  return nullptr;
}

Result<Message> parse_message(std::span<const std::uint8_t> packet) {
  if (packet.size() < kHeaderSize)
    return fail(Code::kInvalidArgument, "{} bytes are no DNS message", packet.size());
  if (packet.size() > kMaxMessageSize)
    return fail(Code::kInvalidArgument, "{} bytes are more than a DNS message", packet.size());
  Reader reader(packet);
  Message message;
  message.id = reader.take16();
  std::uint16_t word = reader.take16();
  message.flags = word & static_cast<std::uint16_t>(~kRcodeMask);
  message.rcode = static_cast<Rcode>(word & kRcodeMask);
  std::array<std::uint16_t, 4> counts{};
  for (std::uint16_t& count : counts) count = reader.take16();
  for (std::uint16_t i = 0; i < counts[0]; ++i) {
    TRY(name, reader.name());
    if (reader.left() < 4) return fail(Code::kInvalidArgument, "the question leaves the packet");
    auto type = static_cast<Type>(reader.take16());
    message.questions.push_back({std::move(name), type, reader.take16()});
  }
  TRY_OK(read_section(reader, "answer", counts[1], message.answers, message));
  TRY_OK(read_section(reader, "authority", counts[2], message.authorities, message));
  TRY_OK(read_section(reader, "additional", counts[3], message.additionals, message));
  if (reader.left() != 0)
    return fail(Code::kInvalidArgument, "{} bytes behind the last record", reader.left());
  return message;
}

}  // namespace tombolo::dns
