// bench_dns: answers per CPU second of the server process, 10,000 A names, one UDP worker: Tombolo,
// Knot DNS and a bare recvmmsg/sendmmsg responder in turns of the same run; and what one changed
// service costs. Ends with lines "goal: NAME = VALUE UNIT (bound OP NUMBER) ok|short".
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "dns/dns.h"
#include "dns/zone.h"
#include "tests/bench/dns/bench.h"

namespace tombolo::bench {
namespace {

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void goal(const std::string& name, double value, const std::string& unit, const std::string& bound,
          double number, bool good) {
  fmt::print("goal: {} = {:.2f} {} (bound {} {}) {}\n", name, value, unit, bound, number,
             good ? "ok" : "short");
}

double micros(Duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// Microseconds from a changed row to the next snapshot, in a zone of 10,000 services.
std::pair<double, double> change_cost() {
  auto clock = make_system_clock();
  dns::ZoneSettings settings;
  settings.cluster = "east";
  auto builder = dns::ZoneBuilder::make(settings);
  ENSURE(builder.has_value());
  std::vector<Frontend> rows;
  for (int i = 0; i < kServices; ++i) rows.push_back(service_row(i));
  MonotonicTime begun = clock->now();
  for (const Frontend& row : rows) builder->apply(row.key(), &row);
  builder->mark_synced();
  auto held = builder->snapshot(1);
  double whole_us = micros(clock->now() - begun);
  std::vector<double> costs;
  for (std::size_t i = 0; i < 2000; ++i) {
    Frontend& row = rows[i * 4];
    row.cluster_ips[0] = *row.cluster_ips[0].plus(0x1000000);
    begun = clock->now();
    builder->apply(row.key(), &row);
    held = builder->snapshot(1);
    costs.push_back(micros(clock->now() - begun));
  }
  return {whole_us, median(costs)};
}

Result<double> measure(const ServerProcess& server, const std::vector<std::string>& questions,
                       Duration duration) {
  TRY(before, server.cpu_time());
  TRY(load, run_load(server.at(), questions, duration));
  TRY(after, server.cpu_time());
  double cpu_s = std::chrono::duration<double>(after - before).count();
  double wall_s = std::chrono::duration<double>(load.took).count();
  auto answers = static_cast<double>(load.answers);
  if (load.others > 0 || load.answers == 0)
    return fail(Code::kInternal, "{}: {} answers, {} other replies", server.name(), load.answers,
                load.others);
  fmt::print("{:<8} {:>9.0f} answers/s {:>9.0f} answers/CPU-s  lost {}\n", server.name(),
             answers / wall_s, answers / cpu_s, load.lost);
  std::fflush(stdout);
  return answers / cpu_s;
}

Result<void> run(const std::string& self, int rounds, double seconds) {
  std::vector<std::unique_ptr<ServerProcess>> servers;
  TRY(tombolo, start_tombolo(self));
  servers.push_back(std::move(tombolo));
  TRY(knot, start_knot());
  servers.push_back(std::move(knot));
  TRY(floor, start_floor(self));
  servers.push_back(std::move(floor));
  auto questions = service_questions();
  pin_to(1);
  auto turn = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  std::map<std::string, std::vector<double>> seen;
  for (int round = 0; round < rounds; ++round)
    for (const auto& server : servers) {
      TRY(rate, measure(*server, questions, turn));
      seen[server->name()].push_back(rate);
    }
  std::map<std::string, double> typical;
  for (const auto& [name, rates] : seen) typical[name] = median(rates);
  for (const auto& server : servers) {
    TRY(bytes, server->resident_bytes());
    fmt::print("{:<8} {:>9.0f} answers/CPU-s (median of {}), {:.1f} MiB resident\n", server->name(),
               typical[server->name()], rounds, static_cast<double>(bytes) / 1048576);
  }
  auto [whole_us, change_us] = change_cost();
  fmt::print("zone of {} services: {:.0f} us to build, {:.1f} us for one changed service\n",
             kServices, whole_us, change_us);
  double of_knot = typical["tombolo"] / typical["knot"];
  double of_floor = typical["tombolo"] / typical["floor"];
  goal("dns_answers_per_cpu_second_vs_knot", of_knot, "ratio", ">=", 1.0, of_knot >= 1.0);
  goal("dns_answers_per_cpu_second_vs_floor", of_floor, "ratio", ">=", 0.8, of_floor >= 0.8);
  goal("dns_change_of_one_service", change_us, "us", "<=", 100, change_us <= 100);
  return {};
}

}  // namespace
}  // namespace tombolo::bench

int main(int argc, char** argv) {
  using namespace tombolo;
  CLI::App app{"DNS answers per CPU second, beside Knot DNS and a bare responder"};
  int rounds = 5;
  double seconds = 1.5;
  std::vector<std::string> serve;
  app.add_option("--rounds", rounds, "turns of each server")->check(CLI::Range(1, 1000));
  app.add_option("--seconds", seconds, "length of a turn")->check(CLI::Range(0.1, 60.0));
  app.add_option("--serve", serve, "be one of the servers: tombolo|floor ADDRESS:PORT")
      ->expected(2);
  CLI11_PARSE(app, argc, argv);
  Result<void> done;
  if (!serve.empty()) {
    auto at = Endpoint::parse(serve[1]);
    if (!at)
      done = std::unexpected(std::move(at).error());
    else
      done = serve[0] == "tombolo" ? bench::serve_tombolo(*at) : bench::serve_floor(*at);
  } else {
    done = bench::run("/proc/self/exe", rounds, seconds);
  }
  if (done) return 0;
  fmt::print(stderr, "bench_dns: {}\n", done.error().text());
  return 1;
}
