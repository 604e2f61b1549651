// One read, and a write for what has changed.
#include "app/daemon/kept_workloads.h"

#include <map>

#include "core/store/range_all.h"
#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

constexpr std::string_view kPrefix = "tombolo/v1/kept/";

asio::awaitable<Result<std::set<std::string, std::less<>>>> read(Kv& kv) {
  std::set<std::string, std::less<>> found;
  std::string prefix(kPrefix);
  CO_TRY(kept, co_await range_all(kv, std::move(prefix), true));
  for (const KeyValue& one : kept) found.insert(one.key.substr(kPrefix.size()));
  co_return found;
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
