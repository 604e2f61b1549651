// cluster: which clusters know each other. Grants are files with a private key: they are written
// with mode 0600.
#include "app/cli/commands.h"

namespace tombolo::cli {
namespace {

constexpr std::size_t kLongestGrant = 256U << 10U;

struct GrantOptions {
  api::GrantClusterRequest request;
  std::string out;
  std::string authority;  // a folder of `pki init`: sign here, without a daemon
  pki::Grant offline;
};

View cluster_view(std::string_view rows) {
  return {.facts = {},
          .sections = {{rows,
                        {{"CLUSTER", "name"},
                         {"ID", "id"},
                         {"STATE", "standing"},
                         {"ADDRESS", "address"},
                         {"LAST HEARD", "last_heard"},
                         {"NODES", "nodes"},
                         {"SERVICES", "services"},
                         {"ENDPOINTS", "endpoints"},
                         {"ERROR", "error"}},
                        "no clusters"}}};
}

Result<std::string> grant_offline(Session& session, const GrantOptions& options) {
  TRY(authority, pki::read_authority(options.authority));
  TRY(facts, pki::read_certificate(authority.certificate));
  constexpr std::string_view kScheme = "spiffe://";
  if (facts.uris.size() != 1 || !facts.uris.front().starts_with(kScheme))
    return fail(Code::kFailedPrecondition, "{}: not made by tombolo pki init", options.authority);
  pki::Grant grant = options.offline;
  grant.fleet = facts.uris.front().substr(kScheme.size());
  grant.granted_to = options.request.cluster();
  grant.addresses = {options.request.addresses().begin(), options.request.addresses().end()};
  int days =
      options.request.valid_days() == 0 ? 365 : static_cast<int>(options.request.valid_days());
  TRY(made, pki::make_grant(std::move(grant), authority, {session.now(), days}));
  return pki::to_text(made);
}

Result<std::string> grant_online(Session& session, const GrantOptions& options) {
  TRY(response, session.call<api::ClusterApi>(&api::ClusterApi::Stub::Grant, options.request));
  return response.bundle();
}

Result<void> grant(Session& session, const GrantOptions& options) {
  auto made =
      options.authority.empty() ? grant_online(session, options) : grant_offline(session, options);
  TRY(bundle, std::move(made));
  if (options.out.empty()) return Session::write(bundle);
  TRY_OK(pki::write_file_atomically(options.out, bundle, 0600));
  json::object answer;
  answer["cluster"] = options.request.cluster();
  answer["file"] = options.out;
  return session.print(answer,
                       {.facts = {{"Cluster", "cluster"}, {"Grant", "file"}}, .sections = {}});
}

void add_grant(CLI::App* cluster, Session& session) {
  auto options = std::make_shared<GrantOptions>();
  CLI::App* command = add_command(
      cluster, "grant", "Let another cluster read what this one publishes",
      "tombolo cluster grant west --out west.grant   # then, at west: tombolo cluster join "
      "west.grant\n"
      "tombolo cluster grant west --ca-dir pki --cluster east --cluster-id 1 \\\n"
      "    --advertise store.east.example:2379       # signed here, without a daemon");
  text_option(command, "CLUSTER", "The cluster that will join", [options](const std::string& text) {
    options->request.set_cluster(text);
  })->required();
  command->add_option("--out", options->out,
                      "Write the grant there, mode 0600 (default: print it)");
  command->add_option_function<std::vector<std::string>>(
      "--advertise",
      [options](const std::vector<std::string>& list) {
        for (const auto& address : list) options->request.add_addresses(address);
      },
      "host:port under which the other cluster reaches this one's store (default: as configured)");
  command
      ->add_option_function<std::uint32_t>(
          "--days", [options](std::uint32_t days) { options->request.set_valid_days(days); },
          "Validity of the certificate (default 365)")
      ->check(CLI::Range(1, 3650));
  auto* directory = command->add_option("--ca-dir", options->authority,
                                        "Sign with this authority (pki init) instead of asking "
                                        "the daemon");
  auto* name = command->add_option("--cluster", options->offline.cluster,
                                   "With --ca-dir: the cluster that grants");
  auto* id =
      command->add_option("--cluster-id", options->offline.cluster_id, "With --ca-dir: its id");
  directory->needs(name)->needs(id);
  command->callback([&session, options] {
    session.action = [&session, options] { return grant(session, *options); };
  });
}

Result<void> join(Session& session, const std::string& path, bool replace) {
  TRY(text, read_input(path, kLongestGrant));
  // Read here first: the complaint is about the file that the operator has at hand.
  TRY(grant, pki::parse_grant(text, path, session.now()));
  api::JoinClusterRequest request;
  request.set_bundle(text);
  request.set_replace(replace);
  TRY(response, session.call<api::ClusterApi>(&api::ClusterApi::Stub::Join, request));
  return session.print(response, {.facts = {{"Cluster", "cluster.name"},
                                            {"Id", "cluster.id"},
                                            {"State", "cluster.state"},
                                            {"Address", "cluster.address"}},
                                  .sections = {}});
}

void add_join(CLI::App* cluster, Session& session) {
  CLI::App* command = add_command(cluster, "join", "Connect to a cluster that granted it",
                                  "tombolo cluster join east.grant\n"
                                  "ssh east tombolo cluster grant west | tombolo cluster join -");
  auto path = std::make_shared<std::string>();
  auto replace = std::make_shared<bool>(false);
  command->add_option("FILE", *path, "The grant, - for standard input")->required();
  command->add_flag("--replace", *replace, "Take the new grant of a cluster joined before");
  command->callback([&session, path, replace] {
    session.action = [&session, path, replace] { return join(session, *path, *replace); };
  });
}

}  // namespace

void add_cluster_commands(CLI::App& app, Session& session) {
  CLI::App* cluster = add_group(app, "cluster", "The clusters of the fleet");
  CLI::App* list = add_command(cluster, "list", "List the clusters that this one knows",
                               "tombolo cluster list -o yaml");
  answers_with<api::ClusterApi>(list, session, std::make_shared<api::ListClustersRequest>(),
                                &api::ClusterApi::Stub::List, cluster_view("clusters"));
  add_grant(cluster, session);
  add_join(cluster, session);
  add_join_checks(cluster, session);

  auto request = std::make_shared<api::LeaveClusterRequest>();
  CLI::App* leave =
      add_command(cluster, "leave", "Forget a cluster: its services and addresses leave this one",
                  "tombolo cluster leave west");
  text_option(leave, "CLUSTER", "Its name", [request](const std::string& text) {
    request->set_cluster(text);
  })->required();
  answers_with<api::ClusterApi>(leave, session, request, &api::ClusterApi::Stub::Leave, {});
}

}  // namespace tombolo::cli
