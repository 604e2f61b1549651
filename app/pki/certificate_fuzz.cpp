// Certificates come from whoever connects: whatever a PEM text holds, reading it ends with facts or
// an error, and the name that it proves is one that this fleet could have given. The input is PEM,
// or, after a first byte of 0, the certificate's DER, so that the fuzzer works on the certificate
// and not on its base64.
#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "app/pki/pki.h"

namespace {

using namespace tombolo;

std::string pem_of(const std::uint8_t* data, std::size_t size) {
  std::vector<unsigned char> base64(size * 4 / 3 + 5);
  int length = EVP_EncodeBlock(base64.data(), data, static_cast<int>(size));
  std::string pem = "-----BEGIN CERTIFICATE-----\n";
  for (int at = 0; at < length; at += 64)
    pem.append(base64.begin() + at, base64.begin() + std::min(at + 64, length)) += '\n';
  return pem + "-----END CERTIFICATE-----\n";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 64U << 10U) return 0;
  std::string text = data[0] == 0 ? pem_of(data + 1, size - 1)
                                  : std::string(reinterpret_cast<const char*>(data), size);
  auto role = pki::parse_role(text);
  ENSURE(!role || pki::to_string(*role) == text);
  auto facts = pki::read_certificate(text);
  if (!facts) return 0;
  auto name = facts->name();
  ENSURE(!name || (check_name(*name) && facts->uris.size() == 1));
  (void)pki::expiry_warning("it", *facts, WallTime(std::chrono::seconds(1'767'000'000)));
  return 0;
}
