// Names, certificates, folders and grants. What a TLS peer makes of them is tested with the admin
// server (app/admin/server_test.cpp).
#include "app/pki/pki.h"

#include <sys/stat.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <filesystem>
#include <fstream>

#include "core/json.h"
#include "core/yaml.h"

namespace tombolo::pki {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;
using std::chrono::days;
using std::chrono::hours;

const WallTime kNow = *parse_rfc3339("2026-03-01T12:00:00Z");

SpiffeName controller(std::string cluster) {
  return {"islands", std::move(cluster), Kind::kController, ""};
}

KeyPair authority(std::string_view cluster = "") {
  return make_authority("islands", cluster, {kNow, 3650}).value();
}

// A folder of the test's own, gone when the test ends.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::array<char, 32> name{"/tmp/tombolo-pki-XXXXXX"};
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name.data();
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(std::string_view name) const { return fmt::format("{}/{}", path_, name); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

mode_t mode_of(const std::string& path) {
  struct stat facts{};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777U;
}

TEST_CASE("an issued certificate says who it is for and is trusted by its authority only") {
  KeyPair ca = authority();
  IssueRequest request{{"islands", "east", Kind::kOperator, "ann"},
                       Role::kAdmin,
                       {"admin.east.example", "*.east.example"},
                       {*Ip::parse("10.0.0.1"), *Ip::parse("fd00::1")}};
  KeyPair pair = issue(ca, request, {kNow, 90}).value();

  Certificate facts = read_certificate(pair.certificate).value();
  REQUIRE(facts.name().value() == request.name);
  REQUIRE(facts.role == Role::kAdmin);
  REQUIRE(facts.dns_names == request.dns_names);
  REQUIRE(facts.ips == request.ips);
  REQUIRE_FALSE(facts.authority);
  REQUIRE(facts.not_after == kNow + days(90));
  REQUIRE(facts.subject == "CN=east/operator/ann,OU=admin,O=islands");
  REQUIRE(check_pair(pair));
  REQUIRE(verify(pair.certificate, ca.certificate, kNow));
  // A trust bundle with several authorities: any of them does.
  REQUIRE(verify(pair.certificate, authority("west").certificate + ca.certificate, kNow));
}

TEST_CASE("certificates that are not to be trusted") {
  // Static: the table holds on to the first run's authority.
  static const KeyPair ca = authority();
  KeyPair pair = issue(ca, {controller("east"), Role::kNone, {}, {}}, {kNow, 90}).value();
  struct Case {
    const char* name;
    std::string authorities;
    WallTime now;
    const char* reason;
  };
  auto c = GENERATE_COPY(values<Case>({
      {"another authority of the same name", authority().certificate, kNow, "not trusted"},
      {"another cluster's authority", authority("west").certificate, kNow,
       "unable to get local issuer certificate"},
      {"ended", ca.certificate, kNow + days(91), "certificate has expired"},
      {"not yet", ca.certificate, kNow - hours(1), "not yet valid"},
      {"no authority at all", "", kNow, "no PEM certificate"},
      {"itself", pair.certificate, kNow, "not trusted"},
  }));
  INFO(c.name);
  auto trusted = verify(pair.certificate, c.authorities, c.now);
  REQUIRE_FALSE(trusted);
  REQUIRE_THAT(trusted.error().what, ContainsSubstring(c.reason));
}

TEST_CASE("requests that are refused") {
  struct Case {
    const char* name;
    IssueRequest request;
    int valid_days;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"cluster", {controller("East"), Role::kNone, {}, {}}, 1, "cluster \"East\" must be"},
      {"operator without a role",
       {{"islands", "east", Kind::kOperator, "ann"}, Role::kNone, {}, {}},
       1,
       "an operator needs a role"},
      {"node with a role",
       {{"islands", "east", Kind::kNode, "n1"}, Role::kAdmin, {}, {}},
       1,
       "only an operator has a role"},
      {"DNS name that smuggles another",
       {controller("east"), Role::kNone, {"a,URI:spiffe://x"}, {}},
       1,
       "is not a DNS name"},
      {"no days", {controller("east"), Role::kNone, {}, {}}, 0, "must be from 1 to 3650"},
      {"too many days", {controller("east"), Role::kNone, {}, {}}, 3651, "must be from 1 to 3650"},
  }));
  INFO(c.name);
  auto pair = issue(authority(), c.request, {kNow, c.valid_days});
  REQUIRE_FALSE(pair);
  REQUIRE(pair.error().code == Code::kInvalidArgument);
  REQUIRE_THAT(pair.error().what, ContainsSubstring(c.error));
}

TEST_CASE("an authority signs neither for another key nor after its end, and leaves sign nothing") {
  KeyPair ca = authority();
  IssueRequest request{controller("east"), Role::kNone, {}, {}};
  KeyPair leaf = issue(ca, request, {kNow, 90}).value();
  REQUIRE(issue({ca.certificate, leaf.key}, request, {kNow, 1}).error().code ==
          Code::kFailedPrecondition);
  REQUIRE(issue(leaf, request, {kNow, 1}).error().code == Code::kFailedPrecondition);
  REQUIRE(issue(ca, request, {kNow + days(4000), 1}).error().code == Code::kFailedPrecondition);
  // What would outlive its authority ends with it.
  KeyPair late = issue(ca, request, {kNow + days(3600), 365}).value();
  REQUIRE(read_certificate(late.certificate)->not_after == kNow + days(3650));
}

TEST_CASE("renewing keeps key, names and role") {
  KeyPair ca = authority();
  IssueRequest request{{"islands", "east", Kind::kOperator, "ann"},
                       Role::kViewer,
                       {"east.example"},
                       {*Ip::parse("127.0.0.1")}};
  KeyPair old = issue(ca, request, {kNow, 30}).value();
  KeyPair fresh = renew(ca, old, {kNow + days(29), 365}).value();
  REQUIRE(fresh.key == old.key);
  Certificate before = read_certificate(old.certificate).value();
  Certificate after = read_certificate(fresh.certificate).value();
  REQUIRE(after.name().value() == request.name);
  REQUIRE(after.role == Role::kViewer);
  REQUIRE(after.dns_names == before.dns_names);
  REQUIRE(after.ips == before.ips);
  REQUIRE(after.serial != before.serial);
  REQUIRE(verify(fresh.certificate, ca.certificate, kNow + days(31)));
}

TEST_CASE("an operator hears of certificates that end") {
  KeyPair pair = issue(authority(), {controller("east"), Role::kNone, {}, {}}, {kNow, 90}).value();
  Certificate facts = read_certificate(pair.certificate).value();
  REQUIRE(expiry_warning("tls.crt", facts, kNow) == "");
  REQUIRE(expiry_warning("tls.crt", facts, kNow + days(80)) ==
          "tls.crt ends in 10 days, on 2026-05-30T12:00:00Z");
  REQUIRE(expiry_warning("tls.crt", facts, kNow + days(91)) ==
          "tls.crt ended on 2026-05-30T12:00:00Z");
}

TEST_CASE("an authority without a URI of the right form proves no name") {
  Certificate ca = read_certificate(authority().certificate).value();
  REQUIRE(ca.authority);
  REQUIRE(ca.name().error().code == Code::kPermissionDenied);
  Certificate two = ca;
  two.uris = {controller("east").str(), controller("west").str()};
  REQUIRE(two.name().error().code == Code::kPermissionDenied);
}

TEST_CASE("folders of certificates") {
  TemporaryDirectory directory;
  KeyPair ca = authority();
  REQUIRE(write_authority(directory / "ca", ca));
  REQUIRE(write_authority(directory / "ca", authority()).error().code == Code::kAlreadyExists);
  REQUIRE(read_authority(directory / "ca")->key == ca.key);
  REQUIRE(mode_of(directory / "ca/ca.key") == 0600);
  REQUIRE(mode_of(directory / "ca/ca.crt") == 0644);

  KeyPair pair = issue(ca, {controller("east"), Role::kNone, {}, {}}, {kNow, 90}).value();
  REQUIRE(write_identity(directory / "east", pair, ca.certificate));
  REQUIRE(mode_of(directory / "east/tls.key") == 0600);
  TlsFiles files{directory / "east/tls.crt", directory / "east/tls.key", directory / "east/ca.crt"};
  REQUIRE(check_tls_files(files, kNow).value() == "");
  REQUIRE_THAT(check_tls_files(files, kNow + days(80)).value(), ContainsSubstring("ends in 10"));
  REQUIRE(check_tls_files(files, kNow + days(91)).error().code == Code::kPermissionDenied);
  REQUIRE(
      check_tls_files({files.certificate, directory / "ca/ca.key", files.ca}, kNow).error().code ==
      Code::kFailedPrecondition);
  REQUIRE(check_tls_files({directory / "none", files.key, files.ca}, kNow).error().code ==
          Code::kNotFound);
  // Nothing is left beside the files.
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "east")) {
    REQUIRE(entry.path().extension() != ".new");
    ++count;
  }
  REQUIRE(count == 3);
}

Grant east_to_west() {
  Grant grant;
  grant.fleet = "islands";
  grant.cluster = "east";
  grant.cluster_id = 1;
  grant.granted_to = "west";
  grant.addresses = {"10.0.0.1:2379", "[fd00::1]:2379", "store.east.example:2379"};
  return make_grant(grant, authority("east"), {kNow, 365}).value();
}

TEST_CASE("a grant comes back as it was written and fits only whom it is for") {
  Grant grant = east_to_west();
  Grant read = parse_grant(to_text(grant), "east.grant", kNow).value();
  REQUIRE(to_text(read) == to_text(grant));
  Certificate facts = read_certificate(read.client.certificate).value();
  REQUIRE(facts.name()->str() == "spiffe://islands/cluster/west/controller");

  REQUIRE(check_grant_for(read, "islands", "west", 2));
  struct Case {
    const char* name;
    const char* fleet;
    const char* cluster;
    std::uint32_t id;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"other fleet", "rocks", "west", 2, "the grant is of fleet islands, this cluster is of"},
      {"other cluster", "islands", "north", 3, "the grant is for cluster west, this is cluster"},
      {"same id", "islands", "west", 1, "clusters east and west both have the id 1"},
  }));
  INFO(c.name);
  auto fits = check_grant_for(read, c.fleet, c.cluster, c.id);
  REQUIRE(fits.error().code == Code::kFailedPrecondition);
  REQUIRE_THAT(fits.error().what, ContainsSubstring(c.error));
}

TEST_CASE("grants that are refused, with the member that is wrong") {
  Grant good = east_to_west();
  Grant other = east_to_west();
  struct Case {
    const char* name;
    const char* member;
    json::value value;
    WallTime now;
    const char* error;
  };
  auto c = GENERATE_COPY(values<Case>({
      {"another kind", "kind", "x", kNow, "g: kind: must be \"tombolo.ClusterGrant\""},
      {"a later version", "version", 2, kNow,
       "g: version: version 2 is not understood here, only 1"},
      {"unknown member", "colour", "red", kNow, "g: colour: unknown field; known here: kind,"},
      {"cluster id", "cluster_id", 0, kNow, "g: cluster_id: 0 is not from 1 to 65535"},
      {"fleet", "fleet", "Is lands", kNow, "g: cluster: fleet \"Is lands\" must be"},
      {"granted to", "granted_to", "../x", kNow, "g: granted_to: cluster \"../x\" must be"},
      {"granted to another", "granted_to", "north", kNow, "is for spiffe://islands/cluster/west/"},
      {"no addresses", "addresses", json::array{}, kNow, "g: addresses: 0 addresses; must be 1 to"},
      {"address", "addresses", json::array{"10.0.0.1"}, kNow,
       "g: addresses[0]: \"10.0.0.1\" is not host:port"},
      {"port", "addresses", json::array{"a:1", "a:70000"}, kNow,
       "g: addresses[1]: \"a:70000\" is not host:port"},
      {"no PEM", "certificate", "x", kNow, "not a PEM certificate"},
      {"key of another", "key", json::string(other.client.key), kNow,
       "g: key: the key is not the certificate's"},
      {"authority of another", "authority", json::string(other.authority), kNow,
       "g: certificate: the certificate \"CN=west/controller,O=islands\" is not trusted"},
      {"ended", "version", 1, kNow + days(366), "certificate has expired"},
  }));
  INFO(c.name);
  auto document = parse_json(to_text(good)).value();
  document.as_object()[c.member] = c.value;
  auto read = parse_grant(to_json(document), "g", c.now);
  REQUIRE_FALSE(read);
  REQUIRE_THAT(read.error().what, ContainsSubstring(c.error));
  REQUIRE(parse_grant("{", "g", kNow).error().what.starts_with("g: not valid JSON"));
}

TEST_CASE("a grant cannot carry an operator's certificate instead of a controller's") {
  KeyPair ca = authority("east");
  Grant grant = east_to_west();
  grant.authority = ca.certificate;
  grant.client =
      issue(ca, {{"islands", "west", Kind::kOperator, "eve"}, Role::kAdmin, {}, {}}, {kNow, 30})
          .value();
  auto read = parse_grant(to_text(grant), "g", kNow);
  REQUIRE_FALSE(read);
  REQUIRE_THAT(read.error().what, ContainsSubstring("is for spiffe://islands/cluster/west/operator/"
                                                    "eve, not for"));
}

}  // namespace
}  // namespace tombolo::pki
