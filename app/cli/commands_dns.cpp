// dns: asks a DNS server directly, as a pod would; no admin API is involved.
#include "app/cli/commands.h"
#include "dns/query.h"

namespace tombolo::cli {
namespace {

struct QuestionOptions {
  std::string server = "169.254.20.10:53";
  std::string name;
  std::string type;
  bool tcp = false;
};

Result<Endpoint> server_of(const std::string& text) {
  if (auto ip = Ip::parse(text)) return Endpoint{*ip, 53};
  auto endpoint = Endpoint::parse(text);
  if (!endpoint)
    return fail(Code::kInvalidArgument, "--server: \"{}\" is not address or address:port", text);
  return *endpoint;
}

Result<void> query(Session& session, const QuestionOptions& options) {
  TRY(server, server_of(options.server));
  TRY(question, dns::parse_query(server, options.name, options.type));
  question.tcp = options.tcp;
  question.timeout = std::chrono::seconds(session.settings.timeout_s);
  TRY(answer, dns::query_server(question));
  if (session.settings.format == Format::kTable) return Session::write(dns::answer_text(answer));
  return session.print(dns::answer_json(answer), {});
}

}  // namespace

void add_dns_commands(CLI::App& app, Session& session) {
  CLI::App* dns = add_group(app, "dns", "Names as the node's DNS server answers them");
  auto options = std::make_shared<QuestionOptions>();
  CLI::App* command =
      add_command(dns, "query", "Ask one question and show the answer with its reasons",
                  "tombolo dns query rebel-base.default.svc.clusterset.local\n"
                  "tombolo dns query _http._tcp.rebel-base.default.svc.cluster.local SRV --tcp\n"
                  "tombolo dns query 10.96.0.10 --server 127.0.0.1:5353   # whose address is it?");
  command->add_option("NAME", options->name, "A name, or an address for its PTR record")
      ->required();
  command->add_option("TYPE", options->type, "A (default), AAAA, SRV, PTR, TXT, …");
  command->add_option("--server", options->server, "ADDRESS or ADDRESS:PORT")
      ->envname("TOMBOLO_DNS")
      ->capture_default_str();
  command->add_flag("--tcp", options->tcp, "Over TCP (default: UDP, and TCP when it is cut)");
  command->callback([&session, options] {
    session.action = [&session, options] { return query(session, *options); };
  });
}

}  // namespace tombolo::cli
