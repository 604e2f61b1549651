// plan diff, history, rollback: what was in force before, and how to get back to it.
#include "app/admin/plan_messages.h"
#include "app/cli/stored_plan.h"

namespace tombolo::cli {
namespace {

struct DiffOptions {
  std::string file;
  std::int64_t before = 0;
  std::int64_t after = 0;
};

// A fleet file is planned by the daemon, beside the plan in force.
Result<std::vector<std::string>> changes_of_file(Session& session, const std::string& path) {
  TRY(file, fleet_file(path));
  api::ShowPlanRequest request;
  *request.mutable_fleet() = std::move(file);
  TRY(response, session.call<api::PlanApi>(&api::PlanApi::Stub::Show, request));
  return std::vector<std::string>(response.changes().begin(), response.changes().end());
}

Result<std::vector<std::string>> changes_between(Session& session, const DiffOptions& options) {
  TRY(before, stored_plan(session, options.before));
  TRY(after, stored_plan(session, options.after));
  return diff_plans(before, after);
}

Result<void> diff(Session& session, const DiffOptions& options) {
  if (options.file.empty() && options.before == 0)
    return fail(Code::kInvalidArgument, "name a plan (tombolo plan history) or a fleet file (-f)");
  auto found = options.file.empty() ? changes_between(session, options)
                                    : changes_of_file(session, options.file);
  TRY(lines, std::move(found));
  json::array changes;
  for (const std::string& line : lines) changes.emplace_back(line);
  return session.print(json::object{{"changes", std::move(changes)}},
                       {.facts = {}, .sections = {{"changes", {}, "no difference"}}});
}

void add_diff(CLI::App* plan, Session& session) {
  auto options = std::make_shared<DiffOptions>();
  CLI::App* command =
      add_command(plan, "diff", "Show what a change of plan means",
                  "tombolo plan diff -f fleet.yaml   # applying it\n"
                  "tombolo plan diff 3               # from plan 3 to the one in force\n"
                  "tombolo plan diff 3 4");
  auto* file = command->add_option("-f,--file", options->file,
                                   "Fleet file (YAML or JSON, - for standard input)");
  command->add_option("BEFORE", options->before, "Number of a plan")
      ->check(CLI::PositiveNumber)
      ->excludes(file);
  command->add_option("AFTER", options->after, "Number of a plan (default: the one in force)")
      ->check(CLI::PositiveNumber);
  command->callback([&session, options] {
    session.action = [&session, options] { return diff(session, *options); };
  });
}

void add_history(CLI::App* plan, Session& session) {
  auto request = std::make_shared<api::PlanHistoryRequest>();
  CLI::App* command =
      add_command(plan, "history", "List the plans that were in force, oldest first",
                  "tombolo plan history\n"
                  "tombolo plan history --limit 5 -o json   # with what each changed");
  command
      ->add_option_function<std::uint32_t>(
          "--limit", [request](std::uint32_t limit) { request->set_limit(limit); },
          "Only the newest (default: all that are kept, 64)")
      ->check(CLI::Range(1, 64));
  answers_with<api::PlanApi>(command, session, request, &api::PlanApi::Stub::History,
                             {.facts = {},
                              .sections = {{"plans",
                                            {{"PLAN", "number"},
                                             {"TIME", "time"},
                                             {"WHO", "who"},
                                             {"CLUSTERS", "clusters"},
                                             {"RESTORES", "restores", true},
                                             {"REASON", "reason"}},
                                            "no plan was applied yet"},
                                           {"damaged", {}}}});
}

void add_rollback(CLI::App* plan, Session& session) {
  auto request = std::make_shared<api::RollbackPlanRequest>();
  CLI::App* command = add_command(plan, "rollback", "Put an older plan back in force",
                                  "tombolo plan rollback 3 --dry-run\n"
                                  "tombolo plan rollback 3 --reason 'the new range is taken'");
  command
      ->add_option_function<std::int64_t>(
          "PLAN", [request](std::int64_t number) { request->set_number(number); },
          "Its number (tombolo plan history)")
      ->required()
      ->check(CLI::PositiveNumber);
  text_option(command, "--reason", "Kept with the plan and in the audit log",
              [request](const std::string& text) { request->set_reason(text); });
  command->add_flag_callback(
      "--dry-run", [request] { request->set_dry_run(true); }, "Only say what would change");
  answers_with<api::PlanApi>(
      command, session, request, &api::PlanApi::Stub::Rollback,
      {.facts = {{"Plan", "number", true}, {"Store revision", "store_revision"}},
       .sections = {{"changes", {}, "nothing to change: this plan is in force"}}});
}

}  // namespace

Result<Plan> stored_plan(Session& session, std::int64_t number) {
  api::GetPlanRequest request;
  request.set_number(number);
  TRY(response, session.call<api::PlanApi>(&api::PlanApi::Stub::Get, request));
  TRY(document, parse_json(response.document()));
  DocumentPlace place{number == 0 ? "the plan in force" : fmt::format("plan {}", number), {}};
  return plan_from_json(Cursor(document, place));
}

Result<PlanOfFleet> plan_in_force(Session& session) {
  TRY(response, session.call<api::PlanApi>(&api::PlanApi::Stub::Get, api::GetPlanRequest()));
  TRY(document, parse_json(response.document()));
  DocumentPlace place{"the plan in force", {}};
  Cursor root(document, place);
  TRY(plan, plan_from_json(root));
  Cursor stored = root["fleet_file"];
  if (!stored.present())
    return fail(Code::kFailedPrecondition,
                "plan {}, which is in force, was applied by a version that stored no fleet file: "
                "apply it once more (tombolo plan apply -f FILE), or name the file with -f",
                response.change().number());
  TRY(name, stored["name"].string());
  TRY(text, stored["text"].string());
  api::FleetFile file;
  file.set_name(fmt::format("{} of plan {}", name, response.change().number()));
  file.set_text(std::move(text));
  TRY(fleet, admin::fleet_of(file));
  return PlanOfFleet{std::move(fleet), std::move(plan)};
}

void add_plan_history(CLI::App* plan, Session& session) {
  add_diff(plan, session);
  add_history(plan, session);
  add_rollback(plan, session);
}

}  // namespace tombolo::cli
