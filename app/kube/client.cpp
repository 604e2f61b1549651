// GET over HTTP/1.1 with Boost.Beast; one connection, kept alive between requests.
#include <boost/algorithm/string/predicate.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include "app/kube/internal.h"
#include "app/kube/kube.h"

namespace tombolo::kube {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr auto kAnswerHere = asio::as_tuple(asio::use_awaitable);

Code code_of(http::status status) {
  switch (status) {
    case http::status::unauthorized:
      return Code::kUnauthenticated;
    case http::status::forbidden:
      return Code::kPermissionDenied;
    case http::status::not_found:
      return Code::kNotFound;
    case http::status::gone:
      return Code::kOutOfRange;
    case http::status::bad_request:
      return Code::kInvalidArgument;
    default:
      return Code::kUnavailable;
  }
}

// What the server says, when it is a Status of Kubernetes.
std::string reason_of(const std::string& body, http::status status) {
  auto document = parse_json(body);
  if (document && document->is_object())
    if (const json::value* message = document->as_object().if_contains("message"))
      if (message->is_string()) return std::string(message->as_string());
  return fmt::format("HTTP {} {}", static_cast<int>(status),
                     std::string(http::obsolete_reason(status)));
}

struct Answer {
  http::status status = http::status::ok;
  std::string body;
};

class RealClient final : public Client {
 public:
  RealClient(Access access, Server server, ssl::context tls, asio::any_io_executor executor,
             ClientLimits limits)
      : access_(std::move(access)),
        server_(std::move(server)),
        tls_(std::move(tls)),
        executor_(std::move(executor)),
        limits_(limits) {}

  asio::awaitable<Result<json::value>> get(std::string path) override {
    CO_TRY(answer, co_await ask(path));
    if (answer.status != http::status::ok)
      co_return fail(code_of(answer.status), "{}{}: {}", access_.server, path,
                     reason_of(answer.body, answer.status));
    JsonLimits limits;
    limits.bytes = limits_.answer_bytes;
    auto document = parse_json(answer.body, limits);
    if (!document)
      co_return std::unexpected(std::move(document).error().with_context(access_.server + path));
    co_return std::move(*document);
  }

  asio::awaitable<Result<json::object>> list(std::string path) override {
    auto all = co_await all_pages(path);
    // A list that took longer than the server keeps its revision (410 Gone).
    if (!all && all.error().code == Code::kOutOfRange) all = co_await all_pages(path);
    co_return all;
  }

 private:
  asio::awaitable<Result<json::object>> all_pages(std::string path) {
    ListPages pages(access_.server + path, limits_.objects);
    while (true) {
      std::string page = fmt::format("{}?limit={}", path, limits_.page_objects);
      if (!pages.next().empty()) page += "&continue=" + escaped(pages.next());
      CO_TRY(document, co_await get(std::move(page)));
      CO_TRY(more, pages.take(std::move(document)));
      if (!more) co_return std::move(pages).list();
    }
  }

  // A connection that was kept may have been closed meanwhile: then once more with a new one.
  asio::awaitable<Result<Answer>> ask(std::string path) {
    bool kept = connection_ != nullptr;
    auto answer = co_await ask_once(path);
    if (!answer && kept && answer.error().code == Code::kUnavailable)
      answer = co_await ask_once(path);
    co_return answer;
  }

  asio::awaitable<Result<Answer>> ask_once(std::string path) {
    if (connection_ == nullptr) {
      CO_TRY_OK(co_await connect());
    }
    http::request<http::empty_body> request{http::verb::get, server_.path + path, 11};
    request.set(http::field::host, server_.authority());
    request.set(http::field::accept, "application/json");
    request.set(http::field::user_agent, "tombolo");
    if (!access_.token.empty())
      request.set(http::field::authorization, "Bearer " + access_.token);
    else if (!access_.user.empty())
      request.set(http::field::authorization, basic_authorization(access_.user, access_.password));
    http::response_parser<http::string_body> parser;
    parser.body_limit(limits_.answer_bytes);
    beast::flat_buffer buffer;
    socket().expires_after(limits_.request);
    ErrorCode error;
    if (server_.encrypted) {
      error = co_await exchange(*connection_, request, buffer, parser);
    } else {
      error = co_await exchange(connection_->next_layer(), request, buffer, parser);
    }
    if (error) {
      connection_.reset();
      if (error == http::error::body_limit)
        co_return fail(Code::kResourceExhausted, "{}{}: answers more than {} bytes", access_.server,
                       path, limits_.answer_bytes);
      co_return broken(error);
    }
    auto response = parser.release();
    if (!response.keep_alive()) connection_.reset();
    co_return Answer{response.result(), std::move(response.body())};
  }

  template <class Stream>
  static asio::awaitable<ErrorCode> exchange(Stream& stream,
                                             http::request<http::empty_body>& request,
                                             beast::flat_buffer& buffer,
                                             http::response_parser<http::string_body>& parser) {
    auto [unsent, sent] = co_await http::async_write(stream, request, kAnswerHere);
    if (unsent) co_return unsent;
    auto [error, length] = co_await http::async_read(stream, buffer, parser, kAnswerHere);
    co_return error;
  }

  asio::awaitable<Result<void>> connect() {
    tcp::resolver resolver(executor_);
    auto [unknown, endpoints] =
        co_await resolver.async_resolve(server_.host, server_.port, kAnswerHere);
    if (unknown) co_return broken(unknown);
    auto connection =
        std::make_unique<beast::ssl_stream<beast::tcp_stream>>(beast::tcp_stream(executor_), tls_);
    beast::get_lowest_layer(*connection).expires_after(limits_.request);
    auto [unreached, endpoint] =
        co_await beast::get_lowest_layer(*connection).async_connect(endpoints, kAnswerHere);
    if (unreached) co_return broken(unreached);
    if (server_.encrypted) {
      const std::string& name = access_.server_name.empty() ? server_.host : access_.server_name;
      if (!access_.insecure) connection->set_verify_callback(ssl::host_name_verification(name));
      // Server names of TLS (RFC 6066) are never addresses.
      ErrorCode no_address;
      asio::ip::make_address(name, no_address);
      if (no_address && SSL_set_tlsext_host_name(connection->native_handle(), name.c_str()) != 1)
        co_return fail(Code::kInvalidArgument, "{}: not a host's name", name);
      auto [refused] = co_await connection->async_handshake(ssl::stream_base::client, kAnswerHere);
      if (refused) co_return broken(refused);
    }
    connection_ = std::move(connection);
    co_return Result<void>{};
  }

  beast::tcp_stream& socket() { return beast::get_lowest_layer(*connection_); }
  std::unexpected<Error> broken(const ErrorCode& error) const {
    Code code = error == beast::error::timeout ? Code::kDeadlineExceeded : Code::kUnavailable;
    return fail(code, "{}: {}", access_.server, error.message());
  }

  Access access_;
  Server server_;
  ssl::context tls_;
  asio::any_io_executor executor_;
  ClientLimits limits_;
  std::unique_ptr<beast::ssl_stream<beast::tcp_stream>> connection_;
};

Result<ssl::context> tls_of(const Access& access) {
  ssl::context tls(ssl::context::tls_client);
  ErrorCode error;
  tls.set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 |
                  ssl::context::no_tlsv1_1);
  tls.set_verify_mode(access.insecure ? ssl::verify_none : ssl::verify_peer);
  if (access.authority_pem.empty()) {
    tls.set_default_verify_paths(error);
  } else {
    tls.add_certificate_authority(asio::buffer(access.authority_pem), error);
  }
  if (error)
    return fail(Code::kInvalidArgument, "{}: its authority's certificate: {}", access.context,
                error.message());
  if (access.certificate_pem.empty()) return tls;
  tls.use_certificate_chain(asio::buffer(access.certificate_pem), error);
  if (!error) tls.use_private_key(asio::buffer(access.key_pem), ssl::context::pem, error);
  if (error)
    return fail(Code::kInvalidArgument, "{}: the user's certificate and key: {}", access.context,
                error.message());
  return tls;
}

}  // namespace

Result<std::unique_ptr<Client>> Client::make(Access access, asio::any_io_executor executor,
                                             ClientLimits limits) {
  TRY(server, parse_server(access.server));
  TRY(tls, tls_of(access));
  return std::make_unique<RealClient>(std::move(access), std::move(server), std::move(tls),
                                      std::move(executor), limits);
}

}  // namespace tombolo::kube
