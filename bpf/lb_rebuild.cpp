// Reading the maps: what an earlier life of the daemon left (rebuild), and what an operator asks
// for (entries). Nothing here trusts the maps: every number is checked against its bound. Worker
// thread.
#include <algorithm>

#include "bpf/internal.h"

namespace tombolo::bpf {

Result<void> LbState::rebuild() {
  TRY(found, maps_.frontends());
  for (const auto& [address, ring_id] : found) {
    if (ring_id == 0 || ring_id >= abi::kMaxRings)
      return fail(Code::kDataLoss, "{} points to ring {}, which cannot be", text_of(address),
                  ring_id);
    if (!rings_.contains(ring_id)) TRY_OK(adopt_ring(ring_id));
    frontends_[address] = ring_id;
    rings_.at(ring_id).addresses.insert(address);
  }
  // Words without an address: a crash came between two writes. Nobody can reach them.
  for (std::uint32_t id = 1; id < abi::kMaxRings; ++id)
    if (!rings_.contains(id) && maps_.ring(id) != 0) TRY_OK(maps_.put_ring(id, 0));
  // The earlier life may have removed something a moment ago.
  TRY_OK(settle());
  if (!found.empty())
    log_.info("took over {} service addresses and {} backends from the kernel", frontends_.size(),
              backends_.size());
  publish_metrics();
  return {};
}

Result<void> LbState::adopt_ring(std::uint32_t ring_id) {
  Ring ring;
  std::uint64_t word = maps_.ring(ring_id);
  ring.extent = {abi::lb_ring_offset(word), abi::lb_ring_count(word)};
  if (ring.extent.count > 0 && !extents_.reserve(ring.extent))
    return fail(Code::kDataLoss, "ring {} uses slots that are not free", ring_id);
  for (const abi::lb_slot& slot : maps_.slots(ring.extent.offset, ring.extent.count)) {
    if (slot.ring_id != ring_id || slot.backend_id == 0 || slot.backend_id >= abi::kMaxBackends)
      return fail(Code::kDataLoss, "a slot of ring {} has backend {} of ring {}", ring_id,
                  slot.backend_id, slot.ring_id);
    if (!ring.backends.insert(slot.backend_id).second) continue;
    abi::lb_endpoint endpoint = maps_.backend(slot.backend_id);
    auto [at, added] = backends_.emplace(endpoint, BackendUse{slot.backend_id, 0});
    if (at->second.id != slot.backend_id || port_of(endpoint) == 0)
      return fail(Code::kDataLoss, "backend {} ({}) is not valid or there twice", slot.backend_id,
                  text_of(endpoint));
    ++at->second.rings;
    if (added) {
      backend_by_id_[slot.backend_id] = endpoint;
      backend_ids_.reserve(slot.backend_id);
    }
  }
  ring_ids_.reserve(ring_id);
  rings_.emplace(ring_id, std::move(ring));
  return {};
}

Result<std::vector<Entry>> LbState::entries() const {
  TRY(found, maps_.frontends());
  std::vector<Entry> entries;
  for (const auto& [address, ring_id] : found) {
    std::uint64_t word = maps_.ring(ring_id);
    Entry entry{.ip = ip_of(address),
                .port = port_of(address),
                .protocol = static_cast<Protocol>(address.protocol),
                .selection = (abi::lb_ring_flags(word) & abi::kRingMaglev) != 0
                                 ? Selection::kMaglev
                                 : Selection::kRandom};
    if (auto at = rings_.find(ring_id); at != rings_.end() && at->second.owner)
      entry.service = at->second.owner->service;
    std::map<std::uint32_t, std::uint32_t> counts;
    for (const abi::lb_slot& slot :
         maps_.slots(abi::lb_ring_offset(word), abi::lb_ring_count(word)))
      ++counts[slot.backend_id];
    for (auto [id, count] : counts) {
      abi::lb_endpoint endpoint = maps_.backend(id);
      entry.backends.push_back({ip_of(endpoint), port_of(endpoint), count});
    }
    std::ranges::sort(entry.backends);
    entries.push_back(std::move(entry));
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return std::tie(a.ip, a.port, a.protocol) < std::tie(b.ip, b.port, b.protocol);
  });
  return entries;
}

}  // namespace tombolo::bpf
