// Asks another machine whether it lives: the port, and the real one behind it. The machine's kernel
// answers, so a machine whose daemons are dead still counts as alive. Control thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>

#include "core/clock.h"
#include "core/ip.h"

namespace tombolo {

namespace asio = boost::asio;

class Prober {
 public:
  virtual ~Prober() = default;
  // True as soon as the machine with this address has answered; false when it was silent for
  // `limit`, or nothing leads there. An error: this machine could not ask (no right to, no memory),
  // which says nothing of the other one; kCancelled when the task group is cancelled.
  virtual asio::awaitable<Result<bool>> answers(Ip ip, Duration limit) = 0;
};

struct ProberOptions {
  // Where echoes are filtered: a TCP connection to this port, which the machine accepts or refuses
  // (RFC 9293 3.10.7.1). Cilium's health port, which firewalls between clusters of a mesh let by.
  Port tcp_port = 4240;
  Duration tcp_after = std::chrono::milliseconds(400);  // without an answer to the echo
};

// ICMP echo (RFC 792, RFC 4443) from a ping socket where the kernel allows one, else from a raw one
// (CAP_NET_RAW), then TCP. The limit is kept by timers of `executor`; `rng` outlives the prober.
std::unique_ptr<Prober> make_prober(asio::any_io_executor executor, Rng& rng,
                                    ProberOptions options = {});

}  // namespace tombolo
