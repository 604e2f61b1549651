// Certificates of the fleet: authorities, names, what a certificate says, grants between clusters,
// and credentials for gRPC that follow their files. ECDSA P-256, X.509 v3 (RFC 5280), names as
// SPIFFE IDs (core/spiffe.h). Everything here is synchronous and quick but the file
// functions, which block on the disk; nothing keeps state, so every thread may call it.
//
// Who somebody is stands in the one URI name of the certificate,
//   spiffe://FLEET/cluster/CLUSTER/controller | node/NODE | operator/NAME
// and what an operator may do in its subject's OU, "admin" or "viewer" (a SPIFFE certificate has
// exactly one URI, so the role cannot be a second one).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/ip.h"
#include "core/spiffe.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace tombolo::pki {

// ---- names

using Kind = SpiffeKind;
using tombolo::check_name;
using tombolo::SpiffeName;

enum class Role { kNone, kViewer, kAdmin };
std::string_view to_string(Role role);  // "none", "viewer", "admin"
Result<Role> parse_role(std::string_view text);

// ---- certificates, as PEM texts

struct KeyPair {
  std::string certificate;
  std::string key;  // PKCS #8, not encrypted
};

struct Lifetime {
  WallTime now;
  int days = 365;  // 1 to 3650; an authority: up to 7300
};

struct IssueRequest {
  SpiffeName name;
  Role role = Role::kNone;  // operators only
  std::vector<std::string> dns_names;
  std::vector<Ip> ips;
};

// What a certificate says. Reading it verifies nothing.
struct Certificate {
  std::string subject;
  std::string issuer;
  std::string serial;  // hexadecimal
  std::vector<std::string> uris;
  std::vector<std::string> dns_names;
  std::vector<Ip> ips;
  Role role = Role::kNone;
  bool authority = false;
  WallTime not_before;
  WallTime not_after;

  // The name that the certificate proves: kPermissionDenied unless it has exactly one URI and that
  // is a SpiffeName.
  Result<SpiffeName> name() const;
};

// A self-signed authority for `fleet`, or for one cluster of it.
Result<KeyPair> make_authority(std::string_view fleet, std::string_view cluster, Lifetime lifetime);
// A certificate for server and client use with a key of its own. It ends with its authority when
// that ends first.
Result<KeyPair> issue(const KeyPair& authority, const IssueRequest& request, Lifetime lifetime);
// The same names, role and key with a new lifetime.
Result<KeyPair> renew(const KeyPair& authority, const KeyPair& old, Lifetime lifetime);

// The first certificate of a PEM text.
Result<Certificate> read_certificate(std::string_view pem);
// kFailedPrecondition unless the key is the certificate's.
Result<void> check_pair(const KeyPair& pair);
// kPermissionDenied with OpenSSL's reason unless one of the authorities in `authorities` signed it
// and it is valid at `now`.
Result<void> verify(std::string_view certificate, std::string_view authorities, WallTime now);

// A sentence for an operator when the certificate has ended or ends within 30 days, else "".
std::string expiry_warning(std::string_view what, const Certificate& certificate, WallTime now);

// ---- folders of certificates

// Written beside, synced and renamed, so that readers see the old or the new file, never a part.
Result<void> write_file_atomically(const std::string& path, std::string_view text, int mode);

// DIR/ca.crt and DIR/ca.key (0600). kAlreadyExists when either is there.
Result<void> write_authority(const std::string& directory, const KeyPair& authority);
Result<KeyPair> read_authority(const std::string& directory);
// DIR/tls.crt, DIR/tls.key (0600), DIR/ca.crt.
Result<void> write_identity(const std::string& directory, const KeyPair& pair,
                            std::string_view authorities);
Result<KeyPair> read_identity(const std::string& directory);

// ---- grants: what `tombolo cluster grant` hands to another cluster

struct Grant {
  std::string fleet;
  std::string cluster;  // the one that grants
  std::uint32_t cluster_id = 0;
  std::string granted_to;              // the cluster that may read
  std::vector<std::string> addresses;  // host:port of the granting cluster's store
  std::string authority;               // PEM, that signed the store's certificate
  KeyPair client;                      // spiffe://FLEET/cluster/GRANTED_TO/controller
};

// Signs a client certificate for `granted_to`'s controller; `grant.client` is filled in.
Result<Grant> make_grant(Grant grant, const KeyPair& authority, Lifetime lifetime);
// One JSON document. It holds a private key: keep it in files of mode 0600.
std::string to_text(const Grant& grant);
// Strict: unknown members, another version, a key that is not the certificate's, a certificate that
// the authority did not sign, that has ended or names somebody else are refused. `source` stands in
// front of errors.
Result<Grant> parse_grant(std::string_view text, std::string source, WallTime now);
// kFailedPrecondition when the grant is for another fleet or cluster, or is one's own.
Result<void> check_grant_for(const Grant& grant, std::string_view fleet, std::string_view cluster,
                             std::uint32_t cluster_id);

// ---- gRPC

struct TlsFiles {
  std::string certificate;
  std::string key;
  std::string ca;
};

// Reads the three files and says what is wrong with them: missing, not a pair, ended, not signed.
// On success a warning, or "" (expiry_warning).
Result<std::string> check_tls_files(const TlsFiles& files, WallTime now);

// Mutual TLS; the files are read again within `refresh_s` seconds after they change. Servers
// require a client certificate of `ca`. Clients check the server's name; an address (10.0.0.1:2379)
// is checked against its IP names.
std::shared_ptr<grpc::ServerCredentials> server_credentials(const TlsFiles& files,
                                                            unsigned refresh_s = 10);
std::shared_ptr<grpc::ChannelCredentials> channel_credentials(const TlsFiles& files,
                                                              unsigned refresh_s = 10);

}  // namespace tombolo::pki
