// Addresses of servers, fields of requests and pages of lists. Pure.
#include <openssl/evp.h>

#include <boost/algorithm/string/predicate.hpp>
#include <charconv>

#include "app/kube/internal.h"

namespace tombolo::kube {
namespace {

Result<void> read_port(std::string_view text, std::string_view url, Server& server) {
  unsigned number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0 || number > 65535)
    return fail(Code::kInvalidArgument, "server \"{}\": \"{}\" is no port", url, text);
  server.port = std::to_string(number);
  return {};
}

bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::ranges::all_of(text, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == ':' ||
           c == '%' || c == '_';
  });
}

}  // namespace

std::string Server::authority() const {
  return host.find(':') == std::string::npos ? host + ":" + port : "[" + host + "]:" + port;
}

Result<Server> parse_server(std::string_view url) {
  Server server;
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    server.encrypted = false;
  } else {
    return fail(Code::kInvalidArgument, "server \"{}\": must begin with https:// or http://", url);
  }
  server.port = server.encrypted ? "443" : "80";
  std::size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    server.path = rest.substr(slash);
    while (server.path.ends_with('/')) server.path.pop_back();
    rest = rest.substr(0, slash);
  }
  std::size_t host_end = rest.starts_with('[') ? rest.find(']') : rest.find(':');
  if (rest.starts_with('[')) {
    if (host_end == std::string_view::npos)
      return fail(Code::kInvalidArgument, "server \"{}\": ] is missing", url);
    server.host = rest.substr(1, host_end - 1);
    rest.remove_prefix(host_end + 1);
  } else {
    server.host = rest.substr(0, host_end);
    rest.remove_prefix(server.host.size());
  }
  if (!is_host(server.host)) return fail(Code::kInvalidArgument, "server \"{}\": no host", url);
  if (rest.empty()) return server;
  if (!rest.starts_with(':'))
    return fail(Code::kInvalidArgument, "server \"{}\": \"{}\" after the host", url, rest);
  TRY_OK(read_port(rest.substr(1), url, server));
  return server;
}

std::string basic_authorization(const std::string& user, const std::string& password) {
  std::string plain = user + ":" + password;
  std::string coded((plain.size() + 2) / 3 * 4 + 1, '\0');
  int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(coded.data()),
                               reinterpret_cast<const unsigned char*>(plain.data()),
                               static_cast<int>(plain.size()));
  coded.resize(static_cast<std::size_t>(length));
  return "Basic " + coded;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      result += c;
    } else {
      result += fmt::format("%{:02X}", byte);
    }
  }
  return result;
}

Result<bool> ListPages::take(json::value page) {
  DocumentPlace place{place_, {}};
  Cursor root(page, place);
  TRY_OK(root.expect_object());
  TRY(kind, root["kind"].string());
  TRY(api_version, root["apiVersion"].string());
  if (!kind.ends_with("List")) return root["kind"].error("is no list");
  kind.resize(kind.size() - 4);
  TRY_OK(root["metadata"].expect_object());
  TRY(next, root["metadata"]["continue"].string_or(""));
  next_ = std::move(next);
  json::value& items = page.as_object()["items"];
  if (items.is_null()) return !next_.empty();
  if (!items.is_array()) return root["items"].error("must be a list");
  if (items_.size() + items.as_array().size() > limit_)
    return root["items"].error(fmt::format("more than {} objects", limit_),
                               Code::kResourceExhausted);
  // A server that promises more and gives nothing would be asked for ever.
  if (items.as_array().empty() && !next_.empty())
    return root["items"].error("an empty page, and more to come");
  for (json::value& item : items.as_array()) {
    if (!item.is_object()) return root["items"].error("must hold objects");
    item.as_object()["kind"] = kind;
    item.as_object()["apiVersion"] = api_version;
    items_.push_back(std::move(item));
  }
  return !next_.empty();
}

json::object ListPages::list() && {
  return {{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items_)}};
}

}  // namespace tombolo::kube
