// A daemon that is killed in the middle of a storm of writes: every write that was acknowledged is
// there after the restart.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <future>

#include "core/store/engine.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

constexpr int kWriters = 32;

// One writer's endless chain: the next put starts when the one before is acknowledged, which is
// told through the pipe first.
struct Chain {
  Engine& engine;
  int pipe;
  int writer;
  int count = 0;
  pb::PutRequest request;
  pb::PutResponse response;
  void next() {
    request.set_key(fmt::format("{}/{}", writer, count));
    request.set_value(std::string(100, 'v'));
    engine.put(request, response, [this](const Result<void>& result) {
      if (!result) ::_exit(3);
      std::array<int, 2> told{writer, count++};
      if (::write(pipe, told.data(), sizeof(told)) != sizeof(told)) ::_exit(4);
      next();
    });
  }
};

[[noreturn]] void storm(const std::filesystem::path& file, int pipe) {
  auto clock = make_system_clock();
  EngineOptions options;
  options.file = file;
  auto engine = Engine::open(options, *clock, Logger());
  if (!engine) ::_exit(2);
  std::vector<std::unique_ptr<Chain>> chains;
  for (int i = 0; i < kWriters; ++i) {
    chains.push_back(std::make_unique<Chain>(**engine, pipe, i));
    chains.back()->next();
  }
  while (true) ::pause();
}

TEST_CASE("durability: what was acknowledged survives kill -9") {
  int acknowledgements = GENERATE(1, 500, 3000);
  TempDir dir;
  std::filesystem::path file = dir.path() / "store.db";
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(pipe[0]);
    storm(file, pipe[1]);
  }
  ::close(pipe[1]);
  std::map<int, int> last;
  std::array<int, 2> told{};
  int received = 0;
  while (received < acknowledgements && ::read(pipe[0], told.data(), sizeof(told)) > 0) {
    last[told[0]] = told[1];
    ++received;
  }
  ::kill(child, SIGKILL);
  // What it had still told before it died counts too.
  while (::read(pipe[0], told.data(), sizeof(told)) > 0) last[told[0]] = told[1];
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(received == acknowledgements);
  REQUIRE(WIFSIGNALED(status));
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(1);
  auto state = StoreState::open(file, {}, *clock, *rng);
  REQUIRE(state);
  for (const auto& [writer, count] : last)
    for (int i = 0; i <= count; ++i) {
      const Version* version =
          (*state)->index().at(fmt::format("{}/{}", writer, i), (*state)->revision());
      REQUIRE(version != nullptr);
      REQUIRE((*state)->database().value(version->id)->size() == 100);
    }
}

}  // namespace
}  // namespace tombolo
