// Three BIRDs with exported configurations in network namespaces of their own: the router between
// two clusters and an entry node of each. They must learn the planned routes and nothing else.
// Needs root, ip and bird.
#include <poll.h>

#include <chrono>
#include <csignal>
#include <set>
#include <sstream>

#include "ipamd/export/test_fleets.h"
#include "ipamd/export/test_programs.h"

namespace tombolo {
namespace {

const char* const kIp = "/usr/sbin/ip";

// A network namespace, gone with the object.
class Namespace {
 public:
  Namespace(const Folder& folder, const std::string& name)
      : folder_(folder), name_(fmt::format("tombolo-bgp-{}-{}", ::getpid(), name)) {
    made_ = run(folder_, {kIp, "netns", "add", name_}).code == 0;
    if (made_) ip({"link", "set", "lo", "up"});
  }
  ~Namespace() {
    if (made_) run(folder_, {kIp, "netns", "del", name_});
  }
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;

  bool made() const { return made_; }
  const std::string& name() const { return name_; }
  std::string ip(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {kIp, "-n", name_});
    Outcome outcome = run(folder_, std::move(arguments));
    INFO(outcome.text);
    REQUIRE(outcome.code == 0);
    return outcome.text;
  }
  void join(const std::string& device, const Namespace& other, const std::string& own_address,
            const std::string& other_address) const {
    ip({"link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", other.name()});
    ip({"address", "add", own_address, "dev", device});
    other.ip({"address", "add", other_address, "dev", "eth0"});
    ip({"link", "set", device, "up"});
    other.ip({"link", "set", "eth0", "up"});
  }

 private:
  const Folder& folder_;
  std::string name_;
  bool made_ = false;
};

// A BIRD in a namespace, ended with the object.
class Bird {
 public:
  Bird(const Folder& folder, const Namespace& where, const std::string& name,
       const std::string& configuration)
      : pid_(start(folder,
                   {kIp, "netns", "exec", where.name(), installed("bird"), "-f", "-c",
                    folder.write(name + ".conf", configuration), "-s",
                    folder.path() + "/" + name + ".ctl"},
                   name + ".log")) {}
  ~Bird() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  Bird(const Bird&) = delete;
  Bird& operator=(const Bird&) = delete;

 private:
  pid_t pid_;
};

// What BIRD has told the kernel, as "DESTINATION via GATEWAY" or "unreachable DESTINATION".
std::set<std::string> learned(const Namespace& where) {
  std::set<std::string> routes;
  std::istringstream lines(where.ip({"route", "show", "proto", "bird"}));
  for (std::string line; std::getline(lines, line);) {
    std::string route = line.substr(0, std::min(line.find(" dev"), line.find(" metric")));
    routes.insert(route.substr(0, route.find_last_not_of(' ') + 1));
  }
  return routes;
}

void expect(const Namespace& where, const std::set<std::string>& routes) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(40);
  std::set<std::string> found = learned(where);
  while (found != routes && std::chrono::steady_clock::now() < end) {
    ::poll(nullptr, 0, 200);
    found = learned(where);
  }
  REQUIRE(found == routes);
}

TEST_CASE("BIRDs learn each other's planned routes, and nothing else") {
  if (installed("bird").empty()) SKIP("bird is missing (Debian package bird2)");
  if (::geteuid() != 0 || ::access(kIp, X_OK) != 0) SKIP("needs root and ip(8)");
  Folder folder;
  Namespace router(folder, "router");
  if (!router.made()) SKIP("no network namespace can be made here");
  Namespace east(folder, "east");
  Namespace west(folder, "west");
  router.join("east", east, "10.64.0.1/24", "10.64.0.2/24");
  router.join("west", west, "10.68.0.1/24", "10.68.0.4/24");
  // A range that is not planned for east: it announces it, and nobody believes it.
  std::string foreign = exported(given_plan(), "bird", "east");
  for (const char* own : {"route 10.65.0.0/16 unreachable;", "net ~ [ 10.65.0.0/16 ]"}) {
    std::string both = own[0] == 'r' ? std::string(own) + " route 10.99.0.0/16 unreachable;"
                                     : std::string("net ~ [ 10.65.0.0/16, 10.99.0.0/16 ]");
    std::size_t at = foreign.find(own);
    REQUIRE(at != std::string::npos);
    foreign.replace(at, std::string(own).size(), both);
  }
  Bird router_bird(folder, router, "router", exported(given_plan(), "bird"));
  Bird east_bird(folder, east, "east", foreign);
  Bird west_bird(folder, west, "west", exported(given_plan(), "bird", "west"));
  expect(router, {"10.65.0.0/16 via 10.64.0.2", "10.69.0.0/16 via 10.68.0.4",
                  "unreachable 10.64.0.0/15", "unreachable 10.68.0.0/15"});
  expect(west,
         {"10.64.0.0/15 via 10.68.0.1", "10.68.0.0/15 via 10.68.0.1", "unreachable 10.69.0.0/16"});
  expect(east, {"10.64.0.0/15 via 10.64.0.1", "10.68.0.0/15 via 10.64.0.1",
                "unreachable 10.65.0.0/16", "unreachable 10.99.0.0/16"});
}

}  // namespace
}  // namespace tombolo
