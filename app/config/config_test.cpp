// Configuration files and flags as tables: what is taken, what is refused and with which words.
#include "app/config/config.h"

#include <google/protobuf/util/message_differencer.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "app/config/decode.h"
#include "core/yaml.h"

namespace tombolo::config {
namespace {

using Catch::Generators::values;

// The file c.yaml in a folder of its own; the folder's name is taken out of errors.
class File {
 public:
  explicit File(std::string_view text) {
    std::array<char, 32> name{"/tmp/tombolo-config-XXXXXX"};
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name.data();
    std::ofstream(path()) << text;
  }
  ~File() { std::filesystem::remove_all(folder_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  std::string path() const { return folder_ + "/c.yaml"; }
  std::string without_folder(std::string text) const {
    std::size_t at = text.find(folder_ + "/");
    return at == std::string::npos ? text : text.erase(at, folder_.size() + 1);
  }

 private:
  std::string folder_;
};

constexpr std::string_view kController =
    "roles: [agent, controller]\n"
    "cluster: {name: east, id: 1}\n"
    "node: {addresses: [10.0.0.1]}\n";

std::string error_of(const std::string& text, std::vector<std::string> sets = {},
                     std::string roles = "") {
  File file(text);
  auto config = load({file.path(), std::move(roles), std::move(sets), "n1"});
  return config ? "" : file.without_folder(config.error().what);
}

TEST_CASE("a small file becomes a whole configuration") {
  File file(kController);
  DaemonConfig config = load({file.path(), "", {}, "n1"}).value();
  REQUIRE(has_role(config, v1::ROLE_AGENT));
  REQUIRE(has_role(config, v1::ROLE_CONTROLLER));
  REQUIRE(config.cluster().fleet() == "fleet");
  REQUIRE(config.cluster().identity_cluster_bits() == 8);
  REQUIRE(config.node().name() == "n1");
  REQUIRE(config.state_dir() == "/var/lib/tombolo");
  REQUIRE(config.run_dir() == "/run/tombolo");
  REQUIRE(config.cgroup_root() == "/sys/fs/cgroup");
  REQUIRE(config.bpffs_root() == "/sys/fs/bpf/tombolo");
  REQUIRE(config.subsystems().ipam());
  REQUIRE(config.subsystems().policy());
  REQUIRE(config.store().embedded().listen(0) == "127.0.0.1:2379");
  REQUIRE(config.store().embedded().advertise(0) == "127.0.0.1:2379");
  REQUIRE(config.agent().cni_socket() == "/run/tombolo/cni.sock");
  REQUIRE(config.agent().hook() == v1::HOOK_AUTO);
  REQUIRE(config.agent().dns().listen(0) == "169.254.20.10:53");
  REQUIRE(config.agent().dns().cluster_zone() == "cluster.local");
  REQUIRE(config.agent().dns().clusterset_zone() == "clusterset.local");
  REQUIRE(config.agent().dns().ttl_s() == 5);
  REQUIRE(config.agent().lb().algorithm() == v1::ALGORITHM_RANDOM);
  REQUIRE(config.agent().lb().maglev_size() == 1021);
  REQUIRE(config.admin().socket() == "/run/tombolo/admin.sock");
  REQUIRE(config.metrics().listen() == "127.0.0.1:9470");
  REQUIRE(config.log().level() == v1::LOG_LEVEL_INFO);
}

TEST_CASE("every field can be set") {
  File file(R"(
roles: [controller]
cluster: {name: west, id: 300, fleet: islands.example, identity_cluster_bits: 9}
node:
  name: w-1
  addresses: ["10.0.0.1", "fd00::1"]
  zone: a
  labels: {rack: r1}
state_dir: /s
run_dir: /r
cgroup_root: /c
bpffs_root: /b
subsystems: {ipam: false, lb: true}
store:
  embedded: {listen: ["10.0.0.1:2379"], advertise: ["store.west:2379"]}
  tls: {certificate: /t/tls.crt, key: /t/tls.key, ca: /t/ca.crt}
controller:
  manifests: /m
  signing: {certificate: /t/ca.crt, key: /t/ca.key}
agent:
  cni_socket: /r/c
  mtu: 1400
  hook: clsact
  dns: {listen: ["10.0.0.1:53"], upstreams: [9.9.9.9, "[fd00::53]:5353", "fd00::54"], ttl_s: 30}
  lb: {algorithm: maglev, maglev_size: 65521}
  announce: {interfaces: [eth0, "bond*"]}
admin: {viewer_socket: /r/v, listen: ["0.0.0.0:9471"]}
metrics: {listen: "off"}
log: {level: debug, format: json}
)");
  auto config = load({file.path(), "", {}, "n1"});
  INFO((config ? "" : config.error().what));
  REQUIRE(config);
  REQUIRE(config->node().name() == "w-1");
  REQUIRE(config->node().labels().at("rack") == "r1");
  REQUIRE(config->agent().hook() == v1::HOOK_CLSACT);
  REQUIRE(config->agent().dns().upstreams(0) == "9.9.9.9:53");
  REQUIRE(config->agent().dns().upstreams(1) == "[fd00::53]:5353");
  REQUIRE(config->agent().dns().upstreams(2) == "[fd00::54]:53");
  REQUIRE_FALSE(config->subsystems().ipam());
  REQUIRE(config->subsystems().dns());
  // The admin API uses the store's certificate when it has none of its own.
  REQUIRE(config->admin().tls().key() == "/t/tls.key");
  REQUIRE(config->store().embedded().advertise(0) == "store.west:2379");
}

TEST_CASE("files that are refused") {
  struct Case {
    const char* name;
    const char* text;  // after kController
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"unknown field", "colour: red\n",
       "c.yaml:4: colour: unknown field; known here: roles, cluster, node, state_dir, run_dir, "
       "cgroup_root, bpffs_root, subsystems, store, controller, agent, admin, metrics, log"},
      {"unknown field inside", "agent:\n  dns:\n    port: 53\n",
       "c.yaml:6: agent.dns.port: unknown field; known here: listen, upstreams, cluster_zone, "
       "clusterset_zone, ttl_s"},
      {"text for a number", "agent: {mtu: big}\n",
       "c.yaml:4: agent.mtu: must be an integer, is a string"},
      {"number for a text", "state_dir: 7\n",
       "c.yaml:4: state_dir: must be a string, is an integer"},
      {"text for a boolean", "subsystems: {dns: \"yes\"}\n",
       "c.yaml:4: subsystems.dns: must be true or false, is a string"},
      {"text for an object", "agent: fast\n", "c.yaml:4: agent: must be an object, is a string"},
      {"text for a list", "admin: {listen: \":1\"}\n",
       "c.yaml:4: admin.listen: must be a list, is a string"},
      {"number in a list of texts", "admin: {listen: [1]}\n",
       "c.yaml:4: admin.listen[0]: must be a string, is an integer"},
      {"null in a list", "admin: {listen: [~]}\n", "c.yaml:4: admin.listen[0]: is required"},
      {"enum", "log:\n  level: loud\n",
       "c.yaml:5: log.level: \"loud\" is unknown; known here: debug, info, warning, error"},
      {"enum by number", "log: {level: 2}\n",
       "c.yaml:4: log.level: must be a string, is an integer"},
      {"the zero value of an enum", "agent: {hook: unspecified}\n",
       "c.yaml:4: agent.hook: \"unspecified\" is unknown; known here: auto, tcx, clsact"},
      {"too large for its type", "agent: {mtu: 4294967296}\n",
       "c.yaml:4: agent.mtu: 4294967296 is not from 0 to 4294967295"},
      {"negative", "agent: {mtu: -1}\n", "c.yaml:4: agent.mtu: -1 is not from 0 to 4294967295"},
      {"fraction", "agent: {mtu: 1.5}\n",
       "c.yaml:4: agent.mtu: must be an integer, is a number with a fraction"},
      {"out of range", "agent:\n  mtu: 100\n", "c.yaml:5: agent.mtu: 100 is not from 576 to 65535"},
      {"relative path", "state_dir: state\n", "c.yaml:4: state_dir: \"state\" is not absolute"},
      {"address", "agent: {dns: {listen: [localhost:53]}}\n",
       "c.yaml:4: agent.dns.listen[0]: \"localhost:53\" is not address:port"},
      {"interface to announce on", "agent: {announce: {interfaces: [eth0, \"eth 1\"]}}\n",
       "c.yaml:4: agent.announce.interfaces[1]: \"eth 1\" is no name or pattern of interfaces"},
      {"no prime", "agent: {lb: {maglev_size: 1000}}\n",
       "c.yaml:4: agent.lb.maglev_size: 1000 is not a prime"},
      {"two stores", "store:\n  embedded: {}\n  endpoints: [127.0.0.1:1]\n",
       "c.yaml:4: store: has both embedded and endpoints; a store is one or the other"},
      {"plain text beyond loopback", "store: {embedded: {listen: [10.0.0.1:2379]}}\n",
       "c.yaml:4: store.embedded.listen[0]: 10.0.0.1:2379 is not loopback, so store.tls is "
       "required"},
      {"half of TLS", "store:\n  tls:\n    certificate: /c\n    key: /k\n",
       "c.yaml:5: store.tls.ca: is required"},
      {"admin over TCP without TLS", "admin: {listen: [127.0.0.1:9471]}\n",
       "c.yaml:4: admin.tls: is required for admin.listen"},
      {"metrics", "metrics: {listen: here}\n",
       "c.yaml:4: metrics.listen: \"here\" is neither address:port nor off"},
  }));
  INFO(c.name);
  REQUIRE(error_of(std::string(kController) + c.text) == c.error);
}

TEST_CASE("whole files that are refused") {
  struct Case {
    const char* name;
    const char* text;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"nothing", "", "c.yaml: 0 documents where one is expected"},
      {"two documents", "a: 1\n---\nb: 1\n", "c.yaml: 2 documents where one is expected"},
      {"a list", "- a\n", "c.yaml:1: must be an object, is a list"},
      {"no cluster", "roles: [controller]\n", "c.yaml: cluster.name: is required"},
      {"no id", "roles: [controller]\ncluster:\n  name: e\n", "c.yaml:2: cluster.id: is required"},
      {"id out of its bits", "roles: [controller]\ncluster: {name: e, id: 256}\n",
       "c.yaml:2: cluster.id: 256 is not from 1 to 255"},
      {"cluster's name", "roles: [controller]\ncluster: {name: E, id: 1}\n",
       "c.yaml:2: cluster.name: cluster \"E\" must be 1 to 32 lower case letters, digits and '-'"},
      {"role", "roles: [boss]\n",
       "c.yaml:1: roles[0]: \"boss\" is unknown; known here: agent, controller"},
      {"role twice", "roles: [agent, agent]\ncluster: {name: e, id: 1}\n",
       "c.yaml:1: roles[1]: is given twice"},
      {"agent without addresses", "cluster: {name: e, id: 1}\n",
       "c.yaml: node.addresses: is required for an agent"},
      {"agent without a store", "cluster: {name: e, id: 1}\nnode: {addresses: [10.0.0.1]}\n",
       "c.yaml: store.endpoints: is required without the role controller"},
      {"two addresses of a family",
       "cluster: {name: e, id: 1}\nnode:\n  addresses: [10.0.0.1, 10.0.0.2]\n",
       "c.yaml:3: node.addresses[1]: a second IPv4 address"},
      {"map of texts", "roles: [controller]\nnode:\n  labels:\n    a: 1\n",
       "c.yaml:4: node.labels.a: must be a string, is an integer"},
      {"key twice", "roles: [agent]\nroles: [controller]\n",
       "c.yaml:2: the key \"roles\" stands twice"},
  }));
  INFO(c.name);
  REQUIRE(error_of(c.text) == c.error);
}

TEST_CASE("flags come after the file, and their errors name them") {
  struct Case {
    const char* name;
    std::vector<std::string> sets;
    const char* roles;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"unknown path",
       {"agent.colour=1"},
       "",
       "--set: agent.colour: unknown field; known here: cni_socket, mtu, hook, dns, lb, announce, "
       "runtime_socket"},
      {"out of range", {"agent.mtu=1"}, "", "--set: agent.mtu: 1 is not from 576 to 65535"},
      {"two flags that exclude each other",
       {"store.endpoints=[x]", "store.embedded={}"},
       "",
       "c.yaml: store: has both embedded and endpoints; a store is one or the other"},
      {"no value", {"agent.mtu"}, "", "--set: \"agent.mtu\" is not PATH=VALUE"},
      {"no path", {"=1"}, "", "--set: \"=1\" is not PATH=VALUE"},
      {"no field name",
       {"agent.dns.listen[0]=x"},
       "",
       "--set: \"agent.dns.listen[0]\" is not a path of field names"},
      {"empty step", {".agent=x"}, "", "--set: \".agent\" is not a path of field names"},
      {"role",
       {},
       "agent,king",
       "--role: roles[1]: \"king\" is unknown; known here: agent, controller"},
      {"role that asks for more",
       {},
       "agent",
       "c.yaml: store.endpoints: is required without the role controller"},
  }));
  INFO(c.name);
  REQUIRE(error_of(std::string(kController), c.sets, c.roles) == c.error);
}

TEST_CASE("flags override") {
  File file(std::string(kController) + "agent: {mtu: 1400, dns: {upstreams: [9.9.9.9]}}\n");
  DaemonConfig config =
      load({file.path(),
            "controller",
            {"agent.mtu=9000", "log.level=debug", "agent.dns.upstreams=[10.0.0.53, \"[::1]:5\"]",
             "cluster={id: 7}", "agent.mtu=8000", "controller.manifests="},
            "n1"})
          .value();
  REQUIRE(config.roles_size() == 1);
  REQUIRE(config.roles(0) == v1::ROLE_CONTROLLER);
  REQUIRE(config.agent().mtu() == 8000);
  REQUIRE(config.log().level() == v1::LOG_LEVEL_DEBUG);
  REQUIRE(config.agent().dns().upstreams_size() == 2);
  REQUIRE(config.cluster().id() == 7);
  REQUIRE(config.cluster().name() == "east");
}

TEST_CASE("a configuration that is complete already stays as it is") {
  File file(kController);
  DaemonConfig config = load({file.path(), "", {}, "n1"}).value();
  DaemonConfig again = config;
  apply_defaults(again, "other");
  REQUIRE(google::protobuf::util::MessageDifferencer::Equals(config, again));
}

// The text of each block of a Markdown file that is marked as `language`.
std::vector<std::string> blocks_of(const std::string& path, const std::string& language) {
  std::vector<std::string> blocks;
  std::string text = read_file(path).value();
  std::string begin = "```" + language + "\n";
  for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    at += begin.size();
    blocks.push_back(text.substr(at, text.find("```", at) - at));
  }
  return blocks;
}

TEST_CASE("the files of the guide are good") {
  auto blocks = blocks_of(TOMBOLO_TEST_DATA "/../../docs/configuration.md", "yaml");
  REQUIRE(blocks.size() == 4);
  for (const auto& block : blocks) {
    INFO(block);
    REQUIRE(error_of(block) == "");
  }
}

TEST_CASE("a file that is not there") {
  auto config = load({"/nonexistent/c.yaml", "", {}, "n1"});
  REQUIRE(config.error().code == Code::kNotFound);
  REQUIRE(config.error().what == "/nonexistent/c.yaml: cannot be opened");
}

}  // namespace
}  // namespace tombolo::config
