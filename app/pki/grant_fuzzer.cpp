// Grants come from another cluster's operator: whatever they hold, parsing ends with a Grant that
// comes back as it was written, or with an error. "@authority", "@certificate" and "@key" in the
// input stand for PEM texts made at the start, so that the fuzzer gets past the certificates.
#include <cstddef>
#include <cstdint>

#include "app/pki/pki.h"
#include "core/json.h"

namespace {

using namespace tombolo;

const WallTime kNow(std::chrono::seconds(1'767'000'000));

const pki::Grant& good_grant() {
  static const pki::Grant kGrant = [] {
    auto authority = pki::make_authority("islands", "east", {kNow, 30});
    ENSURE(authority.has_value());
    pki::Grant grant;
    grant.fleet = "islands";
    grant.cluster = "east";
    grant.cluster_id = 1;
    grant.granted_to = "west";
    grant.addresses = {"192.0.2.1:2379"};
    auto made = pki::make_grant(grant, *authority, {kNow, 30});
    ENSURE(made.has_value());
    return *made;
  }();
  return kGrant;
}

void replace(std::string& text, std::string_view word, const std::string& pem) {
  std::string quoted = to_json(json::value(pem));
  quoted = quoted.substr(1, quoted.size() - 2);
  if (std::size_t at = text.find(word); at != std::string::npos)
    text.replace(at, word.size(), quoted);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  replace(text, "@authority", good_grant().authority);
  replace(text, "@certificate", good_grant().client.certificate);
  replace(text, "@key", good_grant().client.key);
  auto grant = pki::parse_grant(text, "grant", kNow);
  if (!grant) return 0;
  auto again = pki::parse_grant(pki::to_text(*grant), "again", kNow);
  ENSURE(again.has_value() && pki::to_text(*again) == pki::to_text(*grant));
  return 0;
}
