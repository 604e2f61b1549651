// Kubeconfig files (client-go's clientcmd/api/v1) and what of them one context means.
#include <openssl/evp.h>

#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <cstdlib>
#include <filesystem>

#include "app/kube/kube.h"
#include "core/yaml.h"

namespace tombolo::kube {
namespace {

constexpr std::size_t kMostFiles = 32;
constexpr std::size_t kLongestSecret = 1U << 20U;

Result<std::string> from_base64(const Cursor& at) {
  TRY(text, at.string());
  std::erase_if(text, [](char c) { return c == '\n' || c == '\r' || c == ' '; });
  std::string bytes(text.size() / 4 * 3, '\0');
  int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                               reinterpret_cast<const unsigned char*>(text.data()),
                               static_cast<int>(text.size()));
  if (length < 0 || text.size() % 4 != 0) return at.error("is not base64");
  // EVP_DecodeBlock counts the padding as bytes.
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  return bytes;
}

class Kubeconfigs {
 public:
  Result<void> read(const std::vector<std::string>& files) {
    if (files.size() > kMostFiles)
      return fail(Code::kInvalidArgument, "{} kubeconfig files; at most {} are read", files.size(),
                  kMostFiles);
    for (const std::string& file : files) {
      auto document = read_yaml_file(file);
      if (!document && document.error().code == Code::kNotFound) continue;
      if (!document) return std::unexpected(std::move(document).error());
      TRY_OK(document->root().expect_object());
      folders_.push_back(std::filesystem::path(file).parent_path());
      documents_.push_back(std::move(*document));
    }
    if (documents_.empty())
      return fail(Code::kNotFound, "no kubeconfig: {} is not there",
                  files.empty() ? "~/.kube/config" : files.front());
    return {};
  }

  Result<std::string> current_context() const {
    for (const YamlDocument& document : documents_) {
      Cursor root = document.root();
      TRY(name, root["current-context"].string_or(""));
      if (!name.empty()) return name;
    }
    return fail(Code::kNotFound, "{}: there is no current-context; name one with --context",
                documents_.front().place.name);
  }

  // Hands `take` the member ("cluster") of the entry `name` of a list ("clusters"), and the folder
  // that relative paths in it begin at.
  template <class Take>
  Result<void> find(const char* list, const char* member, const std::string& name,
                    Take take) const {
    for (std::size_t i = 0; i < documents_.size(); ++i) {
      Cursor root = documents_[i].root();
      Cursor entries = root[list];
      if (!entries.is_null()) {
        TRY_OK(entries.expect_array());
      }
      for (std::size_t k = 0; k < entries.size(); ++k) {
        Cursor entry = entries.at(k);
        TRY(entry_name, entry["name"].string());
        if (entry_name != name) continue;
        Cursor body = entry[member];
        TRY_OK(body.expect_object());
        return take(body, folders_[i]);
      }
    }
    return fail(Code::kNotFound, "{}: {} has no \"{}\"", documents_.front().place.name, list, name);
  }

 private:
  std::vector<YamlDocument> documents_;
  std::vector<std::filesystem::path> folders_;
};

// FIELD-data in base64, else the file that FIELD names; empty: neither.
Result<std::string> pem_at(const Cursor& body, const std::string& field,
                           const std::filesystem::path& folder) {
  const std::string data_field = field + "-data";  // cursors point at their keys
  Cursor data = body[data_field];
  if (!data.is_null()) return from_base64(data);
  Cursor path = body[field];
  TRY(text, path.string_or(""));
  if (text.empty()) return std::string();
  auto read = read_file((folder / text).string(), kLongestSecret);
  if (!read) return path.error(read.error().what, read.error().code);
  return read;
}

Result<void> read_cluster(const Cursor& body, const std::filesystem::path& folder, Access& access) {
  TRY(server, body["server"].string());
  access.server = std::move(server);
  TRY(insecure, body["insecure-skip-tls-verify"].boolean_or(false));
  access.insecure = insecure;
  TRY(server_name, body["tls-server-name"].string_or(""));
  access.server_name = std::move(server_name);
  TRY(authority, pem_at(body, "certificate-authority", folder));
  access.authority_pem = std::move(authority);
  Cursor proxy = body["proxy-url"];
  if (!proxy.is_null())
    return proxy.error("proxies are not supported; import the outputs of kubectl instead");
  return {};
}

Result<ExecCommand> read_exec(const Cursor& body, const std::filesystem::path& folder) {
  ExecCommand exec;
  TRY(api_version, body["apiVersion"].string());
  exec.api_version = std::move(api_version);
  TRY(command, body["command"].string());
  // With a separator in it, it is a path; else PATH is searched.
  if (command.find('/') != std::string::npos) command = (folder / command).string();
  exec.command = std::move(command);
  TRY(arguments, body["args"].string_list());
  exec.arguments = std::move(arguments);
  Cursor environment = body["env"];
  for (std::size_t i = 0; i < environment.size(); ++i) {
    Cursor entry = environment.at(i);
    TRY(name, entry["name"].string());
    TRY(value, entry["value"].string_or(""));
    exec.environment.emplace_back(std::move(name), std::move(value));
  }
  TRY(hint, body["installHint"].string_or(""));
  exec.install_hint = std::move(hint);
  return exec;
}

Result<void> read_user(const Cursor& body, const std::filesystem::path& folder, Access& access) {
  for (const char* field : {"as", "as-uid", "as-groups", "as-user-extra", "auth-provider"}) {
    Cursor at = body[field];
    if (!at.is_null()) return at.error("is not supported; import the outputs of kubectl instead");
  }
  TRY(certificate, pem_at(body, "client-certificate", folder));
  access.certificate_pem = std::move(certificate);
  TRY(key, pem_at(body, "client-key", folder));
  access.key_pem = std::move(key);
  TRY(token, body["token"].string_or(""));
  access.token = std::move(token);
  // A token file comes before a token, as in client-go.
  Cursor token_file = body["tokenFile"];
  TRY(token_path, token_file.string_or(""));
  if (!token_path.empty()) {
    auto text = read_file((folder / token_path).string(), kLongestSecret);
    if (!text) return token_file.error(text.error().what, text.error().code);
    access.token = boost::trim_copy(*text);
  }
  TRY(user, body["username"].string_or(""));
  access.user = std::move(user);
  TRY(password, body["password"].string_or(""));
  access.password = std::move(password);
  Cursor exec = body["exec"];
  if (exec.is_null()) return {};
  TRY(command, read_exec(exec, folder));
  access.exec = std::move(command);
  return {};
}

}  // namespace

std::vector<std::string> default_kubeconfigs() {
  std::vector<std::string> files;
  if (const char* listed = std::getenv("KUBECONFIG"); listed != nullptr && *listed != '\0') {
    boost::split(files, std::string(listed), boost::is_any_of(":"));
    std::erase(files, "");
  } else if (const char* home = std::getenv("HOME"); home != nullptr) {
    files.push_back(std::string(home) + "/.kube/config");
  }
  return files;
}

Result<Access> read_access(const std::vector<std::string>& files, const std::string& context) {
  Kubeconfigs configs;
  TRY_OK(configs.read(files));
  Access access;
  access.context = context;
  if (context.empty()) {
    TRY(current, configs.current_context());
    access.context = std::move(current);
  }
  std::string cluster;
  std::string user;
  auto take_context = [&](const Cursor& body, const std::filesystem::path&) -> Result<void> {
    TRY(cluster_name, body["cluster"].string());
    cluster = std::move(cluster_name);
    TRY(user_name, body["user"].string_or(""));
    user = std::move(user_name);
    return {};
  };
  TRY_OK(configs.find("contexts", "context", access.context, take_context));
  auto take_cluster = [&](const Cursor& body, const std::filesystem::path& folder) {
    return read_cluster(body, folder, access);
  };
  TRY_OK(configs.find("clusters", "cluster", cluster, take_cluster));
  auto take_user = [&](const Cursor& body, const std::filesystem::path& folder) {
    return read_user(body, folder, access);
  };
  if (!user.empty()) {
    TRY_OK(configs.find("users", "user", user, take_user));
  }
  return access;
}

}  // namespace tombolo::kube
