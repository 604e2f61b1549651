// See query.h.
#include "dns/query.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/array.hpp>
#include <exception>
#include <optional>

#include "dns/exchange.h"
#include "dns/text.h"

namespace tombolo::dns {
namespace {

struct ExtendedError {
  unsigned code = 0;
  std::string text;
};

std::string_view extended_error_name(unsigned code) {
  switch (code) {
    case 3:
      return "Stale Answer";
    case 14:
      return "Not Ready";
    case 18:
      return "Prohibited";
    case 22:
      return "No Reachable Authority";
    case 23:
      return "Network Error";
    default:
      return "see RFC 8914";
  }
}

std::vector<ExtendedError> extended_errors(const Message& message) {
  std::vector<ExtendedError> found;
  if (!message.edns) return found;
  for (const EdnsOption& option : message.edns->options) {
    if (option.code != kOptionExtendedError || option.data.size() < 2) continue;
    unsigned code = load16_be(reinterpret_cast<const std::uint8_t*>(option.data.data()));
    found.push_back({code, option.data.substr(2)});
  }
  return found;
}

boost::json::array records_json(const std::vector<Record>& records) {
  boost::json::array out;
  for (const Record& record : records)
    out.push_back({{"name", record.name.text()},
                   {"ttl_s", record.ttl_s},
                   {"type", to_string(record.type)},
                   {"data", rdata_text(record.type, record.rdata)}});
  return out;
}

asio::awaitable<void> ask(QueryOptions options, std::optional<Result<Message>>& reply) {
  auto rng = make_system_rng();
  Message question =
      make_query(static_cast<std::uint16_t>(rng->next()), options.name, options.type);
  ExchangeOptions limits{options.timeout};
  if (options.tcp)
    reply = co_await exchange_tcp(options.server, std::move(question), limits);
  else
    reply = co_await exchange(options.server, std::move(question), limits);
}

}  // namespace

Result<QueryOptions> parse_query(const Endpoint& server, std::string_view name,
                                 std::string_view type) {
  QueryOptions options;
  options.server = server;
  auto ip = Ip::parse(name);
  if (!type.empty()) {
    TRY(parsed, parse_type(type));
    options.type = parsed;
  } else if (ip) {
    options.type = Type::kPtr;
  }
  if (ip && options.type == Type::kPtr) {
    options.name = Name::reverse_of(*ip);
    return options;
  }
  TRY(parsed, Name::parse(name));
  options.name = std::move(parsed);
  return options;
}

Result<QueryAnswer> query_server(const QueryOptions& options) {
  auto clock = make_system_clock();
  asio::io_context io{1};
  std::optional<Result<Message>> reply;
  std::exception_ptr thrown;
  MonotonicTime begun = clock->now();
  asio::co_spawn(io, ask(options, reply), [&](std::exception_ptr error) { thrown = error; });
  io.run();
  ENSURE(!thrown && reply, "the query ended without a result");
  if (!*reply) return std::unexpected(std::move(*reply).error());
  return QueryAnswer{std::move(**reply), clock->now() - begun};
}

std::string answer_text(const QueryAnswer& answer) {
  const Message& message = answer.message;
  std::string out = to_string(message.rcode);
  if ((message.flags & kFlagAa) != 0) out += ", authoritative";
  if ((message.flags & kFlagTc) != 0) out += ", truncated";
  out += fmt::format(", {} us\n",
                     std::chrono::duration_cast<std::chrono::microseconds>(answer.took).count());
  auto section = [&](std::string_view name, const std::vector<Record>& records) {
    for (const Record& record : records)
      out += fmt::format("{:<10} {}\n", name, record_text(record));
  };
  section("answer", message.answers);
  section("authority", message.authorities);
  section("additional", message.additionals);
  for (const ExtendedError& error : extended_errors(message))
    out += fmt::format("error      {} ({}){}{}\n", error.code, extended_error_name(error.code),
                       error.text.empty() ? "" : ": ", error.text);
  return out;
}

boost::json::object answer_json(const QueryAnswer& answer) {
  const Message& message = answer.message;
  boost::json::array errors;
  for (const ExtendedError& error : extended_errors(message))
    errors.push_back(
        {{"code", error.code}, {"name", extended_error_name(error.code)}, {"text", error.text}});
  return {{"status", to_string(message.rcode)},
          {"authoritative", (message.flags & kFlagAa) != 0},
          {"truncated", (message.flags & kFlagTc) != 0},
          {"took_us", std::chrono::duration_cast<std::chrono::microseconds>(answer.took).count()},
          {"answer", records_json(message.answers)},
          {"authority", records_json(message.authorities)},
          {"additional", records_json(message.additionals)},
          {"extended_errors", std::move(errors)}};
}

}  // namespace tombolo::dns
