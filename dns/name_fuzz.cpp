// Names, types and questions as a user writes them: whatever the text, reading it ends with a value
// or an error, and a name comes back from its own text. The first byte chooses.
#include <cstddef>
#include <cstdint>

#include "dns/query.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 3 == 0) {
    auto name = dns::Name::parse(text);
    if (!name) return 0;
    ENSURE(name->wire().size() <= dns::kMaxNameSize);
    auto again = dns::Name::parse(name->text());
    ENSURE(again && *again == *name, "{} is read as {}", name->text(),
           again ? again->text() : again.error().what);
    ENSURE(dns::Name::from_wire(name->wire()) == *name && name->lowered().same_as(*name));
  } else if (data[0] % 3 == 1) {
    auto type = dns::parse_type(text);
    if (!type) return 0;
    auto again = dns::parse_type(dns::to_string(*type));
    ENSURE(again && *again == *type, "{} is read as another", dns::to_string(*type));
  } else {
    std::size_t space = std::min(text.find(' '), text.size());
    auto query = dns::parse_query({Ip::v4(0x7f000001), 53}, text.substr(0, space),
                                  text.substr(std::min(space + 1, text.size())));
    ENSURE(!query || query->name.wire().size() <= dns::kMaxNameSize);
  }
  return 0;
}
