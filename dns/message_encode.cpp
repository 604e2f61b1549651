// Message -> packet, with name compression (RFC 1035 section 4.1.4). Pure.
#include <unordered_map>

#include "dns/message.h"

namespace tombolo::dns {
namespace {

class Writer {
 public:
  explicit Writer(std::size_t limit) : limit_(limit) {}

  bool fits() const { return out_.size() <= limit_; }
  std::string& bytes() { return out_; }

  void name(const Name& name, bool compress) {
    const std::string& wire = name.wire();
    for (std::size_t at = 0; wire[at] != '\0';) {
      std::string suffix = Name::from_wire(wire.substr(at)).lowered().wire();
      auto seen = offset_of_.find(suffix);
      if (compress && seen != offset_of_.end()) {
        append16_be(out_, static_cast<std::uint16_t>(0xc000U | seen->second));
        return;
      }
      // A pointer has 14 bits; names further behind are written in full.
      if (out_.size() < 0x4000)
        offset_of_.try_emplace(std::move(suffix), static_cast<std::uint16_t>(out_.size()));
      std::size_t size = static_cast<std::uint8_t>(wire[at]) + 1U;
      out_.append(wire, at, size);
      at += size;
    }
    out_.push_back('\0');
  }

  void record(const Record& record) {
    name(record.name, true);
    append16_be(out_, static_cast<std::uint16_t>(record.type));
    append16_be(out_, record.klass);
    append32_be(out_, record.ttl_s);
    std::size_t size_at = out_.size();
    append16_be(out_, 0);
    rdata(record);
    std::size_t size = out_.size() - size_at - 2;
    store16_be(reinterpret_cast<std::uint8_t*>(out_.data()) + size_at,
               static_cast<std::uint16_t>(size));
  }

 private:
  void rdata(const Record& record) {
    const NameLayout* layout = name_layout(record.type);
    if (layout == nullptr) {
      out_ += record.rdata;
      return;
    }
    std::string_view left = record.rdata;
    out_ += left.substr(0, layout->before);
    left.remove_prefix(layout->before);
    for (int i = 0; i < layout->names; ++i) {
      std::size_t size = 0;
      while (left[size] != '\0') size += static_cast<std::uint8_t>(left[size]) + 1U;
      name(Name::from_wire(std::string(left.substr(0, size + 1))), layout->compressible);
      left.remove_prefix(size + 1);
    }
    out_ += left;
  }

  std::size_t limit_;
  std::string out_;
  std::unordered_map<std::string, std::uint16_t> offset_of_;
};

void write_edns(std::string& out, const Edns& edns, Rcode rcode) {
  out.push_back('\0');
  append16_be(out, static_cast<std::uint16_t>(Type::kOpt));
  append16_be(out, edns.udp_size);
  out.push_back(static_cast<char>(static_cast<unsigned>(rcode) >> 4));
  out.push_back(static_cast<char>(edns.version));
  append16_be(out, edns.dnssec_ok ? 0x8000 : 0);
  std::size_t size = 0;
  for (const EdnsOption& option : edns.options) size += 4 + option.data.size();
  append16_be(out, static_cast<std::uint16_t>(size));
  for (const EdnsOption& option : edns.options) {
    append16_be(out, option.code);
    append16_be(out, static_cast<std::uint16_t>(option.data.size()));
    out += option.data;
  }
}

}  // namespace

std::string encode_message(const Message& message, std::size_t limit) {
  Writer writer(limit);
  std::string& out = writer.bytes();
  append16_be(out, message.id);
  append16_be(out, static_cast<std::uint16_t>(message.flags |
                                              (static_cast<unsigned>(message.rcode) & kRcodeMask)));
  append16_be(out, static_cast<std::uint16_t>(message.questions.size()));
  append16_be(out, static_cast<std::uint16_t>(message.answers.size()));
  append16_be(out, static_cast<std::uint16_t>(message.authorities.size()));
  append16_be(out,
              static_cast<std::uint16_t>(message.additionals.size() + (message.edns ? 1U : 0U)));
  for (const Question& question : message.questions) {
    writer.name(question.name, true);
    append16_be(out, static_cast<std::uint16_t>(question.type));
    append16_be(out, question.klass);
  }
  for (const auto* section : {&message.answers, &message.authorities, &message.additionals})
    for (const Record& record : *section) {
      writer.record(record);
      if (!writer.fits()) break;
    }
  if (message.edns) write_edns(out, *message.edns, message.rcode);
  bool has_records =
      !message.answers.empty() || !message.authorities.empty() || !message.additionals.empty();
  if (writer.fits() || !has_records) return std::move(out);
  Message truncated = message;
  truncated.flags |= kFlagTc;
  truncated.answers.clear();
  truncated.authorities.clear();
  truncated.additionals.clear();
  return encode_message(truncated, limit);
}

Message make_query(std::uint16_t id, Name name, Type type) {
  Message query;
  query.id = id;
  query.flags = kFlagRd;
  query.questions.push_back({std::move(name), type, kClassIn});
  query.edns = Edns{};
  return query;
}

}  // namespace tombolo::dns
