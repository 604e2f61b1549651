// Then ports: the numbers at which any rule begins or ends cut the ports into spans; spans on which
// all classes of peers agree are one class.
#include <algorithm>
#include <array>

#include "policy/compiler/set_builder.h"

namespace tombolo::policy {
namespace {

constexpr std::array<std::uint8_t, 4> kProtocols{0, 6, 17, 132};
constexpr std::uint32_t kLastPort = 65535;

std::uint64_t mix(std::uint64_t state, std::uint64_t word) {
  state = (state ^ word) * 0x9e3779b97f4a7c15ULL;
  return state ^ (state >> 29);
}

}  // namespace

std::vector<SetBuilder::Interval> SetBuilder::intervals_of(const Grant& grant) const {
  std::vector<Interval> result;
  const PolicyRule& rule = *rules_[grant.rule].rule;
  auto everything = [&result] {
    for (std::uint8_t protocol : kProtocols) result.push_back({protocol, 0, kLastPort});
  };
  if (rule.ports.empty()) everything();
  for (const PolicyPortMatch& match : rule.ports) {
    if (!match.protocol) {
      everything();
      continue;
    }
    auto protocol = static_cast<std::uint8_t>(*match.protocol);
    if (match.name.empty()) {
      result.push_back({protocol, match.first, match.last});
      continue;
    }
    for (const NamedPort& port : resolved_[grant.ports])
      if (port.name == match.name && port.protocol == *match.protocol)
        result.push_back({protocol, port.port, port.port});
  }
  return result;
}

// The elementary spans: between two of them some rule begins or ends.
void SetBuilder::cut() {
  std::map<std::uint8_t, std::set<std::uint32_t>> begins;
  for (std::uint8_t protocol : kProtocols) begins[protocol] = {0};
  std::set<Grant> grants;
  for (const Signature& signature : classes_) grants.insert(signature.begin(), signature.end());
  for (const Grant& grant : grants)
    for (const Interval& interval : intervals_of(grant)) {
      begins[interval.protocol].insert(interval.first);
      if (interval.last < kLastPort) begins[interval.protocol].insert(interval.last + 1);
    }
  spans_.clear();
  for (const auto& [protocol, starts] : begins)
    for (auto at = starts.begin(); at != starts.end(); ++at)
      spans_.push_back(
          {protocol, *at, std::next(at) == starts.end() ? kLastPort : *std::next(at) - 1});
}

// One row of the matrix over elementary spans. Later rules first, so that the first one stays.
void SetBuilder::paint(std::size_t peer_class, std::vector<Verdict>& cells) const {
  auto row = cells.begin() + static_cast<std::ptrdiff_t>(peer_class * spans_.size());
  std::fill_n(row, spans_.size(), isolation_);
  const Signature& signature = classes_[peer_class];
  for (auto grant = signature.rbegin(); grant != signature.rend(); ++grant) {
    const RuleInForce& rule = rules_[grant->rule];
    Verdict verdict = rule.number | (rule.rule->action == PolicyAction::kAllow ? kVerdictAllow : 0);
    for (const Interval& interval : intervals_of(*grant)) {
      auto span = std::ranges::lower_bound(
          spans_, std::pair(interval.protocol, interval.first), {},
          [](const Interval& entry) { return std::pair(entry.protocol, entry.first); });
      for (; span != spans_.end() && span->protocol == interval.protocol &&
             span->first <= interval.last;
           ++span)
        *(row + (span - spans_.begin())) = verdict;
    }
  }
}

void SetBuilder::merge_columns(const std::vector<Verdict>& cells) {
  std::map<std::vector<Verdict>, std::uint16_t> columns;
  std::vector<const std::vector<Verdict>*> order;
  row_.ports.clear();
  for (std::size_t span = 0; span < spans_.size(); ++span) {
    std::vector<Verdict> column(classes_.size());
    for (std::size_t peer_class = 0; peer_class < classes_.size(); ++peer_class)
      column[peer_class] = cells[peer_class * spans_.size() + span];
    auto [at, fresh] =
        columns.try_emplace(std::move(column), static_cast<std::uint16_t>(columns.size()));
    if (fresh) order.push_back(&at->first);
    const Interval& interval = spans_[span];
    PortSpan entry{interval.protocol, static_cast<Port>(interval.first),
                   static_cast<Port>(interval.last), at->second};
    bool continues = !row_.ports.empty() && row_.ports.back().protocol == entry.protocol &&
                     row_.ports.back().port_class == entry.port_class;
    if (continues)
      row_.ports.back().last = entry.last;
    else
      row_.ports.push_back(entry);
  }
  row_.port_class_count = static_cast<std::uint16_t>(order.size());
  row_.verdicts.assign(classes_.size() * order.size(), isolation_);
  for (std::size_t port_class = 0; port_class < order.size(); ++port_class)
    for (std::size_t peer_class = 0; peer_class < classes_.size(); ++peer_class)
      row_.verdicts[peer_class * order.size() + port_class] = (*order[port_class])[peer_class];
}

void SetBuilder::close() {
  row_.ports.clear();
  for (std::uint8_t protocol : kProtocols)
    row_.ports.push_back({protocol, 0, static_cast<Port>(kLastPort), 0});
  row_.port_class_count = 1;
  row_.verdicts.assign(1, isolation_);
  row_.peer_classes.assign(peer_classes_.size(), 0);
}

// 128 bits over the content: two sets of one name are the same set.
void SetBuilder::name() {
  std::uint64_t low = 0x243f6a8885a308d3ULL;
  std::uint64_t high = 0x13198a2e03707344ULL;
  auto add = [&](std::uint64_t word) {
    low = mix(low, word);
    high = mix(high, word ^ 0xa4093822299f31d0ULL);
  };
  add(static_cast<std::uint64_t>(row_.direction));
  add(row_.otherwise);
  add(row_.peer_classes.size());
  for (std::uint16_t peer_class : row_.peer_classes) add(peer_class);
  add(row_.port_class_count);
  for (const PortSpan& span : row_.ports)
    add(std::uint64_t{span.protocol} << 48 | std::uint64_t{span.first} << 32 |
        std::uint64_t{span.last} << 16 | span.port_class);
  for (Verdict verdict : row_.verdicts) add(verdict);
  row_.id = fmt::format("{:016x}{:016x}", high, low);
}

Result<void> SetBuilder::build() {
  row_.direction = direction_;
  row_.otherwise = isolation_;
  cut();
  bool fits = !too_many_ && spans_.size() <= UINT16_MAX &&
              classes_.size() <= cell_limit_ / std::max<std::size_t>(spans_.size(), 1);
  if (!fits) {
    close();
    name();
    return fail(Code::kResourceExhausted,
                "{} classes of peers by {} spans of ports are more than {} verdicts: closed",
                classes_.size(), spans_.size(), cell_limit_);
  }
  row_.peer_classes = peer_classes_;
  // Class 0 is what a number beyond the end gets anyway: a peer that no rule here selects changes
  // nothing, and is not written again for every set.
  while (!row_.peer_classes.empty() && row_.peer_classes.back() == 0) row_.peer_classes.pop_back();
  std::vector<Verdict> cells(classes_.size() * spans_.size());
  for (std::size_t peer_class = 0; peer_class < classes_.size(); ++peer_class)
    paint(peer_class, cells);
  merge_columns(cells);
  name();
  return {};
}

}  // namespace tombolo::policy
