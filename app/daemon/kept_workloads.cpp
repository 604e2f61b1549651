// One read, and a write for what has changed.
#include "app/daemon/kept_workloads.h"

#include <map>

namespace tombolo {
namespace {

constexpr std::string_view kPrefix = "tombolo/v1/kept/";
constexpr std::int64_t kPage = 1000;

// "KIND/NAMESPACE/NAME" of an identity, which has an ordinal and an interface behind it.
std::string workload_of(std::string_view identity) {
  std::size_t end = 0;
  for (int part = 0; part < 3; ++part) {
    end = identity.find('/', part == 0 ? 0 : end + 1);
    if (end == std::string_view::npos) return std::string(identity);
  }
  return std::string(identity.substr(0, end));
}

// As ipamd/pools names whose address it is; empty: nobody's.
std::string workload_of(const PodInfo& info) {
  if (auto machine = info.labels.find("vm.kubevirt.io/name"); machine != info.labels.end())
    return fmt::format("VirtualMachine/{}/{}", info.name_space, machine->second);
  constexpr std::string_view kInstance = "VirtualMachineInstance/";
  if (info.owner.starts_with(kInstance))
    return fmt::format("VirtualMachine/{}/{}", info.name_space,
                       info.owner.substr(kInstance.size()));
  std::size_t slash = info.owner.find('/');
  if (slash != std::string::npos)
    return fmt::format("{}/{}/{}", info.owner.substr(0, slash), info.name_space,
                       info.owner.substr(slash + 1));
  return info.kind == "Pod" ? fmt::format("Pod/{}/{}", info.name_space, info.name) : "";
}

asio::awaitable<Result<std::set<std::string>>> read(Kv& kv) {
  std::set<std::string> found;
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
    for (const std::string& identity : *identities) used.insert(workload_of(identity));
  kept_.clear();
  CO_TRY(stored, co_await read(kv_));
  for (const auto& [workload, always] : says) {
    if (!always || stored.contains(workload)) continue;
    Put put{fmt::format("{}{}", kPrefix, workload), "{}", 0};
    CO_TRY_OK(co_await kv_.put(std::move(put)));
    stored.insert(workload);
  }
  std::set<std::string> known = stored;
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
