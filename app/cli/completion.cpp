// Completion for bash: a script made from the commands themselves, so that it never lags behind.
#include "app/cli/commands.h"

namespace tombolo::cli {
namespace {

// "  'cluster grant') words='--out --days …' ;;" for a command and all below it.
void add_cases(std::string& out, const CLI::App& command, const std::string& path) {
  std::string words;
  for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (child->get_name().empty()) continue;
    words += child->get_name() + " ";
    add_cases(out, *child, path.empty() ? child->get_name() : path + " " + child->get_name());
  }
  for (const CLI::Option* option : command.get_options())
    for (const auto& name : option->get_lnames()) words += "--" + name + " ";
  out += fmt::format("    '{}') words='{}' ;;\n", path, words);
}

std::string bash_script(const CLI::App& app) {
  std::string cases;
  add_cases(cases, app, "");
  std::string globals;
  for (const CLI::Option* option : app.get_options())
    for (const auto& name : option->get_lnames()) globals += "--" + name + " ";
  return fmt::format(
      "# Completion of tombolo for bash: . <(tombolo completion bash)\n"
      "_tombolo() {{\n"
      "  local path='' word words='' i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=${{COMP_WORDS[i]}}\n"
      "    case ${{COMP_WORDS[i - 1]}} in -*) continue ;; esac\n"
      "    case $word in [a-z]*) path=${{path:+$path }}$word ;; esac\n"
      "  done\n"
      "  case $path in\n"
      "{}"
      "  esac\n"
      "  case ${{COMP_WORDS[COMP_CWORD - 1]}} in\n"
      "    -o|--output) words='table json yaml' ;;\n"
      "    -f|--file|--out|--dir|--ca-dir|--cert|--key|--ca) COMPREPLY=($(compgen -f -- "
      "\"${{COMP_WORDS[COMP_CWORD]}}\")); return ;;\n"
      "    *) words=\"$words {}\" ;;\n"
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n"
      "}}\n"
      "complete -F _tombolo tombolo\n",
      cases, globals);
}

}  // namespace

void add_completion_command(CLI::App& app, Session& session) {
  CLI::App* completion = add_group(app, "completion", "Completion for a shell");
  CLI::App* bash = add_command(completion, "bash", "Print completion for bash",
                               "tombolo completion bash > /etc/bash_completion.d/tombolo");
  bash->callback(
      [&app, &session] { session.action = [&app] { return Session::write(bash_script(app)); }; });
}

}  // namespace tombolo::cli
