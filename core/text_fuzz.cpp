// The parsers that everything else reads through: JSON, YAML, addresses, names and times. Whatever
// a text holds, they end with a value or an error, and what they accept says the same when it is
// written and read again. The first byte chooses the parser.
#include <cstddef>
#include <cstdint>

#include "core/clock.h"
#include "core/ip.h"
#include "core/json.h"
#include "core/spiffe.h"
#include "core/yaml.h"

namespace tombolo {
namespace {

template <class Value>
void address(Result<Value> (*parse)(std::string_view), std::string_view text) {
  auto value = parse(text);
  if (!value) return;
  auto again = parse(value->str());
  ENSURE(again && *again == *value, "'{}' changes to '{}'", text, value->str());
}

void json_text(std::string_view text) {
  auto value = parse_json(text);
  if (!value) return;
  std::string line = to_json(*value);
  auto again = parse_json(line);
  ENSURE(again && to_json(*again) == line, "{}", line);
  auto pretty = parse_json(to_pretty_json(*value));
  ENSURE(pretty && to_json(*pretty) == line, "{}", line);
}

void yaml_text(std::string_view text) {
  YamlLimits limits;
  limits.values = 10'000;
  auto documents = parse_yaml(text, "fuzz.yaml", limits);
  if (!documents) {
    ENSURE(documents.error().what.starts_with("fuzz.yaml"), "{}", documents.error().what);
    return;
  }
  // JSON is YAML: what was read is read again from its JSON.
  for (const YamlDocument& document : *documents) {
    std::string line = to_json(document.value);
    if (!parse_json(line)) continue;  // deeper or longer than JSON may be
    auto again = parse_yaml(line, "again");
    ENSURE(again && again->size() == 1 && to_json(again->front().value) == line, "{}", line);
  }
}

void others(std::string_view text) {
  auto protocol = parse_protocol(text);
  ENSURE(!protocol || to_string(*protocol) == text);
  auto name = SpiffeName::parse(text);
  ENSURE(!name || name->str() == text);
  auto time = parse_rfc3339(text);
  if (!time) return;
  auto whole = std::chrono::floor<std::chrono::seconds>(*time);
  auto again = parse_rfc3339(format_rfc3339(whole));
  ENSURE(again && *again == whole, "{} changes to {}", text, format_rfc3339(whole));
}

}  // namespace
}  // namespace tombolo

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'j':
      json_text(text);
      break;
    case 'y':
      yaml_text(text);
      break;
    case 'o':
      others(text);
      break;
    default:
      address(Ip::parse, text);
      address(Prefix::parse, text);
      address(InterfaceAddress::parse, text);
      address(Endpoint::parse, text);
  }
  return 0;
}
