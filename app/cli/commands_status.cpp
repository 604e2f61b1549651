// status, wait, audit: how the daemon stands and who changed what.
#include "app/cli/commands.h"

namespace tombolo::cli {
namespace {

View status_view() {
  return {.facts = {{"Version", "version"},
                    {"Roles", "roles"},
                    {"Fleet", "fleet"},
                    {"Cluster", "cluster"},
                    {"Cluster id", "cluster_id"},
                    {"Node", "node"},
                    {"Started", "started_at"},
                    {"Uptime (s)", "uptime"},
                    {"Store", "store"},
                    {"Revision", "revision"},
                    {"Synced", "synced"}},
          .sections = {{"warnings", {}},
                       {"subsystems", {{"SUBSYSTEM", "name"}, {"ON", "enabled"}, {"", "detail"}}},
                       {"clusters",
                        {{"CLUSTER", "name"},
                         {"ID", "id"},
                         {"STATE", "standing"},
                         {"LAST HEARD", "last_heard"},
                         {"ERROR", "error"}}},
                       {"reconcilers",
                        {{"RECONCILER", "name"},
                         {"OBJECT", "object"},
                         {"STATE", "state"},
                         {"REVISION", "revision"},
                         {"ATTEMPTS", "attempts"},
                         {"ERROR", "error"}}},
                       {"tables",
                        {{"TABLE", "name"},
                         {"ROWS", "rows"},
                         {"REVISION", "revision"},
                         {"SYNCED", "synced"},
                         {"WRITER", "writer"}}}}};
}

void add_wait(CLI::App& app, Session& session) {
  auto request = std::make_shared<api::WaitRequest>();
  auto seconds = std::make_shared<int>(30);
  CLI::App* wait = add_command(&app, "wait", "Wait until every change has reached the world",
                               "tombolo wait                        # all that is known now\n"
                               "tombolo wait --synced --for 60      # also every first list\n"
                               "tombolo wait --revision 120 --reconciler load-balancer");
  wait->add_option_function<std::uint64_t>(
      "--revision", [request](std::uint64_t value) { request->set_revision(value); },
      "Revision to wait for (default: the one at the time of the call)");
  wait->add_flag_callback(
      "--synced", [request] { request->set_synced(true); },
      "Also wait until every source has finished its first list");
  wait->add_option("--for", *seconds, "Seconds to wait at most; then exit code 6")
      ->check(CLI::Range(1, 600))
      ->capture_default_str();
  wait->add_option_function<std::vector<std::string>>(
      "--reconciler",
      [request](const std::vector<std::string>& names) {
        for (const auto& name : names) request->add_reconcilers(name);
      },
      "Only this one (may be given again)");
  wait->callback([&session, request, seconds] {
    session.action = [&session, request, seconds]() -> Result<void> {
      request->mutable_timeout()->set_seconds(*seconds);
      TRY(response, session.call<api::StatusApi>(&api::StatusApi::Stub::Wait, *request, *seconds));
      return session.print(response, {.facts = {{"Revision", "revision"}}, .sections = {}});
    };
  });
}

}  // namespace

void add_status_commands(CLI::App& app, Session& session) {
  CLI::App* status = add_command(&app, "status", "Show how the daemon and its fleet stand",
                                 "tombolo status\n"
                                 "tombolo status -o json | jq .synced");
  answers_with<api::StatusApi>(status, session, std::make_shared<api::GetStatusRequest>(),
                               &api::StatusApi::Stub::Get, status_view());
  add_wait(app, session);

  CLI::App* audit = add_group(app, "audit", "Who changed what through the admin API");
  auto request = std::make_shared<api::ListAuditRequest>();
  CLI::App* list = add_command(audit, "list", "List the newest records, oldest first",
                               "tombolo audit list --limit 20");
  list->add_option_function<std::uint32_t>(
      "--limit", [request](std::uint32_t value) { request->set_limit(value); },
      "How many (default 100)");
  answers_with<api::AuditApi>(list, session, request, &api::AuditApi::Stub::List,
                              {.facts = {},
                               .sections = {{"records",
                                             {{"TIME", "time"},
                                              {"WHO", "who"},
                                              {"METHOD", "method"},
                                              {"REQUEST", "request"},
                                              {"RESULT", "result"}},
                                             "nothing was changed yet"}}});
}

}  // namespace tombolo::cli
