// Which of another cluster's nodes an agent asks whether they live, and what it makes of their
// silence. Pure: told of nodes, answers and time, it says whom to ask next and what to report.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/tables.h"

namespace tombolo {

struct ProbeLimits {
  std::size_t targets = 3;                             // nodes of a cluster asked at a time
  Duration period = std::chrono::milliseconds(500);    // between two questions to one
  Duration answer = std::chrono::milliseconds(1500);   // how long an answer is waited for
  Duration silence = std::chrono::milliseconds(2000);  // unheard for so long is silent
};

class ProbeTargets {
 public:
  // The targets differ from agent to agent: those whose names, hashed with the agent's, come first
  // (rendezvous hashing), so that a node that goes changes only the targets that it was.
  ProbeTargets(std::string own_node, std::string cluster, ProbeLimits limits);

  // All nodes of the cluster. A node without an address cannot be asked.
  void set_nodes(const std::vector<Node>& nodes, MonotonicTime now);

  struct Question {
    std::string node;
    Ip ip;
  };
  // Whom to ask now: one address of each family of every target whose turn it is.
  std::vector<Question> due(MonotonicTime now);
  // What came of a question. An error says nothing of the node.
  void note(const std::string& node, const Result<bool>& answered, MonotonicTime now);
  // Judges each target. A silent one makes way for the next node in line, so that all are asked in
  // turn while none answers.
  void judge(MonotonicTime now);
  // This process itself was stopped or starved: silence is counted from now on.
  void forgive(MonotonicTime now);

  // What the agent says of the cluster; nothing while it cannot: a target has not been judged
  // before, or nobody could be asked.
  std::optional<NodeReach> report() const;
  bool empty() const { return line_.empty(); }

 private:
  struct Candidate {
    std::string node;
    std::vector<Ip> ips;
  };
  enum class Verdict { kOpen, kUnknown, kSilent, kAnswers };
  struct Slot {
    Candidate target;
    MonotonicTime since{};  // asked from then on
    MonotonicTime next{};   // when to ask again
    bool heard = false;
    MonotonicTime heard_at{};
    bool asked = false;  // a question got out of this machine
    Verdict verdict = Verdict::kOpen;
  };
  bool chosen(const std::string& node) const;
  const Candidate* next_after(const std::string& node) const;
  void aim(Slot& slot, const Candidate& target, MonotonicTime now);

  std::string own_node_;
  std::string cluster_;
  ProbeLimits limits_;
  std::vector<Candidate> line_;  // by rank
  std::vector<Slot> slots_;
};

}  // namespace tombolo
