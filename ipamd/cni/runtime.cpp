// Rules only: what the kernel and the runtime say, and what follows. Pure.
#include "ipamd/cni/runtime.h"

#include <algorithm>

namespace tombolo::cni {
namespace {

constexpr std::size_t kIdLength = 64;  // of containerd's and CRI-O's ids: 32 random bytes

}  // namespace

std::string_view to_string(RuntimeWord word) {
  switch (word) {
    case RuntimeWord::kNone:
      return "none";
    case RuntimeWord::kSilent:
      return "silent";
    case RuntimeWord::kReady:
      return "ready";
    case RuntimeWord::kStopped:
      return "stopped";
    case RuntimeWord::kUnknown:
      return "unknown";
    case RuntimeWord::kGone:
      return "gone";
  }
  return "";
}

bool is_of_a_runtime(const Attachment& attachment) {
  auto hexadecimal = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return !attachment.pod_name.empty() && attachment.container_id.size() == kIdLength &&
         std::ranges::all_of(attachment.container_id, hexadecimal);
}

RuntimeMemory::Known* RuntimeMemory::sandbox(const Attachment& attachment, MonotonicTime now) {
  if (!is_of_a_runtime(attachment)) return nullptr;
  auto [at, is_new] = known_.try_emplace(attachment.container_id);
  if (is_new) at->second.since = now;
  at->second.noted = true;
  return &at->second;
}

void RuntimeMemory::begun(const Attachment& attachment, const Life& life, MonotonicTime now) {
  Known* known = sandbox(attachment, now);
  if (known != nullptr && !known->first_life) known->first_life = life;
}

void RuntimeMemory::note(const Attachment& attachment, MonotonicTime now) {
  sandbox(attachment, now);
}

void RuntimeMemory::forget_others() {
  std::erase_if(known_, [](const auto& entry) { return !entry.second.noted; });
  for (auto& [id, known] : known_) known.noted = false;
}

void RuntimeMemory::heard(const ContainerRuntime::Sandboxes& answer, MonotonicTime now) {
  // Answers of two lives, or with silence in between, are no row.
  if (answer.life != life_) silent();
  state_ = answer.life.present ? State::kAnswers : State::kNone;
  life_ = answer.life;
  last_answer_ = now;
  if (state_ == State::kNone) return;
  for (auto& [id, known] : known_) {
    // A later life than it was made in, maybe: then it is waited for as if it were in the making.
    if (!known.first_life) known.first_life = life_;
    auto listed = answer.ready.find(id);
    known.listed_now = listed != answer.ready.end();
    if (known.listed_now) {
      known.listed = true;
      proven_ = true;
      known.stopped = !listed->second;
      known.unlisted = 0;
      continue;
    }
    // After empty lists one that has something begins anew.
    if (known.all_empty && !answer.ready.empty()) known.unlisted = 0;
    if (known.unlisted++ == 0) {
      known.unlisted_since = now;
      known.all_empty = true;
    }
    known.all_empty = known.all_empty && answer.ready.empty();
  }
}

void RuntimeMemory::silent() {
  state_ = State::kSilent;
  for (auto& [id, known] : known_) {
    known.unlisted = 0;
    known.listed_now = false;
  }
}

bool RuntimeMemory::in_the_making(const Known& known, MonotonicTime now) const {
  if (known.listed || now - known.since >= kLongestStart) return false;
  return !known.first_life ||
         std::ranges::any_of(known.first_life->processes, [&](const std::string& process) {
           return life_.processes.contains(process);
         });
}

bool RuntimeMemory::certain(const Known& known, MonotonicTime now) const {
  return proven_ && !in_the_making(known, now) && known.unlisted >= kAnswers &&
         last_answer_ - known.unlisted_since >= (known.all_empty ? kWhileEmpty : kWhile);
}

RuntimeWord RuntimeMemory::word(const Attachment& attachment, MonotonicTime now) const {
  if (!is_of_a_runtime(attachment) || state_ == State::kNone) return RuntimeWord::kNone;
  auto at = known_.find(attachment.container_id);
  if (at == known_.end() || state_ == State::kSilent || now - last_answer_ > kFresh)
    return RuntimeWord::kSilent;
  const Known& known = at->second;
  if (known.listed_now) return known.stopped ? RuntimeWord::kStopped : RuntimeWord::kReady;
  if (known.unlisted == 0) return RuntimeWord::kSilent;  // noted after the last answer
  return certain(known, now) ? RuntimeWord::kGone : RuntimeWord::kUnknown;
}

bool RuntimeMemory::curious(MonotonicTime now) const {
  if (state_ != State::kAnswers || !proven_) return false;
  return std::ranges::any_of(known_, [&](const auto& entry) {
    const Known& known = entry.second;
    return !known.listed_now && !in_the_making(known, now) &&
           (known.unlisted == 0 || now - known.unlisted_since < kCurious);
  });
}

Judgement judge(const Evidence& evidence) {
  using What = Judgement::What;
  const Judgement keep;
  switch (evidence.path) {
    case Evidence::Path::kUnclear:
      return keep;
    case Evidence::Path::kElse:
      if (evidence.has_link)
        return evidence.link_there ? keep : Judgement{What::kFree, "namespace+link"};
      if (evidence.addresses_somewhere) return keep;
      switch (evidence.runtime) {
        // A sandbox whose addresses the kernel does not show: they are inside a machine or in a
        // network stack of its own.
        case RuntimeWord::kReady:
          return keep;
        case RuntimeWord::kSilent:
          return {What::kAskRuntime, ""};
        case RuntimeWord::kNone:
          return {What::kFree, "namespace+addresses"};
        case RuntimeWord::kStopped:
        case RuntimeWord::kUnknown:
        case RuntimeWord::kGone:
          return {What::kFree, "namespace+addresses+runtime"};
      }
      return keep;
    case Evidence::Path::kSame:
      // A namespace that was left behind: nobody is in it, and the runtime knows of none.
      if (evidence.adopted || evidence.runtime != RuntimeWord::kGone || evidence.occupied)
        return keep;
      // Our interface goes first, and with it the last that could answer for the addresses.
      if (evidence.has_link || evidence.is_device) return {What::kFree, "runtime+empty-namespace"};
      return evidence.addresses_somewhere
                 ? keep
                 : Judgement{What::kFree, "runtime+empty-namespace+addresses"};
  }
  return keep;
}

}  // namespace tombolo::cni
