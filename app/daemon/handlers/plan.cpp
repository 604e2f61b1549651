// Between the API's fleet files and PlanKeeper; the messages themselves are
// app/admin/plan_messages.
#include "app/daemon/handlers/plan.h"

#include <algorithm>

#include "app/admin/plan_messages.h"
#include "app/daemon/handlers/messages.h"

namespace tombolo {
namespace {

namespace api = admin::api;

// Of one history entry beside the one before it; without `before` its changes are left out.
api::PlanChange change_of(const PlanRecord& record, const Plan* before) {
  api::PlanChange change;
  change.set_number(record.number);
  *change.mutable_time() = timestamp_of(record.time);
  change.set_who(record.who);
  change.set_reason(record.reason);
  change.set_restores(record.restores);
  change.set_clusters(static_cast<std::int64_t>(record.plan.clusters.size()));
  if (before == nullptr) return change;
  for (std::string& line : diff_plans(*before, record.plan)) change.add_changes(std::move(line));
  return change;
}

api::ApplyPlanResponse response_of(AppliedPlan applied) {
  api::ApplyPlanResponse response;
  for (std::string& change : applied.changes) response.add_changes(std::move(change));
  response.set_store_revision(applied.store_revision);
  response.set_number(applied.number);
  return response;
}

api::FleetFile file_of(const FleetText& text) {
  api::FleetFile file;
  file.set_name(text.name);
  file.set_text(text.text);
  return file;
}

class Plans final : public admin::PlanHandlers {
 public:
  explicit Plans(PlanKeeper& keeper) : keeper_(keeper) {}

  admin::Answer<api::ShowPlanResponse> show(api::ShowPlanRequest request, admin::Caller) override {
    if (request.has_fleet()) {
      CO_TRY(fleet, admin::fleet_of(request.fleet()));
      CO_TRY(plan, make_plan(fleet, keeper_.current()));
      co_return admin::show_plan(plan, &fleet, keeper_.current());
    }
    CO_TRY(record, co_await keeper_.in_force());
    std::optional<Result<Fleet>> fleet;
    if (!record.fleet.text.empty()) fleet.emplace(admin::fleet_of(file_of(record.fleet)));
    const bool has_fleet = fleet && *fleet;
    api::ShowPlanResponse response =
        admin::show_plan(record.plan, has_fleet ? &**fleet : nullptr, nullptr);
    if (fleet && !has_fleet)
      response.add_notes("the stored fleet file is not read: " + fleet->error().what);
    response.set_store_revision(keeper_.store_revision());
    co_return response;
  }

  admin::Answer<api::ApplyPlanResponse> apply(api::ApplyPlanRequest request,
                                              admin::Caller caller) override {
    CO_TRY(fleet, admin::fleet_of(request.fleet()));
    FleetText text{request.fleet().name(), request.fleet().text()};
    CO_TRY(applied, co_await keeper_.apply(std::move(fleet), caller.name(), request.reason(),
                                           request.dry_run(), std::move(text)));
    co_return response_of(std::move(applied));
  }

  admin::Answer<api::PlanRoutesResponse> routes(api::PlanRoutesRequest request,
                                                admin::Caller) override {
    if (request.has_fleet()) {
      CO_TRY(fleet, admin::fleet_of(request.fleet()));
      CO_TRY(plan, make_plan(fleet, keeper_.current()));
      co_return admin::routes_of_plan(plan, request.cluster());
    }
    if (keeper_.current() == nullptr)
      co_return fail(Code::kNotFound, "no plan is in force yet (tombolo plan apply)");
    co_return admin::routes_of_plan(*keeper_.current(), request.cluster());
  }

  admin::Answer<api::GetPlanResponse> get(api::GetPlanRequest request, admin::Caller) override {
    api::GetPlanResponse response;
    if (request.number() != 0) {
      CO_TRY(record, co_await keeper_.historic(request.number()));
      response.set_document(document_of(record));
      *response.mutable_change() = change_of(record, nullptr);
      co_return response;
    }
    CO_TRY(record, co_await keeper_.in_force());
    response.set_document(document_of(record));
    response.set_store_revision(keeper_.store_revision());
    *response.mutable_change() = change_of(record, nullptr);
    co_return response;
  }

  admin::Answer<api::PlanHistoryResponse> history(api::PlanHistoryRequest request,
                                                  admin::Caller) override {
    std::vector<std::string> damaged;
    CO_TRY(records, co_await keeper_.history(damaged));
    std::size_t wanted = request.limit() == 0 ? records.size() : request.limit();
    std::size_t first = records.size() - std::min<std::size_t>(wanted, records.size());
    api::PlanHistoryResponse response;
    for (std::size_t i = first; i < records.size(); ++i) {
      const Plan before = i > 0 ? records[i - 1].plan : Plan{};
      *response.add_plans() = change_of(records[i], &before);
    }
    for (std::string& what : damaged) response.add_damaged(std::move(what));
    co_return response;
  }

  admin::Answer<api::ApplyPlanResponse> rollback(api::RollbackPlanRequest request,
                                                 admin::Caller caller) override {
    CO_TRY(applied, co_await keeper_.rollback(request.number(), caller.name(), request.reason(),
                                              request.dry_run()));
    co_return response_of(std::move(applied));
  }

 private:
  PlanKeeper& keeper_;
};

}  // namespace

std::unique_ptr<admin::PlanHandlers> make_plan_handlers(PlanKeeper& keeper) {
  return std::make_unique<Plans>(keeper);
}

}  // namespace tombolo
