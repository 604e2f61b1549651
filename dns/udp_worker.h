// One thread that answers UDP: recvmmsg, answers from the snapshot, sendmmsg. It blocks in poll
// only when every socket is empty. Questions for upstream go to the forwarder's thread.
#pragma once

#include <poll.h>

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "dns/request_counters.h"
#include "dns/responder.h"
#include "dns/snapshot_box.h"
#include "dns/sockets.h"

namespace tombolo::dns {

// Where a reply goes: as the packet came, from the address that was asked.
struct UdpReturn {
  int fd = -1;
  SocketAddress client;
  bool has_local = false;  // the socket is bound to the wildcard
  Ip local;
  std::uint32_t interface = 0;  // only for a link-local `local`
};
// kUnavailable when the socket's buffer is full.
Result<void> send_reply(const UdpReturn& to, std::string_view packet);

class UdpWorker {
 public:
  // Called on the worker's thread; false: the forwarder is at its limit.
  using Forward =
      std::function<bool(std::unique_ptr<ForwardRequest>, const UdpReturn&, MonotonicTime)>;

  // The sockets outlive the worker.
  UdpWorker(std::vector<const BoundSocket*> sockets, const SnapshotBox& snapshots,
            Responder responder, Clock& clock, Forward forward, Logger log);
  ~UdpWorker() { stop(); }
  Result<void> start();
  void stop();  // returns when the thread has ended

 private:
  struct Batch;
  void run();
  void wait();
  // True when the socket may hold more.
  bool serve(const BoundSocket& socket, Batch& batch);
  void answer(const BoundSocket& socket, Batch& batch, std::size_t received, MonotonicTime arrived);

  std::vector<const BoundSocket*> sockets_;
  SnapshotBox::Reader snapshots_;
  Responder responder_;
  Clock& clock_;
  Forward forward_;
  Logger log_;
  RequestCounters counters_{"udp"};
  MonotonicTime flushed_{};
  Descriptor wake_;
  std::vector<pollfd> polled_;  // the sockets, then wake_
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace tombolo::dns
