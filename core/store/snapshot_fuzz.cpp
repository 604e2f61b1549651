// Snapshot files: whatever bytes they hold, reading them ends and follows no offset out of them.
#include <cstddef>
#include <cstdint>

#include "core/store/bolt_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  // The checksums of the meta pages would keep almost every input out: only what lies behind them
  // comes from the fuzzer, under a good meta page.
  constexpr std::size_t kPage = 4096;
  static const std::string kMeta = bolt_meta_pages(/*root=*/2, /*freelist=*/3, /*pages=*/4);
  std::string bytes = kMeta + std::string(reinterpret_cast<const char*>(data), size);
  bytes.resize((bytes.size() + kPage - 1) / kPage * kPage);
  auto reader = BoltReader::from_bytes(std::move(bytes));
  ENSURE(reader.has_value());
  std::size_t seen = 0;
  for (const char* bucket : {"key", "lease", "meta"})
    (void)reader->each(bucket, [&](std::string_view key, std::string_view value) -> Result<void> {
      seen += key.size() + value.size();
      return {};
    });
  return seen == SIZE_MAX ? 1 : 0;
}
