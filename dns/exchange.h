// One question to one server over UDP, or TCP, and its answer: what the forwarder and the query
// command stand on. Coroutines of the caller's executor.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "core/clock.h"
#include "core/ip.h"
#include "dns/message.h"

namespace tombolo::dns {

struct ExchangeOptions {
  Duration timeout = std::chrono::seconds(1);
};

// Sends `query` from a fresh ephemeral port and waits for the answer that has its id and question
// (RFC 5452); everything else that arrives is ignored. kDeadlineExceeded when none comes in time,
// kUnavailable when the network refuses.
asio::awaitable<Result<Message>> exchange_udp(Endpoint server, Message query,
                                              ExchangeOptions options);
// kInvalidArgument when the server's answer is malformed or to another question.
asio::awaitable<Result<Message>> exchange_tcp(Endpoint server, Message query,
                                              ExchangeOptions options);
// Over UDP, and again over TCP when the answer was cut.
asio::awaitable<Result<Message>> exchange(Endpoint server, Message query, ExchangeOptions options);

// True when `reply` answers `query`: id, QR, opcode and question (its name in any case).
bool answers(const Message& reply, const Message& query);

}  // namespace tombolo::dns
