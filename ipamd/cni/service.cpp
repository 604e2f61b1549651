// Start, the state of an earlier life, and the frame around each call.
#include "ipamd/cni/service.h"

#include <map>

#include "core/metrics.h"
#include "ipamd/cni/adoptions.h"
#include "ipamd/cni/devices.h"
#include "ipamd/cni/interface.h"
#include "ipamd/cni/internal.h"
#include "ipamd/cni/pooled.h"
#include "ipamd/cni/wire.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::Command;
using cni::Mode;

asio::awaitable<Result<void>> InterfaceHooks::before_up(Attachment) {
  co_return Result<void>{};
}
asio::awaitable<void> InterfaceHooks::removed(Attachment) {
  co_return;
}
asio::awaitable<Result<void>> InterfaceHooks::verify(Attachment) {
  co_return Result<void>{};
}

CniService::CniService(CniSettings settings, Net& net, LeaseStore& store,
                       Table<NodeBlock>& node_blocks, Table<Attachment>::Writer attachments,
                       InterfaceHooks& hooks, TaskGroup& tasks, Clock& clock, Logger log,
                       const MakeWorker& make_worker)
    : settings_(std::move(settings)),
      net_(net),
      node_blocks_(node_blocks),
      attachments_(attachments),
      hooks_(hooks),
      tasks_(tasks),
      clock_(clock),
      log_(log.with("part", "cni")),
      store_worker_(make_worker()),
      net_worker_(make_worker()),
      removal_worker_(make_worker()),
      runtime_worker_(make_worker()),
      book_(store, *store_worker_, tasks, clock, log_),
      key_free_(tasks.executor()),
      released_(tasks.executor()),
      blocks_changed_(tasks.executor()),
      look_(tasks.executor()) {
  ENSURE(!settings_.interface_prefix.empty() && settings_.interface_prefix.size() <= 3,
         "the interface prefix '{}' is not of 1 to 3 bytes", settings_.interface_prefix);
  block_tracker_ = node_blocks_.track([this] { blocks_changed_.notify_all(); });
}

CniService::~CniService() = default;

void CniService::keep_adoptions_in(LeaseStore& store) {
  adoptions_ = std::make_unique<cni::Adoptions>(store, *store_worker_, tasks_, clock_, log_);
}

std::optional<Lease> CniService::held_lease(const std::string& key) const {
  if (auto found = book_.find(key)) return *found;
  return std::nullopt;
}

void CniService::show(const std::string& key) {
  // Of both, the adoption: it knows the interface too.
  auto lease = held_lease(key);
  if (const Lease* adopted = adoptions_ ? adoptions_->find(key) : nullptr) lease = *adopted;
  if (lease && is_complete(*lease))
    attachments_.upsert(lease->attachment);
  else
    attachments_.erase(key);
  show_routed(key, lease ? &*lease : nullptr);
}

asio::awaitable<Result<void>> CniService::start() {
  CO_TRY_OK(co_await book_.load());
  if (adoptions_) {
    CO_TRY_OK(co_await adoptions_->load());
  }
  if (devices_) {
    CO_TRY_OK(co_await load_devices());
  }
  take_blocks();
  Net* net = &net_;
  auto forward = [net] { return net->enable_forwarding(); };
  CO_TRY_OK(co_await net_worker_->run(std::move(forward)));
  CO_TRY_OK(co_await reconcile_with_kernel());
  co_await look_for_devices();
  std::map<std::string, Attachment> rows;
  for (const auto& [key, lease] : book_.leases()) {
    if (is_gateway(lease))
      gateways_.insert(lease.attachment.ips.begin(), lease.attachment.ips.end());
    else if (is_conflict(lease))
      note_conflict(lease);
    else if (is_complete(lease))
      rows[key] = lease.attachment;
    if (pooled_ && is_waiting(lease)) note_waiting(lease);
    show_routed(key, &lease);
  }
  if (adoptions_)
    for (const auto& [key, row] : adoptions_->rows()) rows[key] = row.attachment;
  std::vector<Attachment> list;
  for (auto& [key, row] : rows) list.push_back(std::move(row));
  attachments_.replace_all(std::move(list));
  attachments_.mark_synced();
  if (runtime_ != nullptr) co_await note_runtime_of_all();
  tasks_.spawn("cni blocks", follow_blocks());
  tasks_.spawn("cni recovery", recover_lost());
  tasks_.spawn("cni recovery, regularly", look_regularly());
  if (runtime_ != nullptr) tasks_.spawn("cni runtime", follow_runtime());
  if (pooled_) {
    tasks_.spawn("cni claims", keep_claims());
    tasks_.spawn("cni claims, regularly", reconcile_regularly());
  }
  if (settings_.socket_path.empty()) co_return Result<void>{};
  listener_ = std::make_unique<cni::Listener>(
      settings_.socket_path, [this](std::string request) { return answer(std::move(request)); },
      tasks_, clock_, log_);
  auto opened = listener_->open();
  co_return opened;
}

asio::awaitable<void> CniService::follow_blocks() {
  while (!tasks_.cancelled()) {
    if (block_tracker_->pending()) {
      block_tracker_->take();
      take_blocks();
    } else if (auto woken = co_await blocks_changed_.wait(); !woken) {
      co_return;
    }
  }
}

// Before the table has heard from the cluster's store, the blocks of the last life hold.
void CniService::take_blocks() {
  if (!node_blocks_.synced()) return;
  std::vector<Prefix> blocks;
  for (const auto& [key, versioned] : node_blocks_.rows())
    if (versioned.row.node == settings_.node) blocks.push_back(versioned.row.prefix);
  if (auto set = book_.set_blocks(kNodePool, blocks); !set)
    log_.error("the blocks of this node are not taken: {}", set.error().text());
}

// True when the kernel has the interface as the lease says. An error when the kernel cannot be
// asked.
asio::awaitable<Result<bool>> CniService::in_kernel(Lease lease) {
  if (const cni::DeviceRecord* known = device_of(lease.key())) {
    cni::DeviceRecord record = *known;
    co_return co_await device_in_kernel(std::move(record));
  }
  Net* net = &net_;
  cni::InterfaceExtras extras;
  extras.default_routes = !is_pooled(lease);  // else it is up to the pod's annotation
  auto job = [net, lease, extras]() -> Result<bool> {
    const Attachment& attachment = lease.attachment;
    auto host = net->read_interface("", attachment.host_interface);
    if (!host && host.error().code == Code::kNotFound) return false;
    if (!host) return std::unexpected(std::move(host).error());
    auto pod = net->read_interface(attachment.netns_path, attachment.interface_name);
    if (!pod && pod.error().code == Code::kNotFound) return false;
    if (!pod) return std::unexpected(std::move(pod).error());
    return cni::differences_in_pod(attachment, *pod, extras).empty() &&
           cni::differences_on_host(attachment, *host).empty();
  };
  co_return co_await net_worker_->run(std::move(job));
}

asio::awaitable<Result<void>> CniService::reconcile_with_kernel() {
  std::map<std::string, Lease> reserved;
  std::set<std::string> known;
  for (const auto& [key, lease] : book_.leases()) {
    known.insert(lease.attachment.host_interface);
    if (!is_complete(lease) && !is_waiting(lease)) reserved.emplace(key, lease);
  }
  for (const auto& [key, lease] : reserved) {
    auto complete = co_await in_kernel(lease);
    if (!complete) {
      // Neither finished nor freed on a guess: the next ADD or DEL of it decides.
      log_.warning("reserved lease of {} is kept: {}", key, complete.error().text());
      continue;
    }
    if (*complete) {
      book_.mark_attached(key, lease.sequence);
      continue;
    }
    log_.info("an ADD of {} was interrupted: its addresses are freed", key);
    auto detached = co_await detach(key);
    if (!detached) log_.warning("{}: {}", key, detached.error().message);
  }
  Net* net = &net_;
  std::string prefix = settings_.interface_prefix;
  auto list = [net, prefix] { return net->list_links(prefix); };
  CO_TRY(links, co_await net_worker_->run(std::move(list)));
  for (const auto& link : links) {
    // Only names of the form that this program gives.
    if (known.contains(link.name) || link.name.size() != prefix.size() + 12) continue;
    log_.info("the interface {} belongs to no lease and is removed", link.name);
    std::string name = link.name;
    auto job = [net, name] { return net->delete_link(name); };
    CO_TRY_OK(co_await removal_worker_->run(std::move(job)));
  }
  co_return Result<void>{};
}

asio::awaitable<cni::Listener::Reply> CniService::answer(std::string request) {
  cni::Listener::Reply reply;
  auto decoded = cni::decode_request(request);
  if (!decoded) {
    log_.warning("a request was refused: {}", decoded.error().message);
    reply.body = cni::encode_reply(std::unexpected(decoded.error()), "1.1.0");
    co_return reply;
  }
  std::string version = decoded->call.cni_version;
  std::string key = key_of(decoded->call);
  Mode mode = decoded->call.mode;
  bool watched = decoded->acknowledges && decoded->call.command == Command::kAdd;
  auto result = co_await handle(std::move(decoded->call));
  reply.body = cni::encode_reply(result, version);
  if (watched && result) reply.not_taken = undoer(mode, key);
  co_return reply;
}

// For an ADD whose plugin died with the answer: nobody heard of it.
std::function<void()> CniService::undoer(Mode mode, const std::string& key) {
  auto lease = held_lease(key);
  if (mode == Mode::kChained) {
    const Lease* adopted = adoptions_->find(key);
    lease = adopted == nullptr ? std::nullopt : std::optional(*adopted);
  }
  if (!lease) return nullptr;  // a DEL was faster
  return [this, mode, key, sequence = lease->sequence] {
    tasks_.spawn("cni undo", undo_untold(mode, key, sequence));
  };
}

asio::awaitable<void> CniService::undo_untold(Mode mode, std::string key, std::uint64_t sequence) {
  if (auto taken = co_await take_key(key); !taken) co_return;
  auto held = std::make_unique<KeyHeld>(*this, key);
  Answer<void> undone;
  if (mode == Mode::kChained) {
    undone = co_await let_go(key, sequence);
  } else {
    auto now = held_lease(key);
    if (!now || now->sequence != sequence) co_return;
    undone = co_await detach(key);
    co_await release_waiting(now->attachment.container_id, std::move(held));
  }
  if (undone)
    log_.info("the plugin of the ADD of {} ended before it passed the answer on: undone", key);
  else
    log_.warning("{}: {}", key, undone.error().message);
}

asio::awaitable<Answer<json::object>> CniService::handle(Call call) {
  auto began = clock_.now();
  std::string command(to_string(call.command));
  std::string what = fmt::format("{} {}/{}", command, call.container_id, call.interface_name);
  auto result = co_await dispatch(std::move(call));
  int code = result ? 0 : result.error().code;
  metrics::counter("tombolo_cni_requests_total", "CNI operations by command and error code",
                   {{"command", command}, {"code", std::to_string(code)}})
      .increment();
  metrics::latency_histogram("tombolo_cni_request_seconds", "CNI operations in the agent",
                             {{"command", command}})
      .observe(std::chrono::duration<double>(clock_.now() - began).count());
  if (!result)
    log_.warning("{}: code {}: {}{}{}", what, code, result.error().message,
                 result.error().details.empty() ? "" : ": ", result.error().details);
  co_return result;
}

asio::awaitable<Answer<json::object>> CniService::dispatch(Call call) {
  switch (call.command) {
    case Command::kAdd:
      note_caller(call);
      if (call.mode == Mode::kAddresses) co_return co_await add_addresses(std::move(call));
      if (call.mode == Mode::kChained) co_return co_await adopt(std::move(call));
      if (!call.device_id.empty()) co_return co_await add_device(std::move(call));
      co_return co_await add(std::move(call));
    case Command::kDel:
      co_return co_await remove(std::move(call));
    case Command::kCheck:
      if (call.mode == Mode::kAddresses) co_return co_await check_addresses(std::move(call));
      if (call.mode == Mode::kChained) co_return co_await check_adopted(std::move(call));
      co_return co_await check(std::move(call));
    case Command::kGc:
      co_return co_await collect_garbage(std::move(call));
    case Command::kStatus:
      co_return co_await status(std::move(call));
    case Command::kVersion:
      break;
  }
  co_return cni::encode_versions(call.cni_version);
}

asio::awaitable<Result<void>> CniService::take_key(std::string key) {
  while (busy_.contains(key)) {
    if (releases_under_way_ > 0) book_.hurry();
    CO_TRY_OK(co_await key_free_.wait());
  }
  busy_.insert(std::move(key));
  co_return Result<void>{};
}

}  // namespace tombolo
