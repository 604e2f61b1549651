// Folders of certificates. Files are replaced whole and synced; keys are never readable by others,
// not even while they are written.
#include "core/files.h"

#include <filesystem>

#include "app/pki/pki.h"
#include "core/yaml.h"

namespace tombolo::pki {
namespace {

constexpr std::size_t kLongestFile = 1U << 20U;

Result<void> make_directory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return fail_errno(error.value(), "{}: cannot be made", directory);
  return {};
}

Result<KeyPair> read_pair(const std::string& certificate, const std::string& key) {
  TRY(certificate_pem, read_file(certificate, kLongestFile));
  TRY(key_pem, read_file(key, kLongestFile));
  KeyPair pair{std::move(certificate_pem), std::move(key_pem)};
  if (auto fits = check_pair(pair); !fits)
    return std::unexpected(std::move(fits).error().with_context(certificate));
  return pair;
}

}  // namespace

Result<void> write_file_atomically(const std::string& path, std::string_view text, int mode) {
  return tombolo::write_file_atomically(path, text, mode);
}

Result<void> write_authority(const std::string& directory, const KeyPair& authority) {
  TRY_OK(make_directory(directory));
  for (const char* name : {"/ca.crt", "/ca.key"})
    if (std::filesystem::exists(directory + name))
      return fail(Code::kAlreadyExists, "{}{} is there already; an authority is never overwritten",
                  directory, name);
  TRY_OK(write_file_atomically(directory + "/ca.key", authority.key, 0600));
  return write_file_atomically(directory + "/ca.crt", authority.certificate, 0644);
}

Result<KeyPair> read_authority(const std::string& directory) {
  return read_pair(directory + "/ca.crt", directory + "/ca.key");
}

Result<void> write_identity(const std::string& directory, const KeyPair& pair,
                            std::string_view authorities) {
  TRY_OK(make_directory(directory));
  TRY_OK(write_file_atomically(directory + "/ca.crt", authorities, 0644));
  TRY_OK(write_file_atomically(directory + "/tls.key", pair.key, 0600));
  return write_file_atomically(directory + "/tls.crt", pair.certificate, 0644);
}

Result<KeyPair> read_identity(const std::string& directory) {
  return read_pair(directory + "/tls.crt", directory + "/tls.key");
}

Result<std::string> check_tls_files(const TlsFiles& files, WallTime now) {
  TRY(pair, read_pair(files.certificate, files.key));
  TRY(authorities, read_file(files.ca, kLongestFile));
  TRY(facts, read_certificate(pair.certificate));
  if (auto trusted = verify(pair.certificate, authorities, now); !trusted)
    return std::unexpected(std::move(trusted).error().with_context(files.certificate));
  return expiry_warning(files.certificate, facts, now);
}

}  // namespace tombolo::pki
