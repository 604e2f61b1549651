// Chained mode: another plugin made the interface and has its addresses; this one finds the end of
// it on the node, puts the datapath there, and passes the result on as it came. Control thread.
#include <boost/algorithm/string/join.hpp>

#include "ipamd/cni/adoptions.h"
#include "ipamd/cni/internal.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::failure;
using cni::Failure;

namespace {

std::unexpected<Failure> not_chained() {
  return std::unexpected(
      Failure{cni::kTryLater, "this agent keeps no interfaces of other plugins", ""});
}

struct Seen {
  LinkState host;
  InterfaceState inside;
};

Result<Seen> look(Net& net, const std::string& netns, const std::string& name) {
  TRY(inside, net.read_interface(netns, name));
  TRY(host, net.veth_end_on_node(netns, name));
  return Seen{std::move(host), std::move(inside)};
}

}  // namespace

asio::awaitable<Answer<json::object>> CniService::adopt(Call call) {
  if (!adoptions_) co_return not_chained();
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  if (adoptions_->find(key) != nullptr)
    co_return std::unexpected(
        Failure{cni::kAlreadyAttached,
                fmt::format("the interface {} of {} is looked after already: DEL comes first",
                            call.interface_name, call.container_id),
                ""});
  Net* net = &net_;
  auto job = [net, netns = call.netns_path, name = call.interface_name] {
    return look(*net, netns, name);
  };
  auto seen = co_await net_worker_->run(std::move(job));
  if (!seen) {
    // Without an end on the node there is no place for the datapath: refused, not left open.
    bool netns = seen.error().code == Code::kInvalidArgument;
    co_return failure(netns ? cni::kInvalidNetns : cni::kHookRefused, seen.error());
  }
  Lease row = lease_of(call);
  row.attachment.host_interface = seen->host.name;
  row.attachment.mac = seen->inside.mac;
  for (const auto& address : call.previous->addresses) row.attachment.ips.push_back(address.ip);
  Attachment attachment = row.attachment;
  auto hooked = co_await hooks_.before_up(attachment);
  if (hooked) {
    auto put = co_await adoptions_->put(std::move(row));
    if (put) {
      show(key);
      co_return call.previous_result.as_object();
    }
    co_await hooks_.removed(attachment);
    co_return failure(cni::kIoFailure, put.error());
  }
  co_await hooks_.removed(attachment);
  co_return failure(cni::kHookRefused, hooked.error());
}

// The caller holds the key.
asio::awaitable<Answer<void>> CniService::let_go(std::string key, std::uint64_t sequence) {
  const Lease* row = adoptions_ ? adoptions_->find(key) : nullptr;
  if (row == nullptr || row->sequence != sequence) co_return Answer<void>{};
  Attachment attachment = row->attachment;
  co_await hooks_.removed(std::move(attachment));
  auto erased = co_await adoptions_->erase(key, sequence);
  if (!erased) co_return failure(cni::kIoFailure, erased.error());
  show(key);
  co_return Answer<void>{};
}

asio::awaitable<Answer<void>> CniService::release_adopted(Call call) {
  std::string key = key_of(call);
  const Lease* row = adoptions_ ? adoptions_->find(key) : nullptr;
  if (row == nullptr || row->network != call.network) co_return Answer<void>{};
  std::uint64_t sequence = row->sequence;
  co_return co_await let_go(std::move(key), sequence);
}

asio::awaitable<Answer<json::object>> CniService::check_adopted(Call call) {
  std::string key = key_of(call);
  if (auto taken = co_await take_key(key); !taken) co_return failure(cni::kTryLater, taken.error());
  KeyHeld held(*this, key);
  const Lease* row = adoptions_ ? adoptions_->find(key) : nullptr;
  if (row == nullptr || row->network != call.network)
    co_return std::unexpected(
        Failure{cni::kUnknownContainer, fmt::format("{} is not looked after here", key), ""});
  Attachment attachment = row->attachment;
  Net* net = &net_;
  auto job = [net, netns = call.netns_path, name = call.interface_name] {
    return look(*net, netns, name);
  };
  auto seen = co_await net_worker_->run(std::move(job));
  std::vector<std::string> differences;
  if (!seen) {
    differences.push_back(seen.error().what);
  } else {
    if (!seen->inside.up) differences.push_back(fmt::format("{} is down", call.interface_name));
    if (seen->host.name != attachment.host_interface)
      differences.push_back(fmt::format("{} leads to {} on the node, not to {}",
                                        call.interface_name, seen->host.name,
                                        attachment.host_interface));
    for (const auto& address : call.previous->addresses)
      if (std::ranges::find(seen->inside.addresses, address) == seen->inside.addresses.end())
        differences.push_back(
            fmt::format("the address {} is not on {}", address.str(), call.interface_name));
    for (const Prefix& route : call.previous->routes)
      if (std::ranges::find(seen->inside.routes, route, &Route::destination) ==
          seen->inside.routes.end())
        differences.push_back(
            fmt::format("the route to {} by {} is missing", route.str(), call.interface_name));
  }
  if (auto there = co_await hooks_.verify(attachment); !there)
    differences.push_back(there.error().what);
  if (differences.empty()) co_return json::object{};
  co_return std::unexpected(
      Failure{cni::kCheckFailed, differences.front(), boost::join(differences, "; ")});
}

}  // namespace tombolo
