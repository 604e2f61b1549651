// node: the nodes of a cluster, and what one holds that will never come back. Forgetting is asked
// about first: nothing brings back what it gives up. pool show and reclaim: the same of clusters.
#include "app/cli/commands_node.h"

#include <unistd.h>

#include <iostream>

namespace tombolo::cli {
namespace {

struct ForgetOptions {
  api::ForgetNodeRequest request;
  bool yes = false;
};

View forget_view() {
  return {
      .facts = {{"Node", "node"}, {"Forgotten", "forgotten"}},
      .sections = {{"holdings",
                    {{"WHAT", "what"}, {"NAME", "name"}, {"POOL", "pool"}, {"WHOSE", "whose"}}}}};
}

Result<void> confirm(Session& session, const ForgetOptions& options) {
  if (options.yes || options.request.dry_run()) return {};
  if (::isatty(STDIN_FILENO) == 0)
    return fail(Code::kFailedPrecondition,
                "nothing was done: without a terminal to ask, say --yes or --dry-run");
  api::ForgetNodeRequest look = options.request;
  look.set_dry_run(true);
  TRY(held, session.call<api::NodeApi>(&api::NodeApi::Stub::Forget, look));
  Session::warn(
      fmt::format("Node {} holds {} things (--dry-run lists them). If any of its pods "
                  "still runs, another pod gets its address.",
                  options.request.node(), held.holdings_size()));
  Session::warn("Type the node's name to forget it:");
  std::string typed;
  if (!std::getline(std::cin, typed) || typed != options.request.node())
    return fail(Code::kFailedPrecondition, "nothing was done");
  return {};
}

Result<void> forget(Session& session, const ForgetOptions& options) {
  TRY_OK(confirm(session, options));
  TRY(done, session.call<api::NodeApi>(&api::NodeApi::Stub::Forget, options.request));
  return session.print(done, forget_view());
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

  auto reclaimed = std::make_shared<api::ReclaimPoolRequest>();
  CLI::App* reclaim = add_command(
      pool, "reclaim", "Take back the parts of a cluster that is gone for ever with all its pods",
      "tombolo pool reclaim racks --cluster-is-gone west   # at the pool's home");
  text_option(reclaim, "POOL", "Its name", [reclaimed](const std::string& text) {
    reclaimed->set_pool(text);
  })->required();
  text_option(reclaim, "--cluster-is-gone",
              "The cluster. If any of its pods still runs, another pod gets its address",
              [reclaimed](const std::string& text) { reclaimed->set_cluster(text); })
      ->required();
  answers_with<api::SharedPoolApi>(reclaim, session, reclaimed, &api::SharedPoolApi::Stub::Reclaim,
                                   {});
}

}  // namespace tombolo::cli
