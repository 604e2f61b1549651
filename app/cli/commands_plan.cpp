// plan: the fleet's addresses. With -f and without apply no daemon is needed: the file alone is
// planned here.
#include "app/admin/plan_messages.h"
#include "app/cli/commands.h"

namespace tombolo::cli {
namespace {

struct PlanOptions {
  std::string file;
  std::string cluster;
  unsigned node = 1;
  std::string reason;
  bool dry_run = false;
  bool commands = false;
};

View show_view() {
  return {.facts = {{"Store revision", "store_revision", true}},
          .sections = {{"ranges",
                        {{"CLUSTER", "cluster"},
                         {"REGION", "region"},
                         {"USE", "use"},
                         {"FAMILY", "family"},
                         {"CIDR", "prefix"},
                         {"SIZE", "size"},
                         {"PER-NODE", "node_prefix_length", true},
                         {"ORIGIN", "origin"}},
                        "there is no plan yet; make one with: tombolo plan apply -f fleet.yaml"},
                       {"changes", {}},
                       {"notes", {}}}};
}

struct Offline {
  Fleet fleet;
  Plan plan;
};

Result<Offline> plan_offline(const std::string& path) {
  TRY(file, fleet_file(path));
  TRY(fleet, admin::fleet_of(file));
  TRY(plan, make_plan(fleet, nullptr));
  return Offline{std::move(fleet), std::move(plan)};
}

Result<void> show(Session& session, const PlanOptions& options) {
  if (!options.file.empty()) {
    TRY(offline, plan_offline(options.file));
    return session.print(admin::show_plan(offline.plan, &offline.fleet, nullptr), show_view());
  }
  TRY(response, session.call<api::PlanApi>(&api::PlanApi::Stub::Show, api::ShowPlanRequest()));
  return session.print(response, show_view());
}

Result<void> apply(Session& session, const PlanOptions& options) {
  TRY(file, fleet_file(options.file));
  api::ApplyPlanRequest request;
  *request.mutable_fleet() = std::move(file);
  request.set_reason(options.reason);
  request.set_dry_run(options.dry_run);
  TRY(response, session.call<api::PlanApi>(&api::PlanApi::Stub::Apply, request));
  return session.print(response,
                       {.facts = {{"Plan", "number", true}, {"Store revision", "store_revision"}},
                        .sections = {{"changes", {}, "nothing to change: this plan is in force"}}});
}

Result<api::PlanRoutesResponse> routes_of(Session& session, const PlanOptions& options) {
  if (!options.file.empty()) {
    TRY(offline, plan_offline(options.file));
    return admin::routes_of_plan(offline.plan, options.cluster, options.node - 1);
  }
  if (options.node > 1) {
    TRY(plan, stored_plan(session, 0));
    return admin::routes_of_plan(plan, options.cluster, options.node - 1);
  }
  api::PlanRoutesRequest request;
  request.set_cluster(options.cluster);
  return session.call<api::PlanApi>(&api::PlanApi::Stub::Routes, request);
}

Result<void> routes(Session& session, const PlanOptions& options) {
  TRY(response, routes_of(session, options));
  if (options.commands) {
    std::string text;
    for (const auto& route : response.routes()) text += route.command() + "\n";
    return Session::write(text);
  }
  return session.print(response, {.facts = {},
                                  .sections = {{"routes",
                                                {{"DESTINATION", "destination"},
                                                 {"NEXT HOPS", "next_hops"},
                                                 {"CLUSTER", "cluster"},
                                                 {"USE", "use"}},
                                                "no routes are needed"}}});
}

using Action = Result<void> (*)(Session&, const PlanOptions&);

void runs(CLI::App* command, Session& session, std::shared_ptr<PlanOptions> options,
          Action action) {
  command->callback([&session, options, action] {
    session.action = [&session, options, action] { return action(session, *options); };
  });
}

}  // namespace

Result<api::FleetFile> fleet_file(const std::string& path) {
  TRY(text, read_input(path, 3U << 20U));
  api::FleetFile file;
  file.set_name(path == "-" ? "standard input" : path);
  file.set_text(std::move(text));
  return file;
}

void add_plan_commands(CLI::App& app, Session& session) {
  CLI::App* plan = add_group(app, "plan", "The addresses of the fleet");
  auto options = std::make_shared<PlanOptions>();
  const char* file_help = "Fleet file (YAML or JSON, - for standard input); needs no daemon";

  CLI::App* show_command =
      add_command(plan, "show", "Show the plan in force, or what a fleet file would give",
                  "tombolo plan show -f fleet.yaml     # offline: nothing is stored\n"
                  "tombolo plan show                   # the plan in force");
  show_command->add_option("-f,--file", options->file, file_help);
  runs(show_command, session, options, show);

  CLI::App* apply_command =
      add_command(plan, "apply", "Store the plan of a fleet file",
                  "tombolo plan apply -f fleet.yaml --reason 'add cluster north'\n"
                  "tombolo plan apply -f fleet.yaml --dry-run");
  apply_command
      ->add_option("-f,--file", options->file, "Fleet file (YAML or JSON, - for standard input)")
      ->required();
  apply_command->add_flag("--dry-run", options->dry_run, "Only say what would change");
  apply_command->add_option("--reason", options->reason, "Kept with the plan and in the audit log");
  runs(apply_command, session, options, apply);

  CLI::App* routes_command =
      add_command(plan, "routes", "Show what a router between the clusters, or a node, must hold",
                  "tombolo plan routes\n"
                  "tombolo plan routes --cluster east --node 2 --commands | sh\n"
                  "tombolo plan routes -f fleet.yaml -o json");
  routes_command->add_option("-f,--file", options->file, file_help);
  routes_command->add_option("--cluster", options->cluster,
                             "What a node of this cluster must hold (default: a router's)");
  routes_command
      ->add_option("--node", options->node,
                   "Which node of the cluster (1); in another zone it has another gateway")
      ->check(CLI::Range(1U, 65'536U))
      ->needs("--cluster");
  routes_command->add_flag("--commands", options->commands, "Print ip(8) commands");
  runs(routes_command, session, options, routes);
  add_plan_questions(plan, session);
  add_plan_export(plan, session);
  add_plan_import(plan, session);
  add_plan_history(plan, session);
}

}  // namespace tombolo::cli
