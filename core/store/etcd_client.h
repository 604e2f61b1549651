// The Kv port over etcd's v3 gRPC API: speaks to the embedded server and to a real etcd alike.
// Never blocks; answers come on the executor of the coroutine that asked, which must be the one
// given here (the control thread's). With several endpoints, the next one is used when one fails.
//
// The store's cluster id is remembered: when another store answers, the call fails with kAborted
// ("cluster id changed") and the new id is remembered, since revisions of one store mean nothing in
// the other.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/kv.h"
#include "core/store/server.h"

namespace tombolo {

struct EtcdClientOptions {
  std::vector<std::string> endpoints;  // "https://host:port", "http://…" or "host:port"
  std::optional<TlsFiles> tls;         // required with https
  std::string server_name;             // what the server's certificate must say; empty: the host
  std::chrono::milliseconds request_timeout{5000};
  // HTTP/2 pings find a connection that is gone without a word, so that failover comes soon. The
  // timeout is the socket's as well (TCP_USER_TIMEOUT): what was sent and is not acknowledged for
  // so long ends the connection.
  std::chrono::milliseconds keepalive_time{10'000};
  std::chrono::milliseconds keepalive_timeout{5000};
};

// kInvalidArgument: no endpoint, one that cannot be read, or https without certificates;
// kNotFound and kPermissionDenied: a certificate file cannot be read.
Result<std::unique_ptr<Kv>> make_etcd_client(EtcdClientOptions options,
                                             asio::any_io_executor executor);

}  // namespace tombolo
