// Malformed input of the real plugin: each case gets one exact code and message.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/cni/node.h"

namespace tombolo::test {
namespace {

const std::string kGood = R"({"cniVersion":"1.1.0","name":"pods","type":"tombolo-cni"})";

std::string with(const std::string& more) {
  return kGood.substr(0, kGood.size() - 1) + "," + more + "}";
}

struct Case {
  std::string name;
  PluginCall call;
  int code;
  std::string message;
};

void expect(const Case& test) {
  INFO(test.name);
  auto run = run_plugin(plugin_path(), test.call);
  INFO(run.output);
  REQUIRE(run.exit_status == 1);
  REQUIRE(member(run, "msg") == test.message);
  REQUIRE(member(run, "code") == std::to_string(test.code));
  REQUIRE(!member(run, "cniVersion").empty());
}

TEST_CASE("environment") {
  expect(GENERATE(values<Case>({
      {"no command", {"", "a", "/n", "eth0", "", kGood}, 4, "CNI_COMMAND is not set"},
      {"unknown command",
       {"add", "a", "/n", "eth0", "", kGood},
       4,
       "CNI_COMMAND is 'add'; known are ADD, DEL, CHECK, GC, STATUS, VERSION"},
      {"no container", {"ADD", "", "/n", "eth0", "", kGood}, 4, "CNI_CONTAINERID is not set"},
      {"bad container",
       {"DEL", "../a", "/n", "eth0", "", kGood},
       4,
       "CNI_CONTAINERID '../a' is not a letter or digit followed by up to 255 letters, digits, "
       "'_', '.' and '-'"},
      {"no interface", {"ADD", "a", "/n", "", "", kGood}, 4, "CNI_IFNAME is not set"},
      {"long interface",
       {"ADD", "a", "/n", "eth0123456789abc", "", kGood},
       4,
       "CNI_IFNAME 'eth0123456789abc' is not an interface name of 1 to 15 bytes"},
      {"interface with a slash",
       {"ADD", "a", "/n", "et/0", "", kGood},
       4,
       "CNI_IFNAME 'et/0' is not an interface name of 1 to 15 bytes"},
      {"interface ..",
       {"ADD", "a", "/n", "..", "", kGood},
       4,
       "CNI_IFNAME '..' is not an interface name of 1 to 15 bytes"},
      {"no namespace", {"ADD", "a", "", "eth0", "", kGood}, 4, "CNI_NETNS is not set"},
      {"no namespace for CHECK", {"CHECK", "a", "", "eth0", "", kGood}, 4, "CNI_NETNS is not set"},
      {"relative namespace",
       {"ADD", "a", "netns/x", "eth0", "", kGood},
       4,
       "CNI_NETNS 'netns/x' is not an absolute path"},
      {"args without a value",
       {"ADD", "a", "/n", "eth0", "IgnoreUnknown=1;K8S_POD_NAME", kGood},
       4,
       "CNI_ARGS: 'K8S_POD_NAME' is not KEY=VALUE"},
      {"args with a bad name",
       {"ADD", "a", "/n", "eth0", "K8S_POD_NAMESPACE=a/b", kGood},
       4,
       "CNI_ARGS: K8S_POD_NAMESPACE: 'a/b' is not a Kubernetes name"},
      {"the environment comes first",
       {"ADD", "", "/n", "eth0", "", "{"},
       4,
       "CNI_CONTAINERID is not set"},
  })));
}

TEST_CASE("standard input") {
  expect(GENERATE(values<Case>({
      {"nothing", {"ADD", "a", "/n", "eth0", "", ""}, 6, "stdin: not valid JSON: incomplete JSON"},
      {"half a document",
       {"ADD", "a", "/n", "eth0", "", R"({"cniVersion":)"},
       6,
       "stdin: not valid JSON: incomplete JSON"},
      {"no JSON",
       {"ADD", "a", "/n", "eth0", "", "hello"},
       6,
       "stdin: not valid JSON: syntax error"},
      {"two documents",
       {"ADD", "a", "/n", "eth0", "", kGood + kGood},
       6,
       "stdin: not valid JSON: extra data"},
      {"a key twice",
       {"ADD", "a", "/n", "eth0", "", with(R"("name":"other")")},
       6,
       R"(stdin: the key "name" stands twice in one object (byte 58))"},
      {"no object",
       {"ADD", "a", "/n", "eth0", "", "[1]"},
       6,
       "stdin: must be an object, is a list"},
      {"too deep",
       {"ADD", "a", "/n", "eth0", "", with("\"args\":" + std::string(64, '['))},
       6,
       "stdin: not valid JSON: too deep"},
      {"too long",
       {"ADD", "a", "/n", "eth0", "", with("\"args\":\"" + std::string(1 << 20, 'x') + "\"")},
       6,
       "stdin: more than 1048576 bytes"},
      {"VERSION with no JSON",
       {"VERSION", "", "", "", "", "x"},
       6,
       "stdin: not valid JSON: syntax error"},
  })));
}

TEST_CASE("configuration") {
  expect(GENERATE(values<Case>({
      {"no version",
       {"ADD", "a", "/n", "eth0", "", R"({"name":"pods","type":"t"})"},
       1,
       "stdin: cniVersion: 0.1.0 is not supported; supported are 0.4.0, 1.0.0 and 1.1.0"},
      {"a newer version",
       {"ADD", "a", "/n", "eth0", "", R"({"cniVersion":"2.0.0","name":"pods"})"},
       1,
       "stdin: cniVersion: 2.0.0 is not supported; supported are 0.4.0, 1.0.0 and 1.1.0"},
      {"a version that is a number",
       {"ADD", "a", "/n", "eth0", "", R"({"cniVersion":1})"},
       7,
       "stdin: cniVersion: must be a string, is an integer"},
      {"GC with an old configuration",
       {"GC", "", "", "", "", R"({"cniVersion":"1.0.0","name":"pods"})"},
       1,
       "stdin: cniVersion: GC needs 1.1.0, the configuration has 1.0.0"},
      {"no name",
       {"ADD", "a", "/n", "eth0", "", R"({"cniVersion":"1.1.0","type":"t"})"},
       7,
       "stdin: name: is required"},
      {"a bad name",
       {"ADD", "a", "/n", "eth0", "", R"({"cniVersion":"1.1.0","name":"a b","type":"t"})"},
       7,
       "stdin: name: 'a b' is not a letter or digit followed by letters, digits, '_', '.' and '-'"},
      {"no type",
       {"ADD", "a", "/n", "eth0", "", R"({"cniVersion":"1.1.0","name":"pods"})"},
       7,
       "stdin: type: is required"},
      {"a relative socket",
       {"ADD", "a", "/n", "eth0", "", with(R"("socket":"cni.sock")")},
       7,
       "stdin: socket: must be an absolute path of up to 107 bytes"},
      {"a small MTU",
       {"ADD", "a", "/n", "eth0", "", with(R"("mtu":576)")},
       7,
       "stdin: mtu: must be 0 or from 1280, IPv6's least, to 65535"},
      {"an MTU that is text",
       {"ADD", "a", "/n", "eth0", "", with(R"("mtu":"1500")")},
       7,
       "stdin: mtu: must be an integer, is a string"},
      {"a key that is not known",
       {"ADD", "a", "/n", "eth0", "", with(R"("sokcet":"/x")")},
       2,
       "stdin: sokcet: '/x' is a value of a key that is not known"},
      {"another IPAM",
       {"ADD", "a", "/n", "eth0", "", with(R"("ipam":{"type":"host-local"})")},
       2,
       "stdin: ipam.type: 'host-local' is not supported: the agent allocates the addresses"},
      {"masquerade",
       {"ADD", "a", "/n", "eth0", "", with(R"("ipMasq":true)")},
       2,
       "stdin: ipMasq: 'true' is not supported: the agent masquerades, not the plugin"},
      {"a resolver",
       {"ADD", "a", "/n", "eth0", "", with(R"("dns":{"nameservers":["10.0.0.1"]})")},
       2,
       "stdin: dns: '{\"nameservers\":[\"10.0.0.1\"]}' is not supported: the agent says which "
       "resolver pods use"},
      {"a chain",
       {"ADD", "a", "/n", "eth0", "", with(R"("prevResult":{})")},
       2,
       "stdin: prevResult: ADD after another plugin needs \"chained\": true"},
      {"CHECK without a result",
       {"CHECK", "a", "/n", "eth0", "", kGood},
       7,
       "stdin: prevResult: is required for CHECK"},
      {"a result that is text",
       {"CHECK", "a", "/n", "eth0", "", with(R"("prevResult":"x")")},
       7,
       "stdin: prevResult: must be an object, is a string"},
      {"a bad address",
       {"CHECK", "a", "/n", "eth0", "", with(R"("prevResult":{"ips":[{"address":"10.0.0.1"}]})")},
       7,
       "stdin: prevResult.ips[0].address: '10.0.0.1' has no prefix length (like 10.0.0.0/8)"},
      {"a bad route",
       {"CHECK", "a", "/n", "eth0", "", with(R"("prevResult":{"routes":[{"dst":"0.0.0.0/33"}]})")},
       7,
       "stdin: prevResult.routes[0].dst: prefix length '33' is not a number from 0 to 32"},
      {"an interface past the end",
       {"DEL", "a", "/n", "eth0", "",
        with(R"("prevResult":{"interfaces":[],"ips":[{"address":"10.0.0.1/32","interface":0}]})")},
       7,
       "stdin: prevResult.ips[0].interface: 0 is past the 0 interfaces"},
      {"GC without the list",
       {"GC", "", "", "", "", kGood},
       7,
       "stdin: cni.dev/valid-attachments: is required for GC: without it every attachment would be "
       "removed"},
      {"GC with a bad entry",
       {"GC", "", "", "", "", with(R"("cni.dev/valid-attachments":[{"containerID":"a"}])")},
       7,
       "stdin: [\"cni.dev/valid-attachments\"][0].ifname: is required"},
  })));
}

TEST_CASE("VERSION") {
  auto run = run_plugin(plugin_path(), {"VERSION", "", "", "", "", R"({"cniVersion":"1.0.0"})"});
  REQUIRE(run.exit_status == 0);
  REQUIRE(run.output ==
          "{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
  REQUIRE(run_plugin(plugin_path(), {"VERSION", "", "", "", "", ""}).exit_status == 0);
}

}  // namespace
}  // namespace tombolo::test
