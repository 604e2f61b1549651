// plan export: a plan in the words of other tools. With -f no daemon is needed.
#include "app/admin/plan_messages.h"
#include "app/cli/commands.h"
#include "ipamd/export/export.h"

namespace tombolo::cli {
namespace {

struct ExportOptions {
  std::string file;
  ExportRequest request;
};

Result<Plan> planned_here(const std::string& path) {
  TRY(file, fleet_file(path));
  TRY(fleet, admin::fleet_of(file));
  return make_plan(fleet, nullptr);
}

Result<void> run_export(Session& session, const ExportOptions& options) {
  auto read = options.file.empty() ? stored_plan(session, 0) : planned_here(options.file);
  TRY(plan, std::move(read));
  TRY(text, export_plan(plan, options.request));
  return Session::write(text);
}

std::string formats_help() {
  std::string text = "One of:";
  for (const ExportFormat& format : export_formats())
    text += fmt::format("\n  {}: {}", format.name, format.description);
  return text;
}

}  // namespace

void add_plan_export(CLI::App* plan, Session& session) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command =
      add_command(plan, "export", "Write the plan as another tool's configuration",
                  "tombolo plan export --format kubeadm --cluster east > kubeadm.yaml\n"
                  "tombolo plan export --format frr --cluster east --node 2\n"
                  "tombolo plan export --format terraform -f fleet.yaml > "
                  "fleet.auto.tfvars.json");
  command->add_option("--format", options->request.format, formats_help())->required();
  command->add_option("-f,--file", options->file,
                      "Plan this fleet file here (- for standard input) instead of taking the "
                      "plan in force; needs no daemon");
  command->add_option("--cluster", options->request.cluster,
                      "For this cluster, or only what concerns it");
  command
      ->add_option("--node", options->request.node,
                   "frr, bird: which of the cluster's entry nodes (1)")
      ->check(CLI::Range(1U, 65'535U));
  command->callback([&session, options] {
    session.action = [&session, options] { return run_export(session, *options); };
  });
}

}  // namespace tombolo::cli
