// Whatever a NetworkPolicy's manifest holds, parsing ends in a policy or in an error that names the
// file.
#include <cstddef>
#include <cstdint>

#include "core/yaml.h"
#include "policy/languages/languages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto documents = tombolo::parse_yaml(text, "fuzz.yaml");
  if (!documents) return 0;
  for (const tombolo::YamlDocument& document : *documents) {
    auto policy = tombolo::policy::parse_network_policy(document.root());
    ENSURE(policy || policy.error().what.starts_with("fuzz.yaml"), "{}", policy.error().what);
  }
  return 0;
}
