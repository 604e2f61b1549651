// Facts come from the other side's operator: whatever they hold, reading ends with facts or an
// error, what was read comes back, and comparing ends.
#include <cstddef>
#include <cstdint>

#include "app/join/join.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  JsonLimits limits;
  limits.bytes = 16U << 10U;
  auto document = parse_json({reinterpret_cast<const char*>(data), size}, limits);
  if (!document) return 0;
  DocumentPlace place{"fuzz", {}};
  auto facts = parse_join_facts(Cursor(*document, place));
  if (!facts) return 0;
  json::value again = join_facts_to_json(*facts);
  auto back = parse_join_facts(Cursor(again, place));
  ENSURE(back.has_value() && join_facts_to_json(*back) == again);
  JoinFacts other = *facts;
  other.cluster += "2";
  check_join(*facts, other);
  return 0;
}
