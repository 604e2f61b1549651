// One read, and a write for what has changed.
#include "app/daemon/kept_workloads.h"

#include <map>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

constexpr std::string_view kPrefix = "tombolo/v1/kept/";
constexpr std::int64_t kPage = 1000;

asio::awaitable<Result<std::set<std::string, std::less<>>>> read(Kv& kv) {
  std::set<std::string, std::less<>> found;
  std::string from(kPrefix);
  while (true) {
    RangeRequest request;
    request.key = from;
    request.range_end = prefix_end(kPrefix);
    request.limit = kPage;
    request.keys_only = true;
    CO_TRY(page, co_await kv.range(std::move(request)));
    for (const KeyValue& kv_one : page.kvs) found.insert(kv_one.key.substr(kPrefix.size()));
    if (!page.more || page.kvs.empty()) co_return found;
    from = page.kvs.back().key + std::string(1, '\0');
  }
}

}  // namespace

asio::awaitable<Result<void>> KeptWorkloads::follow(
    std::vector<PodInfo> infos, std::optional<std::set<std::string>> identities) {
  std::map<std::string, bool> says;  // of those that are written: whether it is "always"
  for (const PodInfo& info : infos) {
    std::string workload = workload_of(info);
    if (workload.empty()) continue;
    auto keep = info.annotations.find("ipam.tombolo.io/keep");
    says[workload] |= keep != info.annotations.end() && keep->second == "always";
  }
  std::set<std::string> used;
  if (identities)
    for (const std::string& identity : *identities) used.emplace(workload_of(identity));
  kept_.clear();
  CO_TRY(stored, co_await read(kv_));
  for (const auto& [workload, always] : says) {
    if (!always || stored.contains(workload)) continue;
    Put put{fmt::format("{}{}", kPrefix, workload), "{}", 0};
    CO_TRY_OK(co_await kv_.put(std::move(put)));
    stored.insert(workload);
  }
  auto known = stored;
  for (const std::string& workload : known) {
    auto said = says.find(workload);
    bool wanted = said != says.end() ? said->second : !identities || used.contains(workload);
    if (wanted) continue;
    Delete erase{fmt::format("{}{}", kPrefix, workload), ""};
    CO_TRY_OK(co_await kv_.erase(std::move(erase)));
    stored.erase(workload);
  }
  kept_ = std::move(stored);
  co_return Result<void>{};
}

bool KeptWorkloads::keeps(const std::string& identity) const {
  return kept_.contains(workload_of(identity));
}

}  // namespace tombolo
