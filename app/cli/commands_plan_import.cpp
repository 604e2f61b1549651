// plan import: what running clusters use, as a piece of a fleet file. Reads saved outputs, and API
// servers by way of a kubeconfig; nothing is changed anywhere.
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>

#include "app/cli/commands.h"
#include "app/kube/kube.h"
#include "ipamd/import/import.h"

namespace tombolo::cli {
namespace {

// The nodes of a large cluster with all their images; kubectl prints 10 KB for each.
constexpr std::size_t kLongestDump = 64U << 20U;

// A program that logs in may wait for a browser.
constexpr auto kLoginTime = std::chrono::minutes(2);

struct ImportOptions {
  std::vector<std::string> files;        // "west=nodes.json", or a path alone
  std::vector<std::string> routes;       // paths
  std::vector<std::string> contexts;     // "west=admin@west", or a context alone
  std::vector<std::string> kubeconfigs;  // paths; empty: kubectl's
};

// "west=nodes.json": what is named, and by which name. Without one the name is empty.
struct Named {
  std::string name;
  std::string what;
};
Named named(const std::string& argument) {
  std::size_t equals = argument.find('=');
  if (equals == std::string::npos) return {"", argument};
  return {argument.substr(0, equals), argument.substr(equals + 1)};
}

Result<json::value> read_document(const std::string& path) {
  TRY(text, read_input(path, kLongestDump));
  JsonLimits limits;
  limits.bytes = kLongestDump;
  auto document = parse_json(text, limits);
  if (!document)
    return std::unexpected(
        std::move(document).error().with_context(path == "-" ? "standard input" : path));
  return std::move(*document);
}

// The cluster of this name, made when it is new; files without a name are one cluster.
ClusterFacts& facts_named(std::vector<ClusterFacts>& clusters, std::vector<std::string>& keys,
                          const std::string& key) {
  auto known = std::ranges::find(keys, key);
  if (known != keys.end()) return clusters[static_cast<std::size_t>(known - keys.begin())];
  keys.push_back(key);
  clusters.emplace_back().name = key;
  return clusters.back();
}

class Clusters {
 public:
  Result<void> read_files(const std::vector<std::string>& files) {
    for (const std::string& argument : files) {
      Named file = named(argument);
      TRY(document, read_document(file.what));
      TRY_OK(take(document, file.what, file.name));
    }
    return {};
  }
  // A context's name is the cluster's, when the argument gives none.
  Result<void> read_contexts(const ImportOptions& options) {
    auto files = options.kubeconfigs.empty() ? kube::default_kubeconfigs() : options.kubeconfigs;
    for (const std::string& argument : options.contexts) {
      Named context = named(argument);
      TRY(access, kube::read_access(files, context.what));
      const std::string name = context.name.empty() ? access.context : context.name;
      TRY(ready, kube::obtain_credentials(std::move(access), kLoginTime));
      const std::string server = ready.server;
      TRY(objects, objects_of(std::move(ready)));
      for (const std::string& reason : objects.withheld) Session::warn("left out: " + reason);
      for (json::object& document : objects.documents) {
        TRY_OK(take(json::value(std::move(document)), server, name));
      }
    }
    return {};
  }
  const std::vector<ClusterFacts>& facts() const { return facts_; }

 private:
  static Result<kube::ClusterObjects> objects_of(kube::Access access) {
    boost::asio::io_context io;
    TRY(client, kube::Client::make(std::move(access), io.get_executor()));
    Result<kube::ClusterObjects> objects = fail(Code::kInternal, "no answer");
    boost::asio::co_spawn(io, kube::cluster_objects(*client),
                          [&objects](std::exception_ptr, Result<kube::ClusterObjects> result) {
                            objects = std::move(result);
                          });
    io.run();
    return objects;
  }
  Result<void> take(const json::value& document, const std::string& place,
                    const std::string& name) {
    ClusterFacts& facts = facts_named(facts_, keys_, name);
    TRY_OK(read_cluster_facts(document, place, facts));
    if (!name.empty()) facts.name = name;
    return {};
  }

  std::vector<ClusterFacts> facts_;
  std::vector<std::string> keys_;
};

Result<void> import_facts(Session& session, const ImportOptions& options) {
  if (options.files.empty() && options.contexts.empty())
    return fail(Code::kInvalidArgument,
                "nothing to import: name files, or contexts of a kubeconfig with --context");
  Clusters read;
  TRY_OK(read.read_contexts(options));
  TRY_OK(read.read_files(options.files));
  const std::vector<ClusterFacts>& clusters = read.facts();
  std::vector<RouteFact> routes;
  for (const std::string& path : options.routes) {
    TRY(document, read_document(path));
    std::string name = std::filesystem::path(path).filename().string();
    TRY(more, read_route_dump(document, name));
    std::ranges::move(more, std::back_inserter(routes));
  }
  std::vector<std::string> conflicts = find_conflicts(clusters, routes);
  std::string fragment = fleet_fragment(clusters, routes);
  if (session.settings.format == Format::kTable) {
    TRY_OK(Session::write(fragment));
    for (const std::string& conflict : conflicts) Session::warn("conflict: " + conflict);
  } else {
    json::array list;
    for (const std::string& conflict : conflicts) list.emplace_back(conflict);
    json::object answer{{"fragment", fragment}, {"conflicts", std::move(list)}};
    TRY_OK(session.print(answer, {}));
  }
  if (conflicts.empty()) return {};
  return fail(Code::kFailedPrecondition, "{} conflict{} to be solved before these can be one fleet",
              conflicts.size(), conflicts.size() == 1 ? "" : "s");
}

}  // namespace

void add_plan_import(CLI::App* plan, Session& session) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = add_command(
      plan, "import", "Print what running clusters use, as a piece of a fleet file",
      "tombolo plan import --context west --context east=admin@east-1\n"
      "tombolo plan import west=west.json west=west-kubeadm.json --routes routes.json\n"
      "# where, beforehand:\n"
      "kubectl get nodes,services,servicecidrs -A -o json > west.json\n"
      "kubectl get -n kube-system configmap kubeadm-config -o json > west-kubeadm.json\n"
      "ip -j route > routes.json   # on a node or router");
  command->add_option(
      "FILE", options->files,
      "Output of kubectl get -o json, as CLUSTER=FILE or FILE (- for standard input)");
  command
      ->add_option("--context", options->contexts,
                   "Ask the API server of this context of a kubeconfig, as CLUSTER=CONTEXT or "
                   "CONTEXT; may be given again")
      ->allow_extra_args(false);
  command
      ->add_option("--kubeconfig", options->kubeconfigs,
                   "File with the contexts (default: $KUBECONFIG, else ~/.kube/config)")
      ->allow_extra_args(false);
  command
      ->add_option("--routes", options->routes,
                   "Output of ip -j route, or of aws ec2 describe-route-tables")
      ->allow_extra_args(false);
  command->callback([&session, options] {
    session.action = [&session, options] { return import_facts(session, *options); };
  });
}

}  // namespace tombolo::cli
