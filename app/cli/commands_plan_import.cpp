// plan import: what running clusters use, as a piece of a fleet file. Reads files only; nothing is
// changed anywhere.
#include <algorithm>
#include <filesystem>

#include "app/cli/commands.h"
#include "ipamd/import/import.h"

namespace tombolo::cli {
namespace {

// The nodes of a large cluster with all their images; kubectl prints 10 KB for each.
constexpr std::size_t kLongestDump = 64U << 20U;

struct ImportOptions {
  std::vector<std::string> files;   // "west=nodes.json", or a path alone
  std::vector<std::string> routes;  // paths
};

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

Result<std::vector<ClusterFacts>> read_clusters(const std::vector<std::string>& files) {
  std::vector<ClusterFacts> clusters;
  std::vector<std::string> keys;
  for (const std::string& argument : files) {
    std::size_t equals = argument.find('=');
    std::string name = equals == std::string::npos ? "" : argument.substr(0, equals);
    std::string path = equals == std::string::npos ? argument : argument.substr(equals + 1);
    TRY(document, read_document(path));
    ClusterFacts& facts = facts_named(clusters, keys, name);
    TRY_OK(read_cluster_facts(document, path, facts));
    if (!name.empty()) facts.name = name;
  }
  return clusters;
}

Result<void> import_facts(Session& session, const ImportOptions& options) {
  TRY(clusters, read_clusters(options.files));
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
      "tombolo plan import west=west.json west=west-kubeadm.json --routes routes.json\n"
      "# where, beforehand:\n"
      "kubectl get nodes,services,servicecidrs -A -o json > west.json\n"
      "kubectl get -n kube-system configmap kubeadm-config -o json > west-kubeadm.json\n"
      "ip -j route > routes.json   # on a node or router");
  command
      ->add_option("FILE", options->files,
                   "Output of kubectl get -o json, as CLUSTER=FILE or FILE (- for standard input)")
      ->required();
  command
      ->add_option("--routes", options->routes,
                   "Output of ip -j route, or of aws ec2 describe-route-tables")
      ->allow_extra_args(false);
  command->callback([&session, options] {
    session.action = [&session, options] { return import_facts(session, *options); };
  });
}

}  // namespace tombolo::cli
