// Kubeconfigs as kubectl reads them, and credentials from programs.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <filesystem>
#include <fstream>

#include "app/kube/internal.h"
#include "app/kube/kube.h"

namespace tombolo::kube {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

class Folder {
 public:
  Folder() {
    std::string pattern = "/tmp/tombolo-kube-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text, bool program = false) const {
    std::string path = path_ + "/" + name;
    std::ofstream(path) << text;
    if (program) std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }

 private:
  std::string path_;
};

// `cluster` and `user` are the members of the one cluster and the one user.
std::string config(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: east\n"
         "contexts: [{name: east, context: {cluster: e, user: admin}}]\n"
         "clusters: [{name: e, cluster: {" +
         cluster +
         "}}]\n"
         "users: [{name: admin, user: {" +
         user + "}}]\n";
}

TEST_CASE("what a context says") {
  Folder folder;
  folder.write("ca.pem", "AUTHORITY");
  folder.write("token", "  from-file\n");
  std::string file = folder.write(
      "config", config("server: \"https://east:6443\", certificate-authority: ca.pem, "
                       "tls-server-name: kubernetes",
                       "token: in-place, tokenFile: token, client-certificate-data: Q0VSVA==, "
                       "client-key-data: S0VZ"));
  auto access = read_access({file}, "");
  REQUIRE(access.has_value());
  REQUIRE(access->context == "east");
  REQUIRE(access->server == "https://east:6443");
  REQUIRE(access->authority_pem == "AUTHORITY");
  REQUIRE(access->server_name == "kubernetes");
  REQUIRE(access->token == "from-file");
  REQUIRE(access->certificate_pem == "CERT");
  REQUIRE(access->key_pem == "KEY");
  REQUIRE_FALSE(access->insecure);
}

TEST_CASE("of several files the first that names a thing has it") {
  Folder folder;
  std::string first =
      folder.write("first", "clusters: [{name: e, cluster: {server: \"https://first\"}}]\n");
  std::string second = folder.write("second", config("server: \"https://second\"", "token: t"));
  auto access = read_access({first + ".absent", first, second}, "");
  REQUIRE(access.has_value());
  REQUIRE(access->server == "https://first");
  REQUIRE(access->token == "t");
}

TEST_CASE("kubeconfigs that are refused") {
  struct Case {
    const char* name;
    std::string text;
    const char* context;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"no such context", config("server: s", "token: t"), "west", "contexts has no \"west\""},
      {"no current context", "clusters: []\n", "", "there is no current-context"},
      {"no server", config("insecure-skip-tls-verify: true", "token: t"), "",
       "clusters[0].cluster.server: is required"},
      {"no base64", config("server: s, certificate-authority-data: \"?\"", "token: t"), "",
       "certificate-authority-data: is not base64"},
      {"a file that is not there", config("server: s, certificate-authority: gone.pem", "token: t"),
       "", "certificate-authority: "},
      {"a proxy", config("server: s, proxy-url: \"http://p\"", "token: t"), "",
       "proxy-url: proxies are not supported"},
      {"impersonation", config("server: s", "as: root"), "", "users[0].user.as: is not supported"},
      {"a list as user", "contexts: [{name: a, context: {cluster: e}}]\nclusters: 7\n", "a",
       "clusters: must be a list"},
  }));
  INFO(c.name);
  Folder folder;
  auto access = read_access({folder.write("config", c.text)}, c.context);
  REQUIRE_FALSE(access.has_value());
  REQUIRE_THAT(access.error().what, ContainsSubstring(c.error));
}

TEST_CASE("no kubeconfig at all") {
  auto access = read_access({"/nonexistent/config"}, "");
  REQUIRE_FALSE(access.has_value());
  REQUIRE(access.error().code == Code::kNotFound);
  REQUIRE_THAT(access.error().what, ContainsSubstring("/nonexistent/config"));
}

Access with_program(const std::string& path) {
  Access access;
  access.exec = ExecCommand{"client.authentication.k8s.io/v1",
                            path,
                            {"token", "east"},
                            {{"REGION", "north"}},
                            "install it"};
  return access;
}

TEST_CASE("a program's credentials") {
  Folder folder;
  std::string program = folder.write(
      "login",
      "#!/bin/sh\n"
      "case $KUBERNETES_EXEC_INFO in *client.authentication.k8s.io/v1*) ;; *) exit 9 ;; esac\n"
      "echo '{\"kind\": \"ExecCredential\", \"status\": {\"token\": \"'$1-$2-$REGION'\"}}'\n",
      true);
  auto access = obtain_credentials(with_program(program), std::chrono::seconds(60));
  REQUIRE(access.has_value());
  REQUIRE(access->token == "token-east-north");
}

TEST_CASE("programs that give no credentials") {
  struct Case {
    const char* name;
    const char* script;  // nullptr: there is none
    Code code;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"not there", nullptr, Code::kNotFound, "install it"},
      {"fails", "exit 3", Code::kUnauthenticated, "ended with 3"},
      {"killed", "kill -9 $$", Code::kUnauthenticated, "signal 9"},
      {"no JSON", "echo hello", Code::kInvalidArgument, "login: "},
      {"nothing in it", "echo '{\"kind\": \"ExecCredential\", \"status\": {}}'",
       Code::kUnauthenticated, "neither a token nor a certificate"},
      {"never ends", "exec sleep 60", Code::kDeadlineExceeded, "did not end in time"},
      {"closes its output and stays", "exec >&-; exec sleep 60", Code::kDeadlineExceeded,
       "did not end in time"},
      {"prints without end", "exec cat /dev/zero", Code::kInvalidArgument, "more than"},
  }));
  INFO(c.name);
  Folder folder;
  std::string program = c.script == nullptr
                            ? "/nonexistent/login"
                            : folder.write("login", std::string("#!/bin/sh\n") + c.script, true);
  bool waits = c.code == Code::kDeadlineExceeded;
  auto access =
      obtain_credentials(with_program(program), waits ? Duration(std::chrono::milliseconds(300))
                                                      : Duration(std::chrono::seconds(60)));
  REQUIRE_FALSE(access.has_value());
  REQUIRE(access.error().code == c.code);
  REQUIRE_THAT(access.error().what, ContainsSubstring(c.error));
}

TEST_CASE("addresses of servers") {
  struct Case {
    const char* url;
    bool encrypted;
    const char* authority;
    const char* path;
  };
  auto c = GENERATE(values<Case>({
      {"https://east.example", true, "east.example:443", ""},
      {"https://east.example:6443/", true, "east.example:6443", ""},
      {"https://[fd00::1]:6443/k8s/clusters/c-1/", true, "[fd00::1]:6443", "/k8s/clusters/c-1"},
      {"http://127.0.0.1:8001", false, "127.0.0.1:8001", ""},
  }));
  INFO(c.url);
  auto server = parse_server(c.url);
  REQUIRE(server.has_value());
  REQUIRE(server->encrypted == c.encrypted);
  REQUIRE(server->authority() == c.authority);
  REQUIRE(server->path == c.path);
}

TEST_CASE("addresses that are none") {
  auto url = GENERATE(values<const char*>({"", "east:6443", "ftp://east", "https://", "https://:1",
                                           "https://east:0", "https://east:65536", "https://[::1",
                                           "https://east:6443x", "https://a b"}));
  INFO(url);
  auto server = parse_server(url);
  REQUIRE_FALSE(server.has_value());
  REQUIRE_THAT(server.error().what, StartsWith("server \""));
}

TEST_CASE("basic authorization") {
  REQUIRE(basic_authorization("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

}  // namespace
}  // namespace tombolo::kube
