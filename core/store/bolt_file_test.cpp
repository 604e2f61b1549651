// What is written is read back; what is damaged is refused, wherever the damage is.
#include "core/store/bolt_file.h"

#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <map>
#include <random>

#include "core/store/test_stores.h"

namespace tombolo {
namespace {

using Pairs = std::map<std::string, std::string>;

std::filesystem::path write(const TempDir& dir, const std::map<std::string, Pairs>& buckets) {
  std::filesystem::path file = dir.path() / "bolt";
  auto writer = BoltWriter::create(file);
  REQUIRE(writer);
  for (const auto& [name, pairs] : buckets) {
    REQUIRE(writer->bucket(name));
    for (const auto& [key, value] : pairs) REQUIRE(writer->add(key, value));
  }
  REQUIRE(writer->finish());
  return file;
}

Result<Pairs> read(const BoltReader& reader, const std::string& bucket) {
  Pairs pairs;
  TRY_OK(reader.each(bucket, [&](std::string_view key, std::string_view value) -> Result<void> {
    pairs.emplace(key, value);
    return {};
  }));
  return pairs;
}

TEST_CASE("bolt: buckets of every size come back") {
  REQUIRE(rc::check("round trip", [] {
    TempDir dir;
    std::map<std::string, Pairs> buckets{{"empty", {}}};
    auto count = *rc::gen::inRange(0, 3000);
    auto value_bytes = *rc::gen::element(0, 10, 300, 5000, 20000);
    if (value_bytes > 1000) count = std::min(count, 100);
    for (int i = 0; i < count; ++i)
      buckets["key"][fmt::format("{:08}", i)] =
          std::string(static_cast<std::size_t>(value_bytes + i % 7), 'v');
    buckets["other"]["a"] = "b";
    auto reader = BoltReader::open(write(dir, buckets));
    RC_ASSERT(reader.has_value());
    for (const auto& [name, pairs] : buckets) RC_ASSERT(read(*reader, name).value() == pairs);
    RC_ASSERT(read(*reader, "absent")->empty());
  }));
}

TEST_CASE("bolt: damaged bytes are refused or harmless, never followed") {
  TempDir dir;
  Pairs pairs;
  for (int i = 0; i < 500; ++i) pairs[fmt::format("{:08}", i)] = "value";
  std::ifstream in(write(dir, {{"key", pairs}}), std::ios::binary);
  std::string good((std::istreambuf_iterator<char>(in)), {});
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string bad = good;
    for (int j = 0; j < 4; ++j) bad[random() % bad.size()] = static_cast<char>(random());
    if (i % 10 == 0) bad.resize(random() % bad.size());
    auto reader = BoltReader::from_bytes(std::move(bad));
    if (!reader || !read(*reader, "key")) ++refused;
  }
  REQUIRE(refused > 100);
  REQUIRE(BoltReader::from_bytes("").error().what ==
          "this is no snapshot of etcd: no valid meta page");
}

}  // namespace
}  // namespace tombolo
