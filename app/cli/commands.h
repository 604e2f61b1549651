// The commands, by what they speak to. Each function adds its commands to the application; a
// command's callback sets session.action.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>
#include <string>

#include "app/cli/session.h"
#include "schema/admin/v1/admin.grpc.pb.h"
#include "schema/admin/v1/policy.grpc.pb.h"

namespace tombolo {
struct Plan;
}

namespace tombolo::cli {

namespace api = tombolo::admin::v1;

void add_status_commands(CLI::App& app, Session& session);   // status, wait, audit
void add_plan_commands(CLI::App& app, Session& session);     // plan
void add_cluster_commands(CLI::App& app, Session& session);  // cluster
void add_object_commands(CLI::App& app, Session& session);   // pool, ip, service, endpoint
void add_policy_commands(CLI::App& app, Session& session);   // policy
void add_flow_commands(CLI::App& app, Session& session);     // flows
void add_dns_commands(CLI::App& app, Session& session);      // dns
void add_pki_commands(CLI::App& app, Session& session);      // pki
void add_completion_command(CLI::App& app, Session& session);

// What a daemon is asked in the group "policy": list, explain.
void add_policy_questions(CLI::App* policy, Session& session);
// In the group "plan": what-if and forecast; import; export; diff, history and rollback.
void add_plan_questions(CLI::App* plan, Session& session);
void add_plan_import(CLI::App* plan, Session& session);
void add_plan_export(CLI::App* plan, Session& session);
void add_service_export(CLI::App* service, Session& session);
void add_plan_history(CLI::App* plan, Session& session);
// In the group "cluster": facts, check-join.
void add_join_checks(CLI::App* cluster, Session& session);
// A fleet file as the daemon takes it; "-" is standard input. At most 3 MiB.
Result<api::FleetFile> fleet_file(const std::string& path);
// A plan of the daemon's: the one of this number, or with 0 the one in force.
Result<Plan> stored_plan(Session& session, std::int64_t number);

// A group of commands ("cluster"), one of which must be given.
CLI::App* add_group(CLI::App& app, const std::string& name, const std::string& description);
// A command with examples under its help.
CLI::App* add_command(CLI::App* to, const std::string& name, const std::string& description,
                      const std::string& examples);

// Runs the call with `request` as the options have filled it, and prints its answer.
template <class Api, class Request, class Response>
void answers_with(CLI::App* command, Session& session, std::shared_ptr<Request> request,
                  grpc::Status (Api::Stub::*method)(grpc::ClientContext*, const Request&,
                                                    Response*),
                  View view) {
  command->callback([&session, request, method, view = std::move(view)] {
    session.action = [&session, request, method, view]() -> Result<void> {
      TRY(response, session.call<Api>(method, *request));
      return session.print(response, view);
    };
  });
}

// An option whose text goes to a setter: text_option(command, "--node", "…", [r](auto& v) {…}).
CLI::Option* text_option(CLI::App* command, const std::string& name, const std::string& description,
                         std::function<void(const std::string&)> set);

// "-" is standard input. Refused over `limit` bytes.
Result<std::string> read_input(const std::string& path, std::size_t limit);

}  // namespace tombolo::cli
