// PEM in and out, with OpenSSL's memory BIOs.
#include "app/pki/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

namespace tombolo::pki::openssl {
namespace {

constexpr std::size_t kLongestPem = 1U << 20U;

Result<Bio> reader(std::string_view pem) {
  if (pem.size() > kLongestPem)
    return fail(Code::kInvalidArgument, "{} bytes of PEM; the limit is {}", pem.size(),
                kLongestPem);
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) return failed(Code::kInternal, "no memory for a reader");
  return bio;
}

std::string written(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// A file without a passphrase never asks for one; a file with one is refused instead of prompting.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

std::unexpected<Error> failed(Code code, std::string_view what) {
  unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return fail(code, "{}", what);
  const char* reason = ERR_reason_error_string(error);
  return fail(code, "{}: {}", what, reason == nullptr ? "unknown error of OpenSSL" : reason);
}

Result<X509Pointer> certificate_of(std::string_view pem) {
  TRY(bio, reader(pem));
  X509Pointer certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
  if (!certificate) return failed(Code::kInvalidArgument, "not a PEM certificate");
  return certificate;
}

Result<std::vector<X509Pointer>> certificates_of(std::string_view pem) {
  TRY(bio, reader(pem));
  std::vector<X509Pointer> result;
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) {
    result.emplace_back(next);
    if (result.size() > 100)
      return fail(Code::kInvalidArgument, "more than 100 certificates in one text");
  }
  if (result.empty()) return failed(Code::kInvalidArgument, "no PEM certificate");
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    return failed(Code::kInvalidArgument, "a certificate is not valid PEM");
  ERR_clear_error();
  return result;
}

Result<Key> key_of(std::string_view pem) {
  TRY(bio, reader(pem));
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return failed(Code::kInvalidArgument, "not a PEM private key without passphrase");
  return key;
}

Result<std::string> pem_of(X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1)
    return failed(Code::kInternal, "write a certificate");
  return written(bio.get());
}

Result<std::string> pem_of(EVP_PKEY* key) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return failed(Code::kInternal, "write a key");
  return written(bio.get());
}

std::string text_of(const X509_NAME* name) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  return written(bio.get());
}

}  // namespace tombolo::pki::openssl
