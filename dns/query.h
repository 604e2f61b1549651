// The client side for the command line: asks one server one question and shows the answer, as
// `tombolo dns query NAME [TYPE] --server ADDRESS` does. Blocks; no threads.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "core/clock.h"
#include "core/ip.h"
#include "dns/message.h"

namespace tombolo::dns {

struct QueryOptions {
  Endpoint server;
  Name name;
  Type type = Type::kA;
  bool tcp = false;  // else UDP, and TCP when the answer was cut
  Duration timeout = std::chrono::seconds(2);
};

// The question that a user means: "10.0.0.1 PTR" (or an address without a type) becomes its reverse
// name. An empty type is A. kInvalidArgument names the word at fault.
Result<QueryOptions> parse_query(const Endpoint& server, std::string_view name,
                                 std::string_view type);

struct QueryAnswer {
  Message message;
  Duration took{};
};
// kDeadlineExceeded or kUnavailable when the server does not answer; any answer, NXDOMAIN and
// SERVFAIL too, is a value.
Result<QueryAnswer> query_server(const QueryOptions& options);

// Status line, then one line per record with its section, then why (extended errors).
std::string answer_text(const QueryAnswer& answer);
// {"status":"NOERROR","authoritative":true,"truncated":false,"took_us":…,"answer":[{"name":…,
// "ttl_s":…,"type":…,"data":…}],"authority":[…],"additional":[…],"extended_errors":[{"code":14,…}]}
boost::json::object answer_json(const QueryAnswer& answer);

}  // namespace tombolo::dns
