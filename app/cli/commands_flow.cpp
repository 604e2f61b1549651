// policy list, policy explain, flows: what a daemon says about who may talk to whom.
#include <algorithm>
#include <charconv>

#include "app/cli/commands.h"

namespace tombolo::cli {
namespace {

struct FlowOptions {
  api::FollowFlowsRequest request;
  std::string verdict = "dropped";
};

View policy_view(bool rules) {
  View view{.facts = {},
            .sections = {{"policies",
                          {{"NAMESPACE", "name_space"},
                           {"NAME", "name"},
                           {"KIND", "kind"},
                           {"GOVERNS", "subjects"},
                           {"ISOLATES", "isolates"},
                           {"RULES", "rule_count"},
                           {"PODS HERE", "pods"},
                           {"FLOWS", "flows"},
                           {"PACKETS", "packets"},
                           {"BYTES", "bytes"},
                           {"STATE", "state"},
                           {"ERROR", "error"}},
                          "no policies"}}};
  if (rules)
    view.sections.push_back({"rules",
                             {{"POLICY", "policy"},
                              {"RULE", "name"},
                              {"DIRECTION", "direction"},
                              {"ACTION", "action"},
                              {"FLOWS", "flows"},
                              {"PACKETS", "packets"},
                              {"BYTES", "bytes"},
                              {"SAYS", "text"}}});
  return view;
}

// For the table of rules: the rules of all policies in one list, each with its policy's name.
json::value with_rules(json::value answer) {
  json::array rules;
  for (const auto& policy : answer.at("policies").get_array()) {
    for (const auto& rule : policy.at("rules").get_array()) {
      json::object row = rule.get_object();
      row["policy"] = fmt::format("{}/{}", std::string(policy.at("name_space").get_string()),
                                  std::string(policy.at("name").get_string()));
      rules.emplace_back(std::move(row));
    }
  }
  answer.get_object()["rules"] = std::move(rules);
  return answer;
}

void add_list(CLI::App* policy, Session& session) {
  auto request = std::make_shared<api::ListPoliciesRequest>();
  auto rules = std::make_shared<bool>(false);
  CLI::App* list = add_command(policy, "list", "List policies with their pods and counters",
                               "tombolo policy list\n"
                               "tombolo policy list -n stars --rules");
  text_option(list, "-n,--namespace", "Only this namespace's",
              [request](const std::string& text) { request->set_name_space(text); });
  list->add_flag("--rules", *rules, "Also every rule with what it counted on this node");
  list->callback([&session, request, rules] {
    session.action = [&session, request, rules]() -> Result<void> {
      TRY(response, session.call<api::PolicyApi>(&api::PolicyApi::Stub::List, *request));
      json::value answer = to_value(response);
      if (*rules && session.settings.format == Format::kTable) answer = with_rules(answer);
      return session.print(answer, policy_view(*rules));
    };
  });
}

// "stars/backend:6379/TCP", "10.2.1.7:80", "[fd00::5]:80", "stars/backend" into the request.
Result<void> read_destination(std::string text, api::ExplainPolicyRequest& request) {
  auto wrong = [whole = text] {
    return fail(Code::kInvalidArgument,
                "\"{}\" is not B, B:PORT or B:PORT/PROTO (B: NS/POD, CLUSTER/NS/POD, an address, "
                "or [IPv6])",
                whole);
  };
  std::string port;
  if (text.starts_with('[')) {
    std::size_t close = text.find(']');
    if (close == std::string::npos) return wrong();
    std::string rest = text.substr(close + 1);
    if (!rest.empty() && !rest.starts_with(':')) return wrong();
    if (!rest.empty()) port = rest.substr(1);
    if (!rest.empty() && port.empty()) return wrong();
    text = text.substr(1, close - 1);
  } else if (std::ranges::count(text, ':') == 1) {
    std::size_t colon = text.find(':');
    port = text.substr(colon + 1);
    if (port.empty()) return wrong();
    text.resize(colon);
  }
  if (text.empty()) return wrong();
  request.set_destination(text);
  if (port.empty()) return {};
  std::size_t slash = port.find('/');
  if (slash != std::string::npos) {
    request.set_protocol(port.substr(slash + 1));
    if (request.protocol().empty()) return wrong();
    port.resize(slash);
  }
  std::uint32_t number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number > 65535) return wrong();
  request.set_port(number);
  if (request.protocol().empty()) request.set_protocol("TCP");
  return {};
}

View explain_view() {
  return {.facts = {{"Verdict", "verdict"},
                    {"Protocol", "protocol"},
                    {"Port", "destination.port", true}},
          .sections = {{"ends",
                        {{"END", "end"},
                         {"IS", "what"},
                         {"CLUSTER", "cluster"},
                         {"NAMESPACE", "name_space"},
                         {"POD", "pod"},
                         {"ADDRESS", "address"},
                         {"IDENTITY", "identity", true},
                         {"LABELS", "labels"},
                         {"NAMESPACE LABELS", "namespace_labels"}}},
                       {"judgements",
                        {{"DIRECTION", "direction"},
                         {"VERDICT", "verdict"},
                         {"BY", "by"},
                         {"IN THE KERNEL", "kernel"}}},
                       {"misses",
                        {{"DIRECTION", "direction"},
                         {"RULE", "rule"},
                         {"OF", "policy"},
                         {"FAILED", "failed"},
                         {"WHY", "why"}}},
                       {"notes", {}}}};
}

// For the tables: both ends in one list, and the misses of both directions.
json::value explain_rows(json::value answer) {
  json::array ends;
  for (const char* end : {"source", "destination"}) {
    json::object row = answer.at(end).get_object();
    row["end"] = end;
    ends.emplace_back(std::move(row));
  }
  json::array misses;
  for (const auto& judgement : answer.at("judgements").get_array()) {
    for (const auto& miss : judgement.at("misses").get_array()) {
      json::object row = miss.get_object();
      row["direction"] = judgement.at("direction");
      misses.emplace_back(std::move(row));
    }
  }
  answer.get_object()["ends"] = std::move(ends);
  answer.get_object()["misses"] = std::move(misses);
  return answer;
}

void add_explain(CLI::App* policy, Session& session) {
  auto request = std::make_shared<api::ExplainPolicyRequest>();
  auto destination = std::make_shared<std::string>();
  CLI::App* explain = add_command(policy, "explain", "Say whether A may talk to B, and who says so",
                                  "tombolo policy explain client/client stars/backend:6379\n"
                                  "tombolo policy explain west/client/client 10.1.2.3:53/UDP");
  text_option(explain, "A", "NS/POD, CLUSTER/NS/POD or an address", [request](const auto& text) {
    request->set_source(text);
  })->required();
  explain
      ->add_option("B", *destination,
                   "The same, with :PORT or :PORT/PROTO (TCP, UDP, SCTP); without: ICMP")
      ->required();
  explain->callback([&session, request, destination] {
    session.action = [&session, request, destination]() -> Result<void> {
      TRY_OK(read_destination(*destination, *request));
      TRY(response, session.call<api::PolicyApi>(&api::PolicyApi::Stub::Explain, *request));
      json::value answer = to_value(response);
      if (session.settings.format == Format::kTable) answer = explain_rows(answer);
      return session.print(answer, explain_view());
    };
  });
}

// ---- flows

// Whatever a remote cluster's names hold, a line stays a line.
std::string plain(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

std::string end_text(const api::PolicyEnd& end) {
  std::string name = end.address();
  if (!end.pod().empty())
    name = fmt::format("{}/{}/{}", end.cluster(), end.name_space(), end.pod());
  else if (end.what() == "node")
    name = fmt::format("node {} ({})", end.node().empty() ? end.cluster() : end.node(), name);
  else if (name.find(':') != std::string::npos)
    name = fmt::format("[{}]", name);
  return end.port() == 0 ? name : fmt::format("{}:{}", name, end.port());
}

// 2026-01-01T00:00:00.250Z DROPPED east/client/client:41000 -> west/stars/backend:6379/TCP by
// isolation of stars/default-deny
std::string line_of(const api::FlowEvent& event) {
  std::string time =
      format_rfc3339(WallTime(std::chrono::seconds(event.time().seconds()))).substr(0, 19);
  return plain(fmt::format(
             "{}.{:03}Z {:<7} {} -> {}/{} by {}", time, event.time().nanos() / 1'000'000,
             event.verdict() == "dropped" ? "DROPPED" : "ALLOWED", end_text(event.source()),
             end_text(event.destination()), event.protocol(), event.by())) +
         "\n";
}

Result<void> print_flows(Session& session, const api::FollowFlowsResponse& message) {
  if (message.lost() > 0)
    Session::warn(
        fmt::format("{} events were lost: they came faster than they were read", message.lost()));
  for (const auto& event : message.events()) {
    if (session.settings.format == Format::kTable) {
      TRY_OK(Session::write(line_of(event)));
      continue;
    }
    // One document per event, so that a reader need not wait for an end.
    TRY_OK(Session::write(session.settings.format == Format::kJson
                              ? to_json(to_value(event)) + "\n"
                              : "---\n" + to_yaml(to_value(event))));
  }
  return {};
}

void add_flows(CLI::App& app, Session& session) {
  auto options = std::make_shared<FlowOptions>();
  options->request.set_last(20);
  CLI::App* flows = add_command(&app, "flows", "Show flows that were dropped or accepted, and why",
                                "tombolo flows --last 50\n"
                                "tombolo flows --follow --verdict all --pod stars/backend\n"
                                "tombolo flows --follow -o json | jq .by");
  flows->add_flag_callback(
      "-F,--follow", [options] { options->request.set_follow(true); },
      "Go on with those that come, until interrupted");
  flows
      ->add_option("--verdict", options->verdict,
                   "dropped, allowed or all; accepted flows are recorded while somebody follows "
                   "them")
      ->check(CLI::IsMember({"dropped", "allowed", "all"}))
      ->capture_default_str();
  text_option(flows, "--pod", "Only from or to this one: NS/NAME or CLUSTER/NS/NAME",
              [options](const std::string& text) { options->request.set_pod(text); });
  text_option(flows, "-n,--namespace", "Only from or to this namespace",
              [options](const std::string& text) { options->request.set_name_space(text); });
  text_option(flows, "--cluster", "Only from or to this cluster",
              [options](const std::string& text) { options->request.set_cluster(text); });
  flows
      ->add_option_function<std::uint32_t>(
          "--last", [options](std::uint32_t count) { options->request.set_last(count); },
          "How many of those that were kept first (default 20)")
      ->check(CLI::Range(0, 4096));
  flows->callback([&session, options] {
    session.action = [&session, options] {
      options->request.set_verdict(options->verdict);
      return session.follow<api::FlowApi>(&api::FlowApi::Stub::Follow, options->request,
                                          options->request.follow(),
                                          [&session](const api::FollowFlowsResponse& message) {
                                            return print_flows(session, message);
                                          });
    };
  });
}

}  // namespace

void add_policy_questions(CLI::App* policy, Session& session) {
  add_list(policy, session);
  add_explain(policy, session);
}

void add_flow_commands(CLI::App& app, Session& session) {
  add_flows(app, session);
}

}  // namespace tombolo::cli
