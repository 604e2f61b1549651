// Files of bbolt, the B+ tree in which etcd keeps its data and sends its snapshots: so that etcd's
// tools can read ours, and we theirs. Format: go.etcd.io/bbolt, page.go and bucket.go (version 2,
// all numbers in little-endian). Buckets hold keys in order; nested buckets are not used by etcd.
// Blocking.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace tombolo {

// Writes a file from begin to end, one bucket after the other.
class BoltWriter {
 public:
  static Result<BoltWriter> create(const std::filesystem::path& file);
  // Starts a bucket; names ascend.
  Result<void> bucket(const std::string& name);
  // Adds to the bucket; keys ascend.
  Result<void> add(std::string key, std::string value);
  // Completes the file.
  Result<void> finish();

 private:
  struct Element {
    std::string key;
    std::string value;        // of a leaf
    std::uint64_t page = 0;   // of a branch: the child
    std::uint32_t flags = 0;  // of a leaf: 1 for a bucket
  };
  using Level = std::vector<std::pair<std::string, std::uint64_t>>;  // first key, page

  explicit BoltWriter(std::filesystem::path file) : file_(std::move(file)) {}
  Result<std::uint64_t> write_page(bool leaf, const std::vector<Element>& elements);
  Result<void> flush_leaf();
  Result<void> close_bucket();
  Result<std::uint64_t> write_branches(Level level);
  Result<void> write_at(std::uint64_t page, const std::string& bytes);

  std::filesystem::path file_;
  std::ofstream out_;
  std::uint64_t next_page_ = 2;  // the first two are the meta pages
  std::string bucket_;
  bool in_bucket_ = false;
  std::vector<Element> leaf_;
  std::size_t leaf_bytes_ = 0;
  Level leaves_;
  std::vector<Element> buckets_;
};

// The two meta pages of a file whose root bucket is at page `root`: what a fuzzer cannot guess,
// because of its checksum.
std::string bolt_meta_pages(std::uint64_t root, std::uint64_t freelist, std::uint64_t pages);

class BoltReader {
 public:
  // kDataLoss: not such a file, or a damaged one. Every offset of the file is checked before it is
  // followed.
  static Result<BoltReader> open(const std::filesystem::path& file);
  // The same over bytes in memory.
  static Result<BoltReader> from_bytes(std::string bytes);
  // visit(key, value) for every pair, in order; nothing when there is no such bucket. The views are
  // valid during the visit.
  using Visit = std::function<Result<void>(std::string_view key, std::string_view value)>;
  Result<void> each(std::string_view bucket, const Visit& visit) const;

 private:
  // A whole file in memory: a store's quota bounds its size.
  explicit BoltReader(std::string bytes) : bytes_(std::move(bytes)) {}
  Result<void> read_meta();
  Result<void> walk(std::uint64_t page, int depth, std::uint64_t& budget,
                    const std::function<Result<void>(std::uint32_t flags, std::string_view key,
                                                     std::string_view value)>& visit) const;

  std::string bytes_;
  std::uint64_t page_bytes_ = 4096;
  std::uint64_t pages_ = 0;
  std::uint64_t root_ = 0;
};

}  // namespace tombolo
