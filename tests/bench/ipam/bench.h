// The parts of the benchmark `ipam`, and how they print. One thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "ipamd/allocator/lease_book.h"

namespace tombolo::bench {

struct Options {
  std::string folder = "/var/tmp";  // on the disk that leases would be on
  int allocations = 200'000;
  int clients = 1024;
  int leases = 1'000'000;
};

// "goal: NAME = VALUE UNIT (bound OP NUMBER) ok|short".
void goal(const std::string& name, double value, const std::string& unit, const std::string& op,
          double bound);

// Bytes that malloc has given out and that are in use.
std::size_t heap_bytes();

// A lease as a containerd node writes it; `number` makes it unlike the others.
Lease typical_lease(int number);

class Folder {
 public:
  explicit Folder(const std::string& parent);
  ~Folder();
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Each ends the program when something cannot be measured.
void measure_durable(const Options& options, const Folder& folder);
void measure_start(const Options& options, const Folder& folder);
void measure_pools();

}  // namespace tombolo::bench
