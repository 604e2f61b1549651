// Spiderpool: a SpiderIPPool (spiderpool.spidernet.io/v2beta1) for each pod range, as one layer-2
// subnet whose host 1 is the gateway. Spiderpool keeps a list of all addresses of a pool, so that a
// pool has at most 65,536 of them; what an IPv6 range has beyond is for further pools.
#include <algorithm>

#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

constexpr uint128 kMostAddresses = 65'536;
constexpr uint128 kFirstHost = 2;

}  // namespace

Result<std::string> spiderpool(const Job& job) {
  const PlannedCluster& self = *job.cluster;
  std::string text = heading(job, "spiderpool");
  for (Family family : {Family::kV4, Family::kV6})
    for (const Prefix& range : ranges_of(self, BlockUse::kPod, family)) {
      if (range.size() < 8)
        return fail(Code::kFailedPrecondition, "cluster {}: {} is too small for a pool", self.name,
                    range);
      uint128 last = std::min(range.size() - 2, kFirstHost + kMostAddresses - 1);
      text += fmt::format(
          "---\n"
          "apiVersion: spiderpool.spidernet.io/v2beta1\n"
          "kind: SpiderIPPool\n"
          "metadata:\n"
          "  name: \"tombolo-{}-pods-{}\"\n"
          "spec:\n"
          "  ipVersion: {}\n"
          "  subnet: \"{}\"\n"
          "  ips:\n"
          "    - \"{}-{}\"\n"
          "  gateway: \"{}\"\n",
          self.name, lower(family), family == Family::kV4 ? 4 : 6, range, range.at(kFirstHost),
          range.at(last), range.at(1));
    }
  return text;
}

}  // namespace tombolo::exports
