// What follows from what the kernel and the container runtime say: as tables, and through the
// service.
#include "ipamd/cni/runtime.h"

#include <rapidcheck.h>

#include <catch2/generators/catch_generators.hpp>
#include <mutex>

#include "ipamd/cni/test_life.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;
using cni::Evidence;
using cni::judge;
using cni::Judgement;
using cni::RuntimeMemory;
using cni::RuntimeWord;
using What = Judgement::What;
using Path = Evidence::Path;

const std::string kId(64, 'a');
const std::string kOther(64, 'b');

Attachment pod(const std::string& id = kId) {
  Attachment made;
  made.container_id = id;
  made.interface_name = "eth0";
  made.name_space = "shop";
  made.pod_name = "web-0";
  return made;
}

MonotonicTime at(Duration since) {
  return MonotonicTime{} + 1h + since;
}

TEST_CASE("what the runtimes ought to know") {
  struct Case {
    std::string name;
    std::string id;
    std::string pod_name;
    bool is_one;
  };
  auto test = GENERATE(values<Case>({
      {"as containerd calls", kId, "web-0", true},
      {"no pod (podman, nerdctl)", kId, "", false},
      {"a name by hand (cnitool)", "cnitool-77", "web-0", false},
      {"upper case", std::string(64, 'A'), "web-0", false},
      {"too short", std::string(63, 'a'), "web-0", false},
  }));
  CAPTURE(test.name);
  Attachment attachment = pod(test.id);
  attachment.pod_name = test.pod_name;
  REQUIRE(cni::is_of_a_runtime(attachment) == test.is_one);
}

TEST_CASE("lost or not") {
  struct Case {
    std::string name;
    Evidence evidence;
    What what;
    std::string witnesses;
  };
  // path, has_link, adopted, link_there, addresses_somewhere, occupied, runtime, is_device
  auto test = GENERATE(values<Case>({
      {"a path that cannot be told",
       {Path::kUnclear, true, false, false, false, false, RuntimeWord::kGone},
       What::kKeep,
       ""},
      {"it lives",
       {Path::kSame, true, false, true, true, true, RuntimeWord::kReady},
       What::kKeep,
       ""},
      {"path gone, link there",
       {Path::kElse, true, false, true, true, true, RuntimeWord::kGone},
       What::kKeep,
       ""},
      {"path and link gone",
       {Path::kElse, true, false, false, true, true, RuntimeWord::kSilent},
       What::kFree,
       "namespace+link"},
      {"adopted: path and link gone",
       {Path::kElse, true, true, false, true, true, RuntimeWord::kReady},
       What::kFree,
       "namespace+link"},
      {"path gone, addresses in use",
       {Path::kElse, false, false, false, true, false, RuntimeWord::kGone},
       What::kKeep,
       ""},
      {"path and addresses gone, no runtime",
       {Path::kElse, false, false, false, false, true, RuntimeWord::kNone},
       What::kFree,
       "namespace+addresses"},
      {"the same, the runtime has it",
       {Path::kElse, false, false, false, false, false, RuntimeWord::kReady},
       What::kKeep,
       ""},
      {"the same, the runtime is silent",
       {Path::kElse, false, false, false, false, false, RuntimeWord::kSilent},
       What::kAskRuntime,
       ""},
      {"the same, it was stopped",
       {Path::kElse, false, false, false, false, false, RuntimeWord::kStopped},
       What::kFree,
       "namespace+addresses+runtime"},
      {"the same, the runtime does not know it",
       {Path::kElse, false, false, false, false, false, RuntimeWord::kUnknown},
       What::kFree,
       "namespace+addresses+runtime"},
      {"left behind, of ours",
       {Path::kSame, true, false, true, true, false, RuntimeWord::kGone},
       What::kFree,
       "runtime+empty-namespace"},
      {"left behind, somebody in it",
       {Path::kSame, true, false, true, true, true, RuntimeWord::kGone},
       What::kKeep,
       ""},
      {"left behind, maybe in the making",
       {Path::kSame, true, false, true, true, false, RuntimeWord::kUnknown},
       What::kKeep,
       ""},
      {"no process between two containers",
       {Path::kSame, true, false, true, true, false, RuntimeWord::kReady},
       What::kKeep,
       ""},
      {"stopped: its DEL is to come",
       {Path::kSame, true, false, true, true, false, RuntimeWord::kStopped},
       What::kKeep,
       ""},
      {"the runtime is silent",
       {Path::kSame, true, false, true, true, false, RuntimeWord::kSilent},
       What::kKeep,
       ""},
      {"left behind, of another plugin",
       {Path::kSame, false, false, false, true, false, RuntimeWord::kGone},
       What::kKeep,
       ""},
      {"the same without its addresses",
       {Path::kSame, false, false, false, false, false, RuntimeWord::kGone},
       What::kFree,
       "runtime+empty-namespace+addresses"},
      {"left behind, a device",
       {Path::kSame, false, false, false, true, false, RuntimeWord::kGone, true},
       What::kFree,
       "runtime+empty-namespace"},
      {"path gone, the device with its addresses elsewhere",
       {Path::kElse, false, false, false, true, false, RuntimeWord::kGone, true},
       What::kKeep,
       ""},
      {"left behind, adopted",
       {Path::kSame, true, true, true, true, false, RuntimeWord::kGone},
       What::kKeep,
       ""},
  }));
  CAPTURE(test.name);
  Judgement judgement = judge(test.evidence);
  REQUIRE(judgement.what == test.what);
  REQUIRE(judgement.witnesses == test.witnesses);
}

TEST_CASE("never on one word") {
  REQUIRE(rc::check("an address that is somewhere, a link or somebody keeps it", [] {
    Evidence evidence;
    evidence.path = *rc::gen::element(Path::kSame, Path::kElse, Path::kUnclear);
    evidence.has_link = *rc::gen::arbitrary<bool>();
    evidence.is_device = !evidence.has_link && *rc::gen::arbitrary<bool>();
    evidence.adopted = evidence.has_link && *rc::gen::arbitrary<bool>();
    evidence.link_there = *rc::gen::arbitrary<bool>();
    evidence.addresses_somewhere = *rc::gen::arbitrary<bool>();
    evidence.occupied = *rc::gen::arbitrary<bool>();
    evidence.runtime =
        *rc::gen::element(RuntimeWord::kNone, RuntimeWord::kSilent, RuntimeWord::kReady,
                          RuntimeWord::kStopped, RuntimeWord::kUnknown, RuntimeWord::kGone);
    if (judge(evidence).what != What::kFree) return;
    bool link_is_gone = evidence.has_link && !evidence.link_there;
    bool addresses_are_nowhere = !evidence.has_link && !evidence.addresses_somewhere;
    bool left_behind = !evidence.occupied && evidence.runtime == RuntimeWord::kGone;
    bool proved =
        evidence.path == Path::kElse
            ? link_is_gone || addresses_are_nowhere
            : left_behind && (evidence.has_link || evidence.is_device || addresses_are_nowhere);
    RC_ASSERT(proved);
    bool ready_without_a_link = evidence.runtime == RuntimeWord::kReady && !evidence.has_link;
    RC_ASSERT(!ready_without_a_link);
    bool unclear = evidence.path == Path::kUnclear;
    RC_ASSERT(!unclear);
  }));
}

// A story of the runtime: each step is at so many milliseconds. There is another sandbox, b.
struct Step {
  int at_ms = 0;
  std::string what;  // "begun LIFE", "note", "silent", "LIFE: a b" (listed; a!: stopped)
};

ContainerRuntime::Life life_of(const std::string& text) {
  if (text == "none") return {};
  if (text == "away") return {true, {}};
  return {true, {text}};
}

RuntimeWord word_after(const std::vector<Step>& steps, int at_ms) {
  RuntimeMemory memory;
  memory.note(pod(kOther), at(0s));
  for (const Step& step : steps) {
    MonotonicTime now = at(std::chrono::milliseconds(step.at_ms));
    if (step.what.starts_with("begun ")) {
      memory.begun(pod(), life_of(step.what.substr(6)), now);
    } else if (step.what == "note") {
      memory.note(pod(), now);
    } else if (step.what == "silent") {
      memory.silent();
    } else {
      std::size_t colon = step.what.find(':');
      ContainerRuntime::Sandboxes answer;
      answer.life = life_of(step.what.substr(0, colon));
      for (auto [name, id] : {std::pair('a', kId), std::pair('b', kOther)})
        if (auto where = step.what.find(name, colon); where != std::string::npos)
          answer.ready[id] = step.what.substr(where + 1, 1) != "!";
      memory.heard(answer, now);
    }
  }
  return memory.word(pod(), at(std::chrono::milliseconds(at_ms)));
}

TEST_CASE("what the runtime's answers are worth") {
  struct Case {
    std::string name;
    std::vector<Step> steps;
    int at_ms;
    RuntimeWord word;
  };
  const int kLong = 600'000;
  using enum RuntimeWord;
  const std::vector<Case> cases{
      {"never heard", {{0, "begun 1"}}, 10, kSilent},
      {"no runtime", {{0, "note"}, {10, "none:"}}, 20, kNone},
      {"listed", {{0, "begun 1"}, {10, "1: a b"}}, 20, kReady},
      {"stopped", {{0, "begun 1"}, {10, "1: a! b"}}, 20, kStopped},
      {"listed, long ago", {{0, "begun 1"}, {10, "1: a"}}, 1020, kSilent},
      {"silent since", {{0, "begun 1"}, {10, "1: a"}, {20, "silent"}}, 30, kSilent},
      {"in the making",
       {{0, "begun 1"}, {10, "1: b"}, {900, "1: b"}, {1900, "1: b"}, {9000, "1: b"}},
       9010,
       kUnknown},
      {"in the making for too long",
       {{0, "begun 1"}, {10, "1: b"}, {900, "1: b"}, {kLong, "1: b"}},
       kLong,
       kGone},
      {"started anew, one answer", {{0, "begun 1"}, {10, "2: b"}}, 20, kUnknown},
      {"started anew, three at once",
       {{0, "begun 1"}, {10, "2: b"}, {20, "2: b"}, {30, "2: b"}},
       40,
       kUnknown},
      {"started anew, three",
       {{0, "begun 1"}, {10, "2: b"}, {260, "2: b"}, {510, "2: b"}},
       520,
       kGone},
      {"started anew, none of ours is listed ever",
       {{0, "begun 1"}, {10, "2:"}, {260, "2:"}, {20000, "2:"}, {kLong, "2:"}},
       kLong,
       kUnknown},
      {"started anew twice",
       {{0, "begun 1"}, {10, "2: b"}, {260, "2: b"}, {510, "3: b"}},
       520,
       kUnknown},
      {"silence in between",
       {{0, "begun 1"}, {10, "2: b"}, {260, "2: b"}, {300, "silent"}, {510, "2: b"}},
       520,
       kUnknown},
      {"started anew, nothing listed",
       {{0, "begun 1"}, {5, "1: b"}, {10, "2:"}, {260, "2:"}, {510, "2:"}, {9000, "2:"}},
       9010,
       kUnknown},
      {"nothing listed for long",
       {{0, "begun 1"}, {5, "1: b"}, {10, "2:"}, {260, "2:"}, {10010, "2:"}},
       10020,
       kGone},
      {"nothing, then others",
       {{0, "begun 1"}, {10, "2:"}, {260, "2:"}, {510, "2: b"}},
       520,
       kUnknown},
      {"nothing, then others thrice",
       {{0, "begun 1"}, {10, "2:"}, {20, "2: b"}, {260, "2: b"}, {510, "2: b"}},
       520,
       kGone},
      {"started anew, comes back",
       {{0, "begun 1"}, {10, "2: b"}, {260, "2: b"}, {510, "2: a b"}},
       520,
       kReady},
      {"listed and removed",
       {{0, "begun 1"}, {10, "1: a b"}, {20, "1: b"}, {270, "1: b"}, {520, "1: b"}},
       530,
       kGone},
      {"first seen while this one listened",
       {{0, "note"}, {10, "1: b"}, {260, "1: b"}, {600, "1: b"}},
       610,
       kUnknown},
      {"the same, then anew",
       {{0, "note"}, {10, "1: b"}, {20, "2: b"}, {270, "2: b"}, {520, "2: b"}},
       530,
       kGone},
      {"there before anybody could have made it",
       {{0, "begun away"}, {10, "1: b"}, {260, "1: b"}, {510, "1: b"}},
       520,
       kGone},
      {"made by the new one",
       {{0, "begun 2"}, {11, "2: b"}, {260, "2: b"}, {600, "2: b"}},
       610,
       kUnknown},
  };
  for (const Case& test : cases) {
    CAPTURE(test.name);
    REQUIRE(to_string(word_after(test.steps, test.at_ms)) == to_string(test.word));
  }
}

TEST_CASE("what is held no more is forgotten") {
  RuntimeMemory memory;
  memory.note(pod(), at(0s));
  memory.forget_others();
  REQUIRE(!memory.empty());
  memory.note(pod(kOther), at(1s));
  memory.forget_others();
  REQUIRE(memory.word(pod(), at(1s)) == RuntimeWord::kSilent);
  memory.heard({{true, {"1"}}, {{kOther, true}}}, at(1s));
  REQUIRE(memory.word(pod(kOther), at(1s)) == RuntimeWord::kReady);
  REQUIRE(memory.word(pod(), at(1s)) == RuntimeWord::kSilent);
  memory.forget_others();
  REQUIRE(memory.empty());
}

// Answers as a test says; from the service's worker.
class FakeRuntime final : public ContainerRuntime {
 public:
  Result<Life> life() override {
    std::lock_guard lock(mutex_);
    if (silent_) return fail(Code::kUnavailable, "refused");
    return answer_.life;
  }
  Result<Sandboxes> list() override {
    std::lock_guard lock(mutex_);
    ++lists_;
    if (silent_) return fail(Code::kUnavailable, "refused");
    return answer_;
  }
  void say(const std::string& life, std::map<std::string, bool> ready) {
    std::lock_guard lock(mutex_);
    silent_ = false;
    answer_ = {{true, {life}}, std::move(ready)};
    lists_ = 0;
  }
  void fall_silent() {
    std::lock_guard lock(mutex_);
    silent_ = true;
    lists_ = 0;
  }
  int lists() {
    std::lock_guard lock(mutex_);
    return lists_;
  }

 private:
  std::mutex mutex_;
  Sandboxes answer_;
  bool silent_ = false;
  int lists_ = 0;  // since it was told what to say
};

TEST_CASE("a namespace that a runtime left behind is given up when it was started anew") {
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  FakeRuntime runtime;
  runtime.say("1", {{kOther, true}});
  net.namespaces = {"/run/netns/a", "/run/netns/b"};
  Life life(folder, net, hooks, store, {"10.7.0.0/24"}, true, nullptr, nullptr, &runtime);
  auto add = [&](const std::string& id, const std::string& netns) {
    Call call = Life::call_of(Command::kAdd, id, netns);
    call.pod_namespace = "shop";
    call.pod_name = "web-0";
    REQUIRE(life.call(call));
  };
  auto heard = [&](int times) { REQUIRE(life.reaches([&] { return runtime.lists() >= times; })); };
  auto both_there = [&] { return life.attachments().rows().size() == 2; };
  add(kId, "/run/netns/a");
  add(kOther, "/run/netns/b");
  net.occupied = {net.netns_number("/run/netns/b").value()};

  // In the making: it is in no list yet, and nobody is in the namespace.
  heard(1);
  life.service().links_changed();
  REQUIRE(!life.reaches([&] { return !both_there(); }, std::chrono::milliseconds(700)));
  // Killed: silence frees nothing.
  runtime.fall_silent();
  heard(3);
  REQUIRE(both_there());
  // Back, and it knows neither. In the one namespace is somebody.
  runtime.say("2", {{std::string(64, 'c'), true}});
  REQUIRE(life.reaches([&] { return !both_there(); }));
  REQUIRE(life.attachments().find(kId + "/eth0") == nullptr);
  REQUIRE(hooks.events.back() == "removed " + kId + "/eth0");
  REQUIRE(net.read_interface("/run/netns/a", "eth0").error().code == Code::kNotFound);
  heard(3);
  REQUIRE(life.attachments().rows().size() == 1);
}

TEST_CASE("addresses that the kernel does not show stay while the runtime has the sandbox") {
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  FakeRuntime runtime;
  runtime.fall_silent();
  net.namespaces = {"/run/netns/a"};
  Life life(folder, net, hooks, store, {"10.7.0.0/24"}, true, nullptr, nullptr, &runtime);
  Call call = Life::call_of(Command::kAdd, kId, "/run/netns/a");
  call.mode = cni::Mode::kAddresses;
  call.pod_name = "web-0";
  REQUIRE(life.call(call));
  REQUIRE(life.reaches([&] { return runtime.lists() >= 3; }));
  net.namespaces = {};
  auto freed = [&] { return life.attachments().rows().empty(); };
  REQUIRE(!life.reaches(freed, std::chrono::milliseconds(700)));
  runtime.say("1", {{kId, true}});
  REQUIRE(life.reaches([&] { return runtime.lists() >= 2; }));
  REQUIRE(!life.reaches(freed, std::chrono::milliseconds(700)));
  runtime.say("1", {{kId, false}});
  REQUIRE(life.reaches(freed));
}

}  // namespace
}  // namespace tombolo
