// Trackers -> one job of the compiler -> writers, over and over; and the guard of each interface.
#include "app/daemon/agent_policy.h"

#include <variant>

#include "policy/compiler/compiler.h"

namespace tombolo {
namespace {

constexpr std::string_view kReconciler = "policy";
// How long a change waits for what prepares it. Beyond it, it comes at once: better a moment in
// which some addresses are judged as their neighbours are than a policy that is not in force.
constexpr auto kPrepareLimit = std::chrono::seconds(1);

struct PolicyGone {
  std::string key;
};
struct IdentityGone {
  std::uint32_t number = 0;
};
struct OwnerGone {
  Ip ip;
};
struct PodGone {
  std::string attachment;
};

// "NS/NAME" of a pod that the runtime named; else empty.
std::string pod_of(const Attachment& attachment) {
  if (attachment.name_space.empty() || attachment.pod_name.empty()) return "";
  return object_key(attachment.name_space, attachment.pod_name);
}

}  // namespace

// One thing that the compiler is told.
struct AgentPolicy::Input {
  std::variant<Policy, PolicyGone, Identity, IdentityGone, IpOwner, OwnerGone, policy::LocalGuarded,
               PodGone>
      what;

  void tell(policy::Compiler& compiler) && {
    struct Teller {
      policy::Compiler& compiler;
      void operator()(Policy& policy) { compiler.set_policy(std::move(policy)); }
      void operator()(PolicyGone& gone) { compiler.erase_policy(gone.key); }
      void operator()(Identity& identity) { compiler.set_identity(std::move(identity)); }
      void operator()(IdentityGone& gone) { compiler.erase_identity(gone.number); }
      void operator()(IpOwner& owner) { compiler.set_owner(std::move(owner)); }
      void operator()(OwnerGone& gone) { compiler.erase_owner(gone.ip); }
      void operator()(policy::LocalGuarded& pod) { compiler.set_pod(std::move(pod)); }
      void operator()(PodGone& gone) { compiler.erase_pod(gone.attachment); }
    };
    std::visit(Teller{compiler}, what);
  }
};

struct AgentPolicy::Compiled {
  std::optional<policy::Changes> prepared;  // then nothing else yet
  policy::Changes changes;
  std::map<std::string, std::string> errors;
  void finish(policy::Compiler& compiler, MonotonicTime now) {
    changes = compiler.compile(now);
    errors = compiler.errors();
  }
};

AgentPolicy::AgentPolicy(AgentTables& tables, Table<ReconcileStatus>::Writer status,
                         bpf::Guard& guard, std::function<bool()> filled, RoleContext context,
                         std::unique_ptr<Worker> worker)
    : tables_(tables),
      status_(status),
      guard_(guard),
      filled_(std::move(filled)),
      context_(context),
      log_(context.log.with("part", "policy")),
      changed_(context.tasks.executor()),
      rules_(tables.numbered_rules.take_writer("policy")),
      sets_(tables.verdict_sets.take_writer("policy")),
      peers_(tables.policy_peers.take_writer("policy")),
      pods_(tables.guarded_pods.take_writer("policy")),
      policies_changed_(tables.policies.track([this] { changed_.notify_all(); })),
      identities_changed_(tables.identities.track([this] { changed_.notify_all(); })),
      owners_changed_(tables.ip_owners.track([this] { changed_.notify_all(); })),
      local_pods_changed_(tables.local_pods.track([this] { changed_.notify_all(); })),
      attachments_changed_(tables.attachments.track([this] { changed_.notify_all(); })),
      compiler_(std::make_unique<policy::Compiler>()),
      reconciler_(bpf::make_guard_reconciler(guard.maps(), guard.worker(), tables, status,
                                             context.tasks, context.clock, context.rng,
                                             context.log)),
      worker_(std::move(worker)) {
  compiler_->seed_peers(guard.peers());
  compiler_->seed_rules(guard.rules());
}

AgentPolicy::~AgentPolicy() = default;

void AgentPolicy::start(Settling& settling) {
  context_.tasks.spawn("guard interfaces", guard_attached());
  context_.tasks.spawn("compile policy", compile());
  context_.tasks.spawn("reconcile guard", reconciler_->run());
  settling.add(*reconciler_);
  settling.add_derivation("policy", [this] { return idle(); });
}

// ---- the guard of each interface

asio::awaitable<Result<void>> AgentPolicy::guard(Attachment attachment) {
  if (auto device = find_device_(attachment.key()))
    co_return co_await guard_.attach_inside(attachment.host_interface, std::move(*device),
                                            attachment.ips);
  co_return co_await guard_.attach(attachment.host_interface, attachment.ips);
}

asio::awaitable<Result<void>> AgentPolicy::before_up(Attachment attachment) {
  leaving_.erase(attachment.host_interface);
  CO_TRY_OK(co_await guard(attachment));
  // The row comes when the interface is complete; until then the verdict can be worked out.
  std::string key = attachment.key();
  coming_.insert_or_assign(key, std::move(attachment));
  due_.insert(key);
  changed_.notify_all();
  // A row of an earlier interface of the same name is in force again only when it is written again.
  if (const GuardedPod* row = tables_.guarded_pods.find(key)) {
    GuardedPod again = *row;
    pods_.erase(key);
    pods_.upsert(std::move(again));
  }
  reconciler_->wake();
  co_return Result<void>{};
}

asio::awaitable<void> AgentPolicy::removed(Attachment attachment) {
  std::string key = attachment.key();
  coming_.erase(key);
  due_.insert(key);
  changed_.notify_all();
  auto detached = co_await guard_.detach(attachment.host_interface);
  if (detached || context_.tasks.cancelled()) co_return;
  log_.warning("{} stays in the guard's tables for now: {}", attachment.host_interface,
               detached.error().text());
  leaving_.insert(attachment.host_interface);
  if (!std::exchange(letting_go_, true)) context_.tasks.spawn("let go interfaces", let_go());
}

asio::awaitable<Result<void>> AgentPolicy::verify(Attachment attachment) {
  CO_TRY(guarded, co_await guard_.interfaces());
  for (const bpf::PodInForce& pod : guarded)
    if (pod.host_interface == attachment.host_interface) co_return Result<void>{};
  co_return fail(Code::kNotFound, "no policy is at {}", attachment.host_interface);
}

// Until none is left; what a process that ends leaves is found by the next one's start.
asio::awaitable<void> AgentPolicy::let_go() {
  std::uint32_t attempts = 0;
  while (!leaving_.empty()) {
    Duration pause =
        backoff(attempts++, std::chrono::milliseconds(100), std::chrono::seconds(10), context_.rng);
    if (auto slept = co_await context_.clock.sleep_for(pause); !slept) co_return;
    std::set<std::string> names = leaving_;
    for (const std::string& name : names) {
      // It may have come again meanwhile.
      if (!leaving_.contains(name)) continue;
      if (co_await guard_.detach(name)) leaving_.erase(name);
    }
  }
  letting_go_ = false;
}

// Of an earlier life: what is attached is guarded, what is gone is not. Until it is so.
asio::awaitable<void> AgentPolicy::guard_attached() {
  std::uint32_t attempts = 0;
  ReconcileStatus line{std::string(kReconciler), "interfaces", ReconcileState::kError, 0, 0, ""};
  while (!context_.tasks.cancelled()) {
    Result<void> done = co_await guard_all();
    if (done) {
      status_.erase(line.key());
      guarded_all_ = true;
      reconciler_->wake();
      changed_.notify_all();
      co_return;
    }
    if (attempts == 0) log_.error("interfaces are not guarded: {}", done.error().text());
    line.attempts = ++attempts;
    line.error = done.error().text();
    status_.upsert(line);
    Duration pause =
        backoff(attempts, std::chrono::milliseconds(100), std::chrono::seconds(10), context_.rng);
    if (auto slept = co_await context_.clock.sleep_for(pause); !slept) co_return;
  }
}

asio::awaitable<Result<void>> AgentPolicy::guard_all() {
  std::vector<Attachment> attachments;
  // Where another plugin made the interface and did not call us for it, there is none to guard.
  for (const auto& [key, versioned] : tables_.attachments.rows())
    if (!versioned.row.host_interface.empty()) attachments.push_back(versioned.row);
  Result<void> outcome;
  for (const Attachment& attachment : attachments) {
    // It may have gone while the others were attached.
    if (tables_.attachments.find(attachment.key()) == nullptr) continue;
    auto attached = co_await guard(attachment);
    if (!attached) outcome = std::unexpected(std::move(attached).error());
  }
  auto guarded = co_await guard_.interfaces();
  if (!guarded) co_return std::unexpected(std::move(guarded).error());
  for (const bpf::PodInForce& pod : *guarded) {
    auto has = [&](const Attachment& attachment) {
      return attachment.host_interface == pod.host_interface;
    };
    bool wanted = false;
    for (const auto& [key, versioned] : tables_.attachments.rows())
      wanted = wanted || has(versioned.row);
    for (const auto& [key, attachment] : coming_) wanted = wanted || has(attachment);
    if (wanted) continue;
    auto detached = co_await guard_.detach(pod.host_interface);
    if (!detached) outcome = std::unexpected(std::move(detached).error());
  }
  co_return outcome;
}

// ---- the compiler

bool AgentPolicy::ready() const {
  return filled_() && tables_.attachments.synced();
}

bool AgentPolicy::synced() const {
  return tables_.policies.synced() && tables_.identities.synced() && tables_.ip_owners.synced() &&
         tables_.local_pods.synced() && tables_.attachments.synced();
}

bool AgentPolicy::pending() const {
  return !due_.empty() || policies_changed_->pending() || identities_changed_->pending() ||
         owners_changed_->pending() || local_pods_changed_->pending() ||
         attachments_changed_->pending();
}

bool AgentPolicy::idle() const {
  return compiled_once_ && guarded_all_ && !compiling_ && !pending();
}

asio::awaitable<void> AgentPolicy::compile() {
  while (!context_.tasks.cancelled()) {
    if (!ready()) {
      // Only while the process is young: no table tells that all its sources are there.
      if (auto slept = co_await context_.clock.sleep_for(std::chrono::milliseconds(5)); !slept)
        co_return;
      continue;
    }
    if (compiled_once_ && !pending()) {
      if (auto woken = co_await changed_.wait(); !woken) co_return;
      continue;
    }
    compiling_ = true;
    // What is taken together is what the job sees: synced() must not be asked after it.
    bool all_said = synced();
    auto job = [compiler = compiler_.get(), input = take_input(),
                now = context_.clock.now()]() mutable {
      for (Input& one : input) std::move(one).tell(*compiler);
      Compiled compiled;
      compiled.prepared = compiler->prepare(now);
      if (!compiled.prepared) compiled.finish(*compiler, now);
      return compiled;
    };
    Compiled compiled = co_await worker_->run(std::move(job));
    if (context_.tasks.cancelled()) co_return;
    if (compiled.prepared) {
      write(std::move(*compiled.prepared));
      if (auto ready = co_await prepared_in_kernel(); !ready) co_return;
      auto rest = [compiler = compiler_.get(), now = context_.clock.now()] {
        Compiled finished;
        finished.finish(*compiler, now);
        return finished;
      };
      compiled = co_await worker_->run(std::move(rest));
      if (context_.tasks.cancelled()) co_return;
    }
    write(std::move(compiled.changes));
    report(std::move(compiled.errors));
    compiled_once_ = true;
    if (all_said) {
      rules_.mark_synced();
      sets_.mark_synced();
      peers_.mark_synced();
      pods_.mark_synced();
    }
    compiling_ = false;
  }
}

// Waits until the kernel tells the addresses apart that the next rules tell apart.
asio::awaitable<Result<void>> AgentPolicy::prepared_in_kernel() {
  MonotonicTime end = context_.clock.now() + kPrepareLimit;
  while (!reconciler_->settled() && context_.clock.now() < end) {
    CO_TRY_OK(co_await context_.clock.sleep_for(std::chrono::milliseconds(1)));
  }
  co_return Result<void>{};
}

std::vector<AgentPolicy::Input> AgentPolicy::take_input() {
  std::vector<Input> input;
  for (const std::string& key : policies_changed_->take()) {
    if (const Policy* row = tables_.policies.find(key))
      input.push_back({*row});
    else
      input.push_back({PolicyGone{key}});
  }
  for (const std::string& key : identities_changed_->take()) {
    if (const Identity* row = tables_.identities.find(key))
      input.push_back({*row});
    else
      input.push_back({IdentityGone{static_cast<std::uint32_t>(std::stoul(key))}});
  }
  for (const std::string& key : owners_changed_->take()) {
    if (const IpOwner* row = tables_.ip_owners.find(key))
      input.push_back({*row});
    else if (auto ip = Ip::parse(key))  // keys of this table are addresses
      input.push_back({OwnerGone{*ip}});
  }
  for (const std::string& key : attachments_changed_->take()) {
    if (tables_.attachments.find(key) != nullptr) coming_.erase(key);
    due_.insert(key);
  }
  for (const std::string& pod : local_pods_changed_->take())
    if (auto attachments = attachments_of_.find(pod); attachments != attachments_of_.end())
      due_.insert(attachments->second.begin(), attachments->second.end());
  for (const std::string& key : std::exchange(due_, {})) add_pod(key, input);
  return input;
}

void AgentPolicy::add_pod(const std::string& key, std::vector<Input>& input) {
  if (auto old = pod_of_.find(key); old != pod_of_.end()) {
    auto others = attachments_of_.find(old->second);
    others->second.erase(key);
    if (others->second.empty()) attachments_of_.erase(others);
    pod_of_.erase(old);
  }
  const Attachment* attachment = tables_.attachments.find(key);
  if (attachment == nullptr || attachment->host_interface.empty()) {
    auto coming = coming_.find(key);
    if (coming == coming_.end()) {
      input.push_back({PodGone{key}});
      return;
    }
    attachment = &coming->second;
  }
  policy::LocalGuarded guarded;
  guarded.attachment = key;
  guarded.host_interface = attachment->host_interface;
  guarded.pod = pod_of(*attachment);
  guarded.ips = attachment->ips;
  if (!guarded.pod.empty()) {
    attachments_of_[guarded.pod].insert(key);
    pod_of_[key] = guarded.pod;
    if (const LocalPod* known = tables_.local_pods.find(guarded.pod)) {
      guarded.identity = known->identity;
      guarded.ports = known->ports;
    }
  }
  input.push_back({std::move(guarded)});
}

void AgentPolicy::write(policy::Changes changes) {
  for (NumberedRule& row : changes.rules) rules_.upsert(std::move(row));
  for (VerdictSet& row : changes.sets) sets_.upsert(std::move(row));
  for (PolicyPeer& row : changes.peers) peers_.upsert(std::move(row));
  for (GuardedPod& row : changes.pods) pods_.upsert(std::move(row));
  for (const std::string& key : changes.erased_pods) pods_.erase(key);
  for (const Prefix& prefix : changes.erased_peers) peers_.erase(prefix.str());
  for (const std::string& key : changes.erased_sets) sets_.erase(key);
  for (RuleNumber number : changes.erased_rules) rules_.erase(std::to_string(number));
}

void AgentPolicy::report(std::map<std::string, std::string> errors) {
  for (const auto& [object, error] : errors_)
    if (!errors.contains(object)) status_.erase(fmt::format("{}|{}", kReconciler, object));
  for (const auto& [object, error] : errors) {
    auto known = errors_.find(object);
    if (known != errors_.end() && known->second == error) continue;
    log_.warning("{}: {}", object, error);
    status_.upsert({std::string(kReconciler), object, ReconcileState::kError,
                    tables_.policies.revision(), 1, error});
  }
  errors_ = std::move(errors);
}

}  // namespace tombolo
