// The global options, the tree of commands, and what becomes of errors.
#include "app/cli/cli.h"

#include <cstdio>
#include <iostream>
#include <iterator>

#include "app/cli/commands_node.h"
#include "core/yaml.h"

namespace tombolo::cli {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 denied,\n"
    "5 the daemon is not reached, 6 too late.\n"
    "\n"
    "First steps:\n"
    "  tombolo plan show -f fleet.yaml       what would each cluster get? (no daemon needed)\n"
    "  tombolo status                        how does this node's daemon stand?\n"
    "  tombolo service explain NS/NAME       which backends, of which clusters, and why?\n"
    "  tombolo flows --follow                what is dropped, and by which policy?\n"
    "  tombolo COMMAND --help                options and examples of a command";

// CLI11 tells a mistake in several lines; ours is one.
std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n') c = ' ';
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

void add_global_options(CLI::App& app, Session& session) {
  static const std::map<std::string, Format> kFormats{
      {"table", Format::kTable}, {"json", Format::kJson}, {"yaml", Format::kYaml}};
  auto& settings = session.settings;
  settings.address = "unix:///run/tombolo/admin.sock";
  app.add_option("-a,--address", settings.address,
                 "Where the daemon listens: unix:///PATH or HOST:PORT")
      ->envname("TOMBOLO_ADDRESS")
      ->capture_default_str();
  app.add_option_function<std::string>(
         "-o,--output",
         [&settings](const std::string& name) { settings.format = kFormats.at(name); },
         "table, json or yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}));
  app.add_option("--cert", settings.tls.certificate, "Operator's certificate, for HOST:PORT")
      ->envname("TOMBOLO_CERT");
  app.add_option("--key", settings.tls.key, "Its key")->envname("TOMBOLO_KEY");
  app.add_option("--ca", settings.tls.ca, "Authority of the daemon's certificate")
      ->envname("TOMBOLO_CA");
  app.add_option("--timeout", settings.timeout_s, "Seconds to wait for the daemon's answer")
      ->check(CLI::Range(1, 600))
      ->capture_default_str();
}

void add_version(CLI::App& app, Session& session) {
  app.set_version_flag("--version", std::string("tombolo ") + TOMBOLO_VERSION);
  CLI::App* version =
      add_command(&app, "version", "Print the version of this program", "tombolo version -o json");
  version->callback([&session] {
    session.action = [&session] {
      json::object answer;
      answer["version"] = TOMBOLO_VERSION;
      return session.print(answer, {.facts = {{"tombolo", "version"}}, .sections = {}});
    };
  });
}

int refuse(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = &app;
  std::string path = "tombolo";
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    path += " " + command->get_name();
  }
  // CLI11 names the missing command, not the word that stands in its place.
  auto rest = app.remaining(true);
  bool unknown = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) &&
                 !rest.empty() && command->get_require_subcommand_min() > 0;
  std::string what =
      unknown ? fmt::format("\"{}\" is not a command", rest.front()) : one_line(error.what());
  fmt::print(stderr, "tombolo: {}; see {} --help\n", what, path);
  return 2;
}

}  // namespace

CLI::App* add_group(CLI::App& app, const std::string& name, const std::string& description) {
  CLI::App* group = app.add_subcommand(name, description);
  group->require_subcommand(1);
  return group;
}

CLI::App* add_command(CLI::App* to, const std::string& name, const std::string& description,
                      const std::string& examples) {
  CLI::App* command = to->add_subcommand(name, description);
  std::string footer = "Examples:\n  " + examples;
  for (std::size_t at = footer.find('\n', 11); at != std::string::npos;
       at = footer.find('\n', at + 3))
    footer.insert(at + 1, "  ");
  command->footer(footer + "\nOptions of every command: tombolo --help");
  return command;
}

CLI::Option* text_option(CLI::App* command, const std::string& name, const std::string& description,
                         std::function<void(const std::string&)> set) {
  return command->add_option_function<std::string>(name, set, description);
}

Result<std::string> read_input(const std::string& path, std::size_t limit) {
  if (path != "-") return read_file(path, limit);
  std::string text;
  for (std::istreambuf_iterator<char> in(std::cin), end; in != end; ++in) {
    text.push_back(*in);
    if (text.size() > limit)
      return fail(Code::kInvalidArgument, "standard input: larger than {} bytes", limit);
  }
  return text;
}

int run(int argc, char** argv) {
  CLI::App app("Tombolo joins Kubernetes clusters into one network. This is its command line.",
               "tombolo");
  Session session;
  app.fallthrough();
  app.require_subcommand(1);
  app.footer(kFooter);
  add_global_options(app, session);
  add_status_commands(app, session);
  add_plan_commands(app, session);
  add_cluster_commands(app, session);
  add_node_commands(app, session);
  add_object_commands(app, session);
  add_policy_commands(app, session);
  add_flow_commands(app, session);
  add_dns_commands(app, session);
  add_pki_commands(app, session);
  add_version(app, session);
  add_completion_command(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return refuse(app, error);
  }
  ENSURE(session.action != nullptr, "a command without an action");
  auto done = session.action();
  if (done) return 0;
  fmt::print(stderr, "tombolo: {}\n", one_line(done.error().text()));
  return exit_code(done.error());
}

}  // namespace tombolo::cli
