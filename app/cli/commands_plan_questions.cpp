// plan what-if and plan forecast: questions to the plan in force, or with -f to a fleet file, for
// which no daemon is needed.
#include <cmath>

#include "app/admin/plan_messages.h"
#include "app/cli/stored_plan.h"

namespace tombolo::cli {
namespace {

struct Question {
  std::string file;
  std::string to;
  std::string merge;
  std::string leave;
  std::string grow;
  std::string free;
  std::string drop_route;
  double factor = 2;
  std::optional<double> yearly_growth;  // for all clusters; none: each its own
};

Result<Fleet> read_fleet(const std::string& path) {
  TRY(file, fleet_file(path));
  return admin::fleet_of(file);
}

Result<PlanOfFleet> read_plan(const std::string& path) {
  TRY(fleet, read_fleet(path));
  TRY(plan, make_plan(fleet, nullptr));
  return PlanOfFleet{std::move(fleet), std::move(plan)};
}

Result<PlanOfFleet> asked_plan(Session& session, const Question& question) {
  return question.file.empty() ? plan_in_force(session) : read_plan(question.file);
}

Result<Renumbering> beside(const PlanOfFleet& now, Fleet fleet) {
  TRY(plan, make_plan(fleet, &now.plan));
  return Renumbering{{}, std::move(fleet), std::move(plan)};
}

Result<Renumbering> change_one(const PlanOfFleet& now, const Question& question) {
  const std::string& name = question.leave.empty() ? question.grow : question.leave;
  Fleet fleet = now.fleet;
  auto cluster = std::ranges::find(fleet.clusters, name, &FleetCluster::name);
  if (cluster == fleet.clusters.end())
    return fail(Code::kNotFound, "{}: there is no cluster '{}'",
                question.file.empty() ? "the plan in force" : question.file, name);
  if (!question.leave.empty()) {
    fleet.clusters.erase(cluster);
  } else {
    auto times = [&](std::uint32_t count) {
      return static_cast<std::uint32_t>(std::min(count * question.factor, 1048576.0));
    };
    cluster->nodes = times(cluster->nodes);
    cluster->services = times(cluster->services);
  }
  return beside(now, std::move(fleet));
}

Result<Renumbering> answer(const PlanOfFleet& now, const Question& question) {
  if (!question.to.empty()) {
    TRY(fleet, read_fleet(question.to));
    return beside(now, std::move(fleet));
  }
  if (!question.merge.empty()) {
    TRY(other, read_plan(question.merge));
    return merge_fleets(now.fleet, now.plan, other.fleet, other.plan);
  }
  if (!question.drop_route.empty())
    return drop_route(now.fleet, now.plan, question.drop_route, now.fleet.families.front());
  if (question.free.empty()) return change_one(now, question);
  if (question.free.starts_with('/')) {
    TRY(prefix, Prefix::parse("0.0.0.0" + question.free));
    return free_any(now.fleet, now.plan, Family::kV4, prefix.length());
  }
  TRY(prefix, Prefix::parse(question.free));
  return free_prefix(now.fleet, now.plan, prefix);
}

json::array texts(const std::vector<std::string>& lines) {
  return json::array(lines.begin(), lines.end());
}

json::object value_of(const Certificate& certificate) {
  return {
      {"family", to_string(certificate.family)},  {"routes", std::int64_t{certificate.routes}},
      {"bound", std::int64_t{certificate.bound}}, {"reason", certificate.reason},
      {"addresses", certificate.addresses},       {"least_addresses", certificate.least_addresses}};
}

json::object value_of(const Renumbering& then, const std::vector<std::string>& changes) {
  json::array certificates;
  for (const Certificate& each : then.plan.certificate) certificates.push_back(value_of(each));
  return {{"renumbered", texts(then.clusters)},
          {"changes", texts(changes)},
          {"certificate", std::move(certificates)}};
}

Result<void> what_if(Session& session, const Question& question) {
  TRY(now, asked_plan(session, question));
  TRY(then, answer(now, question));
  std::vector<std::string> changes = diff_plans(now.plan, then.plan);
  if (session.settings.format != Format::kTable) return session.print(value_of(then, changes), {});
  std::string text = then.clusters.empty() ? "no cluster is renumbered" : "renumbered:";
  for (const std::string& name : then.clusters) text += " " + name;
  text += "\n";
  for (const std::string& line : changes) text += line + "\n";
  for (const Certificate& certificate : then.plan.certificate) text += text_of(certificate) + "\n";
  return Session::write(text);
}

// A whole number where a double holds it exactly.
json::value number_of(double number) {
  if (std::abs(number) <= 9007199254740992.0 && number == std::floor(number))
    return static_cast<std::int64_t>(number);
  return number;
}

json::array value_of(const std::vector<Forecast>& forecasts) {
  json::array list;
  for (const Forecast& each : forecasts)
    list.push_back(
        json::object{{"cluster", each.cluster},
                     {"use", to_string(each.use)},
                     {"prefix", each.prefix.str()},
                     {"used", number_of(each.used)},
                     {"room", number_of(each.room)},
                     {"yearly_growth", number_of(each.yearly_growth)},
                     {"years", each.years ? number_of(*each.years) : json::value(nullptr)}});
  return list;
}

Result<void> show_forecast(Session& session, const Question& question) {
  TRY(now, asked_plan(session, question));
  std::vector<Forecast> forecasts = forecast(now.plan, now.fleet, question.yearly_growth);
  if (session.settings.format != Format::kTable) return session.print(value_of(forecasts), {});
  auto full_in = [](const Forecast& each) -> std::string {
    if (each.years) return fmt::format("{:.1f} years", *each.years);
    return each.yearly_growth > 1 ? "-" : "does not grow";
  };
  std::string text = fmt::format("{:<20}{:<10}{:<26}{:>9}{:>12}  {}\n", "CLUSTER", "USE", "CIDR",
                                 "USED", "ROOM", "FULL IN");
  for (const Forecast& each : forecasts)
    text += fmt::format("{:<20}{:<10}{:<26}{:>9}{:>12.6g}  {}\n", each.cluster, to_string(each.use),
                        each.prefix.str(), each.used, each.room, full_in(each));
  return Session::write(text);
}

}  // namespace

void add_plan_questions(CLI::App* plan, Session& session) {
  auto question = std::make_shared<Question>();
  const char* file_help =
      "Ask this fleet file, planned from nothing (YAML or JSON, - for standard input), instead of "
      "the plan in force; needs no daemon";
  CLI::App* command =
      add_command(plan, "what-if", "Say what a change of the fleet would do",
                  "tombolo plan what-if --to next-year.yaml   # to the plan in force\n"
                  "tombolo plan what-if --grow east --factor 4\n"
                  "tombolo plan what-if --free 10.16.0.0/12\n"
                  "tombolo plan what-if -f fleet.yaml --merge theirs.yaml\n"
                  "tombolo plan what-if -f fleet.yaml --drop-route eu-central");
  command->add_option("-f,--file", question->file, file_help);
  CLI::Option_group* one = command->add_option_group("change", "What is changed");
  one->add_option("--to", question->to, "Another fleet file: clusters join, leave, change");
  one->add_option("--merge", question->merge, "The file of a fleet that becomes part of this one");
  one->add_option("--leave", question->leave, "A cluster that leaves");
  one->add_option("--grow", question->grow, "A cluster that grows by --factor");
  one->add_option("--free", question->free,
                  "Renumber the fewest clusters to free a prefix, or any of a length (/12)");
  one->add_option("--drop-route", question->drop_route,
                  "Renumber the fewest clusters so that this region is a route less");
  one->require_option(1);
  command->add_option("--factor", question->factor, "How much nodes and services grow (2)")
      ->check(CLI::Range(1.0, 1000.0));
  command->callback([&session, question] {
    session.action = [&session, question] { return what_if(session, *question); };
  });

  CLI::App* last = add_command(plan, "forecast", "Say how long each range lasts",
                               "tombolo plan forecast\n"
                               "tombolo plan forecast -f fleet.yaml --yearly-growth 1.3");
  last->add_option("-f,--file", question->file, file_help);
  last->add_option("--yearly-growth", question->yearly_growth,
                   "Factor per year, for all clusters (default: each one's growth_per_year)")
      ->check(CLI::Range(1.0, 1000.0));
  last->callback([&session, question] {
    session.action = [&session, question] { return show_forecast(session, *question); };
  });
}

}  // namespace tombolo::cli
