// The fleet planner beside the ways of others, over seeded traces (`tests/bench/run plan`): summary
// routes over the exact optimum, space over its bound, refusals that were avoidable, growth in
// place, clusters that had to move, time. Then 10,000 clusters at once, and one more that joins
// them. Output: tables, then lines "goal: NAME = VALUE UNIT (bound OP NUMBER) ok|short".
#include <sys/resource.h>

#include <chrono>
#include <ctime>

#include "ipamd/plan/internal.h"
#include "tests/bench/plan/score.h"
#include "tests/bench/plan/strategies.h"

namespace tombolo::bench {
namespace {

bool goal(std::string_view name, double value, std::string_view unit, std::string_view op,
          double bound) {
  bool ok = op == "<=" ? value <= bound : value >= bound;
  fmt::print("goal: {} = {:.4g} {} (bound {} {:g}) {}\n", name, value, unit, op, bound,
             ok ? "ok" : "short");
  return ok;
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double peak_megabytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// Sums over the traces of one table.
struct Sum {
  std::string name;
  unsigned traces = 0;
  double routes = 0;
  double optimum = 0;
  double table = 0;
  double table_optimum = 0;
  double space = 0;
  unsigned refused = 0;
  unsigned avoidable = 0;
  unsigned grown = 0;
  unsigned in_place = 0;
  unsigned moved = 0;
  unsigned exact = 0;  // traces whose optimum is known exactly; else its proven bound counts
  unsigned worse = 0;  // traces with more routes than the optimum
  double cpu_s = 0;
  unsigned steps = 0;
};

bool stayed(const Plan& before, const Plan& after, const std::string& name) {
  const PlannedCluster* old = find_cluster(before, name);
  const PlannedCluster* now = find_cluster(after, name);
  for (const PlannedRange& range : old->ranges) {
    const PlannedRange* same = find_range(*now, range.use, range.prefix.family());
    if (same == nullptr || !same->prefix.contains(range.prefix)) return false;
  }
  return true;
}

void score(Sum& sum, const Fleet& accepted, const Plan& plan) {
  Instance instance = instance_of(accepted, Family::kV4);
  Optimum best = fewest_routes(instance.regions, instance.shared, instance.supply);
  ENSURE(best.feasible, "the plan of a fleet that does not fit");
  sum.exact += best.exact ? 1U : 0U;
  std::uint32_t routes = routes_of(plan);
  ++sum.traces;
  sum.routes += routes;
  sum.optimum += best.bound;
  sum.table += routes;
  sum.table_optimum += smallest_table(plan);
  sum.space += space_over_bound(plan);
  sum.worse += routes > best.bound ? 1U : 0U;
}

bool step_of(Strategy& strategy, const Step& step) {
  if (step.change == Change::kJoin) return strategy.join(step.cluster);
  if (step.change != Change::kLeave) return strategy.change(step.cluster);
  strategy.leave(step.cluster.name);
  return true;
}

void run_online(Sum& sum, Strategy& strategy, const Trace& trace) {
  Fleet accepted = trace.fleet;
  for (const Step& step : trace.steps) {
    auto at = std::ranges::find(accepted.clusters, step.cluster.name, &FleetCluster::name);
    bool known = at != accepted.clusters.end();
    if (!known && step.change != Change::kJoin) continue;  // it was refused before
    Fleet wanted = accepted;
    if (step.change == Change::kLeave)
      wanted.clusters.erase(wanted.clusters.begin() + (at - accepted.clusters.begin()));
    else if (known)
      wanted.clusters[static_cast<std::size_t>(at - accepted.clusters.begin())] = step.cluster;
    else
      wanted.clusters.push_back(step.cluster);
    Plan before = strategy.plan();
    double begin = cpu_seconds();
    bool done = step_of(strategy, step);
    sum.cpu_s += cpu_seconds() - begin;
    ++sum.steps;
    if (!done) {
      ++sum.refused;
      if (instance_of(wanted, Family::kV4).feasible()) ++sum.avoidable;
      continue;
    }
    accepted = std::move(wanted);
    if (!known || step.change == Change::kLeave) continue;
    bool same = stayed(before, strategy.plan(), step.cluster.name);
    sum.moved += same ? 0U : 1U;
    if (step.change != Change::kGrow) continue;
    ++sum.grown;
    sum.in_place += same ? 1U : 0U;
  }
  score(sum, accepted, strategy.plan());
}

void run_offline(Sum& sum, const Trace& trace) {
  Fleet fleet = trace.fleet;
  for (const Step& step : trace.steps) fleet.clusters.push_back(step.cluster);
  double begin = cpu_seconds();
  auto plan = make_plan(fleet, nullptr);
  sum.cpu_s += cpu_seconds() - begin;
  sum.steps += static_cast<unsigned>(trace.steps.size());
  if (plan) return score(sum, fleet, *plan);
  ++sum.refused;
  if (instance_of(fleet, Family::kV4).feasible()) ++sum.avoidable;
}

void print(std::string_view title, const std::vector<Sum>& sums) {
  fmt::print("\n{}\n{:<24}{:>8}{:>10}{:>9}{:>9}{:>8}{:>9}{:>10}{:>11}{:>8}{:>11}\n", title, "",
             "routes", "/ optimum", "/ ORTC", "space", "refused", "avoidable", "grown", "in place",
             "moved", "ms/step");
  for (const Sum& sum : sums)
    fmt::print("{:<24}{:>8}{:>10.3f}{:>9.3f}{:>9.3f}{:>8}{:>9}{:>10}{:>10.1f}%{:>8}{:>11.4f}\n",
               sum.name, sum.routes, sum.routes / sum.optimum, sum.table / sum.table_optimum,
               sum.space / sum.traces, sum.refused, sum.avoidable, sum.grown,
               sum.grown == 0 ? 100.0 : 100.0 * sum.in_place / sum.grown, sum.moved,
               1000 * sum.cpu_s / sum.steps);
}

// Offline traces from loose to nearly full, with and without holes.
std::vector<Trace> offline_traces() {
  std::vector<Trace> traces;
  for (unsigned regions : {3U, 6U, 12U, 24U})
    for (unsigned load : {40U, 70U, 90U, 98U, 100U})
      for (bool holes : {false, true})
        for (std::uint64_t seed = 1; seed <= 3; ++seed)
          traces.push_back(offline_trace(seed * 100 + regions, regions, load, holes));
  return traces;
}

bool bench_offline() {
  std::vector<Sum> sums;
  std::vector<Trace> traces = offline_traces();
  Sum ours{"tombolo"};
  for (const Trace& trace : traces) run_offline(ours, trace);
  sums.push_back(ours);
  for (Pick pick : {Pick::kNext, Pick::kLowest, Pick::kRandom, Pick::kSmallest}) {
    Sum sum;
    for (const Trace& trace : traces) {
      auto strategy = other_for(trace.fleet, pick, 1);
      sum.name = strategy->name();
      run_online(sum, *strategy, trace);
    }
    sums.push_back(sum);
  }
  print(fmt::format("offline, {} traces", traces.size()), sums);
  fmt::print("the optimum is known exactly for {} of them\n", ours.exact);
  bool ok = goal("plan_offline_routes_over_optimum", ours.routes / ours.optimum, "x", "<=", 1);
  ok = goal("plan_offline_traces_above_optimum", ours.worse, "traces", "<=", 0) && ok;
  return goal("plan_offline_avoidable_failures", ours.avoidable, "fleets", "<=", 0) && ok;
}

void bench_online() {
  for (unsigned load : {50U, 70U, 90U}) {
    std::vector<Sum> sums(6);
    for (unsigned regions : {3U, 12U})
      for (bool holes : {false, true})
        for (std::uint64_t seed = 1; seed <= 2; ++seed) {
          Trace trace = online_trace(seed, regions, load, holes, 200);
          auto all = strategies_for(trace.fleet, seed);
          all.insert(all.begin() + 1, foreseeing_for(trace));
          for (std::size_t i = 0; i < all.size(); ++i) {
            sums[i].name = all[i]->name();
            run_online(sums[i], *all[i], trace);
          }
        }
    print(fmt::format("online, load {} %", load), sums);
  }
}

// One more cluster beside 10,000, a hundred times; the slowest counts.
bool bench_join(Fleet fleet, const Plan& plan) {
  FleetCluster joining = fleet.clusters.front();
  auto planner = FleetPlanner::start(std::move(fleet), &plan);
  ENSURE(planner.has_value(), "{}", planner.error().what);
  double slowest_ms = 0;
  double sum_ms = 0;
  constexpr unsigned kJoins = 100;
  for (unsigned i = 0; i < kJoins; ++i) {
    joining.name = fmt::format("joins{}", i);
    joining.id = 20'000 + i;
    joining.nodes = 2 + i % 8;
    double begin = cpu_seconds();
    auto joined = (*planner)->join(joining);
    double took_ms = 1000 * (cpu_seconds() - begin);
    ENSURE(joined.has_value(), "{}", joined.error().what);
    slowest_ms = std::max(slowest_ms, took_ms);
    sum_ms += took_ms;
  }
  fmt::print("one more of 10,000 joins: {:.3f} ms on average\n", sum_ms / kJoins);
  return goal("plan_join_beside_10000", slowest_ms, "ms", "<=", 5);
}

bool bench_large() {
  constexpr unsigned kClusters = 10'000;
  Fleet fleet = large_fleet(7, kClusters);
  double before_mb = peak_megabytes();
  double begin = cpu_seconds();
  auto plan = make_plan(fleet, nullptr);
  double planned_s = cpu_seconds() - begin;
  double used_mb = peak_megabytes() - before_mb;
  ENSURE(plan.has_value(), "{}", plan.error().what);
  auto peer = other_for(fleet, Pick::kLowest, 1);
  begin = cpu_seconds();
  for (const FleetCluster& cluster : fleet.clusters) peer->join(cluster);
  double peer_s = cpu_seconds() - begin;
  fmt::print(
      "\n{} dual-stack clusters: {:.3f} s, {} ranges, {} summary routes, {:.0f} MB more; "
      "lowest-first {:.3f} s, {} routes\n",
      kClusters, planned_s, blocks_of(*plan).size(), routes_of(*plan), used_mb, peer_s,
      routes_of(peer->plan()));
  fmt::print("clusters per CPU-second: {:.0f}, lowest-first without any check {:.0f}\n",
             kClusters / planned_s, kClusters / peer_s);
  bool ok = goal("plan_10000_clusters", planned_s, "s", "<=", 1);
  ok = bench_join(std::move(fleet), *plan) && ok;
  return goal("plan_10000_clusters_memory", used_mb, "MB", "<=", 200) && ok;
}

}  // namespace
}  // namespace tombolo::bench

int main() {
  using namespace tombolo::bench;
  bench_offline();
  bench_online();
  bench_large();
  return 0;
}
