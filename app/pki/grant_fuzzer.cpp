// Grants come from another cluster's operator: whatever they hold, parsing ends with a Grant that
// comes back as it was written, or with an error.
#include <cstddef>
#include <cstdint>

#include "app/pki/pki.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto grant = pki::parse_grant(text, "grant", WallTime(std::chrono::seconds(1'767'000'000)));
  if (grant) {
    auto again = pki::parse_grant(pki::to_text(*grant), "again",
                                  WallTime(std::chrono::seconds(1'767'000'000)));
    ENSURE(again.has_value() && pki::to_text(*again) == pki::to_text(*grant));
  }
  return 0;
}
