// See guard_metrics.h. Prometheus counters only grow, so what is added is the difference to the
// last reading; the first one is everything since the maps were made.
#include "app/daemon/guard_metrics.h"

#include <map>

#include "core/clock.h"
#include "core/metrics.h"

namespace tombolo {
namespace {

constexpr auto kEvery = std::chrono::seconds(10);

// A counter of the kernel's that is less than it was began anew with other maps.
void add(const bpf::GuardCounter& now, std::uint64_t& before) {
  std::uint64_t more = now.value >= before ? now.value - before : now.value;
  metrics::counter("tombolo_guard_total", "What the programs at the pods' interfaces counted",
                   {{"counter", now.name}})
      .increment(static_cast<double>(more));
  before = now.value;
}

}  // namespace

asio::awaitable<void> export_guard(GuardStats stats, Clock& clock, Logger log) {
  std::map<std::string, std::uint64_t> before;
  bool failed = false;
  while (true) {
    auto read = co_await stats();
    if (read)
      for (const bpf::GuardCounter& counter : *read) add(counter, before[counter.name]);
    else if (!failed)
      log.warning("the guard's counters are not exported: {}", read.error().text());
    failed = !read;
    auto slept = co_await clock.sleep_for(kEvery);
    if (!slept) co_return;
  }
}

}  // namespace tombolo
