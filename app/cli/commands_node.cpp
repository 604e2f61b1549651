// node: the nodes of a cluster, and what one holds that will never come back. pool show and
// reclaim: the same of clusters. Both are asked about first: nothing brings back what is given up.
#include "app/cli/commands_node.h"

#include <unistd.h>

#include <iostream>

namespace tombolo::cli {
namespace {

struct ForgetOptions {
  api::ForgetNodeRequest request;
  bool yes = false;
};

struct ReclaimOptions {
  api::ReclaimPoolRequest request;
  bool yes = false;
};

View forget_view() {
  return {
      .facts = {{"Node", "node"}, {"Forgotten", "forgotten"}},
      .sections = {{"holdings",
                    {{"WHAT", "what"}, {"NAME", "name"}, {"POOL", "pool"}, {"WHOSE", "whose"}}}}};
}

// Asks for `name` to be typed.
Result<void> confirm(const std::string& question, const std::string& name) {
  if (::isatty(STDIN_FILENO) == 0)
    return fail(Code::kFailedPrecondition,
                "nothing was done: without a terminal to ask, say --yes or --dry-run");
  Session::warn(question);
  Session::warn(fmt::format("Type {} to go on:", name));
  std::string typed;
  if (!std::getline(std::cin, typed) || typed != name)
    return fail(Code::kFailedPrecondition, "nothing was done");
  return {};
}

Result<void> forget(Session& session, const ForgetOptions& options) {
  const api::ForgetNodeRequest& request = options.request;
  if (!options.yes && !request.dry_run()) {
    api::ForgetNodeRequest look = request;
    look.set_dry_run(true);
    TRY(held, session.call<api::NodeApi>(&api::NodeApi::Stub::Forget, look));
    TRY_OK(confirm(fmt::format("Node {} holds {} things (--dry-run lists them). If any of its pods "
                               "still runs, another pod gets its address.",
                               request.node(), held.holdings_size()),
                   request.node()));
  }
  TRY(done, session.call<api::NodeApi>(&api::NodeApi::Stub::Forget, request));
  return session.print(done, forget_view());
}

Result<void> reclaim(Session& session, const ReclaimOptions& options) {
  const api::ReclaimPoolRequest& request = options.request;
  if (!options.yes && !request.dry_run()) {
    api::ReclaimPoolRequest look = request;
    look.set_dry_run(true);
    TRY(has, session.call<api::SharedPoolApi>(&api::SharedPoolApi::Stub::Reclaim, look));
    TRY_OK(
        confirm(fmt::format("Cluster {} has {} parts of {} (--dry-run lists them). If any of its "
                            "pods still runs, another pod gets its address.",
                            request.cluster(), has.parts_size(), request.pool()),
                request.cluster()));
  }
  TRY(done, session.call<api::SharedPoolApi>(&api::SharedPoolApi::Stub::Reclaim, request));
  return session.print(done, {.facts = {{"Pool", "pool"},
                                        {"Cluster", "cluster"},
                                        {"Reclaimed", "reclaimed"},
                                        {"Parts", "parts"}},
                              .sections = {}});
}

}  // namespace

void add_node_commands(CLI::App& app, Session& session) {
  CLI::App* node = add_group(app, "node", "The nodes of the cluster");
  CLI::App* list = add_command(node, "list", "List nodes with what they hold", "tombolo node list");
  answers_with<api::NodeApi>(list, session, std::make_shared<api::ListNodesRequest>(),
                             &api::NodeApi::Stub::List,
                             {.facts = {},
                              .sections = {{"nodes",
                                            {{"NODE", "name"},
                                             {"ALIVE", "alive"},
                                             {"ADDRESSES", "addresses"},
                                             {"BLOCKS", "blocks"},
                                             {"INTERFACES", "interfaces"},
                                             {"CLAIMS", "claims"},
                                             {"POOL BLOCKS", "pool_blocks"}},
                                            "no nodes"}}});

  auto options = std::make_shared<ForgetOptions>();
  CLI::App* command = add_command(
      node, "forget", "Give up what a node holds that is gone for ever, with all its pods",
      "tombolo node forget east-7 --dry-run   # what it holds\n"
      "tombolo node forget east-7");
  text_option(command, "NODE", "Its name", [options](const std::string& text) {
    options->request.set_node(text);
  })->required();
  auto* dry = command->add_flag_function(
      "--dry-run", [options](std::int64_t count) { options->request.set_dry_run(count > 0); },
      "Only say what it holds");
  command->add_flag("--yes", options->yes, "Do not ask")->excludes(dry);
  command->callback([&session, options] {
    session.action = [&session, options] { return forget(session, *options); };
  });
}

void add_shared_pools(CLI::App* pool, Session& session) {
  auto shown = std::make_shared<api::ShowPoolRequest>();
  CLI::App* show = add_command(pool, "show", "Show which cluster has which part of a shared pool",
                               "tombolo pool show racks");
  text_option(show, "POOL", "Its name", [shown](const std::string& text) {
    shown->set_pool(text);
  })->required();
  answers_with<api::SharedPoolApi>(
      show, session, shown, &api::SharedPoolApi::Stub::Show,
      {.facts = {{"Pool", "pool"},
                 {"Home", "home"},
                 {"Recovering", "recovering"},
                 {"Scarce", "scarce"},
                 {"Problems", "problems"}},
       .sections = {{"parts",
                     {{"PART", "range"}, {"CLUSTER", "cluster"}, {"STATE", "state"}},
                     "no part is granted"}}});

  auto options = std::make_shared<ReclaimOptions>();
  CLI::App* command = add_command(
      pool, "reclaim", "Take back the parts of a cluster that is gone for ever with all its pods",
      "tombolo pool reclaim racks --cluster-is-gone west --dry-run   # at the pool's home\n"
      "tombolo pool reclaim racks --cluster-is-gone west");
  text_option(command, "POOL", "Its name", [options](const std::string& text) {
    options->request.set_pool(text);
  })->required();
  text_option(command, "--cluster-is-gone", "The cluster. Refused while its store answers",
              [options](const std::string& text) { options->request.set_cluster(text); })
      ->required();
  auto* dry = command->add_flag_function(
      "--dry-run", [options](std::int64_t count) { options->request.set_dry_run(count > 0); },
      "Only say which parts it has");
  command->add_flag("--yes", options->yes, "Do not ask")->excludes(dry);
  command->callback([&session, options] {
    session.action = [&session, options] { return reclaim(session, *options); };
  });
}

}  // namespace tombolo::cli
