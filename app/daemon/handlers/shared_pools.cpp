// The ledger's view of a pool, with this cluster's own word about its parts over it.
#include "app/daemon/handlers/shared_pools.h"

#include <map>

namespace tombolo {
namespace {

namespace api = admin::api;

class SharedPools final : public admin::SharedPoolHandlers {
 public:
  SharedPools(std::string cluster, PoolGrants& grants)
      : cluster_(std::move(cluster)), grants_(grants) {}

  admin::Answer<api::ShowPoolResponse> show(api::ShowPoolRequest request, admin::Caller) override {
    auto found = grants_.standing().find(request.pool());
    if (found == grants_.standing().end())
      co_return fail(Code::kNotFound, "no pool {} that clusters share is in force", request.pool());
    const PoolGrants::Standing& standing = found->second;
    api::ShowPoolResponse response;
    response.set_pool(request.pool());
    std::map<std::string, api::PoolPart> rows;  // by range and cluster
    auto row = [&](const Prefix& range, const std::string& cluster, std::string_view state) {
      api::PoolPart& part = rows[fmt::format("{} {}", range.first().bytes_be(), cluster)];
      part.set_range(range.str());
      part.set_cluster(cluster);
      part.set_state(std::string(state));
    };
    if (standing.ledger) {
      response.set_recovering(standing.ledger->recovering);
      response.set_scarce(standing.ledger->scarce);
      response.set_home(standing.ledger->home);
      for (const grants::Grant& grant : standing.ledger->grants)
        row(grant.range, grant.cluster, "granted");
    }
    if (standing.parts) {
      response.set_home(standing.parts->home);
      for (const grants::Part& part : standing.parts->parts)
        row(part.range, cluster_, to_string(part.state));
    }
    for (auto& [key, part] : rows) *response.add_parts() = std::move(part);
    for (const std::string& problem : standing.problems) response.add_problems(problem);
    co_return response;
  }

  admin::Answer<api::ReclaimPoolResponse> reclaim(api::ReclaimPoolRequest request,
                                                  admin::Caller) override {
    CO_TRY(parts, co_await grants_.reclaim(request.pool(), request.cluster(), request.dry_run()));
    api::ReclaimPoolResponse response;
    response.set_pool(request.pool());
    response.set_cluster(request.cluster());
    response.set_reclaimed(!request.dry_run());
    for (const Prefix& part : parts) response.add_parts(part.str());
    co_return response;
  }

 private:
  std::string cluster_;
  PoolGrants& grants_;
};

}  // namespace

std::unique_ptr<admin::SharedPoolHandlers> make_shared_pool_handlers(std::string cluster,
                                                                     PoolGrants& grants) {
  return std::make_unique<SharedPools>(std::move(cluster), grants);
}

}  // namespace tombolo
