// Folders of certificates. Files are replaced whole and synced; keys are never readable by others,
// not even while they are written.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "app/pki/pki.h"
#include "core/yaml.h"

namespace tombolo::pki {
namespace {

constexpr std::size_t kLongestFile = 1U << 20U;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

Result<void> write_all(int descriptor, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "{}: cannot be written", path);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fsync(descriptor) != 0) return fail_errno(errno, "{}: cannot be synced", path);
  return {};
}

Result<void> make_directory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return fail_errno(error.value(), "{}: cannot be made", directory);
  return {};
}

Result<void> sync_directory(const std::string& directory) {
  Descriptor folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.number() < 0 || ::fsync(folder.number()) != 0)
    return fail_errno(errno, "{}: cannot be synced", directory);
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
  std::string beside = fmt::format("{}.{}.new", path, ::getpid());
  Result<void> written;
  {
    Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                           static_cast<mode_t>(mode)));
    if (file.number() < 0) return fail_errno(errno, "{}: cannot be made", beside);
    // The umask may have taken bits away.
    written = ::fchmod(file.number(), static_cast<mode_t>(mode)) != 0
                  ? fail_errno(errno, "{}: cannot set its mode", beside)
                  : write_all(file.number(), text, beside);
  }
  if (written && ::rename(beside.c_str(), path.c_str()) != 0)
    written = fail_errno(errno, "{}: cannot be replaced", path);
  if (!written) {
    ::unlink(beside.c_str());
    return written;
  }
  std::string directory = std::filesystem::path(path).parent_path().string();
  return sync_directory(directory.empty() ? "." : directory);
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
