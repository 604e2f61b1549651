// Making certificates: authorities and the identities that they sign.
#include <openssl/rand.h>

#include "app/pki/openssl.h"
#include "app/pki/pki.h"

namespace tombolo::pki {
namespace {

using namespace openssl;

constexpr int kLongestDays = 3650;
constexpr int kLongestAuthorityDays = 7300;

// Clocks of other machines may be a little behind.
constexpr auto kBackdate = std::chrono::minutes(5);

std::time_t unix_seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

Result<Key> new_key() {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return failed(Code::kInternal, "make a P-256 key");
  return key;
}

// 159 random bits: positive, and at most 20 bytes (RFC 5280 4.1.2.2).
Result<void> set_serial(X509* certificate) {
  Bignum number(BN_new());
  if (!number || BN_rand(number.get(), 159, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr)
    return failed(Code::kInternal, "make a serial number");
  return {};
}

Result<void> set_lifetime(X509* certificate, WallTime from, WallTime to) {
  if (ASN1_TIME_set(X509_getm_notBefore(certificate), unix_seconds(from)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), unix_seconds(to)) == nullptr)
    return failed(Code::kInternal, "set the lifetime");
  return {};
}

Result<void> add_to_name(X509_NAME* name, const char* field, std::string_view text) {
  if (text.empty()) return {};
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()), -1, 0) != 1)
    return failed(Code::kInternal, "set the subject");
  return {};
}

// `text` is OpenSSL's configuration syntax, so callers pass only values that were checked.
Result<void> add_extension(X509* certificate, X509* issuer, int nid, const std::string& text) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, text.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
    return failed(Code::kInternal, fmt::format("add {}", OBJ_nid2sn(nid)));
  return {};
}

Result<KeyPair> pems(X509* certificate, EVP_PKEY* key) {
  TRY(certificate_pem, pem_of(certificate));
  TRY(key_pem, pem_of(key));
  return KeyPair{std::move(certificate_pem), std::move(key_pem)};
}

Result<void> check_days(int days, int longest) {
  if (days >= 1 && days <= longest) return {};
  return fail(Code::kInvalidArgument, "{} days of validity; must be from 1 to {}", days, longest);
}

bool is_dns_san(std::string_view text) {
  if (text.starts_with("*.")) text.remove_prefix(2);
  SpiffeName probe{"fleet", "cluster", Kind::kNode, std::string(text)};
  return check_name(probe).has_value();
}

Result<std::string> alternative_names(const IssueRequest& request) {
  std::string names = "URI:" + request.name.str();
  for (const auto& dns_name : request.dns_names) {
    if (!is_dns_san(dns_name))
      return fail(Code::kInvalidArgument, "\"{}\" is not a DNS name", dns_name.substr(0, 100));
    names += ",DNS:" + dns_name;
  }
  for (const Ip& ip : request.ips) names += ",IP:" + ip.str();
  return names;
}

struct Authority {
  X509Pointer certificate;
  Key key;
  WallTime not_after;
};

Result<Authority> open_authority(const KeyPair& pair, WallTime now) {
  TRY(facts, read_certificate(pair.certificate));
  if (!facts.authority)
    return fail(Code::kFailedPrecondition, "\"{}\" is not an authority", facts.subject);
  TRY_OK(check_pair(pair));
  if (now > facts.not_after)
    return fail(Code::kFailedPrecondition, "the authority \"{}\" ended on {}", facts.subject,
                format_rfc3339(facts.not_after));
  TRY(certificate, certificate_of(pair.certificate));
  TRY(key, key_of(pair.key));
  return Authority{std::move(certificate), std::move(key), facts.not_after};
}

// The subject is for people (and for a real etcd, whose users are common names); rights come from
// the URI.
Result<void> set_subject(X509* certificate, const IssueRequest& request) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  TRY_OK(add_to_name(subject, "O", request.name.fleet.substr(0, 64)));
  if (request.role != Role::kNone) TRY_OK(add_to_name(subject, "OU", to_string(request.role)));
  std::string common_name = request.name.cluster + "/" + request.name.short_name();
  if (common_name.size() <= 64) TRY_OK(add_to_name(subject, "CN", common_name));
  return {};
}

Result<KeyPair> sign(const KeyPair& authority, const IssueRequest& request, Key key,
                     Lifetime lifetime) {
  TRY_OK(check_name(request.name));
  TRY_OK(check_days(lifetime.days, kLongestDays));
  if (request.role != Role::kNone && request.name.kind != Kind::kOperator)
    return fail(Code::kInvalidArgument, "only an operator has a role");
  if (request.role == Role::kNone && request.name.kind == Kind::kOperator)
    return fail(Code::kInvalidArgument, "an operator needs a role: viewer or admin");
  TRY(names, alternative_names(request));
  TRY(issuer, open_authority(authority, lifetime.now));

  X509Pointer certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate.get(), key.get()) != 1 ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.certificate.get())) != 1)
    return failed(Code::kInternal, "begin a certificate");
  TRY_OK(set_serial(certificate.get()));
  WallTime end = std::min(lifetime.now + std::chrono::days(lifetime.days), issuer.not_after);
  TRY_OK(set_lifetime(certificate.get(), lifetime.now - kBackdate, end));
  TRY_OK(set_subject(certificate.get(), request));
  X509* by = issuer.certificate.get();
  TRY_OK(add_extension(certificate.get(), by, NID_basic_constraints, "critical,CA:FALSE"));
  TRY_OK(add_extension(certificate.get(), by, NID_key_usage, "critical,digitalSignature"));
  TRY_OK(add_extension(certificate.get(), by, NID_ext_key_usage, "serverAuth,clientAuth"));
  TRY_OK(add_extension(certificate.get(), by, NID_subject_key_identifier, "hash"));
  TRY_OK(add_extension(certificate.get(), by, NID_authority_key_identifier, "keyid:always"));
  TRY_OK(add_extension(certificate.get(), by, NID_subject_alt_name, names));
  if (X509_sign(certificate.get(), issuer.key.get(), EVP_sha256()) == 0)
    return failed(Code::kInternal, "sign the certificate");
  return pems(certificate.get(), key.get());
}

}  // namespace

Result<KeyPair> make_authority(std::string_view fleet, std::string_view cluster,
                               Lifetime lifetime) {
  SpiffeName probe{std::string(fleet), cluster.empty() ? "cluster" : std::string(cluster),
                   Kind::kController, ""};
  TRY_OK(check_name(probe));
  TRY_OK(check_days(lifetime.days, kLongestAuthorityDays));
  TRY(key, new_key());
  X509Pointer certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate.get(), key.get()) != 1)
    return failed(Code::kInternal, "begin a certificate");
  TRY_OK(set_serial(certificate.get()));
  TRY_OK(set_lifetime(certificate.get(), lifetime.now - kBackdate,
                      lifetime.now + std::chrono::days(lifetime.days)));
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  TRY_OK(add_to_name(subject, "O", fleet.substr(0, 64)));
  TRY_OK(add_to_name(subject, "CN",
                     cluster.empty() ? "fleet authority" : fmt::format("{} authority", cluster)));
  X509* self = certificate.get();
  if (X509_set_issuer_name(self, subject) != 1) return failed(Code::kInternal, "set the issuer");
  TRY_OK(add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  TRY_OK(add_extension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign"));
  TRY_OK(add_extension(self, self, NID_subject_key_identifier, "hash"));
  TRY_OK(add_extension(self, self, NID_subject_alt_name, fmt::format("URI:spiffe://{}", fleet)));
  if (X509_sign(self, key.get(), EVP_sha256()) == 0)
    return failed(Code::kInternal, "sign the authority");
  return pems(self, key.get());
}

Result<KeyPair> issue(const KeyPair& authority, const IssueRequest& request, Lifetime lifetime) {
  TRY(key, new_key());
  return sign(authority, request, std::move(key), lifetime);
}

Result<KeyPair> renew(const KeyPair& authority, const KeyPair& old, Lifetime lifetime) {
  TRY(facts, read_certificate(old.certificate));
  TRY_OK(check_pair(old));
  TRY(name, facts.name());
  TRY(key, key_of(old.key));
  IssueRequest request{std::move(name), facts.role, std::move(facts.dns_names),
                       std::move(facts.ips)};
  return sign(authority, request, std::move(key), lifetime);
}

}  // namespace tombolo::pki
