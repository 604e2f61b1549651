// Configuration files: whatever they hold, decoding, defaults and checks end, and what they accept
// is complete.
#include <cstddef>
#include <cstdint>

#include "app/config/config.h"
#include "app/config/decode.h"
#include "core/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto documents = parse_yaml(text, "config");
  if (!documents || documents->size() != 1) return 0;
  config::DaemonConfig decoded;
  if (!config::decode(documents->front().root(), decoded)) return 0;
  config::apply_defaults(decoded, "node");
  if (!config::validate(decoded).empty()) return 0;
  ENSURE(decoded.roles_size() > 0 && decoded.cluster().id() > 0);
  return 0;
}
