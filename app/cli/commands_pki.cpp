// pki: authorities and certificates on this machine's disk; no daemon is asked.
#include "app/cli/commands.h"
#include "core/yaml.h"

namespace tombolo::cli {
namespace {

struct PkiOptions {
  std::string directory;  // of the authority
  std::string fleet;
  std::string cluster;
  std::string node;
  std::string operator_name;
  bool controller = false;
  std::string role;
  std::vector<std::string> dns_names;
  std::vector<std::string> ips;
  std::string out;
  std::string path;
  int days = 0;
};

json::value facts_of(const pki::Certificate& certificate, const std::string& file) {
  json::array dns_names;
  for (const auto& name : certificate.dns_names) dns_names.emplace_back(name);
  json::array ips;
  for (const auto& ip : certificate.ips) ips.emplace_back(ip.str());
  json::array uris;
  for (const auto& uri : certificate.uris) uris.emplace_back(uri);
  json::object facts;
  facts["file"] = file;
  facts["subject"] = certificate.subject;
  facts["issuer"] = certificate.issuer;
  facts["uris"] = std::move(uris);
  facts["dns_names"] = std::move(dns_names);
  facts["ips"] = std::move(ips);
  facts["role"] = to_string(certificate.role);
  facts["authority"] = certificate.authority;
  facts["not_before"] = format_rfc3339(certificate.not_before);
  facts["not_after"] = format_rfc3339(certificate.not_after);
  facts["serial"] = certificate.serial;
  return facts;
}

Result<void> print_certificate(Session& session, const std::string& file) {
  TRY(pem, read_file(file, 1U << 20U));
  auto certificate = pki::read_certificate(pem);
  if (!certificate) return std::unexpected(std::move(certificate).error().with_context(file));
  if (auto warning = pki::expiry_warning(file, *certificate, session.now()); !warning.empty())
    Session::warn(warning);
  return session.print(facts_of(*certificate, file), {.facts = {{"File", "file"},
                                                                {"Name", "uris"},
                                                                {"Role", "role"},
                                                                {"DNS names", "dns_names"},
                                                                {"Addresses", "ips"},
                                                                {"Subject", "subject"},
                                                                {"Issuer", "issuer"},
                                                                {"Authority", "authority"},
                                                                {"From", "not_before"},
                                                                {"Until", "not_after"}},
                                                      .sections = {}});
}

Result<void> init(Session& session, const PkiOptions& options) {
  int days = options.days == 0 ? 3650 : options.days;
  TRY(authority, pki::make_authority(options.fleet, options.cluster, {session.now(), days}));
  TRY_OK(pki::write_authority(options.directory, authority));
  return print_certificate(session, options.directory + "/ca.crt");
}

Result<pki::IssueRequest> request_of(const PkiOptions& options, const std::string& authority_uri) {
  constexpr std::string_view kScheme = "spiffe://";
  if (!authority_uri.starts_with(kScheme))
    return fail(Code::kFailedPrecondition, "{}: not made by tombolo pki init", options.directory);
  pki::IssueRequest request;
  request.name.fleet = authority_uri.substr(kScheme.size());
  request.name.cluster = options.cluster;
  if (options.controller) {
    request.name.kind = pki::Kind::kController;
  } else {
    request.name.kind = options.node.empty() ? pki::Kind::kOperator : pki::Kind::kNode;
    request.name.name = options.node.empty() ? options.operator_name : options.node;
  }
  if (!options.role.empty()) {
    TRY(role, pki::parse_role(options.role));
    request.role = role;
  } else if (request.name.kind == pki::Kind::kOperator) {
    request.role = pki::Role::kViewer;
  }
  request.dns_names = options.dns_names;
  for (const auto& text : options.ips) {
    TRY(ip, Ip::parse(text));
    request.ips.push_back(ip);
  }
  return request;
}

// "east/controller", "east/node-east-1", "east/operator-ann".
std::string default_folder(const PkiOptions& options) {
  std::string kind = "controller";
  if (!options.node.empty()) kind = "node-" + options.node;
  if (!options.operator_name.empty()) kind = "operator-" + options.operator_name;
  return fmt::format("{}/issued/{}/{}", options.directory, options.cluster, kind);
}

Result<void> issue(Session& session, const PkiOptions& options) {
  TRY(authority, pki::read_authority(options.directory));
  TRY(authority_facts, pki::read_certificate(authority.certificate));
  TRY(request, request_of(options, authority_facts.uris.empty() ? "" : authority_facts.uris[0]));
  TRY_OK(pki::check_name(request.name));
  std::string folder = options.out.empty() ? default_folder(options) : options.out;
  if (pki::read_identity(folder))
    return fail(Code::kAlreadyExists, "{}/tls.crt is there already; see tombolo pki renew", folder);
  int days = options.days == 0 ? 365 : options.days;
  TRY(pair, pki::issue(authority, request, {session.now(), days}));
  TRY_OK(pki::write_identity(folder, pair, authority.certificate));
  return print_certificate(session, folder + "/tls.crt");
}

Result<void> renew(Session& session, const PkiOptions& options) {
  TRY(authority, pki::read_authority(options.directory));
  TRY(old, pki::read_identity(options.path));
  int days = options.days == 0 ? 365 : options.days;
  TRY(pair, pki::renew(authority, old, {session.now(), days}));
  TRY_OK(pki::write_file_atomically(options.path + "/tls.crt", pair.certificate, 0644));
  return print_certificate(session, options.path + "/tls.crt");
}

Result<void> show(Session& session, const PkiOptions& options) {
  return print_certificate(session, options.path);
}

using Action = Result<void> (*)(Session&, const PkiOptions&);

void runs(CLI::App* command, Session& session, std::shared_ptr<PkiOptions> options, Action action) {
  command->callback([&session, options, action] {
    session.action = [&session, options, action] { return action(session, *options); };
  });
}

void authority_option(CLI::App* command, PkiOptions& options) {
  command->add_option("--dir", options.directory, "Folder of the authority (ca.crt, ca.key)")
      ->required();
}

void add_issue(CLI::App* pki_group, Session& session) {
  auto options = std::make_shared<PkiOptions>();
  CLI::App* command = add_command(
      pki_group, "issue", "Sign a certificate for a controller, a node or an operator",
      "tombolo pki issue --dir pki --cluster east --controller --dns store.east.example --ip "
      "192.0.2.1\n"
      "tombolo pki issue --dir pki --cluster east --node east-1 --ip 192.0.2.11\n"
      "tombolo pki issue --dir pki --cluster east --operator ann --role admin");
  authority_option(command, *options);
  command->add_option("--cluster", options->cluster, "Its cluster")->required();
  auto* who = command->add_option_group("who", "One of");
  who->add_flag("--controller", options->controller, "The cluster's controller");
  who->add_option("--node", options->node, "A node, by name");
  who->add_option("--operator", options->operator_name, "Somebody who uses the admin API");
  who->require_option(1);
  command->add_option("--role", options->role, "Of an operator: viewer (default) or admin")
      ->check(CLI::IsMember({"viewer", "admin"}));
  command->add_option("--dns", options->dns_names, "DNS name it is reached by (may be repeated)");
  command->add_option("--ip", options->ips, "Address it is reached by (may be repeated)");
  command->add_option("--out", options->out,
                      "Folder for tls.crt, tls.key (mode 0600) and ca.crt "
                      "(default DIR/issued/CLUSTER/NAME)");
  command->add_option("--days", options->days, "Validity (default 365)")
      ->check(CLI::Range(1, 3650));
  runs(command, session, options, issue);
}

}  // namespace

void add_pki_commands(CLI::App& app, Session& session) {
  CLI::App* group = add_group(app, "pki", "Keys and certificates of the fleet");

  auto made = std::make_shared<PkiOptions>();
  CLI::App* init_command =
      add_command(group, "init", "Make the authority of a fleet, or of one cluster of it",
                  "tombolo pki init --fleet islands --dir pki\n"
                  "tombolo pki init --fleet islands --cluster east --dir pki-east");
  authority_option(init_command, *made);
  init_command->add_option("--fleet", made->fleet, "Name of the fleet, as in spiffe://FLEET/…")
      ->required();
  init_command->add_option("--cluster", made->cluster, "Name it after this cluster");
  init_command->add_option("--days", made->days, "Validity (default 3650)")
      ->check(CLI::Range(1, 7300));
  runs(init_command, session, made, init);

  add_issue(group, session);

  auto renewed = std::make_shared<PkiOptions>();
  CLI::App* renew_command =
      add_command(group, "renew", "Sign the same name and key again; programs notice by themselves",
                  "tombolo pki renew --dir pki pki/issued/east/controller");
  authority_option(renew_command, *renewed);
  renew_command->add_option("FOLDER", renewed->path, "Folder with tls.crt and tls.key")->required();
  renew_command->add_option("--days", renewed->days, "Validity (default 365)")
      ->check(CLI::Range(1, 3650));
  runs(renew_command, session, renewed, renew);

  auto shown = std::make_shared<PkiOptions>();
  CLI::App* show_command = add_command(group, "show", "Say what a certificate says",
                                       "tombolo pki show pki/issued/east/controller/tls.crt");
  show_command->add_option("FILE", shown->path, "A certificate in PEM")->required();
  runs(show_command, session, shown, show);
}

}  // namespace tombolo::cli
