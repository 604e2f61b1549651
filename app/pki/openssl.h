// Owners for the OpenSSL objects that this folder uses, and its error queue as an Error. Private to
// app/pki.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace tombolo::pki::openssl {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using X509Pointer = std::unique_ptr<X509, Deleter<X509_free>>;
using Store = std::unique_ptr<X509_STORE, Deleter<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Deleter<X509_STORE_CTX_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>>;
using Bignum = std::unique_ptr<BIGNUM, Deleter<BN_free>>;

// "WHAT: the oldest error of OpenSSL's queue", which is emptied.
std::unexpected<Error> failed(Code code, std::string_view what);

Result<X509Pointer> certificate_of(std::string_view pem);
// All certificates of a PEM text, at least one, at most 100.
Result<std::vector<X509Pointer>> certificates_of(std::string_view pem);
Result<Key> key_of(std::string_view pem);
Result<std::string> pem_of(X509* certificate);
Result<std::string> pem_of(EVP_PKEY* key);
std::string text_of(const X509_NAME* name);  // RFC 2253

}  // namespace tombolo::pki::openssl
