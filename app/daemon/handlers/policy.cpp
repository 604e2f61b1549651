// Policies as rows: whom they govern here, how the kernel calls their rules, and what it counted.
#include "app/daemon/handlers/policy.h"

#include <algorithm>

#include "app/daemon/handlers/policy_explain.h"
#include "app/daemon/handlers/policy_text.h"

namespace tombolo {
namespace {

namespace api = admin::api;
using Counters = std::map<RuleNumber, bpf::RuleCounters>;

constexpr std::string_view kGuardReconciler = "policy";

std::vector<std::string> pods_of(const Policy& policy, const AgentTables& tables) {
  std::vector<std::string> pods;
  for (const auto& [key, versioned] : tables.local_pods.rows()) {
    const Identity* identity = tables.identities.find(std::to_string(versioned.row.identity));
    if (identity != nullptr && policy::governs(policy, *identity)) pods.push_back(key);
  }
  return pods;
}

std::vector<std::string> pods_of(const Policy& policy, const ControllerTables& tables) {
  std::vector<std::string> pods;
  for (const auto& [key, versioned] : tables.workloads.rows()) {
    const Workload& workload = versioned.row;
    if (workload.host_network || workload.finished || workload.name_space != policy.name_space)
      continue;
    if (policy::matches(policy.subjects, workload.labels)) pods.push_back(key);
  }
  return pods;
}

// The rule as the kernel calls it: by name, or the isolation that the policy has a part in.
void count_rule(const AgentTables& tables, const Counters& counters, const std::string& policy,
                api::PolicyRuleUse& use) {
  for (const auto& [key, versioned] : tables.numbered_rules.rows()) {
    const NumberedRule& rule = versioned.row;
    if (rule.rule != use.name() || to_string(rule.direction) != use.direction()) continue;
    if (std::ranges::find(rule.policies, policy) == rule.policies.end()) continue;
    use.add_numbers(rule.number);
    auto counted = counters.find(rule.number);
    if (counted == counters.end()) continue;
    use.set_flows(use.flows() + counted->second.flows);
    use.set_packets(use.packets() + counted->second.packets);
    use.set_bytes(use.bytes() + counted->second.bytes);
  }
}

class Policies final : public admin::PolicyHandlers {
 public:
  explicit Policies(DaemonView view)
      : view_(std::move(view)),
        names_(view_.agent, view_.controller, view_.config->cluster().name()) {}

  admin::Answer<api::ListPoliciesResponse> list(api::ListPoliciesRequest request,
                                                admin::Caller) override {
    Counters counters;
    if (view_.agent != nullptr && view_.rule_counters) {
      auto read = co_await view_.rule_counters();
      CO_TRY(rows, std::move(read));
      for (const bpf::RuleCounters& row : rows) counters.emplace(row.rule, row);
    }
    api::ListPoliciesResponse response;
    for (const auto& [key, versioned] : policies().rows()) {
      const Policy& policy = versioned.row;
      if (!request.name_space().empty() && request.name_space() != policy.name_space) continue;
      fill(policy, counters, *response.add_policies());
    }
    co_return response;
  }

  admin::Answer<api::ExplainPolicyResponse> explain(api::ExplainPolicyRequest request,
                                                    admin::Caller) override {
    co_return explain_policy(names_, policies(), view_.agent, request);
  }

 private:
  const Table<Policy>& policies() const {
    return view_.agent != nullptr ? view_.agent->policies : view_.controller->policies;
  }

  void fill(const Policy& policy, const Counters& counters, api::ListedPolicy& row) const {
    row.set_kind(std::string(to_string(policy.kind)));
    row.set_name_space(policy.name_space);
    row.set_name(policy.name);
    if (policy.isolates_ingress) row.add_isolates("ingress");
    if (policy.isolates_egress) row.add_isolates("egress");
    row.set_subjects(policy::to_string(policy.subjects));
    row.set_rule_count(static_cast<std::uint32_t>(policy.rules.size()));
    auto pods =
        view_.agent != nullptr ? pods_of(policy, *view_.agent) : pods_of(policy, *view_.controller);
    for (std::string& pod : pods) row.add_pods(std::move(pod));
    for (const PolicyRule& rule : policy.rules)
      add_rule(policy, rule.name, rule.direction, to_string(rule.action), rule_text(rule), counters,
               row);
    for (PolicyDirection direction : {PolicyDirection::kIngress, PolicyDirection::kEgress}) {
      bool ingress = direction == PolicyDirection::kIngress;
      if (ingress ? policy.isolates_ingress : policy.isolates_egress)
        add_rule(policy, "isolation", direction, "deny", "what no rule allows", counters, row);
    }
    for (const auto& use : row.rules()) {
      row.set_flows(row.flows() + use.flows());
      row.set_packets(row.packets() + use.packets());
      row.set_bytes(row.bytes() + use.bytes());
    }
    if (view_.agent != nullptr) set_state(row);
  }

  void add_rule(const Policy& policy, const std::string& name, PolicyDirection direction,
                std::string_view action, std::string text, const Counters& counters,
                api::ListedPolicy& row) const {
    auto* use = row.add_rules();
    use->set_name(name);
    use->set_direction(std::string(to_string(direction)));
    use->set_action(std::string(action));
    use->set_text(std::move(text));
    if (view_.agent != nullptr) count_rule(*view_.agent, counters, policy.key(), *use);
  }

  void set_state(api::ListedPolicy& row) const {
    if (!view_.rule_counters) {
      row.set_state("not enforced");
      row.set_error("the subsystem policy is off on this node");
      return;
    }
    if (row.pods().empty()) {
      row.set_state("no pods here");
      return;
    }
    bool numbered =
        std::ranges::any_of(row.rules(), [](const auto& use) { return !use.numbers().empty(); });
    // A policy that neither allows nor isolates has no rule to be numbered.
    row.set_state(numbered || row.rules().empty() ? "in force" : "pending");
    for (const auto& [key, versioned] : view_.agent->status.rows()) {
      const ReconcileStatus& status = versioned.row;
      if (status.reconciler != kGuardReconciler || status.state == ReconcileState::kDone) continue;
      row.set_state(status.state == ReconcileState::kError ? "error" : "pending");
      row.set_error(status.error);
      if (status.state == ReconcileState::kError) return;
    }
  }

  DaemonView view_;
  PolicyNames names_;
};

}  // namespace

std::unique_ptr<admin::PolicyHandlers> make_policy_handlers(const DaemonView& view) {
  return std::make_unique<Policies>(view);
}

}  // namespace tombolo
