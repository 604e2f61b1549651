// cluster facts, cluster check-join: whether two clusters fit, before they are joined.
#include <algorithm>

#include "app/cli/commands.h"
#include "app/join/grant_facts.h"
#include "app/join/join.h"

namespace tombolo::cli {
namespace {

constexpr std::size_t kLongestFacts = 16U << 20U;
constexpr std::size_t kLongestGrant = 256U << 10U;

// A cluster without a plan has no ranges to compare; that is said.
Result<void> add_plan(Session& session, JoinFacts& facts) {
  auto plan = stored_plan(session, 0);
  if (!plan && plan.error().code == Code::kNotFound) {
    Session::warn(fmt::format("{} has no plan: its ranges are not compared", facts.cluster));
    return {};
  }
  if (!plan) return std::unexpected(std::move(plan).error());
  facts.roots = plan->roots;
  facts.ranges = blocks_of(*plan);
  return {};
}

Result<void> add_services(Session& session, JoinFacts& facts) {
  TRY(response,
      session.call<api::ServiceApi>(&api::ServiceApi::Stub::List, api::ListServicesRequest()));
  for (const api::Service& service : response.services()) {
    if (!service.shared() && !service.global() && !service.imported()) continue;
    facts.services.push_back({service.name_space(),
                              service.name(),
                              service.type() == "Headless",
                              {service.ports().begin(), service.ports().end()}});
  }
  return {};
}

// What the daemon, a controller, knows.
Result<JoinFacts> facts_here(Session& session) {
  TRY(status, session.call<api::StatusApi>(&api::StatusApi::Stub::Get, api::GetStatusRequest()));
  JoinFacts facts;
  facts.fleet = status.fleet();
  facts.cluster = status.cluster();
  facts.id = status.cluster_id();
  if (status.identity_cluster_bits() != 0)
    facts.identity_cluster_bits = static_cast<int>(status.identity_cluster_bits());
  facts.mtu = static_cast<int>(status.mtu());
  for (const api::Cluster& cluster : status.clusters())
    if (cluster.name() != status.cluster()) facts.joined.push_back({cluster.name(), cluster.id()});
  TRY_OK(add_plan(session, facts));
  TRY_OK(add_services(session, facts));
  return facts;
}

Result<JoinFacts> facts_in(const std::string& path) {
  TRY(text, read_input(path, kLongestFacts));
  std::string name = path == "-" ? "standard input" : path;
  JsonLimits limits;
  limits.bytes = kLongestFacts;
  auto document = parse_json(text, limits);
  if (!document) return std::unexpected(std::move(document).error().with_context(name));
  DocumentPlace place{name, {}};
  return parse_join_facts(Cursor(*document, place));
}

Result<void> print_facts(Session& session) {
  TRY(facts, facts_here(session));
  return Session::write(to_pretty_json(join_facts_to_json(facts)) + "\n");
}

struct CheckOptions {
  std::string there;
  std::string grant;
  std::string here;
};

Result<JoinFacts> facts_there(Session& session, const CheckOptions& options) {
  if (options.grant.empty()) return facts_in(options.there);
  TRY(text, read_input(options.grant, kLongestGrant));
  TRY(grant, pki::parse_grant(text, options.grant, session.now()));
  return facts_through_grant(grant);
}

Result<void> check(Session& session, const CheckOptions& options) {
  if (options.there.empty() == options.grant.empty())
    return fail(Code::kInvalidArgument, "name the other side's facts, or a grant of it (--grant)");
  TRY(there, facts_there(session, options));
  const std::string& here_path = options.here;
  auto read = here_path.empty() ? facts_here(session) : facts_in(here_path);
  TRY(here, std::move(read));
  std::vector<JoinFinding> findings = check_join(here, there);
  json::array rows;
  for (const JoinFinding& finding : findings)
    rows.push_back(json::object{{"severity", to_string(finding.severity)},
                                {"kind", finding.kind},
                                {"here", finding.here},
                                {"there", finding.there},
                                {"fix", finding.fix}});
  auto conflicts = std::ranges::count(findings, JoinSeverity::kConflict, &JoinFinding::severity);
  json::object answer{{"here", here.cluster},
                      {"there", there.cluster},
                      {"conflicts", conflicts},
                      {"findings", std::move(rows)}};
  TRY_OK(session.print(answer, {.facts = {{"Here", "here"}, {"There", "there"}},
                                .sections = {{"findings",
                                              {{"SEVERITY", "severity"},
                                               {"KIND", "kind"},
                                               {"HERE", "here"},
                                               {"THERE", "there"},
                                               {"FIX", "fix"}},
                                              "nothing is in the way"}}}));
  if (conflicts == 0) return {};
  return fail(Code::kFailedPrecondition, "{} conflict{} between {} and {}", conflicts,
              conflicts == 1 ? "" : "s", here.cluster, there.cluster);
}

}  // namespace

void add_join_checks(CLI::App* cluster, Session& session) {
  CLI::App* facts =
      add_command(cluster, "facts", "Print what another cluster's check-join compares (no secrets)",
                  "tombolo cluster facts > east.json");
  facts->callback([&session] { session.action = [&session] { return print_facts(session); }; });

  CLI::App* command = add_command(
      cluster, "check-join", "Say what is in the way of joining another cluster",
      "tombolo cluster check-join --grant west.grant\n"
      "ssh west tombolo cluster facts | tombolo cluster check-join -\n"
      "tombolo cluster check-join west.json --here east.json -o json   # without a daemon");
  auto options = std::make_shared<CheckOptions>();
  auto* there =
      command->add_option("FACTS", options->there, "The other side's facts, - for standard input");
  command
      ->add_option("--grant", options->grant,
                   "A grant of the other side: its store is read (but for its MTU)")
      ->excludes(there);
  command->add_option("--here", options->here, "This side's facts (default: the daemon's)");
  command->callback([&session, options] {
    session.action = [&session, options] { return check(session, *options); };
  });
}

}  // namespace tombolo::cli
