// The real program against an admin server with fixed answers: outputs, exit codes, and that an
// error is one line on standard error.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fstream>

#include "app/admin/fakes.h"
#include "core/yaml.h"

namespace tombolo::cli {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

// Runs build/…/bin/tombolo with files as its output and `input` as its standard input.
class Program {
 public:
  explicit Program(const admin::TemporaryFolder& folder) : folder_(folder) {}

  Outcome run(std::vector<std::string> arguments, const std::string& input = "") const {
    std::string out = folder_ / "stdout";
    std::string err = folder_ / "stderr";
    std::string in = folder_ / "stdin";
    std::ofstream(in) << input;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    arguments.insert(arguments.begin(), "tombolo");
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::vector<std::string> environment{"TOMBOLO_ADDRESS=unix://" + (folder_ / "admin.sock"),
                                         "PATH=/usr/bin:/bin"};
    std::vector<char*> envp;
    for (auto& variable : environment) envp.push_back(variable.data());
    envp.push_back(nullptr);
    pid_t child = 0;
    int error = ::posix_spawn(&child, TOMBOLO_BIN_DIR "/tombolo", &files, nullptr, argv.data(),
                              envp.data());
    posix_spawn_file_actions_destroy(&files);
    REQUIRE(error == 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    return {WEXITSTATUS(status), read_file(out).value(), read_file(err).value()};
  }

 private:
  const admin::TemporaryFolder& folder_;
};

struct Fixture {
  admin::TemporaryFolder folder;
  admin::FakeDaemon daemon;
  Program program{folder};

  Fixture() {
    admin::ServerOptions options;
    options.socket = folder / "admin.sock";
    options.viewer_socket = folder / "viewer.sock";
    options.audit_file = folder / "audit.log";
    options.fleet = "islands";
    options.cluster = "east";
    REQUIRE(daemon.start(options));
    std::ofstream(folder / "fleet.yaml") << "fleet: text for the daemon\n";
  }
};

std::vector<std::string> words(std::string_view line, const std::string& folder) {
  std::vector<std::string> result;
  while (!line.empty()) {
    std::size_t space = line.find(' ');
    std::string word(line.substr(0, space));
    if (std::size_t at = word.find("DIR"); at != std::string::npos) word.replace(at, 4, folder);
    result.push_back(std::move(word));
    line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
  }
  return result;
}

TEST_CASE("commands and what they print") {
  struct Case {
    const char* name;
    const char* line;
    const char* out;
  };
  auto c = GENERATE(values<Case>({
      {"status", "status",
       "Version:     0.1.0\n"
       "Roles:       agent,controller\n"
       "Fleet:       islands\n"
       "Cluster:     east\n"
       "Cluster id:  1\n"
       "Node:        east-1\n"
       "Started:     2026-01-01T00:00:00Z\n"
       "Uptime (s):  61\n"
       "Store:       embedded\n"
       "Revision:    42\n"
       "Synced:      yes\n"
       "\n"
       "tls.crt ends in 10 days\n"
       "\n"
       "RECONCILER  OBJECT  STATE  REVISION  ATTEMPTS  ERROR\n"
       "lb          -       done   42        0         -\n"},
      {"cluster list", "cluster list",
       "CLUSTER  ID  STATE                               ADDRESS         LAST HEARD            "
       "NODES"
       "  SERVICES  ENDPOINTS  ERROR\n"
       "east     1   self                                -               -                     0   "
       " "
       "  0         0          -\n"
       "west     2   control plane away, silent for 12s  192.0.2.2:2379  2026-01-01T00:00:00Z  0   "
       " "
       "  0         0          no answer for 12 s\n"},
      {"policy list", "policy list --rules",
       "NAMESPACE  NAME            KIND           GOVERNS       ISOLATES  RULES  PODS HERE      "
       "FLOWS  PACKETS  BYTES  STATE     ERROR\n"
       "stars      backend-policy  NetworkPolicy  role=backend  ingress   1      stars/backend  "
       "7      70       7000   in force  -\n"
       "\n"
       "POLICY                RULE        DIRECTION  ACTION  FLOWS  PACKETS  BYTES  SAYS\n"
       "stars/backend-policy  ingress[0]  ingress    allow   7      70       7000   from pods "
       "role=frontend of namespace stars to TCP/6379\n"},
      {"no policies", "policy list -n empty", "no policies\n"},
      {"policy explain", "policy explain client/client west/stars/backend:6379",
       "Verdict:   denied\n"
       "Protocol:  TCP\n"
       "Port:      6379\n"
       "\n"
       "END          IS   CLUSTER  NAMESPACE  POD      ADDRESS   IDENTITY  LABELS        "
       "NAMESPACE LABELS\n"
       "source       pod  east     client     client   10.1.1.9  65541     role=client   -\n"
       "destination  pod  west     stars      backend  10.2.1.7  131073    role=backend  -\n"
       "\n"
       "DIRECTION  VERDICT  BY                               IN THE KERNEL\n"
       "ingress    denied   isolation of stars/default-deny  -\n"
       "\n"
       "DIRECTION  RULE        OF                                  FAILED  WHY\n"
       "ingress    ingress[0]  NetworkPolicy/stars/backend-policy  peer    labels do not match "
       "role=frontend\n"},
      {"flows", "flows --last 2",
       "2026-01-01T00:00:00.250Z DROPPED east/client/client:41000 -> west/stars/backend:6379/TCP "
       "by "
       "isolation of stars/default-deny\n"
       "2026-01-01T00:00:00.250Z DROPPED east/client/client:41000 -> west/stars/backend:6379/TCP "
       "by "
       "isolation of stars/default-deny\n"},
      {"wait", "wait --synced --for 5", "Revision:  42\n"},
      {"plan show", "plan show",
       "Store revision:  7\n"
       "\n"
       "CLUSTER  REGION  USE  FAMILY  CIDR         SIZE  PER-NODE  ORIGIN\n"
       "east     -       pod  -       10.1.0.0/16  -     24        -\n"
       "\n"
       "nothing overlaps\n"},
      {"plan apply", "plan apply -f DIR/fleet.yaml --reason grow",
       "Store revision:  8\n\nnothing to change: this plan is in force\n"},
      {"plan routes", "plan routes --commands", "ip route replace 10.1.0.0/16 via 192.0.2.1\n"},
      {"plan history", "plan history",
       "PLAN  TIME                  WHO           CLUSTERS  RESTORES  REASON\n"
       "1     2026-01-01T00:00:00Z  operator/ann  2         -         the first\n"},
      {"plan rollback", "plan rollback 1 --reason back",
       "Plan:            3\n"
       "Store revision:  9\n"
       "\n"
       "- cluster west\n"},
      {"plan diff", "plan diff 1", "no difference\n"},
      {"plan export", "plan export --format csv",
       "cluster,id,region,cloud,use,family,cidr,per_node,origin,zone\n"
       "east,1,sea,on-prem,pod,IPv4,10.1.0.0/16,24,given,\n"},
      {"pool list", "pool list --node east-2",
       "POOL  CLUSTER  NODE    USE  CIDR         SIZE  USED  FREE\n"
       "pod   east     east-2  -    10.1.1.0/24  254   3     251\n"},
      {"ip list", "ip list -n default",
       "IP        NAMESPACE  POD    NODE    INTERFACE  STATE   SINCE\n"
       "10.1.1.5  default    web-0  east-1  -          in use  -\n"},
      {"ip explain", "ip explain 10.1.1.5",
       "Address:  10.1.1.5\n"
       "Is:       pod default/web-0 of east\n"
       "\n"
       "WHAT   FINDING                     SOURCE\n"
       "block  10.1.1.0/24 of node east-1  node_blocks\n"},
      {"endpoint list", "endpoint list --service rebel-base",
       "NAMESPACE  POD    CLUSTER  NODE    IPS       IDENTITY  STATE  SERVICES\n"
       "default    web-0  east     east-1  10.1.1.5  -         ready  -\n"},
      {"an empty list", "service list -n empty", "no services\n"},
      {"cluster leave", "cluster leave west", ""},
      {"pool show", "pool show racks",
       "Pool:        racks\n"
       "Home:        east\n"
       "Recovering:  no\n"
       "Scarce:      no\n"
       "\n"
       "PART         CLUSTER  STATE\n"
       "10.9.0.0/28  east     held\n"},
      {"pool reclaim", "pool reclaim racks --cluster-is-gone west --yes",
       "Pool:       racks\n"
       "Cluster:    west\n"
       "Reclaimed:  yes\n"
       "Parts:      10.9.0.16/28\n"},
      {"node list", "node list",
       "NODE    ALIVE  ADDRESSES   BLOCKS       INTERFACES  CLAIMS  POOL BLOCKS\n"
       "east-1  yes    172.18.0.2  10.1.1.0/24  3           0       0\n"},
      {"node forget: what would be given up", "node forget east-2 --dry-run",
       "Node:       east-2\n"
       "Forgotten:  no\n"
       "\n"
       "WHAT        NAME         POOL  WHOSE\n"
       "node block  10.1.2.0/24  -     -\n"},
      {"node forget", "node forget east-2 --yes",
       "Node:       east-2\n"
       "Forgotten:  yes\n"
       "\n"
       "WHAT        NAME         POOL  WHOSE\n"
       "node block  10.1.2.0/24  -     -\n"},
      {"cluster grant", "cluster grant west", "bundle for west\n"},
      {"yaml after the command", "wait -o yaml", "revision: 42\nreconcilers: []\n"},
      {"ip release", "ip release 172.18.41.40",
       "Address:       172.18.41.40\n"
       "Pool:          racks\n"
       "Was kept for:  StatefulSet/shop/db/0/eth0\n"},
      {"json before the command", "-o json ip explain 10.1.1.5",
       "{\n"
       "  \"ip\": \"10.1.1.5\",\n"
       "  \"verdict\": \"pod default/web-0 of east\",\n"
       "  \"findings\": [\n"
       "    {\n"
       "      \"subject\": \"block\",\n"
       "      \"text\": \"10.1.1.0/24 of node east-1\",\n"
       "      \"source\": \"node_blocks\"\n"
       "    }\n"
       "  ]\n"
       "}\n"},
      {"version", "version", "tombolo:  0.1.0\n"},
  }));
  INFO(c.name);
  Fixture f;
  Outcome outcome = f.program.run(words(c.line, f.folder / ""));
  REQUIRE(outcome.err == "");
  REQUIRE(outcome.out == c.out);
  REQUIRE(outcome.code == 0);
}

TEST_CASE("service export: host routes, and for others than load balancers none") {
  Fixture f;
  Outcome exported = f.program.run({"service", "export", "--format", "bird"});
  REQUIRE(exported.code == 0);
  REQUIRE(exported.out ==
          "# Load balancer addresses of cluster east, written by\n"
          "# tombolo service export --format bird.\n"
          "protocol static load_balancers_ipv4 {\n"
          "  ipv4;\n"
          "}\n"
          "function is_load_balancer_ipv4() { return false; }\n"
          "protocol static load_balancers_ipv6 {\n"
          "  ipv6;\n"
          "}\n"
          "function is_load_balancer_ipv6() { return false; }\n");
  REQUIRE(f.program.run({"service", "export", "--format", "cisco"}).code == 2);
}

TEST_CASE("service explain and import") {
  Fixture f;
  Outcome explained = f.program.run({"service", "explain", "default/rebel-base"});
  REQUIRE(explained.code == 0);
  REQUIRE_THAT(explained.out, ContainsSubstring("Cluster addresses:  10.96.0.10,fd00:96::10\n"));
  REQUIRE_THAT(explained.out, ContainsSubstring("west does not share the service\n"));
  REQUIRE_THAT(explained.out, ContainsSubstring("affinity  none   east     this cluster's own"));
  REQUIRE(f.program.run({"service", "explain", "missing/x"}).code == 3);
  REQUIRE(f.program.run({"service", "explain", "x", "-n", "missing"}).code == 3);
  REQUIRE(f.program.run({"service", "import", "default/rebel-base"}).code == 0);
  REQUIRE(f.program.run({"service", "import", "default/rebel-base", "--remove"}).out == "");
  Outcome audit = f.program.run({"audit", "list", "-o", "json"});
  REQUIRE_THAT(audit.out, ContainsSubstring("\"request\": \"name_space=default name=rebel-base "
                                            "remove=true\""));
}

TEST_CASE("failures: exit code and one line") {
  struct Case {
    const char* name;
    const char* line;
    int code;
    const char* err;
  };
  auto c = GENERATE(values<Case>({
      {"no command", "", 2, "tombolo: A subcommand is required; see tombolo --help\n"},
      {"unknown command", "frobnicate", 2,
       "tombolo: \"frobnicate\" is not a command; see tombolo --help\n"},
      {"unknown command of a group", "cluster destroy west", 2,
       "tombolo: \"destroy\" is not a command; see tombolo cluster --help\n"},
      {"missing argument", "cluster leave", 2,
       "tombolo: CLUSTER is required; see tombolo cluster leave --help\n"},
      {"unknown option", "status --colour", 2,
       "tombolo: The following argument was not expected: --colour; see tombolo status --help\n"},
      {"unknown format", "status -o xml", 2,
       "tombolo: --output: xml not in {table,json,yaml}; see tombolo status --help\n"},
      {"not found", "cluster leave missing", 3, "tombolo: not found: no cluster missing\n"},
      {"node forget: nobody to ask", "node forget east-2", 1,
       "tombolo: failed precondition: nothing was done: without a terminal to ask, say --yes or "
       "--dry-run\n"},
      {"node forget: it lives", "node forget east-1 --yes", 1,
       "tombolo: failed precondition: node east-1 lives\n"},
      {"denied", "--address DIR/viewer.sock cluster leave west", 4,
       "tombolo: permission denied: viewer-socket is a viewer; ClusterApi/Leave needs an admin\n"},
      {"no daemon", "--address unix:///nonexistent/a.sock status", 5,
       "tombolo: unavailable: /nonexistent/a.sock: No such file or directory; is tombolod running? "
       "(--address or TOMBOLO_ADDRESS)\n"},
      {"TCP without TLS", "--address 127.0.0.1:1 status", 1,
       "tombolo: invalid argument: 127.0.0.1:1 is reached over TLS: --cert, --key and --ca are "
       "needed\n"},
      {"nothing to import", "plan import", 1,
       "tombolo: invalid argument: nothing to import: name files, or contexts of a kubeconfig with "
       "--context\n"},
      {"no kubeconfig", "plan import --context west --kubeconfig /nonexistent/config", 3,
       "tombolo: not found: no kubeconfig: /nonexistent/config is not there\n"},
      {"DNS server that is none", "dns query a.b --server x", 1,
       "tombolo: invalid argument: --server: \"x\" is not address or address:port\n"},
      {"DNS type that is none", "dns query a.b WHAT --server 127.0.0.1:1", 1, "WHAT"},
      {"explain: no such pod", "policy explain missing/x 10.0.0.1:80", 3, "no pod missing/x"},
      {"explain: no port", "policy explain a/b 10.0.0.1:", 1, "is not B, B:PORT or B:PORT/PROTO"},
      {"explain: a port that is none", "policy explain a/b 10.0.0.1:70000/TCP", 1, "70000/TCP"},
      {"explain: brackets", "policy explain a/b [fd00::1]80", 1, "[fd00::1]80"},
      {"flows: no such cluster", "flows --cluster missing", 3, "no cluster missing"},
      {"flows: verdict that is none", "flows --verdict maybe", 2, "--verdict"},
      {"matrix of nothing", "policy matrix --files /nonexistent", 3, "/nonexistent"},
      {"too late", "wait --revision 999", 6, "lb is at revision 42, not yet at 999\n"},
      {"no file", "plan show -f /nonexistent/fleet.yaml", 3,
       "tombolo: not found: /nonexistent/fleet.yaml: cannot be opened (No such file or "
       "directory)\n"},
      {"a fleet file that is none", "plan show -f DIR/fleet.yaml", 1, "fleet.yaml:1:"},
      {"a grant that is none", "cluster join DIR/fleet.yaml", 1, "fleet.yaml: not valid JSON"},
  }));
  INFO(c.name);
  Fixture f;
  Outcome outcome = f.program.run(words(c.line, f.folder / ""));
  REQUIRE(outcome.out == "");
  REQUIRE_THAT(outcome.err, ContainsSubstring(c.err));
  REQUIRE(outcome.code == c.code);
  REQUIRE(outcome.err.find('\n') == outcome.err.size() - 1);
}

// Answered without a daemon, as text and as values.
TEST_CASE("plan what-if and plan forecast") {
  Fixture f;
  std::ofstream(f.folder / "two.yaml")
      << "fleet: two\nfamilies: [ipv4]\nregions: [{name: lab, cloud: on-prem}]\n"
         "address_space: [{cidr: 10.0.0.0/16}]\nclusters:\n"
         "  - {name: a, region: lab, nodes: 4, services: 200, growth: 2, growth_per_year: 100}\n"
         "  - {name: b, region: lab, nodes: 4, services: 200}\n";
  auto run = [&](std::string_view line) {
    Outcome outcome = f.program.run(words(line, f.folder / ""));
    REQUIRE(outcome.err == "");
    REQUIRE(outcome.code == 0);
    return outcome.out;
  };
  json::value rows = parse_json(run("plan forecast -f DIR/two.yaml -o json")).value();
  REQUIRE(rows.as_array().size() == 6);
  for (const json::value& row : rows.as_array()) {
    bool grows = row.at("cluster") == "a";
    REQUIRE(row.at("yearly_growth") == (grows ? 2 : 1));
    REQUIRE(row.at("years").is_null() != grows);
    if (grows && row.at("use") == "pod") {
      REQUIRE(row.at("used") == 4);
      REQUIRE(row.at("room") == 8);
      REQUIRE(row.at("years") == 1);
    }
  }
  std::string text = run("plan forecast -f DIR/two.yaml");
  REQUIRE_THAT(text, ContainsSubstring("1.0 years"));
  REQUIRE_THAT(text, ContainsSubstring("does not grow"));
  std::string for_all = run("plan forecast -f DIR/two.yaml --yearly-growth 2");
  REQUIRE(for_all.find("does not grow") == std::string::npos);

  const std::string leave = "plan what-if -f DIR/two.yaml --leave b";
  json::value left = parse_json(run(leave + " -o json")).value();
  REQUIRE(left.at("renumbered").as_array().empty());
  REQUIRE(left.at("changes").as_array().size() == 4);
  REQUIRE(left.at("changes").at(0) == "- cluster b (id 0, region lab)");
  REQUIRE(left.at("certificate").at(0).at("family") == "IPv4");
  REQUIRE_THAT(run(leave + " -o yaml"), ContainsSubstring("renumbered: []\nchanges:\n"));
  REQUIRE_THAT(run(leave), ContainsSubstring("no cluster is renumbered\n- cluster b (id 0"));
}

TEST_CASE("plan routes of a node in another zone") {
  Fixture f;
  std::ofstream(f.folder / "zones.yaml")
      << "fleet: z\nfamilies: [ipv4]\nregions: [{name: eu, cloud: aws, zones: [a, b]}]\n"
         "address_space: [{cidr: 10.0.0.0/16}]\nclusters:\n"
         "  - {name: a, region: eu, nodes: 3}\n  - {name: b, region: eu, nodes: 3}\n";
  auto run = [&](std::string_view line) { return f.program.run(words(line, f.folder / "")); };
  const std::string of_a = "plan routes -f DIR/zones.yaml --commands --cluster a";
  Outcome first = run(of_a);
  REQUIRE(first.out == run(of_a + " --node 1").out);
  Outcome second = run(of_a + " --node 2");
  REQUIRE((second.code == 0 && !second.out.empty() && second.out != first.out));
  REQUIRE(first.out == run(of_a + " --node 3").out);  // the first zone again
  REQUIRE_THAT(run(of_a + " --node 4").err,
               ContainsSubstring("cluster a is planned with 3 nodes; there is no node 4"));
  REQUIRE(run("plan routes -f DIR/zones.yaml --node 2").code == 2);
}

// To the plan in force, with the fleet file that the daemon keeps beside it.
TEST_CASE("questions to the plan in force") {
  Fixture f;
  Outcome forecast = f.program.run(words("plan forecast -o json", f.folder / ""));
  REQUIRE(forecast.err == "");
  json::value rows = parse_json(forecast.out).value();
  REQUIRE(rows.as_array().size() == 1);
  REQUIRE(rows.at(0).at("prefix") == "10.1.0.0/16");
  REQUIRE(rows.at(0).at("room") == 256);
  REQUIRE(rows.at(0).at("years") == 4);  // 1 node, times 4 each year
  Outcome left = f.program.run(words("plan what-if --leave east -o json", f.folder / ""));
  REQUIRE(left.err == "");
  REQUIRE_THAT(left.out, ContainsSubstring("- cluster east (id 1, region sea)"));
  Outcome unknown = f.program.run(words("plan what-if --leave south", f.folder / ""));
  REQUIRE(unknown.code == 3);
  REQUIRE_THAT(unknown.err, ContainsSubstring("the plan in force: there is no cluster 'south'"));

  f.daemon.handlers.stores_fleet = false;
  for (const char* line : {"plan forecast", "plan what-if --leave east"}) {
    Outcome old = f.program.run(words(line, f.folder / ""));
    REQUIRE(old.code == 1);
    REQUIRE_THAT(old.err, ContainsSubstring("plan 3, which is in force, was applied by a version "
                                            "that stored no fleet file: apply it once more"));
  }
}

TEST_CASE("every command has help with an example") {
  struct Case {
    const char* line;
  };
  auto c = GENERATE(values<Case>({{"status"},
                                  {"wait"},
                                  {"audit list"},
                                  {"plan show"},
                                  {"plan apply"},
                                  {"plan routes"},
                                  {"plan export"},
                                  {"plan diff"},
                                  {"plan history"},
                                  {"plan rollback"},
                                  {"plan import"},
                                  {"cluster facts"},
                                  {"cluster check-join"},
                                  {"cluster list"},
                                  {"cluster grant"},
                                  {"cluster join"},
                                  {"cluster leave"},
                                  {"node list"},
                                  {"node forget"},
                                  {"pool list"},
                                  {"pool show"},
                                  {"pool reclaim"},
                                  {"ip list"},
                                  {"ip explain"},
                                  {"ip release"},
                                  {"service list"},
                                  {"service explain"},
                                  {"service import"},
                                  {"service export"},
                                  {"endpoint list"},
                                  {"policy list"},
                                  {"policy explain"},
                                  {"policy matrix"},
                                  {"flows"},
                                  {"dns query"},
                                  {"pki init"},
                                  {"pki issue"},
                                  {"pki renew"},
                                  {"pki show"},
                                  {"completion bash"},
                                  {"version"}}));
  INFO(c.line);
  admin::TemporaryFolder folder;
  auto arguments = words(c.line, "");
  arguments.emplace_back("--help");
  Outcome help = Program(folder).run(arguments);
  REQUIRE(help.code == 0);
  REQUIRE_THAT(help.out, ContainsSubstring(fmt::format("Usage: tombolo {}", c.line)));
  REQUIRE_THAT(help.out, ContainsSubstring(fmt::format("Examples:\n  tombolo {}", c.line)));
}

TEST_CASE("authorities, certificates and grants without a daemon") {
  admin::TemporaryFolder folder;
  Program program(folder);
  std::string ca = folder / "pki";
  REQUIRE(program.run({"pki", "init", "--fleet", "islands", "--dir", ca}).code == 0);
  Outcome again = program.run({"pki", "init", "--fleet", "islands", "--dir", ca});
  REQUIRE(again.code == 1);
  REQUIRE_THAT(again.err, ContainsSubstring("an authority is never overwritten"));

  Outcome issued = program.run({"pki", "issue", "--dir", ca, "--cluster", "east", "--operator",
                                "ann", "--role", "admin", "-o", "json"});
  REQUIRE(issued.code == 0);
  auto facts = parse_json(issued.out).value();
  REQUIRE(facts.at("role") == "admin");
  REQUIRE(facts.at("uris").at(0) == "spiffe://islands/cluster/east/operator/ann");
  std::string identity = ca + "/issued/east/operator-ann";
  struct stat file{};
  REQUIRE(::stat((identity + "/tls.key").c_str(), &file) == 0);
  REQUIRE((file.st_mode & 07777U) == 0600);
  REQUIRE(
      program.run({"pki", "issue", "--dir", ca, "--cluster", "east", "--operator", "ann"}).code ==
      1);
  std::string before = read_file(identity + "/tls.crt").value();
  REQUIRE(program.run({"pki", "renew", "--dir", ca, identity}).code == 0);
  REQUIRE(read_file(identity + "/tls.crt").value() != before);

  std::string grant = folder / "west.grant";
  REQUIRE(program
              .run({"cluster", "grant", "west", "--ca-dir", ca, "--cluster", "east", "--cluster-id",
                    "1", "--advertise", "192.0.2.1:2379", "--out", grant})
              .code == 0);
  REQUIRE(::stat(grant.c_str(), &file) == 0);
  REQUIRE((file.st_mode & 07777U) == 0600);
  Fixture west;
  Outcome joined = west.program.run({"cluster", "join", "-"}, read_file(grant).value());
  REQUIRE(joined.err == "");
  REQUIRE(joined.code == 0);
  REQUIRE_THAT(joined.out, ContainsSubstring("State:    connecting\n"));
}

// What bash makes of `script`; the program is in its PATH.
std::string bash(const admin::TemporaryFolder& folder, const std::string& script) {
  std::ofstream(folder / "script.sh") << script;
  std::string command = fmt::format("cd {} && PATH={}:$PATH bash -eu script.sh > output 2>&1",
                                    folder / "", TOMBOLO_BIN_DIR);
  FILE* shell = ::popen(command.c_str(), "r");
  REQUIRE(shell != nullptr);
  int status = ::pclose(shell);
  std::string output = read_file(folder / "output").value();
  INFO(output);
  REQUIRE(status == 0);
  return output;
}

TEST_CASE("the commands of the guide to keys run as they stand") {
  admin::TemporaryFolder folder;
  std::string text = read_file(TOMBOLO_TEST_DATA "/../../docs/keys.md").value();
  std::size_t begin = text.find("```sh\n") + 6;
  bash(folder, text.substr(begin, text.find("```", begin) - begin));
  REQUIRE(std::filesystem::exists(folder / "west.grant"));
}

TEST_CASE("completion for bash") {
  struct Case {
    const char* name;
    const char* words;
    const char* completed;
  };
  auto c = GENERATE(values<Case>({
      {"a command", "tombolo cl", "cluster\n"},
      {"a command of a group", "tombolo cluster g", "grant\n"},
      {"an option", "tombolo wait --re", "--revision --reconciler\n"},
      {"behind a global option", "tombolo -o json service e", "explain export\n"},
      {"a format", "tombolo status -o y", "yaml\n"},
  }));
  INFO(c.name);
  admin::TemporaryFolder folder;
  REQUIRE(bash(folder, fmt::format("source <(tombolo completion bash)\n"
                                   "COMP_WORDS=({})\n"
                                   "COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
                                   "_tombolo\n"
                                   "echo ${{COMPREPLY[@]}}\n",
                                   c.words)) == c.completed);
}

TEST_CASE("an operator over TLS") {
  admin::TemporaryFolder folder;
  Program program(folder);
  std::string ca = folder / "pki";
  REQUIRE(program.run({"pki", "init", "--fleet", "islands", "--dir", ca}).code == 0);
  for (std::vector<std::string> who : {std::vector<std::string>{"--controller"},
                                       {"--operator", "ann", "--role", "admin"},
                                       {"--operator", "bob"}}) {
    std::vector<std::string> line{"pki",       "issue", "--dir", ca,
                                  "--cluster", "east",  "--ip",  "127.0.0.1"};
    line.insert(line.end(), who.begin(), who.end());
    REQUIRE(program.run(line).code == 0);
  }
  auto files = [&](const std::string& who) {
    std::string at = ca + "/issued/east/" + who;
    return pki::TlsFiles{at + "/tls.crt", at + "/tls.key", at + "/ca.crt"};
  };
  admin::FakeDaemon daemon;
  admin::ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.tls = files("controller");
  options.audit_file = folder / "audit.log";
  options.fleet = "islands";
  options.cluster = "east";
  REQUIRE(daemon.start(options));
  auto run_as = [&](const std::string& who, std::vector<std::string> line) {
    auto tls = files(who);
    line.insert(line.end(),
                {"--address", fmt::format("127.0.0.1:{}", daemon.server().ports().at(0)), "--cert",
                 tls.certificate, "--key", tls.key, "--ca", tls.ca});
    return program.run(line);
  };
  REQUIRE(run_as("operator-ann", {"status"}).code == 0);
  REQUIRE(run_as("operator-ann", {"cluster", "leave", "west"}).code == 0);
  REQUIRE(run_as("operator-bob", {"status"}).code == 0);
  Outcome denied = run_as("operator-bob", {"cluster", "leave", "west"});
  REQUIRE(denied.code == 4);
  REQUIRE(
      denied.err ==
      "tombolo: permission denied: operator/bob is a viewer; ClusterApi/Leave needs an admin\n");
  REQUIRE(run_as("controller", {"status"}).code == 4);
}

constexpr const char* kShop = R"(
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{ports: [{containerPort: 3306}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-db-answers, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}}
)";

TEST_CASE("policy matrix needs no daemon") {
  admin::TemporaryFolder folder;
  Program program(folder);
  std::ofstream(folder / "shop.yaml") << kShop;
  Outcome outcome =
      program.run({"policy", "matrix", "--files", folder / "shop.yaml", "-o", "json"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  auto value = parse_json(outcome.out);
  REQUIRE(value);
  REQUIRE(to_json(*value) ==
          R"({"pods":["shop/db","shop/web"],"allowed":{"TCP/3306":[".X",".."]}})");

  outcome = program.run({"policy", "matrix", "--files", folder / "shop.yaml", "--port", "udp/53"});
  REQUIRE(outcome.code == 0);
  REQUIRE_THAT(outcome.out, ContainsSubstring("UDP/53\n  shop/db   .X\n  shop/web  ..\n"));
}

TEST_CASE("policy matrix says where a manifest is wrong") {
  admin::TemporaryFolder folder;
  Program program(folder);
  std::string file = folder / "shop.yaml";
  std::ofstream(file) << kShop << "  policyTypes: [Sideways]\n";
  Outcome outcome = program.run({"policy", "matrix", "--files", file});
  REQUIRE(outcome.code != 0);
  REQUIRE_THAT(outcome.err, ContainsSubstring(file + ":"));
  std::ofstream(file) << kShop;
  std::ofstream(folder / "again.yaml") << kShop;
  outcome = program.run({"policy", "matrix", "-f", file, "-f", folder / "again.yaml"});
  REQUIRE(outcome.code != 0);
  REQUIRE_THAT(outcome.err, ContainsSubstring(" stands in " + file + " too"));
  outcome = program.run({"policy", "matrix", "-f", file, "--port", "80"});
  REQUIRE(outcome.code != 0);
  REQUIRE_THAT(outcome.err, ContainsSubstring("'80' is not PROTO/PORT"));
}

// The objects of a step of tests/data/netpol as a folder of manifests: JSON, which is YAML too.
void write_manifests(const json::object& step, const std::string& folder) {
  std::filesystem::create_directories(folder);
  json::array objects;
  for (const auto& [name, labels] : step.at("namespaces").as_object())
    objects.push_back(json::object{{"apiVersion", "v1"},
                                   {"kind", "Namespace"},
                                   {"metadata", json::object{{"name", name}, {"labels", labels}}}});
  for (const json::value& pod : step.at("pods").as_array()) {
    json::array ports;
    for (const json::value& port : pod.at("ports").as_array())
      ports.push_back(json::object{{"name", port.at("name")},
                                   {"containerPort", port.at("port")},
                                   {"protocol", port.at("protocol")}});
    json::object container{{"name", "c"}, {"ports", std::move(ports)}};
    json::object metadata{
        {"namespace", pod.at("namespace")}, {"name", pod.at("name")}, {"labels", pod.at("labels")}};
    objects.push_back(
        json::object{{"apiVersion", "v1"},
                     {"kind", "Pod"},
                     {"metadata", std::move(metadata)},
                     {"spec", json::object{{"containers", json::array{std::move(container)}}}},
                     {"status", json::object{{"podIP", pod.at("ip")}}}});
  }
  std::ofstream list(folder + "/objects.json");
  list << to_json(json::object{{"apiVersion", "v1"}, {"kind", "List"}, {"items", objects}});
  std::ofstream policies(folder + "/policies.yaml");
  for (const json::value& policy : step.at("policies").as_array())
    policies << "---\n" << std::string(policy.as_string()) << "\n";
}

TEST_CASE("policy matrix: the last step of every conformance case, from a folder") {
  admin::TemporaryFolder folder;
  Program program(folder);
  std::size_t cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TOMBOLO_TEST_DATA "/netpol")) {
    if (entry.path().extension() != ".json") continue;
    INFO(entry.path().string());
    auto text = read_file(entry.path()).value();
    auto given = parse_json(text).value();
    const json::object& step = given.at("steps").as_array().back().as_object();
    std::string manifests = folder / entry.path().stem().string();
    write_manifests(step, manifests);
    std::vector<std::string> line{"policy", "matrix", "--files", manifests, "-o", "json"};
    for (const auto& [probe, rows] : step.at("allowed").as_object()) {
      line.emplace_back("--port");
      line.emplace_back(probe);
    }
    Outcome outcome = program.run(line);
    REQUIRE(outcome.err == "");
    REQUIRE(outcome.code == 0);
    auto answer = parse_json(outcome.out).value();
    const json::array& pods = step.at("pods").as_array();
    REQUIRE(answer.at("pods").as_array().size() == pods.size());
    std::map<std::string, std::size_t> at;  // the data have an order of their own
    for (const json::value& pod : pods)
      at.emplace(fmt::format("{}/{}", std::string(pod.at("namespace").as_string()),
                             std::string(pod.at("name").as_string())),
                 at.size());
    REQUIRE(answer.at("allowed").as_object().size() == step.at("allowed").as_object().size());
    for (const auto& [probe, rows] : step.at("allowed").as_object()) {
      const json::array& printed = answer.at("allowed").at(probe).as_array();
      for (std::size_t source = 0; source < at.size(); ++source) {
        for (std::size_t destination = 0; destination < at.size(); ++destination) {
          if (source == destination) continue;
          auto place = [&](std::size_t i) {
            return at.at(std::string(answer.at("pods").at(i).as_string()));
          };
          INFO(probe);
          REQUIRE(printed[source].as_string()[destination] ==
                  rows.at(place(source)).as_string()[place(destination)]);
        }
      }
    }
    ++cases;
  }
  REQUIRE(cases >= 70);
}

// "$ tombolo plan export -f tests/data/…": files of the tree, wherever the test runs.
std::vector<std::string> words_of_guide(const std::string& line) {
  std::vector<std::string> all = words(line.substr(std::string("$ tombolo ").size()), "");
  for (std::string& word : all)
    for (const std::string folder : {"tests/data/", "docs/examples/"})
      if (std::size_t at = word.find(folder); at != std::string::npos)
        word.insert(at, TOMBOLO_TEST_DATA "/../../");
  return all;
}

TEST_CASE("guides show what the program prints") {
  struct Case {
    const char* page;
    int examples;
  };
  auto c = GENERATE(values<Case>({{"README.md", 2}, {"docs/plan-exports.md", 5}}));
  Fixture fixture;
  std::string guide = read_file(fmt::format("{}/../../{}", TOMBOLO_TEST_DATA, c.page)).value();
  int examples = 0;
  const std::string fence = "```\n";
  for (std::size_t at = guide.find(fence + "$ tombolo "); at != std::string::npos;
       at = guide.find(fence + "$ tombolo ", at + 1)) {
    std::size_t begin = at + fence.size();
    std::size_t line_end = guide.find('\n', begin);
    std::size_t end = guide.find("```", begin);
    std::string line = guide.substr(begin, line_end - begin);
    Outcome outcome = fixture.program.run(words_of_guide(line));
    INFO(line << "\n" << outcome.err);
    REQUIRE(outcome.out == guide.substr(line_end + 1, end - line_end - 1));
    ++examples;
  }
  REQUIRE(examples == c.examples);
}

TEST_CASE("the fleet file of the README is the one that is planned") {
  std::string file = read_file(TOMBOLO_TEST_DATA "/../../docs/examples/fleet.yaml").value();
  std::string page = read_file(TOMBOLO_TEST_DATA "/../../README.md").value();
  REQUIRE(page.find("```yaml\n" + file.substr(file.find("fleet:")) + "```") != std::string::npos);
}

}  // namespace
}  // namespace tombolo::cli
