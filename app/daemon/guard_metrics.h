// What the guard's programs have counted, as metrics. Control thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <vector>

#include "bpf/guard.h"

namespace tombolo {

using GuardStats = std::function<boost::asio::awaitable<Result<std::vector<bpf::GuardCounter>>>()>;

// Reads them every 10 s until cancelled: tombolo_guard_total, one series for each counter
// (bpf/guard GuardCounter), since the maps were made: a restart of the daemon does not begin anew.
boost::asio::awaitable<void> export_guard(GuardStats stats, Clock& clock, Logger log);

}  // namespace tombolo
