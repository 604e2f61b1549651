// gRPC's TLS credentials that watch their files, so that renewed certificates are used without a
// restart.
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "app/pki/pki.h"

namespace tombolo::pki {
namespace {

std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> watcher(const TlsFiles& files,
                                                                            unsigned refresh_s) {
  return std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      files.key, files.certificate, files.ca, refresh_s);
}

}  // namespace

std::shared_ptr<grpc::ServerCredentials> server_credentials(const TlsFiles& files,
                                                            unsigned refresh_s) {
  grpc::experimental::TlsServerCredentialsOptions options(watcher(files, refresh_s));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> channel_credentials(const TlsFiles& files,
                                                              unsigned refresh_s) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(watcher(files, refresh_s));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace tombolo::pki
