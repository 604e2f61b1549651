// Whatever bytes a manifest file holds, decoding ends in objects or in an error that names the
// file.
#include <cstddef>
#include <cstdint>

#include "servicesync/manifests/manifests.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto objects = tombolo::manifests::decode_objects(text, "fuzz.yaml");
  ENSURE(objects || objects.error().what.starts_with("fuzz.yaml"), "{}", objects.error().what);
  return 0;
}
