// Four tables, one order. What changed is copied on the control thread, written as one job on the
// worker, and what failed comes again with the next round.
#include <algorithm>

#include "bpf/guard.h"
#include "core/task_group.h"
#include "core/worker.h"

namespace tombolo::bpf {
namespace {

enum class Part { kRules, kSets, kPods, kPeers, kGeneration };
constexpr std::string_view kName = "policy";

std::string_view to_string(Part part) {
  switch (part) {
    case Part::kRules:
      return "rule";
    case Part::kSets:
      return "set";
    case Part::kPods:
      return "pod";
    case Part::kPeers:
      return "peer";
    case Part::kGeneration:
      return "generation";
  }
  return "?";
}

using Item = std::pair<Part, std::string>;  // table and key

template <class Row>
struct Change {
  std::string key;
  std::optional<Row> row;  // nothing: it is gone
};

struct Round {
  std::vector<Change<NumberedRule>> rules;
  std::vector<Change<VerdictSet>> sets;
  std::vector<Change<GuardedPod>> pods;
  std::map<std::string, std::string> interface_of;  // of pods that are gone
  std::vector<Change<PolicyPeer>> peers;
  bool may_remove = false;
  bool bump = false;   // the generation, which could not be raised before
  bool prune = false;  // everything that there should be is in this round
  bool empty() const {
    return rules.empty() && sets.empty() && pods.empty() && peers.empty() && !bump && !prune;
  }
};

struct Outcome {
  std::vector<std::pair<Item, Error>> failed;
  std::vector<Item> postponed;  // may not be removed yet
  bool pruned = false;
};

// The job. Worker thread.
class Writing {
 public:
  Writing(PolicyMaps& maps, const Round& round) : maps_(maps), round_(round) {}

  Outcome run() {
    for (const auto& change : round_.rules)
      if (change.row)
        note({Part::kRules, change.key}, maps_.put_rule(change.row->number, change.row->digest));
    for (const auto& change : round_.sets)
      if (change.row) note({Part::kSets, change.key}, maps_.put_set(*change.row));
    for (const auto& change : round_.pods)
      if (change.row) note({Part::kPods, change.key}, maps_.put_pod(*change.row));
    bool peers = round_.bump;
    for (const auto& change : round_.peers) {
      if (!change.row) continue;
      peers = true;
      note({Part::kPeers, change.key}, maps_.put_peer(*change.row));
    }
    if (peers) note({Part::kGeneration, ""}, maps_.bump_generation());
    if (round_.may_remove)
      remove();
    else
      postpone();
    if (round_.prune && prune() && outcome_.failed.empty()) {
      note({Part::kPods, ""}, maps_.drop_other_versions());
      outcome_.pruned = outcome_.failed.empty();
    }
    return std::move(outcome_);
  }

 private:
  void note(Item item, Result<void> done) {
    if (!done) outcome_.failed.emplace_back(std::move(item), std::move(done).error());
  }

  void remove() {
    bool peers = false;
    for (const auto& change : round_.peers) {
      if (change.row) continue;
      auto prefix = Prefix::parse(change.key);
      ENSURE(prefix.has_value(), "a peer's key is a prefix: {}", change.key);
      peers = true;
      note({Part::kPeers, change.key}, maps_.erase_peer(*prefix));
    }
    if (peers) note({Part::kGeneration, ""}, maps_.bump_generation());
    for (const auto& change : round_.pods) {
      if (change.row) continue;
      auto interface = round_.interface_of.find(change.key);
      if (interface != round_.interface_of.end())
        note({Part::kPods, change.key}, maps_.close_pod(interface->second));
    }
    for (const auto& change : round_.sets)
      if (!change.row) note({Part::kSets, change.key}, maps_.erase_set(change.key));
    for (const auto& change : round_.rules)
      if (!change.row)
        note({Part::kRules, change.key},
             maps_.put_rule(static_cast<RuleNumber>(std::stoul(change.key)), 0));
  }

  template <class Row>
  void postpone(Part part, const std::vector<Change<Row>>& changes) {
    for (const auto& change : changes)
      if (!change.row) outcome_.postponed.emplace_back(part, change.key);
  }
  void postpone() {
    postpone(Part::kRules, round_.rules);
    postpone(Part::kSets, round_.sets);
    postpone(Part::kPods, round_.pods);
    postpone(Part::kPeers, round_.peers);
  }

  template <class Row>
  static std::set<std::string> keys_of(const std::vector<Change<Row>>& changes) {
    std::set<std::string> keys;
    for (const auto& change : changes)
      if (change.row) keys.insert(change.key);
    return keys;
  }

  // Removes what an earlier life left and no row stands for.
  bool prune() {
    auto found = maps_.in_force();
    if (!found) {
      note({Part::kPods, ""}, std::unexpected(found.error()));
      return false;
    }
    std::set<std::string> peers = keys_of(round_.peers);
    for (const PolicyPeer& peer : found->peers)
      if (!peers.contains(peer.key()))
        note({Part::kPeers, peer.key()}, maps_.erase_peer(peer.prefix));
    note({Part::kGeneration, ""}, maps_.bump_generation());
    std::set<std::string> interfaces;
    for (const auto& change : round_.pods)
      if (change.row) interfaces.insert(change.row->host_interface);
    for (const PodInForce& pod : found->pods)
      if (pod.open && !interfaces.contains(pod.host_interface))
        note({Part::kPods, pod.host_interface}, maps_.close_pod(pod.host_interface));
    std::set<std::string> sets = keys_of(round_.sets);
    for (const std::string& id : found->sets)
      if (!sets.contains(id)) note({Part::kSets, id}, maps_.erase_set(id));
    std::set<std::string> rules = keys_of(round_.rules);
    for (const auto& [number, digest] : found->rules)
      if (!rules.contains(std::to_string(number)))
        note({Part::kRules, std::to_string(number)}, maps_.put_rule(number, 0));
    return true;
  }

  PolicyMaps& maps_;
  const Round& round_;
  Outcome outcome_;
};

class RealReconciler final : public GuardReconciler {
 public:
  RealReconciler(PolicyMaps& maps, Worker& worker, AgentTables& tables,
                 Table<ReconcileStatus>::Writer status, TaskGroup& tasks, Clock& clock, Rng& rng,
                 Logger log)
      : maps_(maps),
        worker_(worker),
        tables_(tables),
        status_(status),
        tasks_(tasks),
        clock_(clock),
        rng_(rng),
        log_(log.with("reconciler", kName)),
        changed_(tasks.executor()) {
    auto wake = [this] { changed_.notify_all(); };
    rules_ = tables.numbered_rules.track(wake);
    sets_ = tables.verdict_sets.track(wake);
    pods_ = tables.guarded_pods.track(wake);
    peers_ = tables.policy_peers.track(wake);
  }

  const std::string& name() const override { return name_; }
  bool settled() const override { return !busy_ && pruned_ && retry_.empty() && !pending(); }
  void wake() override {
    hurry_ = true;
    changed_.notify_all();
  }

  asio::awaitable<void> run() override {
    while (!tasks_.cancelled()) {
      busy_ = true;
      std::uint64_t target = tables_.guarded_pods.revision();
      auto round = std::make_shared<Round>(collect());
      if (!round->empty()) {
        auto job = [&maps = maps_, round]() -> Outcome { return Writing(maps, *round).run(); };
        Outcome outcome = co_await worker_.run(std::move(job));
        take(*round, std::move(outcome));
      }
      busy_ = false;
      report(target);
      if (pending() || std::exchange(hurry_, false)) continue;
      bool again = !failing_.empty() || (!pruned_ && synced());
      if (!again) {
        attempts_ = 0;
        if (auto woken = co_await changed_.wait(); !woken) co_return;
        continue;
      }
      Duration pause =
          backoff(attempts_++, std::chrono::milliseconds(50), std::chrono::seconds(5), rng_);
      // What failed rests; what is new does not wait for it.
      MonotonicTime until = clock_.now() + pause;
      while (!pending() && !hurry_ && clock_.now() < until)
        if (auto slept = co_await clock_.sleep_for(
                std::min<Duration>(std::chrono::milliseconds(20), until - clock_.now()));
            !slept)
          co_return;
      hurry_ = false;
    }
  }

 private:
  bool pending() const {
    return rules_->pending() || sets_->pending() || pods_->pending() || peers_->pending();
  }
  bool synced() const {
    return tables_.numbered_rules.synced() && tables_.verdict_sets.synced() &&
           tables_.guarded_pods.synced() && tables_.policy_peers.synced();
  }

  template <class Row>
  void collect(Part part, const Table<Row>& table, typename Table<Row>::Tracker& tracker,
               bool everything, std::vector<Change<Row>>& out) {
    std::set<std::string> keys = tracker.take();
    for (auto at = retry_.lower_bound({part, ""}); at != retry_.end() && at->first == part;)
      keys.insert(retry_.extract(at++).value().second);
    if (everything)
      for (const auto& [key, versioned] : table.rows()) keys.insert(key);
    for (const std::string& key : keys) {
      const Row* row = table.find(key);
      out.push_back({key, row == nullptr ? std::nullopt : std::optional<Row>(*row)});
    }
  }

  Round collect() {
    Round round;
    round.may_remove = synced();
    round.prune = round.may_remove && !pruned_;
    collect(Part::kRules, tables_.numbered_rules, *rules_, round.prune, round.rules);
    collect(Part::kSets, tables_.verdict_sets, *sets_, round.prune, round.sets);
    collect(Part::kPods, tables_.guarded_pods, *pods_, round.prune, round.pods);
    collect(Part::kPeers, tables_.policy_peers, *peers_, round.prune, round.peers);
    round.bump = retry_.erase({Part::kGeneration, ""}) > 0;
    for (const auto& change : round.pods) {
      if (change.row)
        interface_of_[change.key] = change.row->host_interface;
      else if (auto known = interface_of_.find(change.key); known != interface_of_.end())
        round.interface_of.insert(*known);
    }
    return round;
  }

  void take(const Round& round, Outcome outcome) {
    for (Item& item : outcome.postponed) retry_.insert(std::move(item));
    std::set<Item> failed;
    for (auto& [item, error] : outcome.failed) {
      failed.insert(item);
      fail_item(item, error);
      retry_.insert(std::move(item));
    }
    for (auto at = failing_.begin(); at != failing_.end();) {
      bool tried = !failed.contains(at->first) && !retry_.contains(at->first);
      if (!tried) {
        ++at;
        continue;
      }
      status_.erase(status_key(at->first));
      at = failing_.erase(at);
    }
    for (const auto& change : round.pods)
      if (!change.row && !retry_.contains({Part::kPods, change.key}))
        interface_of_.erase(change.key);
    if (outcome.pruned) pruned_ = true;
  }

  static std::string object_of(const Item& item) {
    if (item.second.empty()) return std::string(to_string(item.first));
    return fmt::format("{} {}", to_string(item.first), item.second);
  }
  static std::string status_key(const Item& item) {
    return fmt::format("{}|{}", kName, object_of(item));
  }

  void fail_item(const Item& item, const Error& error) {
    std::uint32_t attempts = ++failing_[item];
    if (attempts == 1) log_.warning("{}: {}", object_of(item), error.text());
    ReconcileStatus line{std::string(kName),
                         object_of(item),
                         ReconcileState::kError,
                         tables_.guarded_pods.revision(),
                         attempts,
                         error.text()};
    status_.upsert(std::move(line));
  }

  void report(std::uint64_t target) {
    bool done = pruned_ && retry_.empty();
    ReconcileStatus line{std::string(kName),
                         "",
                         done ? ReconcileState::kDone : ReconcileState::kPending,
                         target,
                         0,
                         ""};
    status_.upsert(std::move(line));
  }

  PolicyMaps& maps_;
  Worker& worker_;
  AgentTables& tables_;
  Table<ReconcileStatus>::Writer status_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  Signal changed_;
  const std::string name_{kName};
  std::unique_ptr<Table<NumberedRule>::Tracker> rules_;
  std::unique_ptr<Table<VerdictSet>::Tracker> sets_;
  std::unique_ptr<Table<GuardedPod>::Tracker> pods_;
  std::unique_ptr<Table<PolicyPeer>::Tracker> peers_;
  std::set<Item> retry_;
  std::map<Item, std::uint32_t> failing_;
  std::map<std::string, std::string> interface_of_;  // attachment -> host interface, as written
  std::uint32_t attempts_ = 0;
  bool pruned_ = false;
  bool busy_ = false;
  bool hurry_ = false;
};

}  // namespace

std::unique_ptr<GuardReconciler> make_guard_reconciler(PolicyMaps& maps, Worker& worker,
                                                       AgentTables& tables,
                                                       Table<ReconcileStatus>::Writer status,
                                                       TaskGroup& tasks, Clock& clock, Rng& rng,
                                                       Logger log) {
  return std::make_unique<RealReconciler>(maps, worker, tables, status, tasks, clock, rng, log);
}

}  // namespace tombolo::bpf
