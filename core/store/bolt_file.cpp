// Pages, elements and meta pages.
#include "core/store/bolt_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

namespace tombolo {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kElementBytes = 16;
constexpr std::uint16_t kBranchPage = 0x01;
constexpr std::uint16_t kLeafPage = 0x02;
constexpr std::uint16_t kMetaPage = 0x04;
constexpr std::uint16_t kFreelistPage = 0x10;
constexpr std::uint32_t kMagic = 0xED0CDAED;
constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kBucketFlag = 1;
constexpr std::size_t kMetaBytes = 56;  // without its checksum
constexpr int kMaxDepth = 20;
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{8} << 30U;

template <class T>
void append(std::string& bytes, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes.push_back(static_cast<char>((static_cast<std::uint64_t>(value) >> (8 * i)) & 0xffU));
}

template <class T>
T load(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return static_cast<T>(value);
}

std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
  return hash;
}

std::string header(std::uint64_t page, std::uint16_t flags, std::size_t count,
                   std::size_t overflow) {
  std::string bytes;
  append(bytes, page);
  append(bytes, flags);
  append(bytes, static_cast<std::uint16_t>(count));
  append(bytes, static_cast<std::uint32_t>(overflow));
  return bytes;
}

std::string meta_page(std::uint64_t page, std::uint64_t root, std::uint64_t freelist,
                      std::uint64_t pages) {
  std::string meta;
  append(meta, kMagic);
  append(meta, kVersion);
  append(meta, static_cast<std::uint32_t>(kPageBytes));
  append(meta, std::uint32_t{0});
  append(meta, root);
  append(meta, std::uint64_t{0});  // sequence of the root bucket
  append(meta, freelist);
  append(meta, pages);
  append(meta, page);  // transaction: the second meta page is the younger one
  append(meta, fnv1a(meta));
  return header(page, kMetaPage, 0, 0) + meta;
}

std::string bucket_value(std::uint64_t root) {
  std::string bytes;
  append(bytes, root);
  append(bytes, std::uint64_t{0});
  return bytes;
}

std::unexpected<Error> damaged(std::string_view what, std::uint64_t page) {
  return fail(Code::kDataLoss, "damaged snapshot: page {}: {}", page, what);
}

}  // namespace

std::string bolt_meta_pages(std::uint64_t root, std::uint64_t freelist, std::uint64_t pages) {
  std::string bytes = meta_page(0, root, freelist, pages);
  bytes.resize(kPageBytes);
  bytes += meta_page(1, root, freelist, pages);
  bytes.resize(2 * kPageBytes);
  return bytes;
}

Result<BoltWriter> BoltWriter::create(const std::filesystem::path& file) {
  BoltWriter writer(file);
  writer.out_.open(file, std::ios::binary | std::ios::trunc);
  if (!writer.out_) return fail_errno(errno, "create {}", file.string());
  return writer;
}

Result<void> BoltWriter::write_at(std::uint64_t page, const std::string& bytes) {
  out_.seekp(static_cast<std::streamoff>(page * kPageBytes));
  std::size_t padding = (kPageBytes - bytes.size() % kPageBytes) % kPageBytes;
  out_ << bytes << std::string(padding, '\0');
  if (!out_) return fail_errno(errno, "write {}", file_.string());
  return {};
}

Result<std::uint64_t> BoltWriter::write_page(bool leaf, const std::vector<Element>& elements) {
  std::string table;
  std::string data;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const Element& element = elements[i];
    // Positions count from the element itself.
    auto position = static_cast<std::uint32_t>((elements.size() - i) * kElementBytes + data.size());
    if (leaf) {
      append(table, element.flags);
      append(table, position);
      append(table, static_cast<std::uint32_t>(element.key.size()));
      append(table, static_cast<std::uint32_t>(element.value.size()));
    } else {
      append(table, position);
      append(table, static_cast<std::uint32_t>(element.key.size()));
      append(table, element.page);
    }
    data += element.key;
    data += element.value;
  }
  std::size_t bytes = kHeaderBytes + table.size() + data.size();
  std::size_t pages = (bytes + kPageBytes - 1) / kPageBytes;
  std::uint64_t page = next_page_;
  next_page_ += pages;
  std::uint16_t flags = leaf ? kLeafPage : kBranchPage;
  TRY_OK(write_at(page, header(page, flags, elements.size(), pages - 1) + table + data));
  return page;
}

Result<void> BoltWriter::bucket(const std::string& name) {
  TRY_OK(close_bucket());
  ENSURE(buckets_.empty() || buckets_.back().key < name, "buckets out of order");
  bucket_ = name;
  in_bucket_ = true;
  return {};
}

Result<void> BoltWriter::add(std::string key, std::string value) {
  ENSURE(in_bucket_, "no bucket");
  std::size_t bytes = kElementBytes + key.size() + value.size();
  if (!leaf_.empty() && kHeaderBytes + leaf_bytes_ + bytes > kPageBytes) TRY_OK(flush_leaf());
  leaf_bytes_ += bytes;
  leaf_.push_back({std::move(key), std::move(value), 0, 0});
  return {};
}

Result<void> BoltWriter::flush_leaf() {
  TRY(page, write_page(true, leaf_));
  leaves_.emplace_back(leaf_.empty() ? "" : leaf_.front().key, page);
  leaf_.clear();
  leaf_bytes_ = 0;
  return {};
}

// Branch pages over the level, until one page is over all.
Result<std::uint64_t> BoltWriter::write_branches(Level level) {
  while (level.size() > 1) {
    Level above;
    std::vector<Element> elements;
    std::size_t bytes = kHeaderBytes;
    for (auto& [key, child] : level) {
      // At least two children a page, so that every level is smaller than the one below.
      if (elements.size() >= 2 && bytes + kElementBytes + key.size() > kPageBytes) {
        TRY(page, write_page(false, elements));
        above.emplace_back(elements.front().key, page);
        elements.clear();
        bytes = kHeaderBytes;
      }
      bytes += kElementBytes + key.size();
      elements.push_back({key, "", child, 0});
    }
    TRY(page, write_page(false, elements));
    above.emplace_back(elements.front().key, page);
    level = std::move(above);
  }
  return level.front().second;
}

Result<void> BoltWriter::close_bucket() {
  if (!std::exchange(in_bucket_, false)) return {};
  if (!leaf_.empty() || leaves_.empty()) TRY_OK(flush_leaf());
  TRY(root, write_branches(std::exchange(leaves_, {})));
  buckets_.push_back({bucket_, bucket_value(root), 0, kBucketFlag});
  return {};
}

Result<void> BoltWriter::finish() {
  TRY_OK(close_bucket());
  TRY(root, write_page(true, buckets_));
  std::uint64_t freelist = next_page_++;
  TRY_OK(write_at(freelist, header(freelist, kFreelistPage, 0, 0)));
  TRY_OK(write_at(0, bolt_meta_pages(root, freelist, next_page_)));
  out_.close();
  if (!out_) return fail_errno(errno, "write {}", file_.string());
  return {};
}

Result<BoltReader> BoltReader::open(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return fail_errno(errno, "open {}", file.string());
  auto bytes = static_cast<std::uint64_t>(in.tellg());
  if (bytes > kMaxFileBytes)
    return fail(Code::kResourceExhausted, "{} is larger than {} bytes", file.string(),
                kMaxFileBytes);
  std::string content(bytes, '\0');
  in.seekg(0);
  if (!in.read(content.data(), static_cast<std::streamsize>(bytes)))
    return fail_errno(errno, "read {}", file.string());
  auto reader = from_bytes(std::move(content));
  if (!reader) return std::unexpected(std::move(reader).error().with_context(file.string()));
  return reader;
}

Result<BoltReader> BoltReader::from_bytes(std::string bytes) {
  BoltReader reader(std::move(bytes));
  TRY_OK(reader.read_meta());
  return reader;
}

Result<void> BoltReader::read_meta() {
  std::optional<std::uint64_t> youngest;
  // The second meta page is where the first one's page size says; etcd's is that of its machine.
  for (std::uint64_t at :
       {std::uint64_t{0}, std::uint64_t{4096}, std::uint64_t{16384}, std::uint64_t{65536}}) {
    if (bytes_.size() < at + kHeaderBytes + kMetaBytes + 8) continue;
    std::string_view meta = std::string_view(bytes_).substr(at + kHeaderBytes, kMetaBytes + 8);
    if (load<std::uint32_t>(meta, 0) != kMagic || load<std::uint32_t>(meta, 4) != kVersion)
      continue;
    if (load<std::uint64_t>(meta, kMetaBytes) != fnv1a(meta.substr(0, kMetaBytes))) continue;
    auto transaction = load<std::uint64_t>(meta, 48);
    if (youngest && *youngest >= transaction) continue;
    youngest = transaction;
    page_bytes_ = load<std::uint32_t>(meta, 8);
    root_ = load<std::uint64_t>(meta, 16);
  }
  if (!youngest) return fail(Code::kDataLoss, "this is no snapshot of etcd: no valid meta page");
  if (page_bytes_ < 1024 || page_bytes_ > 65536)
    return fail(Code::kDataLoss, "damaged snapshot: pages of {} bytes", page_bytes_);
  pages_ = bytes_.size() / page_bytes_;
  return {};
}

Result<void> BoltReader::walk(std::uint64_t page, int depth, std::uint64_t& budget,
                              const std::function<Result<void>(std::uint32_t, std::string_view,
                                                               std::string_view)>& visit) const {
  if (page < 2 || page >= pages_) return damaged("it lies outside of the file", page);
  if (depth > kMaxDepth) return damaged("the tree is too deep", page);
  // No page is visited twice in a sound tree.
  if (budget-- == 0) return damaged("the tree runs in circles", page);
  std::string_view rest = std::string_view(bytes_).substr(page * page_bytes_);
  auto flags = load<std::uint16_t>(rest, 8);
  auto count = load<std::uint16_t>(rest, 10);
  auto overflow = load<std::uint32_t>(rest, 12);
  std::string_view bytes = rest.substr(0, (std::uint64_t{overflow} + 1) * page_bytes_);
  if (kHeaderBytes + count * kElementBytes > bytes.size())
    return damaged("its elements do not fit", page);
  if (flags != kLeafPage && flags != kBranchPage) return damaged("it is no page of a tree", page);
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t element = kHeaderBytes + i * kElementBytes;
    if (flags == kBranchPage) {
      TRY_OK(walk(load<std::uint64_t>(bytes, element + 8), depth + 1, budget, visit));
      continue;
    }
    std::uint64_t at = element + std::uint64_t{load<std::uint32_t>(bytes, element + 4)};
    std::uint64_t key_bytes = load<std::uint32_t>(bytes, element + 8);
    std::uint64_t value_bytes = load<std::uint32_t>(bytes, element + 12);
    if (at + key_bytes + value_bytes > bytes.size())
      return damaged("an element reaches out of it", page);
    TRY_OK(visit(load<std::uint32_t>(bytes, element), bytes.substr(at, key_bytes),
                 bytes.substr(at + key_bytes, value_bytes)));
  }
  return {};
}

Result<void> BoltReader::each(std::string_view bucket, const Visit& visit) const {
  std::uint64_t budget = pages_;
  std::string value;
  TRY_OK(walk(root_, 0, budget,
              [&](std::uint32_t flags, std::string_view key, std::string_view found) {
                if ((flags & kBucketFlag) != 0 && key == bucket) value = found;
                return Result<void>();
              }));
  if (value.empty()) return {};
  if (value.size() < 16) return fail(Code::kDataLoss, "damaged snapshot: bucket {}", bucket);
  auto plain = [&](std::uint32_t, std::string_view key, std::string_view found) {
    return visit(key, found);
  };
  auto root = load<std::uint64_t>(value, 0);
  budget = pages_;
  if (root != 0) return walk(root, 0, budget, plain);
  // A small bucket lies inside its own entry, as one page after the bucket's header: read it there
  // as a file of one page.
  BoltReader inside(std::string(2 * page_bytes_, '\0') + value.substr(16));
  inside.page_bytes_ = page_bytes_;
  inside.bytes_.resize(3 * page_bytes_);
  inside.pages_ = 3;
  budget = 1;
  return inside.walk(2, 0, budget, plain);
}

}  // namespace tombolo
