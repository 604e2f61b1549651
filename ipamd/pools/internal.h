// What the files of this folder share. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipamd/pools/pools.h"

namespace tombolo::pools {

// What a level of the precedence names, before names are looked up.
struct NamedPools {
  std::string source;  // "annotation KEY of pod NS/NAME"
  std::vector<std::string> ipv4;
  std::vector<std::string> ipv6;
  bool clean_gateway = false;
};

// From the pod's and the namespace's annotations and the CNI configuration, in this order; nullopt
// when none of them names a pool for the interface. kInvalidArgument names the annotation.
Result<std::optional<NamedPools>> named_pools(const PoolRequest& request);

// The interfaces that the pod's annotation …/ippools has entries for, in its order; of the domain
// that decides. kInvalidArgument names the annotation.
Result<std::vector<std::string>> named_interfaces(const PoolRequest& request);
// A JSON text of an annotation. kInvalidArgument names it.
Result<json::value> parse_annotation(const std::string& text, const DocumentPlace& place);

// Why the pool is not for this request; empty: it is.
std::string why_not(const IpPool& pool, const PoolRequest& request);
// Among the pools that fit, those that say more about whom they are for come first: lower is
// earlier.
int rank(const IpPool& pool);

}  // namespace tombolo::pools
