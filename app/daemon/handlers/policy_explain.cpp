// Judges both directions with policy/rules and looks the same packet up in the compiled tables.
#include "app/daemon/handlers/policy_explain.h"

#include <algorithm>

#include "app/daemon/handlers/policy_text.h"
#include "policy/compiler/compiler.h"

namespace tombolo {
namespace {

namespace api = admin::api;

constexpr std::size_t kMostMisses = 64;

Result<policy::Traffic> traffic_of(const api::ExplainPolicyRequest& request) {
  if (request.port() > 65535)
    return fail(Code::kInvalidArgument, "port {} is over 65535", request.port());
  policy::Traffic traffic;
  traffic.port = static_cast<Port>(request.port());
  if (request.protocol().empty() && request.port() == 0) return traffic;
  if (request.protocol() == "ICMP") {
    if (request.port() != 0) return fail(Code::kInvalidArgument, "ICMP has no ports");
    return traffic;
  }
  TRY(protocol, parse_protocol(request.protocol().empty() ? "TCP" : request.protocol()));
  traffic.protocol = protocol;
  return traffic;
}

class Question {
 public:
  Question(const PolicyNames& names, const Table<Policy>& policies, const AgentTables* agent,
           const NamedEnd& source, const NamedEnd& destination, policy::Traffic traffic)
      : names_(names),
        agent_(agent),
        source_(source),
        destination_(destination),
        traffic_(traffic) {
    for (const auto& [key, versioned] : policies.rows()) policies_.push_back(&versioned.row);
  }

  api::PolicyJudgement judge(PolicyDirection direction) const {
    bool ingress = direction == PolicyDirection::kIngress;
    const NamedEnd& governed = ingress ? destination_ : source_;
    const NamedEnd& other = ingress ? source_ : destination_;
    api::PolicyJudgement answer;
    answer.set_direction(std::string(to_string(direction)));
    answer.set_verdict("allowed");
    if (!governed.is_pod) {
      answer.set_by(fmt::format("no policy governs the {}: it is not a pod",
                                ingress ? "destination" : "source"));
    } else if (governed.shown.cluster() != names_.cluster()) {
      const std::string& cluster = governed.shown.cluster();
      answer.set_verdict("unknown");
      answer.set_by(fmt::format("policies of {} decide; ask a daemon of that cluster", cluster));
    } else if (ingress && governed.node_ip && other.ip == governed.node_ip) {
      answer.set_by("the pod's own node always reaches it");
    } else {
      judge_by_rules(direction, governed, other, answer);
      answer.set_kernel(kernel_says(direction, governed, other));
    }
    return answer;
  }

 private:
  void judge_by_rules(PolicyDirection direction, const NamedEnd& governed, const NamedEnd& other,
                      api::PolicyJudgement& answer) const {
    if (!governed.identity) {
      auto isolating = isolating_in(governed.shown.name_space(), direction);
      answer.set_verdict(isolating.empty() ? "allowed" : "denied");
      answer.set_by(
          isolating.empty()
              ? fmt::format("no policy isolates {} in its namespace", to_string(direction))
              : "closed: its identity is not known yet, and its namespace has policies "
                "that isolate");
      for (const Policy* policy : isolating) answer.add_policies(policy->key());
      return;
    }
    policy::Judgement verdict =
        policy::judge(policies_, direction, governed.party(), other.party(), traffic_);
    answer.set_verdict(verdict.allowed ? "allowed" : "denied");
    if (verdict.rule != nullptr) {
      answer.set_by(
          fmt::format("{} of {}", verdict.rule->name, short_policy(verdict.policy->key())));
      answer.add_policies(verdict.policy->key());
      answer.set_rule(verdict.rule->name);
      return;
    }
    if (verdict.isolating.empty()) {
      answer.set_by(fmt::format("no policy isolates {} of {}/{}", to_string(direction),
                                governed.shown.name_space(), governed.shown.pod()));
      return;
    }
    answer.set_by(isolation_of(verdict.isolating));
    answer.set_rule("isolation");
    for (const Policy* policy : verdict.isolating) answer.add_policies(policy->key());
    for (const policy::Miss& miss : verdict.misses) {
      if (static_cast<std::size_t>(answer.misses_size()) == kMostMisses) break;
      auto* row = answer.add_misses();
      row->set_policy(miss.policy->key());
      row->set_rule(miss.rule->name);
      row->set_failed(miss.peers && miss.ports ? "peer and port" : miss.peers ? "peer" : "port");
      row->set_why(why_missed(miss, other.party(), traffic_));
    }
  }

  std::vector<const Policy*> isolating_in(const std::string& name_space,
                                          PolicyDirection direction) const {
    std::vector<const Policy*> found;
    for (const Policy* policy : policies_)
      if (policy->name_space == name_space &&
          (direction == PolicyDirection::kIngress ? policy->isolates_ingress
                                                  : policy->isolates_egress))
        found.push_back(policy);
    return found;
  }

  // The innermost row that holds the address, as the kernel finds it; 0: none does.
  std::uint32_t peer_of(const Ip& ip) const {
    const PolicyPeer* best = nullptr;
    for (const auto& [key, versioned] : agent_->policy_peers.rows())
      if (versioned.row.prefix.contains(ip) &&
          (best == nullptr || versioned.row.prefix.length() > best->prefix.length()))
        best = &versioned.row;
    return best == nullptr ? 0 : best->peer;
  }

  std::string kernel_says(PolicyDirection direction, const NamedEnd& governed,
                          const NamedEnd& other) const {
    if (agent_ == nullptr || !governed.ip || !other.ip) return {};
    for (const auto& [key, versioned] : agent_->guarded_pods.rows()) {
      const GuardedPod& pod = versioned.row;
      if (std::ranges::find(pod.ips, *governed.ip) == pod.ips.end()) continue;
      const std::string& id = direction == PolicyDirection::kIngress ? pod.ingress : pod.egress;
      if (id.empty()) return "allowed: not isolated";
      const VerdictSet* set = agent_->verdict_sets.find(id);
      if (set == nullptr) return "the verdict set is not compiled yet";
      Verdict verdict = policy::look_up(
          *set, peer_of(*other.ip),
          traffic_.protocol ? static_cast<std::uint8_t>(*traffic_.protocol) : std::uint8_t{0},
          traffic_.port);
      RuleNumber number = verdict & ~kVerdictAllow;
      const NumberedRule* rule = agent_->numbered_rules.find(std::to_string(number));
      return fmt::format("{}: rule {}{}", (verdict & kVerdictAllow) != 0 ? "allowed" : "denied",
                         number, rule == nullptr ? "" : fmt::format(", {}", decided_by(*rule)));
    }
    return {};
  }

  const PolicyNames& names_;
  const AgentTables* agent_;
  const NamedEnd& source_;
  const NamedEnd& destination_;
  policy::Traffic traffic_;
  std::vector<const Policy*> policies_;
};

// Both must allow; what another cluster decides stays open unless this one denies.
std::string together(const api::ExplainPolicyResponse& response) {
  bool unknown = false;
  for (const auto& judgement : response.judgements()) {
    if (judgement.verdict() == "denied") return "denied";
    unknown = unknown || judgement.verdict() == "unknown";
  }
  return unknown ? "unknown" : "allowed";
}

void add_notes(api::ExplainPolicyResponse& response) {
  for (const auto& judgement : response.judgements())
    if (!judgement.kernel().empty() && !judgement.kernel().starts_with(judgement.verdict()))
      response.add_notes(
          fmt::format("{}: the tables of this node differ from the rules; a change may be on its "
                      "way (tombolo wait)",
                      judgement.direction()));
}

}  // namespace

Result<api::ExplainPolicyResponse> explain_policy(const PolicyNames& names,
                                                  const Table<Policy>& policies,
                                                  const AgentTables* agent,
                                                  const api::ExplainPolicyRequest& request) {
  TRY(traffic, traffic_of(request));
  TRY(source, names.find(request.source()));
  TRY(destination, names.find(request.destination()));
  api::ExplainPolicyResponse response;
  *response.mutable_source() = source.shown;
  *response.mutable_destination() = destination.shown;
  response.mutable_destination()->set_port(traffic.port);
  response.set_protocol(traffic.protocol ? std::string(to_string(*traffic.protocol)) : "ICMP");
  if (!policies.synced())
    response.add_notes("the policies have not all been read yet: this is what is known so far");
  if (source.is_pod && source.ip == destination.ip) {
    response.set_verdict("allowed");
    response.add_notes("a pod always reaches itself");
    return response;
  }
  Question question(names, policies, agent, source, destination, traffic);
  *response.add_judgements() = question.judge(PolicyDirection::kEgress);
  *response.add_judgements() = question.judge(PolicyDirection::kIngress);
  response.set_verdict(together(response));
  add_notes(response);
  return response;
}

}  // namespace tombolo
