// The one order in which pools are chosen (docs/ipam.md): what is named for the interface, then
// default pools, then the node's own blocks.
#include <algorithm>
#include <boost/algorithm/string/join.hpp>

#include "ipamd/pools/internal.h"

namespace tombolo {

using pools::NamedPools;

namespace {

bool is_wildcard(std::string_view name) {
  return name.find_first_of("*?[") != std::string_view::npos;
}

std::vector<const IpPool*> by_rank(std::vector<const IpPool*> found) {
  std::ranges::sort(found, [](const IpPool* a, const IpPool* b) {
    return std::pair(pools::rank(*a), std::string_view(a->name)) <
           std::pair(pools::rank(*b), std::string_view(b->name));
  });
  return found;
}

// The pools that a list names: in its order, those of a wildcard by rank and name.
Result<std::vector<const IpPool*>> look_up(const PoolCatalog& catalog,
                                           const std::vector<std::string>& names, Family family,
                                           const std::string& source) {
  std::vector<const IpPool*> found;
  auto add = [&](const IpPool* pool) {
    if (std::ranges::count(found, pool) == 0) found.push_back(pool);
  };
  for (const std::string& name : names) {
    if (is_wildcard(name)) {
      std::vector<const IpPool*> matching;
      for (const IpPool& pool : catalog.pools())
        if (pool.family == family && matches_wildcard(name, pool.name)) matching.push_back(&pool);
      if (matching.empty())
        return fail(Code::kNotFound, "{}: no {} pool matches '{}'", source, to_string(family),
                    name);
      for (const IpPool* pool : by_rank(std::move(matching))) add(pool);
      continue;
    }
    const IpPool* pool = catalog.find(name);
    if (pool == nullptr) return fail(Code::kNotFound, "{}: there is no pool '{}'", source, name);
    if (pool->family != family)
      return fail(Code::kInvalidArgument, "{}: the pool '{}' is of {}, not {}", source, name,
                  to_string(pool->family), to_string(family));
    add(pool);
  }
  return found;
}

// Names of those that are for this pod. kFailedPrecondition, with all reasons, when none is.
Result<std::vector<std::string>> only_fitting(const std::vector<const IpPool*>& found,
                                              const PoolRequest& request, Family family,
                                              const std::string& source) {
  std::vector<std::string> names;
  std::vector<std::string> reasons;
  for (const IpPool* pool : found) {
    std::string reason = pools::why_not(*pool, request);
    if (reason.empty())
      names.push_back(pool->name);
    else
      reasons.push_back(fmt::format("pool '{}': {}", pool->name, reason));
  }
  if (names.empty() && !found.empty())
    return fail(Code::kFailedPrecondition, "{}: no {} pool for interface {} of {}/{}: {}", source,
                to_string(family), request.interface_name, request.name_space, request.pod_name,
                boost::join(reasons, "; "));
  return names;
}

bool wants(const PoolRequest& request, Family family) {
  return request.families.empty() || std::ranges::count(request.families, family) > 0;
}

// Every family that is wanted has to be there.
Result<PoolSelection> complete(PoolSelection selection, const PoolRequest& request) {
  for (Family family : request.families) {
    const auto& names = family == Family::kV4 ? selection.ipv4 : selection.ipv6;
    if (names.empty())
      return fail(Code::kFailedPrecondition,
                  "{}: names no {} pool for interface {} of {}/{}, which needs one",
                  selection.source, to_string(family), request.interface_name, request.name_space,
                  request.pod_name);
  }
  return selection;
}

Result<PoolSelection> by_name(const PoolCatalog& catalog, const NamedPools& named,
                              const PoolRequest& request) {
  PoolSelection selection;
  selection.source = named.source;
  selection.clean_gateway = named.clean_gateway;
  for (Family family : {Family::kV4, Family::kV6}) {
    bool v4 = family == Family::kV4;
    if (!wants(request, family)) continue;
    TRY(found, look_up(catalog, v4 ? named.ipv4 : named.ipv6, family, named.source));
    TRY(names, only_fitting(found, request, family, named.source));
    (v4 ? selection.ipv4 : selection.ipv6) = std::move(names);
  }
  return complete(std::move(selection), request);
}

}  // namespace

std::vector<AddressWish> PoolSelection::wishes() const {
  std::vector<AddressWish> result;
  if (!ipv4.empty()) result.push_back({Family::kV4, ipv4, std::nullopt});
  if (!ipv6.empty()) result.push_back({Family::kV6, ipv6, std::nullopt});
  return result;
}

Result<PoolSelection> select_pools(const PoolCatalog& catalog, const PoolRequest& request) {
  TRY(named, pools::named_pools(request));
  if (named) return by_name(catalog, *named, request);
  PoolSelection selection;
  selection.source = "the default pools";
  for (Family family : {Family::kV4, Family::kV6}) {
    if (!wants(request, family)) continue;
    std::vector<const IpPool*> fitting;
    for (const IpPool& pool : catalog.pools())
      if (pool.is_default && pool.family == family && pools::why_not(pool, request).empty())
        fitting.push_back(&pool);
    for (const IpPool* pool : by_rank(std::move(fitting)))
      (family == Family::kV4 ? selection.ipv4 : selection.ipv6).push_back(pool->name);
  }
  if (!selection.ipv4.empty() || !selection.ipv6.empty())
    return complete(std::move(selection), request);
  selection.source = "the node's own blocks";
  selection.node_blocks = true;
  return selection;
}

}  // namespace tombolo
