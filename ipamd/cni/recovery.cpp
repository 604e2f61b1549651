// Recovery of what nobody gave back: a DEL that was never delivered, a runtime that never calls GC.
// Control thread; the kernel on the worker for removals.
//
// Nothing is freed on one witness's word. What a lease or an adoption is of is lost when
//   1. the path of its network namespace leads nowhere, or to another namespace than before, and
//   2. the kernel agrees: the end on the node is gone (it goes with the namespace), or, where
//      another plugin made the interface, no namespace of this machine has the addresses,
// and the sequence number is still that of the lease which was looked at. A pod that still runs has
// its namespace, and its end on the node; an administrator who deletes one of them frees nothing.
#include "core/metrics.h"
#include "ipamd/cni/adoptions.h"
#include "ipamd/cni/internal.h"

namespace tombolo {

using cni::Answer;

namespace {

// How soon a loss is seen that the kernel told nothing of.
constexpr Duration kLookEvery = std::chrono::milliseconds(500);

metrics::Counter recovered(const char* kind) {
  return metrics::counter("tombolo_cni_recovered_total",
                          "Attachments freed because their network namespace is gone, by kind",
                          {{"kind", kind}});
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
  bool lost = false;

  static Result<void> look(Net& net, std::vector<Held>& all) {
    std::vector<Held*> suspects;
    for (Held& one : all) {
      auto number = net.netns_number(one.attachment.netns_path);
      bool same = number && (one.netns_number == 0 || one.netns_number == *number);
      if (same) one.netns_number = *number;
      if (!same && (number || leads_nowhere(number.error()))) suspects.push_back(&one);
    }
    if (suspects.empty()) return {};
    std::set<std::string> links;
    TRY(listed, net.list_links(""));
    for (const LinkState& link : listed) links.insert(link.name);
    std::optional<std::set<Ip>> addresses;
    for (Held* one : suspects) {
      if (!one->attachment.host_interface.empty()) {
        one->lost = !links.contains(one->attachment.host_interface);
        continue;
      }
      if (!addresses) {
        TRY(found, net.addresses_everywhere());
        addresses = std::move(found);
      }
      one->lost = std::ranges::none_of(one->attachment.ips,
                                       [&](const Ip& ip) { return addresses->contains(ip); });
    }
    return {};
  }
};

std::vector<CniService::Held> CniService::everything_held() {
  std::vector<Held> all;
  // Numbers of what is gone are forgotten on the way.
  auto known = std::exchange(netns_numbers_, {});
  auto add = [&](bool adopted, const Lease& lease) {
    std::string key = lease.key();
    // What is being attached or detached at this moment is not for us.
    if (is_gateway(lease) || is_conflict(lease) || busy_.contains(key)) return;
    auto id = std::pair(adopted, lease.sequence);
    if (auto at = known.find(id); at != known.end()) netns_numbers_.insert(*at);
    auto number = netns_numbers_.find(id);
    all.push_back({adopted, std::move(key), lease.sequence, lease.attachment,
                   number == netns_numbers_.end() ? 0 : number->second, false});
  };
  for (const auto& [key, lease] : book_.leases()) add(false, lease);
  if (adoptions_)
    for (const auto& [key, row] : adoptions_->rows()) add(true, row);
  return all;
}

asio::awaitable<void> CniService::recover(Held lost) {
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
  recovered(lost.adopted ? "adopted" : made_here ? "interface" : "addresses").increment();
  log_.info("{} is freed: its network namespace {} is gone and no DEL came", lost.key,
            lost.attachment.netns_path);
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
      for (Held& one : *seen)
        if (one.lost) co_await recover(std::move(one));
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
  }
}

void CniService::links_changed() {
  look_wanted_ = true;
  look_.notify_all();
}

}  // namespace tombolo
