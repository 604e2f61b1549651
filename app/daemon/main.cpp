// tombolod: reads its configuration and runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "app/config/config.h"
#include "app/daemon/daemon.h"

namespace tombolo {
namespace {

LogLevel level_of(config::v1::LogLevel level) {
  switch (level) {
    case config::v1::LOG_LEVEL_DEBUG:
      return LogLevel::kDebug;
    case config::v1::LOG_LEVEL_WARNING:
      return LogLevel::kWarning;
    case config::v1::LOG_LEVEL_ERROR:
      return LogLevel::kError;
    default:
      return LogLevel::kInfo;
  }
}

int run(const config::Sources& sources, bool only_check) {
  auto config = config::load(sources);
  if (!config) {
    fmt::print(stderr, "tombolod: {}\n", config.error().what);
    return 2;
  }
  if (only_check) {
    fmt::print("{} is good\n", sources.file.empty() ? "the configuration" : sources.file);
    return 0;
  }
  Logger log = make_logger(level_of(config->log().level()),
                           config->log().format() == config::v1::LOG_FORMAT_JSON);
  auto outcome = run_daemon(*config, log);
  if (outcome) return 0;
  log.error("cannot start: {}", outcome.error().text());
  return 1;
}

}  // namespace
}  // namespace tombolo

int main(int argc, char** argv) {
  CLI::App app{"tombolod joins this node and its cluster to the fleet."};
  tombolo::config::Sources sources;
  bool only_check = false;
  app.add_option("--config", sources.file,
                 "YAML or JSON file; see schema/config/v1/config.proto for every field");
  app.add_option("--role", sources.roles, "agent, controller, or both: agent,controller");
  app.add_option("--set", sources.sets, "one field of the configuration: --set agent.mtu=1400");
  app.add_flag("--check", only_check, "read the configuration, say what is wrong with it, and end");
  app.set_version_flag("--version", TOMBOLO_VERSION);
  CLI11_PARSE(app, argc, argv);
  // A peer that goes away is an error of a write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  return tombolo::run(sources, only_check);
}
