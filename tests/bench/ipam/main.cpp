// Benchmark `ipam`, the allocator's part: pools in memory, durable allocations by group commit, and
// the start with a million leases. tests/bench/ipam.py runs it, the peer and the plugin's part.
//
//   bench_ipam [--folder DIR] [--allocations N] [--clients N] [--leases N]
//
// Prints figures, then goal lines. Exit status 1 when something could not be measured; a goal that
// is short is not an error here.
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "tests/bench/ipam/bench.h"

namespace tombolo::bench {

void goal(const std::string& name, double value, const std::string& unit, const std::string& op,
          double bound) {
  bool ok = op == "<=" ? value <= bound : value >= bound;
  fmt::print("goal: {} = {:.4g} {} (bound {} {:.6g}) {}\n", name, value, unit, op, bound,
             ok ? "ok" : "short");
  std::fflush(stdout);
}

std::size_t heap_bytes() {
  struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

Lease typical_lease(int number) {
  auto mixed = static_cast<std::uint64_t>(number) * 0x9e3779b97f4a7c15ULL;
  Lease lease;
  lease.network = "tombolo";
  Attachment& attachment = lease.attachment;
  attachment.container_id =
      fmt::format("{:016x}{:016x}{:016x}{:016x}", mixed, ~mixed, mixed * 3, mixed * 7);
  attachment.interface_name = "eth0";
  attachment.name_space = fmt::format("team-{}", number % 50);
  attachment.pod_name = fmt::format("shop-5d8f7c6b9-{:05x}", number);
  std::string uuid =
      fmt::format("{:08x}-6c0e-4b7e-9d55-{:012x}", mixed >> 32, mixed & 0xffff'ffff'ffffULL);
  attachment.pod_uid = uuid;
  attachment.node = "node-1";
  attachment.netns_path = "/var/run/netns/cni-" + uuid;
  attachment.host_interface = fmt::format("tbo{:012x}", mixed >> 16);
  attachment.mac = fmt::format("02:00:{:02x}:{:02x}:{:02x}:{:02x}", mixed & 255, mixed >> 8 & 255,
                               mixed >> 16 & 255, mixed >> 24 & 255);
  return lease;
}

Folder::Folder(const std::string& parent) : path_(parent + "/tombolo-bench-XXXXXX") {
  ENSURE(::mkdtemp(path_.data()) != nullptr, "make a folder in {}", parent);
}

Folder::~Folder() {
  std::error_code ignored;  // what cannot be removed is left to the system's cleaner
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tombolo::bench

int main(int argc, char** argv) {
  using namespace tombolo::bench;
  Options options;
  CLI::App app("Benchmark ipam: pools, durable allocations, start with many leases");
  app.add_option("--folder", options.folder, "a folder on the disk that leases would be on");
  app.add_option("--allocations", options.allocations, "durable allocations in all")
      ->check(CLI::Range(1000, 4'000'000));
  app.add_option("--clients", options.clients, "that wait for their allocation, each for its own")
      ->check(CLI::Range(2, 4096));
  app.add_option("--leases", options.leases, "of the start with many leases")
      ->check(CLI::Range(1000, 4'000'000));
  CLI11_PARSE(app, argc, argv);
  Folder folder(options.folder);
  measure_pools();
  measure_durable(options, folder);
  measure_start(options, folder);
  return 0;
}
