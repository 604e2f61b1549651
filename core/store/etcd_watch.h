// One watch of the client: a gRPC stream of its own. Responses are read from gRPC's threads into a
// short queue; while that is full nothing is read, so that a slow consumer slows the server down
// (HTTP/2 flow control) instead of filling memory. Private to core/store.
#pragma once

#include <memory>

#include "core/store/etcd_channels.h"

namespace tombolo {

class WatchStream;

// Returns when the store has confirmed the watch. kUnavailable, kDeadlineExceeded: the endpoint
// failed; else the errors of Watch.
asio::awaitable<Result<std::unique_ptr<Watch>>> open_etcd_watch(
    std::shared_ptr<EtcdEndpoint> endpoint, WatchRequest request, asio::any_io_executor executor,
    std::chrono::milliseconds timeout);

}  // namespace tombolo
