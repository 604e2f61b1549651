// The endpoint over a real connection on loopback.
#include "app/metrics/metrics.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/metrics.h"

namespace tombolo::metrics {
namespace {

using Catch::Matchers::ContainsSubstring;
namespace asio = boost::asio;

std::string get(int port, const std::string& path) {
  asio::io_context context;
  asio::ip::tcp::socket socket(context);
  socket.connect({asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(port)});
  asio::write(socket, asio::buffer("GET " + path + " HTTP/1.0\r\n\r\n"));
  std::string answer;
  boost::system::error_code error;
  asio::read(socket, asio::dynamic_buffer(answer, 1U << 20U), error);
  return answer;
}

TEST_CASE("/metrics shows counters, the build and the process") {
  auto started = *parse_rfc3339("2026-01-01T00:00:00Z");
  auto server = Server::start("127.0.0.1:0", "1.2.3", started).value();
  counter("tombolo_test_total", "Things of this test", {{"kind", "a"}}).increment(3);
  std::string answer = get(server->port(), "/metrics");
  REQUIRE_THAT(answer, ContainsSubstring("HTTP/1.1 200"));
  REQUIRE_THAT(answer, ContainsSubstring("# TYPE tombolo_test_total counter"));
  REQUIRE_THAT(answer, ContainsSubstring("tombolo_test_total{kind=\"a\"} 3\n"));
  REQUIRE_THAT(answer, ContainsSubstring("tombolo_build_info{version=\"1.2.3\"} 1\n"));
  REQUIRE_THAT(answer, ContainsSubstring("process_start_time_seconds 1767225600"));
  REQUIRE_THAT(answer, ContainsSubstring("# TYPE process_cpu_seconds_total counter"));
  REQUIRE_THAT(get(server->port(), "/other"), ContainsSubstring("404"));
}

TEST_CASE("addresses that metrics cannot listen on") {
  auto started = WallTime{};
  auto first = Server::start("127.0.0.1:0", "1", started).value();
  REQUIRE(Server::start("localhost", "1", started).error().what ==
          "metrics: \"localhost\" is not address:port");
  auto taken = Server::start(fmt::format("127.0.0.1:{}", first->port()), "1", started);
  REQUIRE(taken.error().code == Code::kUnavailable);
  REQUIRE_THAT(taken.error().what,
               ContainsSubstring(fmt::format("cannot listen on 127.0.0.1:{}", first->port())));
}

}  // namespace
}  // namespace tombolo::metrics
