// Slots hold a verdict that outlives a change of the target: only an answer, or another whole
// silence, changes it.
#include "app/daemon/probe_targets.h"

#include <algorithm>

namespace tombolo {
namespace {

// FNV-1a, then the finalizer of SplitMix64, which FNV's weak upper bits need.
std::uint64_t rank_of(std::string_view agent, std::string_view node) {
  std::uint64_t hash = 0xcbf29ce484222325;
  auto add = [&](std::string_view text) {
    for (char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  };
  add(agent);
  add("/");
  add(node);
  hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31U);
}

// The first address of each family.
std::vector<Ip> addresses_of(const Node& node) {
  std::vector<Ip> ips;
  for (const Ip& ip : node.internal_ips)
    if (std::ranges::none_of(ips, [&](const Ip& has) { return has.family() == ip.family(); }))
      ips.push_back(ip);
  return ips;
}

}  // namespace

ProbeTargets::ProbeTargets(std::string own_node, std::string cluster, ProbeLimits limits)
    : own_node_(std::move(own_node)), cluster_(std::move(cluster)), limits_(limits) {}

void ProbeTargets::set_nodes(const std::vector<Node>& nodes, MonotonicTime now) {
  line_.clear();
  for (const Node& node : nodes)
    if (auto ips = addresses_of(node); !ips.empty()) line_.push_back({node.name, std::move(ips)});
  auto rank = [&](const Candidate& one) {
    return std::pair(rank_of(own_node_, one.node), std::string_view(one.node));
  };
  std::ranges::sort(line_, {}, rank);
  slots_.resize(std::min(limits_.targets, line_.size()));
  for (Slot& slot : slots_) {
    auto same = std::ranges::find(line_, slot.target.node, &Candidate::node);
    if (same == line_.end())
      slot.target = {};  // gone; others may take only what no slot keeps
    else if (same->ips != slot.target.ips)
      aim(slot, *same, now);
  }
  for (Slot& slot : slots_)
    if (slot.target.node.empty())
      for (const Candidate& candidate : line_)
        if (!chosen(candidate.node)) {
          aim(slot, candidate, now);
          break;
        }
}

bool ProbeTargets::chosen(const std::string& node) const {
  return std::ranges::any_of(slots_, [&](const Slot& slot) { return slot.target.node == node; });
}

// The first behind `node` in line, round and round, that nobody asks yet; nullptr: there is none.
const ProbeTargets::Candidate* ProbeTargets::next_after(const std::string& node) const {
  auto at = std::ranges::find(line_, node, &Candidate::node);
  auto start = static_cast<std::size_t>(at - line_.begin());
  for (std::size_t i = 1; i < line_.size(); ++i) {
    const Candidate& candidate = line_[(start + i) % line_.size()];
    if (!chosen(candidate.node)) return &candidate;
  }
  return nullptr;
}

void ProbeTargets::aim(Slot& slot, const Candidate& target, MonotonicTime now) {
  slot.target = target;
  slot.since = now;
  slot.next = now;
  slot.heard = false;
  slot.asked = false;
}

std::vector<ProbeTargets::Question> ProbeTargets::due(MonotonicTime now) {
  std::vector<Question> questions;
  for (Slot& slot : slots_) {
    if (now < slot.next) continue;
    slot.next = now + limits_.period;
    for (const Ip& ip : slot.target.ips) questions.push_back({slot.target.node, ip});
  }
  return questions;
}

void ProbeTargets::note(const std::string& node, const Result<bool>& answered, MonotonicTime now) {
  for (Slot& slot : slots_) {
    if (slot.target.node != node || !answered) continue;
    slot.asked = true;
    if (!*answered) continue;
    slot.heard = true;
    slot.heard_at = now;
  }
}

void ProbeTargets::judge(MonotonicTime now) {
  for (Slot& slot : slots_) {
    MonotonicTime from = slot.heard ? std::max(slot.heard_at, slot.since) : slot.since;
    bool silent = now - from >= limits_.silence;
    if (slot.heard && !silent) slot.verdict = Verdict::kAnswers;
    if (!silent) continue;
    slot.verdict = slot.asked ? Verdict::kSilent : Verdict::kUnknown;
    if (const Candidate* next = next_after(slot.target.node)) aim(slot, *next, now);
  }
}

void ProbeTargets::forgive(MonotonicTime now) {
  for (Slot& slot : slots_) slot.since = now;
}

std::optional<NodeReach> ProbeTargets::report() const {
  NodeReach reach{own_node_, cluster_, 0, 0};
  bool open = false;
  for (const Slot& slot : slots_) {
    open = open || slot.verdict == Verdict::kOpen;
    reach.asked += slot.verdict == Verdict::kSilent || slot.verdict == Verdict::kAnswers ? 1U : 0U;
    reach.answered += slot.verdict == Verdict::kAnswers ? 1U : 0U;
  }
  // One answer is enough to say that the cluster lives; its silence needs all verdicts.
  if (reach.asked == 0 || (open && reach.answered == 0)) return std::nullopt;
  return reach;
}

}  // namespace tombolo
