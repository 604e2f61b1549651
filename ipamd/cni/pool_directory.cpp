// The catalog follows its tables lazily: it is made when somebody asks and something has changed.
#include "ipamd/cni/pool_directory.h"

#include "core/records/records.h"

namespace tombolo {
namespace {

// Names of controllers that a pod's name may begin with: each of its parts before a dash, so many
// of the longest. A Deployment's pods have two parts more than it, others one.
constexpr std::size_t kMostNames = 16;
constexpr std::int64_t kMostKinds = 8;  // of controllers of one name

std::vector<std::string> controller_names(const std::string& pod_name) {
  std::vector<std::string> names;
  for (std::size_t dash = pod_name.rfind('-');
       dash != std::string::npos && dash > 0 && names.size() < kMostNames;
       dash = pod_name.rfind('-', dash - 1))
    names.push_back(pod_name.substr(0, dash));
  return names;
}

RangeRequest pod_key(const std::string& name_space, const std::string& pod_name) {
  RangeRequest request;
  request.key = fmt::format("{}{}/{}/Pod", records::kPodInfoPrefix, name_space, pod_name);
  return request;
}

RangeRequest controllers_of_name(const std::string& name_space, const std::string& name) {
  RangeRequest request;
  request.key = fmt::format("{}{}/{}/", records::kPodInfoPrefix, name_space, name);
  request.range_end = prefix_end(request.key);
  request.limit = kMostKinds;
  return request;
}

}  // namespace

PoolDirectory::PoolDirectory(Table<PoolObject>& pools, Table<PoolObject>& reservations,
                             std::function<bool()> known, Kv& kv, Logger log)
    : pools_(pools),
      reservations_(reservations),
      known_(std::move(known)),
      kv_(kv),
      log_(log.with("part", "pools")),
      pool_tracker_(pools.track(nullptr)),
      reservation_tracker_(reservations.track(nullptr)) {}

const PoolCatalog& PoolDirectory::catalog() {
  if (pool_tracker_->pending() || reservation_tracker_->pending()) take();
  return catalog_;
}

void PoolDirectory::take() {
  pool_tracker_->take();
  reservation_tracker_->take();
  auto made = catalog_of(objects_of(pools_, reservations_));
  if (!made) {
    if (trouble_ != made.error().what)
      log_.warning("pools stay as they were: {}", made.error().what);
    trouble_ = made.error().what;
    return;
  }
  trouble_.clear();
  catalog_ = std::move(*made);
  ++generation_;
}

asio::awaitable<Result<PodInfo>> PoolDirectory::find_pod(std::string name_space,
                                                         std::string pod_name) {
  TxnRequest request;
  request.then.emplace_back(pod_key(name_space, pod_name));
  for (const std::string& name : controller_names(pod_name))
    request.then.emplace_back(controllers_of_name(name_space, name));
  CO_TRY(answer, co_await kv_.txn(std::move(request)));
  // In the order of the questions: the pod itself, then longer names first.
  for (const RangeResult& range : answer.ranges) {
    std::optional<PodInfo> found;
    for (const KeyValue& kv : range.kvs) {
      bool itself = &range == &answer.ranges.front();
      CO_TRY(info, records::decode_pod_info(kv));
      if (!itself && !may_make(info, pod_name)) continue;
      // Of controllers of one name, the StatefulSet whose ordinal the rest is.
      if (!found || info.kind == "StatefulSet") found = std::move(info);
    }
    if (found) co_return std::move(*found);
  }
  co_return fail(Code::kNotFound, "nothing is known of the pod {}/{}", name_space, pod_name);
}

}  // namespace tombolo
