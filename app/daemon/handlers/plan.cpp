// Between the API's fleet files and PlanKeeper; the messages themselves are
// app/admin/plan_messages.
#include "app/daemon/handlers/plan.h"

#include "app/admin/plan_messages.h"

namespace tombolo {
namespace {

namespace api = admin::api;

class Plans final : public admin::PlanHandlers {
 public:
  explicit Plans(PlanKeeper& keeper) : keeper_(keeper) {}

  admin::Answer<api::ShowPlanResponse> show(api::ShowPlanRequest request, admin::Caller) override {
    if (request.has_fleet()) {
      CO_TRY(fleet, admin::fleet_of(request.fleet()));
      CO_TRY(plan, make_plan(fleet, keeper_.current()));
      co_return admin::show_plan(plan, &fleet, keeper_.current());
    }
    if (keeper_.current() == nullptr)
      co_return fail(Code::kNotFound, "no plan is in force yet (tombolo plan apply)");
    api::ShowPlanResponse response = admin::show_plan(*keeper_.current(), nullptr, nullptr);
    response.set_store_revision(keeper_.store_revision());
    co_return response;
  }

  admin::Answer<api::ApplyPlanResponse> apply(api::ApplyPlanRequest request,
                                              admin::Caller caller) override {
    CO_TRY(fleet, admin::fleet_of(request.fleet()));
    CO_TRY(applied, co_await keeper_.apply(std::move(fleet), caller.name(), request.reason(),
                                           request.dry_run()));
    api::ApplyPlanResponse response;
    for (std::string& change : applied.changes) response.add_changes(std::move(change));
    response.set_store_revision(applied.store_revision);
    co_return response;
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

 private:
  PlanKeeper& keeper_;
};

}  // namespace

std::unique_ptr<admin::PlanHandlers> make_plan_handlers(PlanKeeper& keeper) {
  return std::make_unique<Plans>(keeper);
}

}  // namespace tombolo
