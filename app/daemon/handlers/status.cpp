// Tables and reconcilers as messages; waiting is a bounded poll on the control thread, of
// what the process knows; stores that are behind are asked at once (settling.h).
#include "app/daemon/handlers/status.h"

#include <algorithm>
#include <chrono>

#include "app/daemon/handlers/messages.h"

namespace tombolo {
namespace {

namespace api = admin::api;
using namespace std::chrono_literals;

api::ReconcilerState state_of(ReconcileState state) {
  switch (state) {
    case ReconcileState::kPending:
      return api::RECONCILER_STATE_PENDING;
    case ReconcileState::kDone:
      return api::RECONCILER_STATE_DONE;
    case ReconcileState::kError:
      return api::RECONCILER_STATE_ERROR;
  }
  return api::RECONCILER_STATE_UNSPECIFIED;
}

template <class Tables>
void fill_tables(Tables* tables, api::GetStatusResponse& response) {
  if (tables == nullptr) return;
  for_each_table(*tables, [&](const auto& table) {
    auto* row = response.add_tables();
    row->set_name(table.name());
    row->set_writer(table.writer_name());
    row->set_rows(table.size());
    row->set_revision(table.revision());
    row->set_synced(table.synced());
  });
  for (const auto& [key, versioned] : tables->status.rows()) {
    const ReconcileStatus& status = versioned.row;
    auto* row = response.add_reconcilers();
    row->set_name(status.reconciler);
    row->set_object(status.object);
    row->set_state(state_of(status.state));
    row->set_revision(status.revision);
    row->set_attempts(status.attempts);
    row->set_error(status.error);
  }
  response.set_revision(response.revision() + tables->revisions.current);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

class Status final : public admin::StatusHandlers {
 public:
  explicit Status(DaemonView view) : view_(std::move(view)) {}

  admin::Answer<api::GetStatusResponse> get(api::GetStatusRequest, admin::Caller) override {
    api::GetStatusResponse response;
    const auto& config = *view_.config;
    response.set_version(TOMBOLO_VERSION);
    if (view_.agent != nullptr) response.add_roles("agent");
    if (view_.controller != nullptr) response.add_roles("controller");
    response.set_fleet(config.cluster().fleet());
    response.set_cluster(config.cluster().name());
    response.set_cluster_id(config.cluster().id());
    response.set_identity_cluster_bits(config.cluster().identity_cluster_bits());
    response.set_mtu(config.agent().mtu());
    response.set_node(config.node().name());
    *response.mutable_started_at() = timestamp_of(view_.started_at);
    *response.mutable_uptime() = duration_of(view_.clock->wall_now() - view_.started_at);
    response.set_store(store_text());
    fill_subsystems(response);
    fill_tables(view_.controller, response);
    fill_tables(view_.agent, response);
    response.set_synced(busy({}).empty() && unlisted().empty());
    fill_clusters(view_, response.mutable_clusters());
    for (std::string& warning : remote_warnings(view_)) response.add_warnings(std::move(warning));
    if (view_.warnings)
      for (const std::string& warning : view_.warnings()) response.add_warnings(warning);
    co_return response;
  }

  admin::Answer<api::WaitResponse> wait(api::WaitRequest request, admin::Caller) override {
    MonotonicTime end = view_.clock->now() + timeout_of(request);
    std::vector<std::string> only(request.reconcilers().begin(), request.reconcilers().end());
    CO_TRY_OK(check_names(only));
    CO_TRY(asked_at, co_await store_revision());
    std::vector<std::string> waiting;
    bool upstream_done = false;
    std::int64_t written_at = 0;
    while (true) {
      waiting = request.synced() ? unlisted() : std::vector<std::string>{};
      // First what this process writes to the store, then that what came of it has been read back
      // and applied.
      if (waiting.empty() && !upstream_done) {
        waiting = behind_of(view_.controller_settling, asked_at);
        if (waiting.empty()) waiting = busy_of(view_.controller_settling, only);
        if (waiting.empty()) {
          CO_TRY(now, co_await store_revision());
          written_at = now;
          upstream_done = true;
        }
      }
      if (waiting.empty() && view_.agent_settling != nullptr) {
        waiting = view_.agent_settling->behind(written_at);
        if (waiting.empty()) waiting = view_.agent_settling->busy(only);
      }
      if (waiting.empty() && revision() < request.revision())
        waiting.push_back(fmt::format("revision {} (now {})", request.revision(), revision()));
      if (waiting.empty() && upstream_done) break;
      if (view_.clock->now() >= end)
        co_return fail(Code::kDeadlineExceeded, "not done: {}", joined(waiting));
      CO_TRY_OK(co_await view_.clock->sleep_for(5ms));
    }
    api::WaitResponse response;
    response.set_revision(revision());
    co_return response;
  }

 private:
  std::uint64_t revision() const {
    return (view_.controller != nullptr ? view_.controller->revisions.current : 0) +
           (view_.agent != nullptr ? view_.agent->revisions.current : 0);
  }
  asio::awaitable<Result<std::int64_t>> store_revision() {
    RangeRequest probe;
    probe.key = "cilium/.heartbeat";
    CO_TRY(now, co_await view_.kv->range(std::move(probe)));
    co_return now.revision;
  }
  Result<void> check_names(const std::vector<std::string>& only) const {
    std::vector<std::string> known;
    for (const Settling* settling : {view_.controller_settling, view_.agent_settling})
      if (settling != nullptr)
        for (const ReconcilerView* reconciler : settling->reconcilers())
          known.push_back(reconciler->name());
    for (const std::string& name : only)
      if (std::ranges::find(known, name) == known.end())
        return fail(Code::kInvalidArgument, "no reconciler is named '{}'; there are {}", name,
                    joined(known));
    return {};
  }
  static std::vector<std::string> behind_of(const Settling* settling, std::int64_t store_revision) {
    return settling == nullptr ? std::vector<std::string>{} : settling->behind(store_revision);
  }
  static Duration timeout_of(const api::WaitRequest& request) {
    Duration asked = std::chrono::seconds(request.timeout().seconds()) +
                     std::chrono::nanoseconds(request.timeout().nanos());
    if (asked <= Duration::zero()) return 30s;
    return std::min<Duration>(asked, 10min);
  }
  static std::vector<std::string> busy_of(const Settling* settling,
                                          const std::vector<std::string>& only) {
    return settling == nullptr ? std::vector<std::string>{} : settling->busy(only);
  }
  std::vector<std::string> busy(const std::vector<std::string>& only) const {
    auto names = busy_of(view_.controller_settling, only);
    for (auto& name : busy_of(view_.agent_settling, only)) names.push_back(std::move(name));
    return names;
  }
  std::vector<std::string> unlisted() const {
    std::vector<std::string> names;
    for (const Settling* settling : {view_.controller_settling, view_.agent_settling})
      if (settling != nullptr)
        for (auto& name : settling->unlisted()) names.push_back(std::move(name));
    return names;
  }
  std::string store_text() const {
    const auto& store = view_.config->store();
    if (store.endpoints().empty() && view_.controller != nullptr) return "embedded";
    return joined({store.endpoints().begin(), store.endpoints().end()});
  }
  void fill_subsystems(api::GetStatusResponse& response) const {
    const auto& on = view_.config->subsystems();
    auto add = [&](const char* name, bool enabled) {
      auto* row = response.add_subsystems();
      row->set_name(name);
      row->set_enabled(enabled);
    };
    add("ipam", on.ipam());
    add("mesh", on.mesh());
    add("dns", on.dns());
    add("lb", on.lb());
    add("policy", on.policy());
    if (on.policy()) response.mutable_subsystems()->rbegin()->set_detail(policy_detail());
  }
  std::string policy_detail() const {
    if (view_.agent == nullptr)
      return fmt::format("{} policies", view_.controller->policies.size());
    const AgentTables& tables = *view_.agent;
    if (!view_.rule_counters) return "not enforced on this node";
    return fmt::format("{} policies, {} pods guarded, {} verdict sets, {} peers",
                       tables.policies.size(), tables.guarded_pods.size(),
                       tables.verdict_sets.size(), tables.policy_peers.size());
  }

  DaemonView view_;
};

}  // namespace

std::unique_ptr<admin::StatusHandlers> make_status_handlers(const DaemonView& view) {
  return std::make_unique<Status>(view);
}

}  // namespace tombolo
