// The node's container runtime as one more witness of what lives. It says which sandboxes it has;
// a sandbox is what a CNI container id names. Its word alone never frees anything. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/clock.h"
#include "core/container_runtime.h"
#include "core/tables.h"

namespace tombolo::cni {

// What the runtime says of an attachment.
enum class RuntimeWord : std::uint8_t {
  kNone,     // there is no runtime, or the attachment is none of a runtime's
  kSilent,   // no answer, or an old one
  kReady,    // it has the sandbox
  kStopped,  // it has it still, and will end it by DEL
  kUnknown,  // it does not know it; that may be because it is being made
  kGone,     // it does not know it, for certain
};
std::string_view to_string(RuntimeWord word);

// Made by a container runtime for a pod, so that a runtime ought to know it: 64 hexadecimal digits
// and a pod's name. Others (cnitool, podman) use the plugin beside it.
bool is_of_a_runtime(const Attachment& attachment);

// Remembers what the runtime answered. A sandbox that is being made is in no list yet while its ADD
// is over and nothing runs in it, so not being listed is not enough. It is certainly gone when
//   - the runtime is the one that makes our pods: it has listed one of them;
//   - this one cannot be in the making: none of the processes that listened then does now (what an
//     earlier one was making a later one never takes up), or it had been listed before, or more
//     time passed than any start takes; and
//   - so many complete answers in a row said so over a while, longer when the lists were empty, as
//     one might be right after a start.
// Pure; times are the caller's. Not thread-safe.
class RuntimeMemory {
 public:
  static constexpr std::uint32_t kAnswers = 3;
  static constexpr Duration kWhile = std::chrono::milliseconds(450);
  static constexpr Duration kWhileEmpty = std::chrono::seconds(10);
  static constexpr Duration kLongestStart = std::chrono::minutes(10);
  static constexpr Duration kFresh = std::chrono::seconds(1);
  // How long an answer that could become certain is asked for often.
  static constexpr Duration kCurious = std::chrono::seconds(30);

  using Life = ContainerRuntime::Life;
  // An ADD for it is under way, or it was held before anybody could call: who listens.
  void begun(const Attachment& attachment, const Life& life, MonotonicTime now);
  // It is held. Sandboxes that were not noted since the last forget_others() are forgotten by it.
  void note(const Attachment& attachment, MonotonicTime now);
  void forget_others();
  bool empty() const { return known_.empty(); }

  void heard(const ContainerRuntime::Sandboxes& answer, MonotonicTime now);
  void silent();

  RuntimeWord word(const Attachment& attachment, MonotonicTime now) const;
  // Another answer soon may make something certain.
  bool curious(MonotonicTime now) const;
  const Life& life() const { return life_; }
  bool answers() const { return state_ == State::kAnswers; }

 private:
  struct Known {
    std::optional<Life> first_life;  // when the sandbox was made, or at the first answer after
    MonotonicTime since;
    bool noted = true;
    bool listed = false;  // at any time
    bool listed_now = false;
    bool stopped = false;
    std::uint32_t unlisted = 0;  // answers in a row
    bool all_empty = true;       // these answers
    MonotonicTime unlisted_since{};
  };
  Known* sandbox(const Attachment& attachment, MonotonicTime now);
  bool in_the_making(const Known& known, MonotonicTime now) const;
  bool certain(const Known& known, MonotonicTime now) const;

  enum class State : std::uint8_t { kNone, kAnswers, kSilent };
  State state_ = State::kSilent;  // until it was heard
  Life life_;
  bool proven_ = false;  // it has listed one of ours
  MonotonicTime last_answer_{};
  std::map<std::string, Known, std::less<>> known_;  // by container id
};

// What is seen of something held.
struct Evidence {
  enum class Path : std::uint8_t {
    kSame,     // leads to the namespace that it always led to
    kElse,     // nowhere, or to another one
    kUnclear,  // cannot be told
  };
  Path path = Path::kUnclear;
  bool has_link = false;   // the end on the node is the sign of life: our interface, or one adopted
  bool adopted = false;    // another plugin's interface, no address of ours
  bool link_there = true;  // that end
  bool addresses_somewhere = true;  // some namespace has one of the addresses
  bool occupied = true;             // a process is in the namespace, or holds it open
  RuntimeWord runtime = RuntimeWord::kNone;
  bool is_device = false;  // ours, but nothing of it is on the node: no link
};

struct Judgement {
  enum class What : std::uint8_t { kKeep, kAskRuntime, kFree };
  What what = What::kKeep;
  std::string_view witnesses;  // of kFree: "namespace+link", …
};

// Is it lost? The rules are the table in docs/cni.md.
Judgement judge(const Evidence& evidence);

}  // namespace tombolo::cni
