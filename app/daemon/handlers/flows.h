// FlowApi: the newest flow events of this node with names, and those who follow them.
//
//   kernel's ring -> guard (numbers only) -> FlowHub: names, 4,096 kept -> followers, each at its
//   own place; who falls behind the oldest kept event has lost what is between.
//
// Names are resolved when an event arrives: an address may be another pod's a minute later.
// Control thread.
#pragma once

#include <deque>
#include <functional>

#include "app/admin/handlers.h"
#include "app/daemon/handlers/policy_names.h"
#include "bpf/guard.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/task_group.h"

namespace tombolo {

// Where events come from: bpf::Guard::flows and trace_accepts. Quick: called on the control thread.
struct FlowSource {
  std::function<bpf::FlowPage(std::uint64_t after, std::size_t limit)> page;
  std::function<Result<void>(bool on)> trace_accepts;
};

class FlowHub final : public admin::FlowHandlers {
 public:
  static constexpr std::size_t kKept = 4096;

  // All outlive it; run() is in `tasks`.
  FlowHub(FlowSource source, const AgentTables& tables, std::string cluster, std::string node,
          TaskGroup& tasks, Clock& clock, Logger log);

  // Until cancelled: takes over what the source has, at most 256 events per turn.
  asio::awaitable<void> run();

  asio::awaitable<Result<void>> follow(
      admin::api::FollowFlowsRequest request, admin::Caller caller,
      admin::Stream<admin::api::FollowFlowsResponse>& stream) override;

  // One turn of run(): true when there was something.
  bool take();

 private:
  class Tracing;
  class Filter;

  admin::api::FlowEvent named(const bpf::FlowEvent& event) const;
  void name_end(const Endpoint& end, const bpf::FlowEvent& event,
                admin::api::PolicyEnd& shown) const;
  // Matching events behind `after`, which moves on; what is no longer kept is counted as lost.
  admin::api::FollowFlowsResponse after(std::uint64_t& after, const Filter& filter) const;
  std::uint64_t place_of_last(std::uint32_t wanted, const Filter& filter) const;

  FlowSource source_;
  const AgentTables& tables_;
  PolicyNames names_;
  std::string node_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  Signal changed_;
  std::deque<admin::api::FlowEvent> kept_;
  std::uint64_t last_ = 0;  // sequence of the source's that was taken over
  std::size_t wanting_accepts_ = 0;
};

}  // namespace tombolo
