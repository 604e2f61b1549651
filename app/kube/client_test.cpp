// The client against a TLS server on loopback that answers as an API server does.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "app/kube/kube.h"
#include "app/pki/pki.h"

namespace tombolo::kube {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;
using tcp = asio::ip::tcp;

constexpr auto kAnswerHere = asio::as_tuple(asio::use_awaitable);

struct Keys {
  pki::KeyPair authority;
  pki::KeyPair server;
};

// Made once: keys take their time. The server's name is its address.
const Keys& keys() {
  static const Keys made = [] {
    WallTime now = make_system_clock()->wall_now();
    pki::KeyPair authority = pki::make_authority("islands", "east", {now, 30}).value();
    pki::IssueRequest request{{"islands", "east", pki::Kind::kController, ""},
                              pki::Role::kNone,
                              {"kubernetes"},
                              {Ip::parse("127.0.0.1").value()}};
    pki::KeyPair server = pki::issue(authority, request, {now, 10}).value();
    return Keys{authority, server};
  }();
  return made;
}

// What was asked, and what it answers by path. One at a time, on the test's executor.
class ApiServer {
 public:
  struct Reply {
    unsigned status = 200;
    std::string body;
    bool closes = false;
    bool silent = false;
  };

  explicit ApiServer(asio::io_context& io)
      : tls_(ssl::context::tls_server), acceptor_(io, {asio::ip::address_v4::loopback(), 0}) {
    tls_.use_certificate_chain(asio::buffer(keys().server.certificate));
    tls_.use_private_key(asio::buffer(keys().server.key), ssl::context::pem);
    asio::co_spawn(io, accept(), asio::detached);
  }
  std::string url() const {
    return "https://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }

  std::map<std::string, std::vector<Reply>> replies;  // the last one stays
  std::vector<std::string> asked;
  std::string authorization;
  int connections = 0;

 private:
  asio::awaitable<void> accept() {
    while (true) {
      auto [error, socket] = co_await acceptor_.async_accept(kAnswerHere);
      if (error) co_return;
      ++connections;
      asio::co_spawn(acceptor_.get_executor(), serve(std::move(socket)), asio::detached);
    }
  }
  asio::awaitable<void> serve(tcp::socket socket) {
    beast::ssl_stream<beast::tcp_stream> stream(beast::tcp_stream(std::move(socket)), tls_);
    auto [refused] = co_await stream.async_handshake(ssl::stream_base::server, kAnswerHere);
    if (refused) co_return;
    beast::flat_buffer buffer;
    while (true) {
      http::request<http::empty_body> request;
      auto [error, length] = co_await http::async_read(stream, buffer, request, kAnswerHere);
      if (error) co_return;
      std::string path(request.target());
      asked.push_back(path);
      authorization = std::string(request[http::field::authorization]);
      Reply reply = reply_to(path);
      if (reply.silent) continue;
      http::response<http::string_body> response;
      response.result(reply.status);
      response.body() = reply.body;
      response.keep_alive(true);
      response.prepare_payload();
      auto [broken, sent] = co_await http::async_write(stream, response, kAnswerHere);
      if (broken || reply.closes) co_return;
    }
  }
  Reply reply_to(const std::string& path) {
    auto found = replies.find(path);
    if (found == replies.end())
      return {404, R"({"kind": "Status", "message": "there is no such thing"})"};
    Reply reply = found->second.front();
    if (found->second.size() > 1) found->second.erase(found->second.begin());
    return reply;
  }

  ssl::context tls_;
  tcp::acceptor acceptor_;
};

struct World {
  asio::io_context io;
  ApiServer server{io};
  Access access{.context = "east",
                .server = server.url(),
                .authority_pem = keys().authority.certificate,
                .token = "secret"};
  ClientLimits limits;
  std::unique_ptr<Client> client;

  template <class T>
  Result<T> run(asio::awaitable<Result<T>> (*question)(Client&, std::string), std::string path) {
    if (client == nullptr) {
      auto made = Client::make(access, io.get_executor(), limits);
      if (!made) return std::unexpected(made.error());
      client = std::move(*made);
    }
    std::optional<Result<T>> answer;
    asio::co_spawn(io, question(*client, std::move(path)),
                   [&](std::exception_ptr, Result<T> result) { answer = std::move(result); });
    io.restart();
    while (!answer && io.run_one_for(std::chrono::seconds(60)) > 0) continue;
    REQUIRE(answer.has_value());
    return std::move(*answer);
  }
  static asio::awaitable<Result<json::value>> ask(Client& client, std::string path) {
    co_return co_await client.get(std::move(path));
  }
  static asio::awaitable<Result<json::object>> ask_list(Client& client, std::string path) {
    co_return co_await client.list(std::move(path));
  }
  static asio::awaitable<Result<ClusterObjects>> ask_all(Client& client, std::string) {
    co_return co_await cluster_objects(client);
  }
  Result<json::value> get(std::string path) { return run<json::value>(ask, std::move(path)); }
  Result<json::object> list(std::string path) { return run<json::object>(ask_list, path); }
};

std::string page(const std::string& kind, const std::string& names, const std::string& next) {
  std::string items;
  for (char name : names)
    items +=
        fmt::format("{}{{\"metadata\": {{\"name\": \"{}\"}}}}", items.empty() ? "" : ", ", name);
  return fmt::format(
      R"({{"kind": "{}", "apiVersion": "v1", "metadata": {{"continue": "{}"}}, "items": [{}]}})",
      kind, next, items);
}

TEST_CASE("an object is read with the user's token, again and again on one connection") {
  World world;
  world.server.replies["/api/v1/nodes/n1"] = {{200, R"({"kind": "Node"})"}};
  for (int round = 0; round < 3; ++round) {
    auto answer = world.get("/api/v1/nodes/n1");
    REQUIRE(answer.has_value());
    REQUIRE(answer->at("kind") == "Node");
  }
  REQUIRE(world.server.authorization == "Bearer secret");
  REQUIRE(world.server.connections == 1);
}

TEST_CASE("a connection that the server has closed is made anew") {
  World world;
  world.server.replies["/a"] = {{200, "{}", true}};
  REQUIRE(world.get("/a").has_value());
  REQUIRE(world.get("/a").has_value());
  REQUIRE(world.server.connections == 2);
}

TEST_CASE("all pages of a list, with the kind in each object") {
  World world;
  world.server.replies["/api/v1/nodes?limit=500"] = {{200, page("NodeList", "ab", "x+y")}};
  world.server.replies["/api/v1/nodes?limit=500&continue=x%2By"] = {
      {200, page("NodeList", "c", "")}};
  auto list = world.list("/api/v1/nodes");
  REQUIRE(list.has_value());
  const json::array& items = list->at("items").as_array();
  REQUIRE(items.size() == 3);
  REQUIRE(items[2].at("kind") == "Node");
  REQUIRE(items[2].at("metadata").at("name") == "c");
}

TEST_CASE("a list that expires between its pages begins anew") {
  World world;
  world.server.replies["/l?limit=500"] = {{200, page("NodeList", "a", "old")},
                                          {200, page("NodeList", "b", "")}};
  world.server.replies["/l?limit=500&continue=old"] = {{410, R"({"message": "expired"})"}};
  auto list = world.list("/l");
  REQUIRE(list.has_value());
  REQUIRE(list->at("items").as_array().size() == 1);
  REQUIRE(list->at("items").as_array()[0].at("metadata").at("name") == "b");
}

TEST_CASE("answers that are none") {
  struct Case {
    const char* name;
    ApiServer::Reply reply;
    Code code;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"no such object",
       {404, R"({"message": "nodes \"x\" not found"})"},
       Code::kNotFound,
       "nodes \"x\" not found"},
      {"not allowed",
       {403, R"({"message": "reader may not"})"},
       Code::kPermissionDenied,
       "reader may not"},
      {"not known", {401, "Unauthorized"}, Code::kUnauthenticated, "HTTP 401 Unauthorized"},
      {"broken", {500, ""}, Code::kUnavailable, "HTTP 500"},
      {"moved", {302, ""}, Code::kUnavailable, "HTTP 302"},
      {"no JSON", {200, "<html>"}, Code::kInvalidArgument, "/x?limit=500"},
      {"no list",
       {200, R"({"kind": "Node", "apiVersion": "v1"})"},
       Code::kInvalidArgument,
       "kind: is no list"},
      {"no end", {200, page("NodeList", "", "more")}, Code::kInvalidArgument, "an empty page"},
      {"too many objects",
       {200, page("NodeList", "abcd", "")},
       Code::kResourceExhausted,
       "more than 3 objects"},
      {"too long", {200, std::string(5000, ' ')}, Code::kResourceExhausted, "more than 4096 bytes"},
      {"silence", {200, "", false, true}, Code::kDeadlineExceeded, "timeout"},
  }));
  INFO(c.name);
  World world;
  world.limits.objects = 3;
  world.limits.answer_bytes = 4096;
  if (c.reply.silent) world.limits.request = std::chrono::milliseconds(200);
  world.server.replies["/x?limit=500"] = {c.reply};
  auto list = world.list("/x");
  REQUIRE_FALSE(list.has_value());
  CAPTURE(list.error().what);
  REQUIRE(list.error().code == c.code);
  REQUIRE_THAT(list.error().what, ContainsSubstring(c.error));
}

TEST_CASE("whose certificate is trusted") {
  struct Case {
    const char* name;
    bool other_authority;
    const char* server_name;
    bool insecure;
    bool trusted;
  };
  auto c = GENERATE(values<Case>({
      {"its own", false, "", false, true},
      {"by the name that the file gives", false, "kubernetes", false, true},
      {"another name", false, "elsewhere", false, false},
      {"another authority", true, "", false, false},
      {"nobody asks", true, "elsewhere", true, true},
  }));
  INFO(c.name);
  World world;
  if (c.other_authority) {
    WallTime now = make_system_clock()->wall_now();
    world.access.authority_pem =
        pki::make_authority("islands", "west", {now, 30}).value().certificate;
  }
  world.access.server_name = c.server_name;
  world.access.insecure = c.insecure;
  world.server.replies["/a"] = {{200, "{}"}};
  auto answer = world.get("/a");
  REQUIRE(answer.has_value() == c.trusted);
  if (!c.trusted) REQUIRE(answer.error().code == Code::kUnavailable);
}

TEST_CASE("a server that is not there, and keys that are none") {
  World world;
  world.access.server = "https://127.0.0.1:1";
  auto answer = world.get("/a");
  REQUIRE_FALSE(answer.has_value());
  REQUIRE(answer.error().code == Code::kUnavailable);
  REQUIRE_THAT(answer.error().what, ContainsSubstring("https://127.0.0.1:1"));

  World other;
  other.access.certificate_pem = "no certificate";
  auto refused = other.get("/a");
  REQUIRE_FALSE(refused.has_value());
  REQUIRE_THAT(refused.error().what, ContainsSubstring("certificate and key"));
}

TEST_CASE("a cluster's objects: what it has not is left out, what is withheld is said") {
  World world;
  auto& replies = world.server.replies;
  replies["/api/v1/nodes?limit=500"] = {{200, page("NodeList", "a", "")}};
  replies["/api/v1/services?limit=500"] = {{403, R"({"message": "services is forbidden"})"}};
  replies["/api/v1/namespaces/kube-system/configmaps/kubeadm-config"] = {
      {200, R"({"kind": "ConfigMap", "metadata": {"name": "kubeadm-config"}})"}};
  auto found = world.run<ClusterObjects>(World::ask_all, "");
  REQUIRE(found.has_value());
  REQUIRE(found->documents.size() == 2);
  REQUIRE(found->withheld.size() == 1);
  REQUIRE_THAT(found->withheld[0], ContainsSubstring("services is forbidden"));

  replies["/api/v1/nodes?limit=500"] = {{403, R"({"message": "nodes is forbidden"})"}};
  REQUIRE(world.run<ClusterObjects>(World::ask_all, "").error().code == Code::kPermissionDenied);
}

}  // namespace
}  // namespace tombolo::kube
