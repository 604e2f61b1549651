// Asks the configured upstream servers for names that are not ours. A question that is already on
// its way is not sent again (CVE-2023-30464), which also stops a loop: our own question coming back
// waits for itself until it times out. Lives on the server's io thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/clock.h"
#include "core/ip.h"
#include "core/metrics.h"
#include "core/task_group.h"
#include "dns/forward_cache.h"
#include "dns/responder.h"

namespace tombolo::dns {

struct ForwarderSettings {
  std::vector<Endpoint> upstreams;
  Duration timeout = std::chrono::seconds(1);  // of one attempt
  std::size_t cache_entries = 4096;
  std::size_t max_in_flight = 1000;  // different questions on their way at once
  std::uint64_t process = 0;         // the hop marker's process, not 0
};

class Forwarder {
 public:
  Forwarder(ForwarderSettings settings, TaskGroup& tasks, Clock& clock, Rng& rng);

  // The reply for the client, at most reply_limit() bytes; SERVFAIL when no upstream answers or too
  // many questions are on their way. `rcode` is the reply's.
  asio::awaitable<std::string> answer(std::shared_ptr<const ForwardRequest> request, bool tcp,
                                      Rcode* rcode);

 private:
  struct Pending {
    explicit Pending(const asio::any_io_executor& executor) : done(executor) {}
    Signal done;
    CachedAnswer result;  // empty until the upstreams were asked
  };
  struct Upstream {
    Endpoint at;
    MonotonicTime down_until{};
    bool plain = false;  // it refused EDNS once; asked without from then on
  };

  asio::awaitable<CachedAnswer> resolve(std::shared_ptr<const ForwardRequest> request);
  asio::awaitable<void> ask_upstreams(std::string key, std::shared_ptr<Pending> pending,
                                      std::shared_ptr<const ForwardRequest> request);
  asio::awaitable<Result<Message>> ask_one(std::size_t upstream,
                                           std::shared_ptr<const ForwardRequest> request);
  std::vector<std::size_t> order() const;
  void count_error(const Error& error);

  ForwarderSettings settings_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  std::vector<Upstream> upstreams_;
  ForwardCache cache_;
  std::unordered_map<std::string, std::shared_ptr<Pending>> pending_;
  metrics::Counter hits_;
  metrics::Counter misses_;
};

}  // namespace tombolo::dns
