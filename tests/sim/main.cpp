// tombolo-sim: runs seeds. One seed in this process, many in as many processes as there are cores,
// so that a seed that ends the process ends nothing but itself.
//
//   tombolo-sim --seed S [--trace] [--log] [--break NAME]
//   tombolo-sim --first S --seeds N [--jobs J] [--break NAME] [--keep-going]
//   tombolo-sim --list-mistakes
//
// Seeds are numbers from 0 to 2^64 - 1, also in hexadecimal (0x…).
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/sim/fleet.h"

namespace tombolo::sim {
namespace {

enum class State : std::uint32_t { kWaiting, kRunning, kPassed, kViolated, kCrashed };

// In memory that parent and children share.
struct Outcome {
  State state = State::kWaiting;
  std::uint64_t digest = 0;
  std::uint64_t events = 0;
  std::uint64_t virtual_ms = 0;
  std::array<std::uint32_t, kFaultKinds.size()> faults{};
  std::array<std::uint64_t, kQuestions.size()> asked{};
};

struct Arguments {
  Options one;
  std::uint64_t first = 1;  // then one more each
  std::uint64_t seeds = 0;
  unsigned jobs = 1;
  bool keep_going = false;
};

const SimFleet* running = nullptr;
std::uint64_t running_seed = 0;
std::string_view running_mistake;

std::string mistake_name(Mistake mistake) {
  for (const NamedMistake& one : kMistakes)
    if (one.mistake == mistake) return std::string(one.name);
  return "";
}

void print_report(const SimFleet& fleet, std::uint64_t seed, std::string_view invariant,
                  std::string_view what) {
  std::string text =
      fmt::format("seed {}: {}: {}\n  {}\n  last events:\n", seed, invariant, what, fleet.shape());
  for (const std::string& line : fleet.world().last_events()) text += "    " + line + "\n";
  text += fmt::format("  again: tombolo-sim --seed {}{}{} --trace\n", seed,
                      running_mistake.empty() ? "" : " --break ", running_mistake);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

// A failed ENSURE or a signal: say which seed it was, then end as the signal wants.
extern "C" void on_signal(int number) {
  std::signal(number, SIG_DFL);
  if (const SimFleet* fleet = std::exchange(running, nullptr))
    print_report(*fleet, running_seed, "the process ended",
                 fmt::format("by signal {} at {} ms", number, fleet->world().now() / 1ms));
  std::raise(number);
}

// What is still wrong when it ends (a process that cannot be buried, say) is its too.
bool run_one(const Options& options, Outcome& outcome) {
  auto fleet = std::make_unique<SimFleet>(options);
  running = fleet.get();
  running_seed = options.seed;
  bool good = fleet->run();
  if (!good) {
    const Violation& violation = *fleet->world().violation();
    print_report(*fleet, options.seed, violation.invariant,
                 fmt::format("{} (at {:.3f} s)", violation.what,
                             std::chrono::duration<double>(violation.at).count()));
  }
  outcome.digest = fleet->world().digest();
  outcome.events = fleet->world().events();
  outcome.virtual_ms = static_cast<std::uint64_t>(fleet->world().now() / 1ms);
  for (std::size_t i = 0; i < kFaultKinds.size(); ++i)
    if (auto at = fleet->fault_counts().find(std::string(kFaultKinds[i]));
        at != fleet->fault_counts().end())
      outcome.faults[i] = static_cast<std::uint32_t>(at->second);
  for (std::size_t i = 0; i < kQuestions.size(); ++i)
    if (auto at = fleet->asked().find(std::string(kQuestions[i])); at != fleet->asked().end())
      outcome.asked[i] = at->second;
  fleet->bury_all();
  running = nullptr;
  fleet.reset();
  outcome.state = good ? State::kPassed : State::kViolated;
  return good;
}

std::optional<Arguments> parse(int count, char** words) {
  Arguments arguments;
  arguments.jobs = static_cast<unsigned>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  for (int i = 1; i < count; ++i) {
    std::string_view word = words[i];
    auto number = [&] { return std::strtoull(++i < count ? words[i] : "", nullptr, 0); };
    if (word == "--seed") {
      arguments.one.seed = number();
    } else if (word == "--first") {
      arguments.first = number();
    } else if (word == "--seeds") {
      arguments.seeds = number();
    } else if (word == "--jobs") {
      arguments.jobs = static_cast<unsigned>(std::clamp<std::uint64_t>(number(), 1, 64));
    } else if (word == "--trace") {
      arguments.one.print_trace = true;
    } else if (word == "--log") {
      arguments.one.log = true;
    } else if (word == "--list-mistakes") {
      for (const NamedMistake& one : kMistakes) fmt::print("{}\n", one.name);
      std::exit(0);
    } else if (word == "--keep-going") {
      arguments.keep_going = true;
    } else if (word == "--break" && i + 1 < count) {
      auto mistake = find_mistake(words[++i]);
      if (!mistake) return std::nullopt;
      arguments.one.mistake = *mistake;
    } else {
      return std::nullopt;
    }
  }
  return arguments;
}

// Runs every jobs-th seed from `index` on.
[[noreturn]] void work(const Arguments& arguments, std::uint64_t index, Outcome* outcomes,
                       bool* stop) {
  for (; index < arguments.seeds && !*stop; index += arguments.jobs) {
    outcomes[index].state = State::kRunning;
    Options options = arguments.one;
    options.seed = arguments.first + index;
    alarm(120);  // a seed takes well under a second
    if (!run_one(options, outcomes[index]) && !arguments.keep_going) *stop = true;
  }
  std::fflush(stdout);
  _exit(0);
}

class Seeds {
 public:
  explicit Seeds(const Arguments& arguments) : arguments_(arguments) {
    std::size_t bytes = arguments.seeds * sizeof(Outcome) + sizeof(bool);
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ENSURE(memory != MAP_FAILED, "no memory for {} seeds", arguments.seeds);
    outcomes_ = static_cast<Outcome*>(memory);
    stop_ = reinterpret_cast<bool*>(outcomes_ + arguments.seeds);
  }

  int run() {
    auto clock = make_system_clock();
    MonotonicTime begun = clock->now();
    for (unsigned slot = 0; slot < arguments_.jobs; ++slot) start(slot, slot);
    while (!slots_.empty()) {
      int status = 0;
      pid_t child = waitpid(-1, &status, 0);
      auto at = slots_.find(child);
      if (at == slots_.end()) continue;
      unsigned slot = at->second;
      slots_.erase(at);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
      go_on_after_crash(slot, status);
    }
    double took = std::chrono::duration<double>(clock->now() - begun).count();
    return report(took);
  }

 private:
  void start(unsigned slot, std::uint64_t index) {
    std::fflush(stdout);
    pid_t child = fork();
    ENSURE(child >= 0, "fork");
    if (child == 0) work(arguments_, index, outcomes_, stop_);
    slots_[child] = slot;
  }
  void go_on_after_crash(unsigned slot, int status) {
    for (std::uint64_t index = slot; index < arguments_.seeds; index += arguments_.jobs) {
      if (outcomes_[index].state != State::kRunning) continue;
      outcomes_[index].state = State::kCrashed;
      std::fputs(fmt::format("seed {}: its process ended with status {:#x}\n",
                             arguments_.first + index, status)
                     .c_str(),
                 stdout);
      if (arguments_.keep_going)
        start(slot, index + arguments_.jobs);
      else
        *stop_ = true;
      return;
    }
  }
  int report(double took) const {
    std::map<State, std::uint64_t> states;
    std::uint64_t events = 0;
    std::uint64_t virtual_ms = 0;
    std::array<std::uint64_t, kFaultKinds.size()> faults{};
    std::array<std::uint64_t, kQuestions.size()> asked{};
    std::uint64_t digest = 0;
    for (std::uint64_t i = 0; i < arguments_.seeds; ++i) {
      const Outcome& outcome = outcomes_[i];
      ++states[outcome.state];
      events += outcome.events;
      virtual_ms += outcome.virtual_ms;
      digest = digest * 31 + outcome.digest;
      for (std::size_t k = 0; k < faults.size(); ++k) faults[k] += outcome.faults[k];
      for (std::size_t k = 0; k < asked.size(); ++k) asked[k] += outcome.asked[k];
    }
    std::uint64_t failed = states[State::kViolated] + states[State::kCrashed];
    std::string kinds;
    for (std::size_t k = 0; k < faults.size(); ++k)
      kinds += fmt::format("{}{} {}", k == 0 ? "" : ", ", faults[k], kFaultKinds[k]);
    std::string questions;
    for (std::size_t k = 0; k < asked.size(); ++k)
      questions += fmt::format("{}{} {}", k == 0 ? "" : ", ", asked[k], kQuestions[k]);
    std::string text = fmt::format(
        "faults: {}\nasked of: {}\n{} seeds from {} in {:.1f} s ({:.1f}/s): {} passed, {} failed; "
        "{} events, "
        "{:.1f} "
        "h of virtual time, digest {:016x}\n",
        kinds, questions, arguments_.seeds, arguments_.first, took,
        static_cast<double>(states[State::kPassed] + failed) / took, states[State::kPassed], failed,
        events, static_cast<double>(virtual_ms) / 3.6e6, digest);
    std::fputs(text.c_str(), stdout);
    return failed == 0 && states[State::kPassed] == arguments_.seeds ? 0 : 1;
  }

  const Arguments& arguments_;
  Outcome* outcomes_ = nullptr;
  bool* stop_ = nullptr;
  std::map<pid_t, unsigned> slots_;
};

}  // namespace
}  // namespace tombolo::sim

int main(int count, char** words) {
  using namespace tombolo::sim;
  auto arguments = parse(count, words);
  if (!arguments) {
    std::fputs(
        "tombolo-sim --seed S [--trace] [--log] [--break NAME]\n"
        "tombolo-sim --first S --seeds N [--jobs J] [--break NAME] [--keep-going]\n"
        "tombolo-sim --list-mistakes\n"
        "--break:",
        stderr);
    for (const NamedMistake& one : kMistakes) fmt::print(stderr, " {}", one.name);
    std::fputs("\n", stderr);
    return 2;
  }
  std::string mistake = mistake_name(arguments->one.mistake);
  running_mistake = mistake;
  for (int number : {SIGABRT, SIGSEGV, SIGALRM}) std::signal(number, on_signal);
  if (arguments->seeds > 0) return Seeds(*arguments).run();
  Outcome outcome;
  bool good = run_one(arguments->one, outcome);
  fmt::print("seed {} {} digest {:016x}, {} events, {:.1f} s of virtual time\n",
             arguments->one.seed, good ? "passed" : "failed", outcome.digest, outcome.events,
             static_cast<double>(outcome.virtual_ms) / 1000);
  return good ? 0 : 1;
}
