// Parts of bench_dns: the names asked, the servers measured (each a process of its own, so that its
// CPU time is its own) and the load.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/ip.h"
#include "core/tables.h"

namespace tombolo::bench {

inline constexpr int kServices = 10000;

std::string service_namespace(int index);  // 100 namespaces
std::string service_name(int index);
Frontend service_row(int index);
// One question for the A record of each service, in a shuffled order; ids are their places.
std::vector<std::string> service_questions();

// A running server. Killed and waited for when it goes.
class ServerProcess {
 public:
  ServerProcess(std::string name, pid_t pid, Endpoint at, std::string directory)
      : name_(std::move(name)), pid_(pid), at_(at), directory_(std::move(directory)) {}
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  const std::string& name() const { return name_; }
  const Endpoint& at() const { return at_; }
  // Of all its threads, user and system.
  Result<Duration> cpu_time() const;
  Result<std::size_t> resident_bytes() const;

 private:
  std::string name_;
  pid_t pid_;
  Endpoint at_;
  std::string directory_;  // removed with it; empty: none
};

// Each waits until the server answers the first question. `self` is this program.
Result<std::unique_ptr<ServerProcess>> start_tombolo(const std::string& self);
Result<std::unique_ptr<ServerProcess>> start_floor(const std::string& self);
// kNotFound names the Debian package when knotd is not installed.
Result<std::unique_ptr<ServerProcess>> start_knot();

// What the two modes of `--serve` run; they end with SIGTERM.
Result<void> serve_tombolo(const Endpoint& at);
Result<void> serve_floor(const Endpoint& at);

struct LoadResult {
  std::uint64_t answers = 0;  // NOERROR with one record
  std::uint64_t others = 0;   // any other reply
  std::uint64_t lost = 0;     // questions given up
  Duration took{};
};
// Keeps `window` questions under way on each of a few sockets for `duration`.
Result<LoadResult> run_load(const Endpoint& at, const std::vector<std::string>& questions,
                            Duration duration);

// Pins the calling thread (and what it starts) to one processor, when there is more than one.
void pin_to(int processor);

}  // namespace tombolo::bench
