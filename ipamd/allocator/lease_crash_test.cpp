// A child process allocates and releases as fast as it can and is killed with SIGKILL in the
// middle, again and again over one file. What it had acknowledged must be there, once.
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include "ipamd/allocator/lease_book.h"

namespace tombolo {
namespace {

constexpr int kClients = 48;
constexpr std::size_t kHeldPerClient = 4;

void say(int pipe, char what, const Lease& lease) {
  std::string line = fmt::format("{} {} {}", what, lease.attachment.container_id, lease.sequence);
  for (Ip ip : lease.attachment.ips) line += " " + ip.str();
  line += "\n";
  // Below PIPE_BUF: whole or not at all.
  ENSURE(::write(pipe, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

// "+" once an allocation may be answered, "~" before a release, "-" once it may be answered.
asio::awaitable<void> client(LeaseBook& book, int round, int number, int pipe) {
  std::vector<Lease> held;
  for (int i = 0;; ++i) {
    Lease wanted;
    wanted.attachment.container_id = fmt::format("r{}c{}n{}", round, number, i);
    wanted.attachment.interface_name = "eth0";
    auto reservation = book.reserve(std::move(wanted), kNodePool, {});
    ENSURE(reservation, "{}", reservation.error().text());
    auto durable = co_await book.durable(reservation->ticket);
    ENSURE(durable, "{}", durable.error().text());
    say(pipe, '+', reservation->lease);
    book.mark_attached(reservation->lease.key(), reservation->lease.sequence);
    held.push_back(reservation->lease);
    if (held.size() < kHeldPerClient) continue;
    Lease oldest = held.front();
    held.erase(held.begin());
    say(pipe, '~', oldest);
    auto released = co_await book.release(oldest.key(), oldest.sequence);
    ENSURE(released, "{}", released.error().text());
    say(pipe, '-', oldest);
  }
}

asio::awaitable<void> serve(LeaseBook& book, TaskGroup& tasks, int round, int pipe) {
  auto loaded = co_await book.load();
  ENSURE(loaded, "{}", loaded.error().text());
  auto set = book.set_blocks(
      kNodePool, {Prefix::parse("10.0.0.0/19").value(), Prefix::parse("fd00::/64").value()});
  ENSURE(set);
  for (int i = 0; i < kClients; ++i) tasks.spawn("client", client(book, round, i, pipe));
}

[[noreturn]] void child(const std::string& file, int round, int pipe) {
  asio::io_context context;
  Worker worker;
  TaskGroup tasks(context.get_executor());
  auto clock = make_system_clock();
  auto store = open_sqlite_lease_store(file);
  ENSURE(store, "{}", store.error().text());
  LeaseBook book(**store, worker, tasks, *clock, Logger());
  tasks.spawn("serve", serve(book, tasks, round, pipe));
  context.run();
  std::abort();
}

struct Seen {
  std::map<std::string, std::string> acknowledged;  // container -> "SEQUENCE IP IP"
  std::set<std::string> release_begun;              // may be there or not
  std::set<std::string> released;                   // must not be there
};

void note(Seen& seen, const std::string& line) {
  std::size_t space = line.find(' ', 2);
  std::string container = line.substr(2, space - 2);
  if (line[0] == '+')
    seen.acknowledged[container] = line.substr(space + 1);
  else if (line[0] == '~')
    seen.release_begun.insert(container);
  else if (line[0] == '-') {
    seen.acknowledged.erase(container);
    seen.release_begun.erase(container);
    seen.released.insert(container);
  }
}

// Starts a child, kills it after `lines` lines, and adds everything it said to `seen`.
void storm(const std::string& file, int round, int lines, Seen& seen) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  std::fflush(nullptr);
  pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::close(ends[0]);
    child(file, round, ends[1]);
  }
  ::close(ends[1]);
  std::FILE* from = ::fdopen(ends[0], "r");
  char* line = nullptr;
  std::size_t size = 0;
  int count = 0;
  while (::getline(&line, &size, from) > 0) {
    std::string text(line);
    text.pop_back();
    note(seen, text);
    if (++count == lines) ::kill(pid, SIGKILL);
  }
  std::free(line);
  std::fclose(from);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(WTERMSIG(status) == SIGKILL);
  REQUIRE(count >= lines);
}

TEST_CASE("kill -9 loses no acknowledged lease and doubles none") {
  std::string folder = "/tmp/tombolo-crash-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  std::string file = folder + "/leases.db";
  Seen seen;
  for (int round = 0; round < 12; ++round) {
    storm(file, round, 37 + round * 211, seen);
    auto store = open_sqlite_lease_store(file);
    REQUIRE(store);
    auto stored = store->get()->load();
    REQUIRE(stored);
    std::map<std::string, std::string> there;
    std::set<Ip> addresses;
    auto leases = stored->leases.all();
    REQUIRE(leases);
    for (const auto& lease : *leases) {
      std::string text = std::to_string(lease.sequence);
      for (Ip ip : lease.attachment.ips) {
        REQUIRE(addresses.insert(ip).second);
        text += " " + ip.str();
      }
      REQUIRE(!seen.released.contains(lease.attachment.container_id));
      there[lease.attachment.container_id] = text;
      REQUIRE(lease.sequence <= stored->last_sequence);
    }
    for (const auto& [container, text] : seen.acknowledged) {
      INFO(container);
      if (!seen.release_begun.contains(container)) REQUIRE(there[container] == text);
    }
    // Every lease that is there was acknowledged, or was being made when the child died.
    REQUIRE(there.size() <=
            seen.acknowledged.size() + kClients * static_cast<std::size_t>(round + 1));
    for (const auto& container : seen.release_begun)
      if (!there.contains(container)) seen.acknowledged.erase(container);
    seen.release_begun.clear();
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tombolo
