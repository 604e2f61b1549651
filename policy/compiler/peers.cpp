// Rows are settled one prefix at a time: what should it be, what was it, and who holds which
// number.
#include "policy/compiler/peers.h"

#include <algorithm>

namespace tombolo::policy {
namespace {

constexpr std::uint32_t kFirstWorkloadIdentity = 256;

}  // namespace

PeerBook::PeerBook(std::uint32_t limit, Duration rest)
    : overflow_(limit - 1), numbers_(1, limit - 2, rest), rest_(rest) {
  peers_.emplace(0, PeerKey{});
  number_of_.emplace(PeerKey{}, 0);
  holders_[0] = 1;  // the world is never given up
}

void PeerBook::seed(const std::vector<PolicyPeer>& rows) {
  for (const PolicyPeer& row : rows) {
    if (row.peer == 0 || row.peer >= overflow_) continue;
    seeds_.insert_or_assign(row.prefix, Row{row.peer, row.identity});
    if (unclaimed_.insert(row.peer).second) numbers_.reserve(row.peer);
  }
}

void PeerBook::set_owner(IpOwner owner) {
  std::ranges::sort(owner.ports);
  auto [at, fresh] = owners_.try_emplace(owner.ip);
  if (!fresh && at->second == owner) return;
  if (!fresh) owned_by_[at->second.identity].erase(owner.ip);
  owned_by_[owner.identity].insert(owner.ip);
  due_.insert(Prefix::host(owner.ip));
  at->second = std::move(owner);
}

void PeerBook::erase_owner(const Ip& ip) {
  auto at = owners_.find(ip);
  if (at == owners_.end()) return;
  auto owned = owned_by_.find(at->second.identity);
  owned->second.erase(ip);
  if (owned->second.empty()) owned_by_.erase(owned);
  due_.insert(Prefix::host(ip));
  owners_.erase(at);
}

void PeerBook::identity_changed(std::uint32_t number) {
  auto owned = owned_by_.find(number);
  if (owned == owned_by_.end()) return;
  for (const Ip& ip : owned->second) due_.insert(Prefix::host(ip));
}

void PeerBook::owners_inside(const Prefix& prefix, std::set<Prefix>& out) const {
  Ip last = prefix.last();
  for (auto at = owners_.lower_bound(prefix.base()); at != owners_.end() && at->first <= last; ++at)
    out.insert(Prefix::host(at->first));
}

void PeerBook::use(std::set<Prefix> cells, std::set<std::string> names) {
  // Only what the difference can touch: most changes of policies name the prefixes that others
  // name already.
  std::vector<Prefix> changed_cells;
  std::ranges::set_symmetric_difference(cells, cells_, std::back_inserter(changed_cells));
  for (const Prefix& cell : changed_cells) {
    due_.insert(cell);
    owners_inside(cell, due_);
  }
  std::set<std::string> changed_names;
  std::ranges::set_symmetric_difference(names, names_,
                                        std::inserter(changed_names, changed_names.end()));
  if (!changed_names.empty())
    for (const auto& [ip, owner] : owners_)
      if (std::ranges::any_of(owner.ports, [&](const NamedPort& port) {
            return changed_names.contains(port.name);
          }))
        due_.insert(Prefix::host(ip));
  if (changed_cells.empty() && changed_names.empty()) return;
  cells_ = std::move(cells);
  names_ = std::move(names);
  lengths_v4_.clear();
  lengths_v6_.clear();
  for (const Prefix& cell : cells_)
    (cell.family() == Family::kV4 ? lengths_v4_ : lengths_v6_).insert(cell.length());
}

std::optional<Prefix> PeerBook::cell_of(const Ip& ip) const {
  const std::set<int>& lengths = ip.is_v4() ? lengths_v4_ : lengths_v6_;
  for (auto length = lengths.rbegin(); length != lengths.rend(); ++length)
    if (Prefix cell(ip, *length); cells_.contains(cell)) return cell;
  return std::nullopt;
}

PeerKey PeerBook::key_of(const IpOwner& owner,
                         const std::map<std::uint32_t, Identity>& identities) const {
  PeerKey key;
  key.cell = cell_of(owner.ip);
  if (owner.identity < kFirstWorkloadIdentity || !identities.contains(owner.identity)) return key;
  key.identity = owner.identity;
  for (const NamedPort& port : owner.ports)
    if (names_.contains(port.name)) key.ports.push_back(port);
  return key;
}

// The key's number, one holder more. A new key prefers the number that the prefix had in an earlier
// life, unless it was another's address then: whoever shared the number would pass for this one.
std::uint32_t PeerBook::hold(const PeerKey& key, const Prefix& prefix, std::uint32_t identity,
                             MonotonicTime now, Update& update) {
  if (auto known = number_of_.find(key); known != number_of_.end()) {
    ++holders_[known->second];
    return known->second;
  }
  std::optional<std::uint32_t> number;
  if (auto seed = seeds_.find(prefix); seed != seeds_.end() && seed->second.identity == identity &&
                                       unclaimed_.erase(seed->second.peer) > 0)
    number = seed->second.peer;
  if (!number) number = numbers_.take(now);
  if (!number) return overflow_;
  number_of_.emplace(key, *number);
  peers_.emplace(*number, key);
  holders_[*number] = 1;
  by_identity_[key.identity].insert(*number);
  if (key.cell) by_cell_[*key.cell].insert(*number);
  end_ = std::max(end_, *number + 1);
  update.fresh.push_back(*number);
  return *number;
}

void PeerBook::drop(std::uint32_t peer, MonotonicTime now) {
  if (peer == overflow_ || --holders_[peer] > 0) return;
  auto at = peers_.find(peer);
  const PeerKey& key = at->second;
  auto identity = by_identity_.find(key.identity);
  identity->second.erase(peer);
  if (identity->second.empty()) by_identity_.erase(identity);
  if (key.cell) {
    auto cell = by_cell_.find(*key.cell);
    cell->second.erase(peer);
    if (cell->second.empty()) by_cell_.erase(cell);
  }
  number_of_.erase(key);
  holders_.erase(peer);
  peers_.erase(at);
  numbers_.release(peer, now);
}

void PeerBook::place(const Prefix& prefix, const PeerKey* key, std::uint32_t identity,
                     MonotonicTime now, Update& update) {
  auto old = rows_.find(prefix);
  if (key == nullptr) {
    refused_.erase(prefix);
    if (old == rows_.end()) return;
    left_.emplace(prefix, old->second.peer);
    drop(old->second.peer, now);
    rows_.erase(old);
    update.erased.push_back(prefix);
    return;
  }
  Row row{hold(*key, prefix, identity, now, update), identity};
  if (row.peer == overflow_)
    refused_.insert(prefix);
  else
    refused_.erase(prefix);
  bool same = old != rows_.end() && old->second == row;
  if (old != rows_.end()) {
    if (old->second.peer != row.peer) moved_[old->second.peer].insert(row.peer);
    drop(old->second.peer, now);
  }
  rows_[prefix] = row;
  if (!same) update.rows.push_back({prefix, row.peer, identity});
}

void PeerBook::settle(const Prefix& prefix, const std::map<std::uint32_t, Identity>& identities,
                      MonotonicTime now, Update& update) {
  bool whole = prefix.host_bits() == 0;
  if (auto owner = owners_.find(prefix.base()); whole && owner != owners_.end()) {
    PeerKey key = key_of(owner->second, identities);
    place(prefix, &key, owner->second.identity, now, update);
    return;
  }
  if (!cells_.contains(prefix)) return place(prefix, nullptr, 0, now, update);
  PeerKey key;
  key.cell = prefix;
  place(prefix, &key, 0, now, update);
}

// What is looked up for addresses of a prefix that has no row of its own any more.
std::uint32_t PeerBook::outside_of(const Prefix& prefix) const {
  for (int length = prefix.length() - 1; length >= 0; --length)
    if (auto row = rows_.find(Prefix(prefix.base(), length)); row != rows_.end())
      return row->second.peer;
  return 0;
}

// As long as the number rests: after that it means something else, and so may its successors.
void PeerBook::retire(MonotonicTime now) {
  for (const auto& [prefix, number] : left_) moved_[number].insert(outside_of(prefix));
  left_.clear();
  for (auto& [number, successors] : moved_) {
    if (number == overflow_ || peers_.contains(number)) continue;
    retired_.insert_or_assign(number, std::move(successors));
    retiring_.emplace_back(now, number);
  }
  moved_.clear();
}

PeerBook::Update PeerBook::update(const std::map<std::uint32_t, Identity>& identities,
                                  MonotonicTime now) {
  Update result;
  while (!retiring_.empty() && now - retiring_.front().first >= rest_) {
    retired_.erase(retiring_.front().second);
    retiring_.pop_front();
  }
  std::set<Prefix> due = std::move(due_);
  due_.clear();
  due.insert(refused_.begin(), refused_.end());
  for (const Prefix& prefix : due) settle(prefix, identities, now, result);
  retire(now);
  // What nobody claimed by the first complete picture means nothing any more.
  for (std::uint32_t number : unclaimed_) numbers_.release(number, now);
  unclaimed_.clear();
  seeds_.clear();
  return result;
}

const std::set<std::uint32_t>* PeerBook::of_identity(std::uint32_t identity) const {
  auto at = by_identity_.find(identity);
  return at == by_identity_.end() ? nullptr : &at->second;
}

std::vector<std::uint32_t> PeerBook::inside(const Prefix& prefix,
                                            const std::vector<Prefix>& except) const {
  std::vector<std::uint32_t> result;
  for (auto at = by_cell_.lower_bound(prefix); at != by_cell_.end(); ++at) {
    const auto& [cell, numbers] = *at;
    if (!prefix.contains(cell)) {
      if (cell.family() != prefix.family() || cell.base() > prefix.last()) break;
      continue;
    }
    if (std::ranges::any_of(except, [&](const Prefix& out) { return out.contains(cell); }))
      continue;
    result.insert(result.end(), numbers.begin(), numbers.end());
  }
  return result;
}

}  // namespace tombolo::policy
