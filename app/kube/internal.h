// The pure parts of the client. Private to app/kube.
#pragma once

#include <string>
#include <string_view>

#include "app/kube/kube.h"

namespace tombolo::kube {

struct Server {
  bool encrypted = true;
  std::string host;  // without brackets
  std::string port;
  std::string path;  // before each request's, without a slash at its end
  // "host:port" for the Host field (RFC 9110, section 7.2).
  std::string authority() const;
};

// "https://host[:port][/path]"; http too (kubectl proxy). kInvalidArgument.
Result<Server> parse_server(std::string_view url);

// "Basic …" (RFC 7617).
std::string basic_authorization(const std::string& user, const std::string& password);
// For a value in a query (RFC 3986, section 2.1).
std::string escaped(std::string_view text);

// What a credential program printed, into `access`. kInvalidArgument with the place;
// kUnauthenticated when it holds no credentials.
Result<void> take_credential(const Cursor& root, Access& access);

// The pages of one list, put together. Objects in a list have no kind of their own; here they get
// the list's, as in kubectl's output.
class ListPages {
 public:
  ListPages(std::string place, std::size_t limit) : place_(std::move(place)), limit_(limit) {}
  // Whether there is another page, which next() begins.
  Result<bool> take(json::value page);
  const std::string& next() const { return next_; }
  json::object list() &&;

 private:
  std::string place_;
  std::size_t limit_;
  std::string next_;
  json::array items_;
};

}  // namespace tombolo::kube
