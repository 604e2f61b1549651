// Serves the embedded store in etcd's v3 gRPC API: over mTLS, or without on loopback for tests.
// Every access is put before an authorizer. Its threads are gRPC's.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/log.h"

namespace tombolo {

class Engine;

// Who is at the other end, from its certificate. Without TLS all are empty.
struct Peer {
  std::vector<std::string> uris;  // URI subject alternative names
  std::string common_name;
  std::string subject;  // "CN=…,OU=…" (RFC 2253)
};

enum class Access { kRead, kWrite };

// May this peer read (write) these keys? Called for every key and range of every request, from many
// threads. A whole-store operation (snapshot, compaction, defragmentation) asks for the range from
// "\0" to the end. The client learns only that permission is denied; the reason is logged.
using Authorizer = std::function<Result<void>(const Peer& peer, Access access, std::string_view key,
                                              std::string_view range_end)>;

// PEM files. They are read again within `reload_interval_s` after they changed.
struct TlsFiles {
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path authority;  // whose certificates the other side must have
  unsigned reload_interval_s = 5;
};

struct StoreServerOptions {
  std::vector<std::string> addresses;  // "127.0.0.1:2379", "[::1]:0"; port 0: a free one
  std::optional<TlsFiles> tls;         // none: loopback only
  Authorizer authorize;                // none: everybody may do everything
  std::string member_name = "tombolo";
  std::vector<std::string> client_urls;  // what MemberList tells; empty: the addresses
};

class StoreServer {
 public:
  // The engine outlives the server. kInvalidArgument: an address that is not loopback without TLS;
  // kUnavailable: an address cannot be listened on.
  static Result<std::unique_ptr<StoreServer>> start(StoreServerOptions options, Engine& engine,
                                                    Logger log);
  virtual ~StoreServer() = default;  // stops at once
  // Lets running calls end until the deadline (watches never do), then ends them.
  virtual void stop(std::chrono::milliseconds deadline) = 0;
  // One per address, in their order.
  virtual const std::vector<int>& ports() const = 0;
};

}  // namespace tombolo
