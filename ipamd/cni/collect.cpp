// GC and STATUS. Control thread.
#include <boost/algorithm/string/join.hpp>

#include "ipamd/cni/adoptions.h"
#include "ipamd/cni/internal.h"

namespace tombolo {

using cni::Answer;
using cni::Call;
using cni::failure;
using cni::Failure;
using cni::Mode;

namespace {

std::unexpected<Failure> unavailable(std::string why) {
  return std::unexpected(Failure{cni::kNotAvailable, std::move(why), ""});
}

}  // namespace

// Of this network, held in the way that the call is of, and not valid.
std::vector<std::string> CniService::garbage(const Call& call) const {
  std::set<std::string> valid;
  for (const auto& id : call.valid_attachments)
    valid.insert(object_key(id.container_id, id.interface_name));
  std::vector<std::string> found;
  auto judge = [&](const std::string& key, const Lease& lease) {
    // What is being attached at this moment is nobody's garbage.
    if (lease.network == call.network && !valid.contains(key) && !busy_.contains(key))
      found.push_back(key);
  };
  if (call.mode == Mode::kChained) {
    if (adoptions_)
      for (const auto& [key, row] : adoptions_->rows()) judge(key, row);
    return found;
  }
  for (const auto& [key, lease] : book_.leases())
    if (is_reservation(lease) == (call.mode == Mode::kAddresses)) judge(key, lease);
  return found;
}

asio::awaitable<Answer<json::object>> CniService::collect_garbage(Call call) {
  std::vector<std::string> keys = garbage(call);
  std::vector<std::string> errors;
  for (const auto& key : keys) {
    if (auto taken = co_await take_key(key); !taken)
      co_return failure(cni::kTryLater, taken.error());
    KeyHeld held(*this, key);
    Answer<void> freed;
    if (call.mode == Mode::kChained) {
      const Lease* row = adoptions_->find(key);
      if (row != nullptr) freed = co_await let_go(key, row->sequence);
    } else {
      freed = co_await detach(key);
    }
    if (!freed) errors.push_back(fmt::format("{}: {}", key, freed.error().message));
  }
  log_.info("GC of {}: {} of {} attachments removed", call.network, keys.size() - errors.size(),
            keys.size());
  if (errors.empty()) co_return json::object{};
  co_return std::unexpected(
      Failure{cni::kKernelRefused,
              fmt::format("{} of {} attachments could not be removed", errors.size(), keys.size()),
              boost::join(errors, "; ")});
}

// Why an ADD would get no address; empty when it would.
std::string CniService::lack_of_addresses() {
  if (!book_.journal().trouble().empty())
    return "leases cannot be written: " + book_.journal().trouble();
  if (auto why = lack_of_pools()) return *why;
  const AddressPool* pool = book_.allocator().pool(kNodePool);
  for (Family family : {Family::kV4, Family::kV6}) {
    bool has = pool != nullptr && pool->has(family);
    bool wanted = settings_.families.empty()
                      ? has
                      : std::ranges::find(settings_.families, family) != settings_.families.end();
    if (wanted && !has)
      return fmt::format("this node has no block of {} addresses yet", to_string(family));
    if (!wanted) continue;
    FamilyUsage usage = pool->usage(family);
    if (usage.free() == 0)
      return fmt::format("no free {} address: {} of {} are in use", to_string(family), usage.in_use,
                         usage.total);
  }
  if (pool == nullptr || pool->blocks().empty()) return "this node has no block of addresses yet";
  return "";
}

asio::awaitable<Answer<json::object>> CniService::status(Call call) {
  if (call.mode != Mode::kAddresses) {
    Net* net = &net_;
    auto look = [net] { return net->forwards(); };
    auto forwards = co_await net_worker_->run(std::move(look));
    if (!forwards) co_return unavailable(forwards.error().text());
    if (!*forwards)
      co_return std::unexpected(Failure{cni::kLimited,
                                        "forwarding between interfaces is off on this node: sysctl "
                                        "net.ipv4.ip_forward, net.ipv6.conf.all.forwarding",
                                        ""});
  }
  if (call.mode == Mode::kChained) {
    if (!adoptions_) co_return unavailable("this agent keeps no interfaces of other plugins");
    co_return json::object{};
  }
  while (true) {
    std::string why = lack_of_addresses();
    if (why.empty()) break;
    // What a DEL has given back and is not yet on the disk is waited for, as an ADD would.
    if (releases_under_way_ == 0) co_return unavailable(std::move(why));
    book_.hurry();
    if (auto released = co_await released_.wait(); !released) co_return unavailable(std::move(why));
  }
  if (call.mode == Mode::kInterface)
    if (auto mtu = co_await mtu_of_path(); !mtu) co_return unavailable(mtu.error().text());
  co_return json::object{};
}

}  // namespace tombolo
