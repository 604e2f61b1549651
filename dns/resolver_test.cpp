// Programs of the machine against the real server: dig on loopback, and, in a network and mount
// namespace of the test's own with our resolv.conf, glibc's and musl's resolvers. The namespaces
// end with the test's thread.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "dns/dns.h"
#include "dns/query.h"
#include "dns/sockets.h"
#include "dns/test_zone.h"

namespace tombolo::dns {
namespace {

std::string run(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  ENSURE(pipe != nullptr);
  std::string out;
  std::array<char, 4096> part{};
  while (std::size_t got = std::fread(part.data(), 1, part.size(), pipe))
    out.append(part.data(), got);
  ::pclose(pipe);
  return out;
}

bool installed(const std::string& program) {
  return run("command -v " + program).find('/') != std::string::npos;
}

std::unique_ptr<DnsServer> server_on(const std::string& listen, std::vector<Frontend> rows) {
  DnsSettings settings;
  settings.listen = {*Endpoint::parse(listen)};
  settings.zones = testing::settings();
  auto made = DnsServer::make(settings, Logger());
  ENSURE(made.has_value());
  auto builder = ZoneBuilder::make(testing::settings());
  for (const Frontend& row : rows) builder->apply(row.key(), &row);
  builder->mark_synced();
  (*made)->publish(builder->snapshot(1000));
  auto started = (*made)->start();
  ENSURE(started.has_value(), "{}", started.error().text());
  return std::move(*made);
}

Frontend big_headless() {
  Frontend row;
  row.name_space = "data";
  row.name = "big";
  row.local = row.exported = row.headless = true;
  for (int i = 1; i <= 100; ++i)
    row.backends.push_back(testing::backend(fmt::format("10.3.0.{}", i), "east"));
  return row;
}

// getaddrinfo as a program of its own: one line per name, its addresses or the error.
constexpr std::string_view kClientSource = R"(
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = 0;
    int error = getaddrinfo(argv[i], 0, &hints, &list);
    int count = 0;
    char text[64] = "", first[64] = "";
    for (struct addrinfo *at = list; at; at = at->ai_next, ++count) {
      void *from = at->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr
                                            : (void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr;
      inet_ntop(at->ai_family, from, text, sizeof text);
      if (at->ai_family == AF_INET) snprintf(first, sizeof first, "%s", text);
    }
    printf("%s: %s %d\n", argv[i], error ? "none" : first, count);
    if (list) freeaddrinfo(list);
  }
}
)";

Result<void> enter_namespaces(const std::filesystem::path& resolv_conf) {
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return fail_errno(errno, "unshare");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return fail_errno(errno, "make mounts private");
  if (::mount(resolv_conf.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) != 0)
    return fail_errno(errno, "bind resolv.conf");
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_UP;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno(errno, "lo up");
  return {};
}

struct TempDir {
  TempDir() {
    std::string pattern = "/tmp/tombolo-dns-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("dig understands the answers") {
  if (!installed("dig")) SKIP("needs dig (Debian package bind9-dnsutils)");
  auto server = server_on("127.0.0.1:0", testing::rows());
  std::string dig =
      fmt::format("dig @127.0.0.1 -p {} +time=5 +tries=1 ", server->addresses()[0].port);
  REQUIRE(run(dig + "+short web.default.svc.cluster.local A") == "10.1.0.1\n");
  REQUIRE(run(dig + "+short +tcp web.default.svc.clusterset.local AAAA") == "fd00:10:2::1\n");
  REQUIRE(run(dig + "+short _http._tcp.web.default.svc.cluster.local SRV") ==
          "0 100 80 web.default.svc.cluster.local.\n");
  REQUIRE(run(dig + "+short -x 10.3.0.1") == "db-0.db.data.svc.cluster.local.\n");
  REQUIRE(run(dig + "+short dns-version.clusterset.local TXT") == "\"1.0.0\"\n");
  std::string denied = run(dig + "+cookie=0102030405060708 nothing.default.svc.cluster.local");
  REQUIRE(denied.find("status: NXDOMAIN") != std::string::npos);
  REQUIRE(denied.find("flags: qr aa rd;") != std::string::npos);
  REQUIRE(denied.find("IN\tSOA\tns.dns.cluster.local. hostmaster.cluster.local. 1000") !=
          std::string::npos);
  // A cookie is ignored, not echoed: dig would report one that came back changed or not.
  REQUIRE(denied.find("COOKIE") == std::string::npos);
  REQUIRE(run(dig + "cluster.local AXFR").find("Transfer failed") != std::string::npos);
  REQUIRE(run(dig + "+opcode=notify cluster.local SOA").find("status: NOTIMP") !=
          std::string::npos);
  REQUIRE(run(dig + "+edns=1 +noednsneg cluster.local SOA").find("status: BADVERS") !=
          std::string::npos);
}

TEST_CASE("the query command asks and shows") {
  auto server = server_on("127.0.0.1:0", testing::rows());
  Endpoint at = server->addresses()[0];
  auto options = parse_query(at, "web.default.svc.cluster.local", "");
  REQUIRE(options.has_value());
  for (bool tcp : {false, true}) {
    options->tcp = tcp;
    auto answer = query_server(*options);
    REQUIRE(answer.has_value());
    std::string text = answer_text(*answer);
    REQUIRE(text.starts_with("NOERROR, authoritative, "));
    REQUIRE(text.find("answer     web.default.svc.cluster.local. 5 IN A 10.1.0.1\n") !=
            std::string::npos);
    REQUIRE(answer_json(*answer).at("answer").at(0).at("data") == "10.1.0.1");
  }
  auto reverse = parse_query(at, "10.1.0.1", "");
  REQUIRE(reverse->type == Type::kPtr);
  REQUIRE(answer_json(*query_server(*reverse)).at("answer").at(0).at("data") ==
          "web.default.svc.cluster.local.");
  server->publish([] {
    auto builder = ZoneBuilder::make(testing::settings());
    return builder->snapshot(1);
  }());
  auto waiting = answer_text(*query_server(*options));
  REQUIRE(waiting.starts_with("SERVFAIL"));
  REQUIRE(waiting.find("error      14 (Not Ready)\n") != std::string::npos);
  server->stop();
  options->tcp = false;
  options->timeout = std::chrono::milliseconds(200);
  REQUIRE(!query_server(*options).has_value());
  REQUIRE(!parse_query(at, "a..b", "").has_value());
  REQUIRE(!parse_query(at, "a", "NONSENSE").has_value());
}

TEST_CASE("the resolvers of glibc and musl find what is there and nothing else") {
  if (::geteuid() != 0) SKIP("needs root, to make namespaces");
  if (!installed("musl-gcc") || !installed("cc"))
    SKIP("needs musl-gcc and cc (Debian packages musl-tools, gcc)");
  TempDir temp;
  std::ofstream(temp.path / "client.c") << kClientSource;
  std::ofstream(temp.path / "resolv.conf")
      << "nameserver 127.0.0.1\n"
         "search default.svc.cluster.local svc.cluster.local cluster.local svc.clusterset.local\n"
         "options ndots:5 timeout:2 attempts:2\n";
  std::string source = (temp.path / "client.c").string();
  REQUIRE(run("musl-gcc -static -o " + (temp.path / "musl").string() + " " + source).empty());
  REQUIRE(run("cc -o " + (temp.path / "glibc").string() + " " + source).empty());
  std::string entered = "not run";
  std::map<std::string, std::string> seen;
  std::thread inside([&] {
    auto in = enter_namespaces(temp.path / "resolv.conf");
    entered = in ? "" : in.error().text();
    if (!in) return;
    std::vector<Frontend> rows = testing::rows();
    rows.push_back(big_headless());
    auto server = server_on("127.0.0.1:53", rows);
    for (std::string library : {"glibc", "musl"})
      seen[library] = run((temp.path / library).string() +
                          " web web.default single web.default.svc.clusterset.local cart.shop"
                          " db.data.svc.cluster.local db-0.west.db.data.svc.clusterset.local"
                          " alias.ext nothing default empty.data");
    seen["big"] = run((temp.path / "glibc").string() + " big.data.svc.cluster.local.");
    seen["big musl"] = run((temp.path / "musl").string() + " big.data.svc.clusterset.local.");
    seen["getent"] = run("getent hosts single");
  });
  inside.join();
  if (!entered.empty()) SKIP("cannot make namespaces: " << entered);
  for (std::string library : {"glibc", "musl"}) {
    CAPTURE(library);
    REQUIRE(seen[library] ==
            "web: 10.1.0.1 2\n"
            "web.default: 10.1.0.1 2\n"
            "single: 10.1.0.2 1\n"
            "web.default.svc.clusterset.local: 10.2.0.1 2\n"
            "cart.shop: 10.2.0.7 1\n"
            "db.data.svc.cluster.local: " +
                seen[library].substr(seen[library].find("svc.cluster.local: ") + 19, 8) +
                " 3\n"
                "db-0.west.db.data.svc.clusterset.local: 10.3.8.1 1\n"
                "alias.ext: 10.1.0.1 2\n"
                "nothing: none 0\n"
                "default: none 0\n"
                "empty.data: none 0\n");
  }
  REQUIRE(seen["big"].ends_with(" 100\n"));  // glibc goes on over TCP
  // musl before 1.2.4 does not: it depends on the subset.
  int shown = std::atoi(seen["big musl"].substr(seen["big musl"].rfind(' ')).c_str());
  REQUIRE(shown >= 20);
  INFO(seen["getent"]);
  REQUIRE(seen["getent"].starts_with("10.1.0.2 "));
}

}  // namespace tombolo::dns
