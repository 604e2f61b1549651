// Names for events, and the filter of those who follow.
#include "app/daemon/handlers/flows.h"

#include <algorithm>

#include "app/daemon/handlers/messages.h"
#include "app/daemon/handlers/policy_text.h"
#include "core/metrics.h"

namespace tombolo {
namespace {

namespace api = admin::api;
using namespace std::chrono_literals;

constexpr std::size_t kPerTurn = 256;
constexpr std::size_t kPerMessage = 256;
constexpr Duration kBusy = 5ms;
constexpr Duration kIdle = 50ms;

std::string reason_text(bpf::FlowReason reason) {
  switch (reason) {
    case bpf::FlowReason::kPolicy:
      return "a rule that is no longer there";
    case bpf::FlowReason::kRevoked:
      return "a rule that is no longer there (the flow was allowed before)";
    case bpf::FlowReason::kClosed:
      return "the pod is closed: its policy is not known yet";
    case bpf::FlowReason::kSourceRefused:
      return "source check: the address is not the pod's own";
    case bpf::FlowReason::kUnknownInterface:
      return "an interface that no pod stands behind";
    case bpf::FlowReason::kFragment:
      return "a fragment whose first part was not seen";
    case bpf::FlowReason::kMalformed:
      return "malformed headers";
    case bpf::FlowReason::kNotIp:
      return "not IP: an isolated pod may not use it";
    case bpf::FlowReason::kIcmpError:
      return "an ICMP error about no known flow";
  }
  return "?";
}

bool by_rule(bpf::FlowReason reason) {
  return reason == bpf::FlowReason::kPolicy || reason == bpf::FlowReason::kRevoked;
}

}  // namespace

// Accepted flows are told of while somebody wants them.
class FlowHub::Tracing {
 public:
  Tracing(FlowHub& hub, bool wanted) : hub_(wanted ? &hub : nullptr) {}
  ~Tracing() {
    if (!began_ || --hub_->wanting_accepts_ > 0) return;
    if (auto off = hub_->source_.trace_accepts(false); !off)
      hub_->log_.warning("accepted flows are still told of: {}", off.error().text());
  }
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;
  Result<void> begin() {
    if (hub_ == nullptr) return {};
    if (hub_->wanting_accepts_ == 0) TRY_OK(hub_->source_.trace_accepts(true));
    ++hub_->wanting_accepts_;
    began_ = true;
    return {};
  }

 private:
  FlowHub* hub_;
  bool began_ = false;
};

class FlowHub::Filter {
 public:
  static Result<Filter> of(const api::FollowFlowsRequest& request) {
    if (request.last() > kKept)
      return fail(Code::kInvalidArgument, "last {} is over {}", request.last(), kKept);
    Filter filter;
    if (request.verdict() == "all")
      filter.verdict_ = "";
    else if (request.verdict() == "allowed" || request.verdict() == "dropped")
      filter.verdict_ = request.verdict();
    else if (!request.verdict().empty())
      return fail(Code::kInvalidArgument, "verdict \"{}\" is not dropped, allowed or all",
                  request.verdict());
    filter.name_space_ = request.name_space();
    filter.cluster_ = request.cluster();
    if (request.pod().empty()) return filter;
    auto parts = std::ranges::count(request.pod(), '/');
    if (parts != 1 && parts != 2)
      return fail(Code::kInvalidArgument, "pod \"{}\" is not NS/POD or CLUSTER/NS/POD",
                  request.pod());
    std::string pod = request.pod();
    if (parts == 2) {
      filter.pod_cluster_ = pod.substr(0, pod.find('/'));
      pod.erase(0, pod.find('/') + 1);
    }
    filter.pod_ = std::move(pod);
    return filter;
  }

  bool accepts() const { return verdict_ != "dropped"; }
  bool matches(const api::FlowEvent& event) const {
    if (!verdict_.empty() && event.verdict() != verdict_) return false;
    return either(event,
                  [&](const api::PolicyEnd& end) {
                    return cluster_.empty() || end.cluster() == cluster_;
                  }) &&
           either(event,
                  [&](const api::PolicyEnd& end) {
                    return name_space_.empty() || end.name_space() == name_space_;
                  }) &&
           either(event, [&](const api::PolicyEnd& end) {
             return pod_.empty() || (object_key(end.name_space(), end.pod()) == pod_ &&
                                     (pod_cluster_.empty() || end.cluster() == pod_cluster_));
           });
  }

 private:
  static bool either(const api::FlowEvent& event, auto condition) {
    return condition(event.source()) || condition(event.destination());
  }

  std::string verdict_ = "dropped";
  std::string pod_;
  std::string pod_cluster_;
  std::string name_space_;
  std::string cluster_;
};

FlowHub::FlowHub(FlowSource source, const AgentTables& tables, std::string cluster,
                 std::string node, TaskGroup& tasks, Clock& clock, Logger log)
    : source_(std::move(source)),
      tables_(tables),
      names_(&tables, nullptr, std::move(cluster)),
      node_(std::move(node)),
      tasks_(tasks),
      clock_(clock),
      log_(log.with("component", "flows")),
      changed_(tasks.executor()) {}

asio::awaitable<void> FlowHub::run() {
  // An earlier life may have been killed while somebody followed.
  if (auto off = source_.trace_accepts(false); !off)
    log_.warning("accepted flows may still be told of: {}", off.error().text());
  while (!tasks_.cancelled()) {
    bool something = take();
    auto slept = co_await clock_.sleep_for(something ? kBusy : kIdle);
    if (!slept) co_return;
  }
}

bool FlowHub::take() {
  bpf::FlowPage page = source_.page(last_, kPerTurn);
  if (page.missed > 0)
    metrics::counter("tombolo_flow_events_missed_total",
                     "Flow events that were overwritten before they got their names")
        .increment(static_cast<double>(page.missed));
  last_ = page.last;
  for (const bpf::FlowEvent& event : page.events) {
    kept_.push_back(named(event));
    if (kept_.size() > kKept) kept_.pop_front();
  }
  bool something = page.missed > 0 || !page.events.empty();
  if (something) changed_.notify_all();
  return something;
}

void FlowHub::name_end(const Endpoint& end, const bpf::FlowEvent& event,
                       api::PolicyEnd& shown) const {
  shown = names_.at(end.ip).shown;
  shown.set_port(end.port);
  // Labels are `policy explain`'s; here they would be most of the line.
  shown.clear_labels();
  shown.clear_namespace_labels();
  if (shown.identity() != 0) return;
  bool own = false;
  for (const auto& [key, versioned] : tables_.guarded_pods.rows())
    if (versioned.row.host_interface == event.host_interface)
      own = std::ranges::find(versioned.row.ips, end.ip) != versioned.row.ips.end();
  shown.set_identity(own ? event.identity : event.peer_identity);
}

api::FlowEvent FlowHub::named(const bpf::FlowEvent& event) const {
  api::FlowEvent shown;
  *shown.mutable_time() = timestamp_of(event.time);
  shown.set_verdict(event.allowed ? "allowed" : "dropped");
  shown.set_reason(std::string(bpf::to_string(event.reason)));
  shown.set_direction(std::string(to_string(event.direction)));
  name_end(event.source, event, *shown.mutable_source());
  name_end(event.destination, event, *shown.mutable_destination());
  shown.set_protocol(protocol_name(event.protocol));
  shown.set_rule_number(event.rule);
  shown.set_node(node_);
  shown.set_interface_name(event.host_interface);
  shown.set_sequence(event.sequence);
  shown.set_length(event.length);
  const NumberedRule* rule =
      by_rule(event.reason) ? tables_.numbered_rules.find(std::to_string(event.rule)) : nullptr;
  if (rule != nullptr) {
    for (const std::string& policy : rule->policies) shown.add_policies(policy);
    shown.set_rule(rule->rule);
    shown.set_by(decided_by(*rule));
    if (event.reason == bpf::FlowReason::kRevoked) shown.set_by(shown.by() + ", revoked");
  } else if (event.allowed) {
    shown.set_by("no policy isolates");
  } else {
    shown.set_by(reason_text(event.reason));
  }
  return shown;
}

std::uint64_t FlowHub::place_of_last(std::uint32_t wanted, const Filter& filter) const {
  std::uint64_t place = last_;
  for (auto at = kept_.rbegin(); at != kept_.rend() && wanted > 0; ++at) {
    if (!filter.matches(*at)) continue;
    place = at->sequence() - 1;
    --wanted;
  }
  return place;
}

api::FollowFlowsResponse FlowHub::after(std::uint64_t& after, const Filter& filter) const {
  api::FollowFlowsResponse message;
  auto from = std::ranges::upper_bound(kept_, after, {}, &api::FlowEvent::sequence);
  for (; from != kept_.end(); ++from) {
    if (static_cast<std::size_t>(message.events_size()) == kPerMessage) return message;
    message.set_lost(message.lost() + from->sequence() - after - 1);
    after = from->sequence();
    if (filter.matches(*from)) *message.add_events() = *from;
  }
  message.set_lost(message.lost() + last_ - after);
  after = last_;
  return message;
}

asio::awaitable<Result<void>> FlowHub::follow(api::FollowFlowsRequest request, admin::Caller,
                                              admin::Stream<api::FollowFlowsResponse>& stream) {
  CO_TRY(filter, Filter::of(request));
  Tracing tracing(*this, request.follow() && filter.accepts());
  CO_TRY_OK(tracing.begin());
  std::uint64_t place = place_of_last(request.last(), filter);
  std::uint64_t end = last_;
  while (request.follow() || place < end) {
    api::FollowFlowsResponse message = after(place, filter);
    if (message.events_size() == 0 && message.lost() == 0) {
      if (!request.follow()) break;
      auto woken = co_await changed_.wait();
      CO_TRY_OK(woken);
      continue;
    }
    auto sent = co_await stream.write(std::move(message));
    CO_TRY_OK(sent);
  }
  co_return Result<void>{};
}

}  // namespace tombolo
