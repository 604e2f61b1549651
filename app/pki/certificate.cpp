// What a certificate says, and whether to believe it.
#include <ctime>

#include "app/pki/openssl.h"
#include "app/pki/pki.h"

namespace tombolo::pki {
namespace {

using namespace openssl;

Result<WallTime> time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1)
    return failed(Code::kInvalidArgument, "a time of the certificate cannot be read");
  return WallTime(std::chrono::seconds(timegm(&parts)));
}

std::string_view bytes_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

Result<void> read_names(X509* certificate, Certificate& facts) {
  Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  if (!names) return {};
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) {
      facts.uris.emplace_back(bytes_of(name->d.uniformResourceIdentifier));
    } else if (name->type == GEN_DNS) {
      facts.dns_names.emplace_back(bytes_of(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      TRY(ip, Ip::from_bytes_be(bytes_of(name->d.iPAddress)));
      facts.ips.push_back(ip);
    }
  }
  return {};
}

// The role is the one OU; several, or another word, give none.
Role role_of(const X509_NAME* subject) {
  int at = X509_NAME_get_index_by_NID(subject, NID_organizationalUnitName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_organizationalUnitName, at) >= 0)
    return Role::kNone;
  auto text = bytes_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  return parse_role(text).value_or(Role::kNone);
}

std::string serial_of(X509* certificate) {
  Bignum number(ASN1_INTEGER_to_BN(X509_get_serialNumber(certificate), nullptr));
  char* text = number ? BN_bn2hex(number.get()) : nullptr;
  std::string result = text == nullptr ? "" : text;
  OPENSSL_free(text);
  return result;
}

}  // namespace

Result<Certificate> read_certificate(std::string_view pem) {
  TRY(certificate, certificate_of(pem));
  Certificate facts;
  facts.subject = text_of(X509_get_subject_name(certificate.get()));
  facts.issuer = text_of(X509_get_issuer_name(certificate.get()));
  facts.serial = serial_of(certificate.get());
  facts.role = role_of(X509_get_subject_name(certificate.get()));
  facts.authority = X509_check_ca(certificate.get()) == 1;
  TRY(not_before, time_of(X509_get0_notBefore(certificate.get())));
  TRY(not_after, time_of(X509_get0_notAfter(certificate.get())));
  facts.not_before = not_before;
  facts.not_after = not_after;
  TRY_OK(read_names(certificate.get(), facts));
  return facts;
}

Result<SpiffeName> Certificate::name() const {
  if (uris.size() != 1)
    return fail(Code::kPermissionDenied, "the certificate \"{}\" has {} URI names, not one",
                subject, uris.size());
  auto name = SpiffeName::parse(uris.front());
  if (!name)
    return fail(Code::kPermissionDenied, "the certificate \"{}\": {}", subject, name.error().what);
  return name;
}

Result<void> check_pair(const KeyPair& pair) {
  TRY(certificate, certificate_of(pair.certificate));
  TRY(key, key_of(pair.key));
  if (X509_check_private_key(certificate.get(), key.get()) != 1)
    return failed(Code::kFailedPrecondition, "the key is not the certificate's");
  return {};
}

Result<void> verify(std::string_view certificate, std::string_view authorities, WallTime now) {
  TRY(leaf, certificate_of(certificate));
  TRY(trusted, certificates_of(authorities));
  Store store(X509_STORE_new());
  if (!store) return failed(Code::kInternal, "no memory for a store");
  for (const auto& authority : trusted)
    if (X509_STORE_add_cert(store.get(), authority.get()) != 1)
      return failed(Code::kInternal, "add an authority");
  StoreContext context(X509_STORE_CTX_new());
  if (!context || X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr) != 1)
    return failed(Code::kInternal, "begin to verify");
  X509_STORE_CTX_set_time(
      context.get(), 0,
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
  if (X509_verify_cert(context.get()) == 1) return {};
  return fail(Code::kPermissionDenied, "the certificate \"{}\" is not trusted: {}",
              text_of(X509_get_subject_name(leaf.get())),
              X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
}

std::string expiry_warning(std::string_view what, const Certificate& certificate, WallTime now) {
  auto left = certificate.not_after - now;
  if (left > std::chrono::days(30)) return {};
  std::string end = format_rfc3339(certificate.not_after);
  if (left <= Duration::zero()) return fmt::format("{} ended on {}", what, end);
  return fmt::format("{} ends in {} days, on {}", what,
                     std::chrono::floor<std::chrono::days>(left).count(), end);
}

}  // namespace tombolo::pki
