// Ranges of addresses: their texts, and what is left of them.
#include <algorithm>

#include "ipamd/pools/pools.h"

namespace tombolo {

Result<IpRange> parse_ip_range(std::string_view text) {
  if (text.find('/') != std::string_view::npos) {
    TRY(prefix, Prefix::parse(text));
    return IpRange{prefix.first(), prefix.last()};
  }
  std::size_t dash = text.find('-');
  TRY(first, Ip::parse(text.substr(0, dash)));
  if (dash == std::string_view::npos) return IpRange{first, first};
  TRY(last, Ip::parse(text.substr(dash + 1)));
  if (first.family() != last.family())
    return fail(Code::kInvalidArgument, "{} and {} are of two families", first.str(), last.str());
  if (last < first)
    return fail(Code::kInvalidArgument, "{} comes after {}", first.str(), last.str());
  return IpRange{first, last};
}

namespace {

// Ascending; those that touch or overlap are one.
std::vector<IpRange> merged(std::vector<IpRange> ranges) {
  std::ranges::sort(ranges);
  std::vector<IpRange> result;
  for (const IpRange& range : ranges) {
    bool same_family = !result.empty() && result.back().last.family() == range.first.family();
    // The address after the last of a family is 0 or beyond every other one: it touches nothing.
    if (same_family && (result.back().contains(range.first) ||
                        result.back().last.value() + 1 == range.first.value()))
      result.back().last = std::max(result.back().last, range.last);
    else
      result.push_back(range);
  }
  return result;
}

}  // namespace

std::vector<IpRange> subtract(std::vector<IpRange> from, std::vector<IpRange> without) {
  std::vector<IpRange> holes = merged(std::move(without));
  std::vector<IpRange> left;
  auto hole = holes.begin();
  for (IpRange range : merged(std::move(from))) {
    while (hole != holes.end() && hole->last < range.first) ++hole;
    bool any_left = true;
    // A hole may reach into the next range: it is not passed here.
    for (auto at = hole; any_left && at != holes.end() && at->first <= range.last; ++at) {
      if (range.first < at->first)
        left.push_back({range.first, Ip(range.first.family(), at->first.value() - 1)});
      any_left = at->last < range.last;
      if (any_left) range.first = Ip(range.first.family(), at->last.value() + 1);
    }
    if (any_left) left.push_back(range);
  }
  return left;
}

}  // namespace tombolo
