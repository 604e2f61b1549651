// Recovery of what nobody gave back: a DEL that was never delivered, a runtime that never calls GC.
// Control thread; the kernel on the worker for removals, the container runtime on one of its own.
//
// Nothing is freed on one witness's word. The kernel says where the path of a network namespace
// leads, whether the end on the node is there, which addresses are anywhere, and who is in the
// namespace; the container runtime which sandboxes it has. cni::judge() (runtime.cpp) decides. The
// sequence number is still that of the lease which was looked at. A pod that still runs has its
// namespace, and its end on the node; an administrator who deletes one of them frees nothing.
#include "core/metrics.h"
#include "ipamd/cni/adoptions.h"
#include "ipamd/cni/internal.h"

namespace tombolo {

using cni::Answer;
using cni::Evidence;
using cni::Judgement;
using cni::RuntimeWord;

namespace {

// How soon a loss is seen that the kernel told nothing of.
constexpr Duration kLookEvery = std::chrono::milliseconds(500);

// How soon the runtime is asked again while that may decide something, and when nothing is to be
// decided.
constexpr Duration kAskSoon = std::chrono::milliseconds(250);
constexpr Duration kAskAnyway = std::chrono::seconds(10);

metrics::Counter recovered(const char* kind, std::string_view witnesses) {
  return metrics::counter("tombolo_cni_recovered_total",
                          "Attachments freed without a DEL, by kind and by what proved them lost",
                          {{"kind", kind}, {"witnesses", std::string(witnesses)}});
}

metrics::Gauge runtime_answers() {
  return metrics::gauge("tombolo_cni_runtime_answers",
                        "1 while the node's container runtime says which sandboxes it has");
}

// The path leads to no namespace any more. Other errors say nothing.
bool leads_nowhere(const Error& error) {
  return error.code == Code::kNotFound ||
         (error.code == Code::kInvalidArgument && error.sys_errno == 0);
}

}  // namespace

// What is looked at, and what was seen.
struct CniService::Held {
  bool adopted = false;
  std::string key;
  std::uint64_t sequence = 0;
  Attachment attachment;
  std::uint64_t netns_number = 0;  // 0: not seen yet
  cni::Evidence evidence;

  // Looks only as far as something may follow from it.
  static Result<void> look(Net& net, std::vector<Held>& all) {
    std::vector<Held*> lost_path;
    std::vector<Held*> left_behind;
    for (Held& one : all) {
      one.look_at_path(net);
      if (one.evidence.path == Evidence::Path::kElse) lost_path.push_back(&one);
      if (one.evidence.path == Evidence::Path::kSame && !one.adopted &&
          one.evidence.runtime == RuntimeWord::kGone)
        left_behind.push_back(&one);
    }
    TRY_OK(look_at_links(net, lost_path));
    TRY_OK(look_inside(net, left_behind));
    std::vector<Held*> addresses;
    for (std::vector<Held*>* some : {&lost_path, &left_behind})
      for (Held* one : *some)
        if (!one->evidence.has_link) addresses.push_back(one);
    return look_for_addresses(net, addresses);
  }

 private:
  void look_at_path(Net& net) {
    auto number = net.netns_number(attachment.netns_path);
    bool same = number && (netns_number == 0 || netns_number == *number);
    if (same) netns_number = *number;
    if (same)
      evidence.path = Evidence::Path::kSame;
    else if (number || leads_nowhere(number.error()))
      evidence.path = Evidence::Path::kElse;
  }
  static Result<void> look_at_links(Net& net, const std::vector<Held*>& some) {
    if (some.empty()) return {};
    std::set<std::string> links;
    TRY(listed, net.list_links(""));
    for (const LinkState& link : listed) links.insert(link.name);
    for (Held* one : some)
      one->evidence.link_there = links.contains(one->attachment.host_interface);
    return {};
  }
  static Result<void> look_inside(Net& net, const std::vector<Held*>& some) {
    if (some.empty()) return {};
    TRY(occupied, net.occupied_namespaces());
    for (Held* one : some) one->evidence.occupied = occupied.contains(one->netns_number);
    return {};
  }
  static Result<void> look_for_addresses(Net& net, const std::vector<Held*>& some) {
    if (some.empty()) return {};
    TRY(addresses, net.addresses_everywhere());
    for (Held* one : some)
      one->evidence.addresses_somewhere = std::ranges::any_of(
          one->attachment.ips, [&](const Ip& ip) { return addresses.contains(ip); });
    return {};
  }
};

std::vector<CniService::Held> CniService::everything_held() {
  std::vector<Held> all;
  MonotonicTime now = clock_.now();
  // Numbers of what is gone are forgotten on the way.
  auto known = std::exchange(netns_numbers_, {});
  auto add = [&](bool adopted, const Lease& lease) {
    std::string key = lease.key();
    if (is_gateway(lease) || is_conflict(lease)) return;
    runtime_memory_.note(lease.attachment, now);
    // What is being attached or detached at this moment is not for us.
    if (busy_.contains(key)) return;
    auto id = std::pair(adopted, lease.sequence);
    if (auto at = known.find(id); at != known.end()) netns_numbers_.insert(*at);
    auto number = netns_numbers_.find(id);
    bool is_device = !adopted && device_of(key) != nullptr;
    Held held{adopted,
              std::move(key),
              lease.sequence,
              lease.attachment,
              number == netns_numbers_.end() ? 0 : number->second,
              {}};
    held.evidence.adopted = adopted;
    held.evidence.is_device = is_device;
    held.evidence.has_link = !lease.attachment.host_interface.empty() && !is_device;
    if (runtime_ != nullptr) held.evidence.runtime = runtime_memory_.word(lease.attachment, now);
    all.push_back(std::move(held));
  };
  for (const auto& [key, lease] : book_.leases()) add(false, lease);
  if (adoptions_)
    for (const auto& [key, row] : adoptions_->rows()) add(true, row);
  runtime_memory_.forget_others();
  return all;
}

asio::awaitable<void> CniService::recover(Held lost, std::string_view witnesses) {
  if (auto taken = co_await take_key(lost.key); !taken) co_return;
  KeyHeld held(*this, lost.key);
  Answer<void> freed;
  if (lost.adopted) {
    freed = co_await let_go(lost.key, lost.sequence);
  } else {
    auto now = held_lease(lost.key);
    if (!now || now->sequence != lost.sequence) co_return;
    freed = co_await detach(lost.key);
  }
  if (!freed) {
    log_.warning("{} is lost and not freed yet: {}", lost.key, freed.error().message);
    co_return;
  }
  bool made_here = !lost.attachment.host_interface.empty();
  const char* kind = lost.adopted ? "adopted" : made_here ? "interface" : "addresses";
  recovered(kind, witnesses).increment();
  log_.info("{} ({}/{}, {}) is freed, no DEL came: {}", lost.key, lost.attachment.name_space,
            lost.attachment.pod_name, lost.attachment.netns_path, witnesses);
}

asio::awaitable<void> CniService::recover_lost() {
  while (!tasks_.cancelled()) {
    look_wanted_ = false;
    std::vector<Held> all = everything_held();
    if (!all.empty()) {
      Net* net = &net_;
      auto job = [net, all = std::move(all)]() mutable -> Result<std::vector<Held>> {
        TRY_OK(Held::look(*net, all));
        return std::move(all);
      };
      auto seen = co_await removal_worker_->run(std::move(job));
      if (!seen) {
        log_.warning("lost attachments are looked for again later: {}", seen.error().text());
        seen.emplace();
      }
      for (Held& one : *seen)
        if (one.netns_number != 0)
          netns_numbers_[std::pair(one.adopted, one.sequence)] = one.netns_number;
      for (Held& one : *seen) {
        auto [what, witnesses] = cni::judge(one.evidence);
        if (what == Judgement::What::kAskRuntime) runtime_wanted_ = true;
        if (what == Judgement::What::kFree) co_await recover(std::move(one), witnesses);
      }
    }
    if (look_wanted_) continue;
    if (auto woken = co_await look_.wait(); !woken) co_return;
  }
}

asio::awaitable<void> CniService::look_regularly() {
  while (!tasks_.cancelled()) {
    if (auto slept = co_await clock_.sleep_for(kLookEvery); !slept) co_return;
    links_changed();
    free_rested_conflicts();
    co_await look_for_devices();
  }
}

void CniService::ask_runtime(ContainerRuntime& runtime) {
  runtime_ = &runtime;
}

// Which life of the runtime calls: asked beside the ADD, which does not wait for it.
void CniService::note_caller(const cni::Call& call) {
  if (runtime_ == nullptr) return;
  Attachment attachment = lease_of(call).attachment;
  if (cni::is_of_a_runtime(attachment))
    tasks_.spawn("caller of an ADD", note_runtime(std::move(attachment)));
}

asio::awaitable<void> CniService::note_runtime(Attachment attachment) {
  ContainerRuntime* runtime = runtime_;
  auto ask = [runtime] { return runtime->life(); };
  auto answer = co_await runtime_worker_->run(std::move(ask));
  if (answer) runtime_memory_.begun(attachment, *answer, clock_.now());
}

// What an earlier life of the agent left: whoever listens now may be making it still, and nobody
// who listens later. Before the first call is taken.
asio::awaitable<void> CniService::note_runtime_of_all() {
  ContainerRuntime* runtime = runtime_;
  auto ask = [runtime] { return runtime->life(); };
  auto answer = co_await runtime_worker_->run(std::move(ask));
  if (!answer) co_return;
  for (const auto& [key, lease] : book_.leases())
    runtime_memory_.begun(lease.attachment, *answer, clock_.now());
}

// The runtime is asked for its sandboxes when it was started anew, when somebody has to know, and
// now and then. Nothing is asked while nothing is held that is a runtime's.
asio::awaitable<void> CniService::follow_runtime() {
  MonotonicTime asked = clock_.now() - kAskAnyway;
  ContainerRuntime* runtime = runtime_;
  while (!tasks_.cancelled()) {
    bool soon = runtime_wanted_ || runtime_memory_.curious(clock_.now());
    if (auto slept = co_await clock_.sleep_for(soon ? kAskSoon : kLookEvery); !slept) co_return;
    if (runtime_memory_.empty()) continue;
    auto ask_life = [runtime] { return runtime->life(); };
    auto life = co_await runtime_worker_->run(std::move(ask_life));
    MonotonicTime now = clock_.now();
    bool due = runtime_wanted_ || now - asked >= kAskAnyway || runtime_memory_.curious(now) ||
               (life && *life != runtime_memory_.life());
    if (life && !due) continue;
    auto ask = [runtime] { return runtime->list(); };
    auto answer = co_await runtime_worker_->run(std::move(ask));
    heard_from_runtime(answer);
    asked = now;
    runtime_wanted_ = false;
    if (answer) links_changed();
  }
}

void CniService::heard_from_runtime(const Result<ContainerRuntime::Sandboxes>& answer) {
  bool answered = runtime_memory_.answers();
  if (answer)
    runtime_memory_.heard(*answer, clock_.now());
  else
    runtime_memory_.silent();
  runtime_answers().set(runtime_memory_.answers() ? 1 : 0);
  if (runtime_memory_.answers() == answered) return;
  if (runtime_memory_.answers())
    log_.info("the container runtime answers: {} sandboxes", answer->ready.size());
  else
    log_.warning("the container runtime does not say which sandboxes it has: {}",
                 answer ? "there is none any more" : answer.error().text());
}

void CniService::links_changed() {
  look_wanted_ = true;
  look_.notify_all();
}

}  // namespace tombolo
