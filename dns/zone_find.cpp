// Which node of a snapshot a question's name leads to. Runs on every DNS thread for every question,
// without allocation.
#include <algorithm>
#include <charconv>

#include "dns/zone.h"

namespace tombolo::dns {
namespace {

const Node kEmptyNonTerminal;

constexpr std::string_view kSvc{"\3svc", 4};
constexpr std::string_view kDns{"\3dns", 4};
constexpr std::string_view kNs{"\2ns", 3};
constexpr std::string_view kDnsVersion{"\13dns-version", 12};
constexpr std::string_view kInAddrArpa{"\7in-addr\4arpa\0", 14};
constexpr std::string_view kIp6Arpa{"\3ip6\4arpa\0", 10};

std::string_view suffix_of(const QueryName& name, int labels) {
  if (labels > name.label_count) return {};
  return name.wire().substr(name.label_at[static_cast<std::size_t>(name.label_count - labels)]);
}

// The node for the labels in front of the zone's name, or nullptr.
const Node* find_in_zone(const Zone& zone, const QueryName& name, bool& headless) {
  int rest = name.label_count - zone.label_count;
  std::string_view last = name.labels(rest - 1, rest);
  if (rest == 1) {
    if (last == kDnsVersion) return &zone.version;
    return last == kSvc || last == kDns ? &kEmptyNonTerminal : nullptr;
  }
  std::string_view second = name.labels(rest - 2, rest - 1);
  if (last == kDns) return rest == 2 && second == kNs ? &zone.name_server : nullptr;
  if (last != kSvc) return nullptr;
  if (rest == 2) return zone.namespaces.find(second) != nullptr ? &kEmptyNonTerminal : nullptr;
  const ServiceRecords* service = zone.services.find(name.labels(rest - 3, rest - 1));
  if (service == nullptr) return nullptr;
  headless = service->headless;
  return rest == 3 ? &service->apex : service->find_below(name.labels(0, rest - 3));
}

// The number of one label of a reverse name: decimal to 255 or one hex digit; -1 for others.
int reverse_label(std::string_view label, bool v4) {
  std::string_view text = label.substr(1);
  if (text.empty() || text.size() > (v4 ? 3U : 1U) || (text.size() > 1 && text[0] == '0'))
    return -1;
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, v4 ? 10 : 16);
  bool whole = error == std::errc{} && end == text.data() + text.size();
  return whole && value < 256 ? static_cast<int>(value) : -1;
}

// The address bits that a reverse name spells, from its right end; `rest` labels in front of them
// spell none.
Prefix reverse_prefix(const QueryName& name, bool v4, int& rest) {
  const int step = v4 ? 8 : 4;
  const int most = v4 ? 4 : 32;
  uint128 value = 0;
  int read = 0;
  for (rest = name.label_count - 2; rest > 0 && read < most; --rest, ++read) {
    int number = reverse_label(name.labels(rest - 1, rest), v4);
    if (number < 0) break;
    value = (value << step) | static_cast<unsigned>(number);
  }
  const int bits = v4 ? 32 : 128;
  int length = read * step;
  if (length == 0) value = 0;
  if (length > 0 && length < bits) value <<= (bits - length);
  return {Ip(v4 ? Family::kV4 : Family::kV6, value), length};
}

Found find_reverse(const ZoneSet& set, const QueryName& name, bool v4) {
  int rest = 0;
  Prefix prefix = reverse_prefix(name, v4, rest);
  Found found;
  found.reverse = true;
  found.zone = set.zones.empty() ? nullptr : &set.zones.front();
  if (found.zone == nullptr) return found;
  const int bits = v4 ? 32 : 128;
  const int step = v4 ? 8 : 4;
  auto owner = std::ranges::find_if(set.reverse_prefixes,
                                    [&](const Prefix& own) { return own.contains(prefix); });
  bool owned = owner != set.reverse_prefixes.end();
  // The zone of an address that nobody gave us is the address's own name.
  found.zone_labels = 2 + (owned ? (owner->length() + step - 1) / step : bits / step);
  if (rest == 0 && prefix.length() == bits) {
    std::string key = prefix.base().bytes_be();
    if (const ReverseEntry* entry = set.reverse.find(key)) {
      found.kind = Found::Kind::kExists;
      found.node = &entry->node;
      return found;
    }
  }
  if (!owned) return found;
  // Which shorter names lead to a record is not kept: NODATA never hides what is below.
  bool between = rest == 0 && prefix.length() < bits;
  found.kind = between ? Found::Kind::kExists : Found::Kind::kNotThere;
  found.node = between ? &kEmptyNonTerminal : nullptr;
  return found;
}

}  // namespace

Found ZoneSet::find(const QueryName& name) const {
  for (const Zone& zone : zones) {
    if (suffix_of(name, zone.label_count) != zone.name) continue;
    Found found;
    found.zone = &zone;
    found.zone_labels = zone.label_count;
    if (name.label_count == zone.label_count) {
      found.kind = Found::Kind::kZoneApex;
      found.node = &kEmptyNonTerminal;
      return found;
    }
    bool headless = false;
    found.node = find_in_zone(zone, name, headless);
    found.kind = found.node != nullptr ? Found::Kind::kExists : Found::Kind::kNotThere;
    found.subset_allowed = headless && zone.kind == ZoneKind::kClusterset;
    return found;
  }
  std::string_view arpa = suffix_of(name, 2);
  if (arpa == kInAddrArpa) return find_reverse(*this, name, true);
  if (arpa == kIp6Arpa) return find_reverse(*this, name, false);
  return {};
}

}  // namespace tombolo::dns
