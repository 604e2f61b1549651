// Frames, requests and replies: round trips and refusals.
#include "ipamd/cni/wire.h"

#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fstream>

namespace tombolo::cni {
namespace {

TEST_CASE("frames") {
  std::string frame = encode_frame("abc");
  REQUIRE(frame == std::string("\0\0\0\3abc", 7));
  REQUIRE(decode_header(frame.substr(0, 4)).value() == 3);
  REQUIRE(decode_header(std::string_view("\0\x10\0\0", 4)).value() == 1U << 20U);
  REQUIRE(decode_header(std::string_view("\0\0\0\0", 4)).error().what ==
          "a frame of 0 bytes; from 1 to 1064960 are allowed");
  REQUIRE(decode_header("\xff\xff\xff\xff").error().what ==
          "a frame of 4294967295 bytes; from 1 to 1064960 are allowed");
  REQUIRE(rc::check("round trip", [](const std::string& body) {
    RC_PRE(!body.empty());
    std::string whole = encode_frame(body);
    RC_ASSERT(decode_header(whole.substr(0, 4)).value() == body.size());
    RC_ASSERT(whole.substr(4) == body);
  }));
}

TEST_CASE("a request arrives as it was sent") {
  Environment environment{"ADD", "c1", "/run/netns/x", "eth0",
                          "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;K8S_POD_UID=0-1"};
  auto request = decode_request(encode_request(
      environment, R"({"cniVersion":"1.0.0","name":"pods","type":"tombolo-cni","mtu":9000})"));
  REQUIRE(request);
  REQUIRE(request->acknowledges);
  const Call* call = &request->call;
  REQUIRE(call->mode == Mode::kInterface);
  REQUIRE(call->command == Command::kAdd);
  REQUIRE(call->cni_version == "1.0.0");
  REQUIRE(call->network == "pods");
  REQUIRE(call->mtu == 9000);
  REQUIRE(call->socket == kDefaultSocket);
  REQUIRE(call->container_id == "c1");
  REQUIRE(call->netns_path == "/run/netns/x");
  REQUIRE(call->interface_name == "eth0");
  REQUIRE(call->pod_namespace == "shop");
  REQUIRE(call->pod_name == "cart-0");
  REQUIRE(call->pod_uid == "0-1");
  REQUIRE(!call->previous);
}

TEST_CASE("a plugin of an earlier version does not tell that it passed the answer on") {
  auto request = decode_request(
      R"({"protocol":1,"environment":{"command":"VERSION"},"config":{"cniVersion":"1.1.0"}})");
  REQUIRE(request);
  REQUIRE(!request->acknowledges);
}

TEST_CASE("the README's configuration is accepted") {
  std::ifstream file(TOMBOLO_TEST_DATA "/../../ipamd/cni/README.md");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::size_t begin = text.find("```json\n");
  REQUIRE(begin != std::string::npos);
  begin += 8;
  Environment environment{"ADD", "c1", "/run/netns/x", "eth0", ""};
  auto call = decode_call(environment, text.substr(begin, text.find("```", begin) - begin));
  REQUIRE(call);
  REQUIRE(call->socket == kDefaultSocket);
  REQUIRE(call->mtu == 0);
}

TEST_CASE("an earlier result is read: addresses of the interface only") {
  Environment environment{"CHECK", "c1", "/run/netns/x", "eth0", ""};
  auto call =
      decode_call(environment, R"({"cniVersion":"1.1.0","name":"pods","type":"t","prevResult":{
    "interfaces":[{"name":"tbo1"},{"name":"eth0","sandbox":"/run/netns/x"}],
    "ips":[{"interface":1,"address":"10.0.0.1/32"},{"interface":0,"address":"10.0.0.2/32"},{"address":"fd00::1/128"}],
    "routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}],"dns":{}}})");
  REQUIRE(call);
  REQUIRE(call->previous->addresses.size() == 2);
  REQUIRE(call->previous->addresses.at(0).str() == "10.0.0.1/32");
  REQUIRE(call->previous->addresses.at(1).str() == "fd00::1/128");
  REQUIRE(call->previous->routes.size() == 1);
}

TEST_CASE("requests that no plugin of this version makes") {
  struct Case {
    std::string name;
    std::string body;
    std::string message;
  };
  auto test = GENERATE(values<Case>({
      {"no JSON", "x", "not valid JSON: syntax error"},
      {"no protocol", "{}", "request: protocol: is required"},
      {"a newer protocol", R"({"protocol":2})", "request: protocol: 2 is not from 1 to 1"},
      {"a number for text", R"({"protocol":1,"environment":{"command":1}})",
       "request: environment.command: must be a string, is an integer"},
      {"no configuration", R"({"protocol":1,"environment":{"command":"ADD"}})",
       "request: config: is required"},
  }));
  INFO(test.name);
  auto call = decode_request(test.body);
  REQUIRE(call.error().code == kAgentMismatch);
  REQUIRE(call.error().message == "the agent cannot read the request: " + test.message);
}

TEST_CASE("replies") {
  auto nothing = decode_reply(encode_reply(json::object{}, "1.1.0"));
  REQUIRE(nothing.value().ok);
  REQUIRE(nothing->output.empty());
  auto result = decode_reply(encode_reply(json::object{{"a", 1}}, "1.1.0"));
  REQUIRE(result.value().output == R"({"a":1})");
  auto refused =
      decode_reply(encode_reply(std::unexpected(Failure{11, "later", "much later"}), "1.0.0"));
  REQUIRE(!refused.value().ok);
  REQUIRE(refused->output ==
          R"({"cniVersion":"1.0.0","code":11,"msg":"later","details":"much later"})");
  REQUIRE(!decode_reply("[]"));
  REQUIRE(!decode_reply(R"({"protocol":1})"));
  REQUIRE(!decode_reply(R"({"protocol":1,"error":{"code":0}})"));
  REQUIRE(!decode_reply(R"({"protocol":9,"result":{}})"));
}

}  // namespace
}  // namespace tombolo::cni
