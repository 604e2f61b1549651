// Where each verdict set lies. A set is written into room that no program looks at and never
// changes afterwards; room that was in use rests until readers are gone.
#include <algorithm>
#include <charconv>
#include <map>

#include "bpf/policy/internal.h"

namespace tombolo::bpf {
namespace {

constexpr std::size_t kMaxResting = 64;
constexpr std::array<std::uint8_t, 3> kPortProtocols{6, 17, 132};

std::uint32_t blocks_for(std::size_t items, std::size_t per_block) {
  return static_cast<std::uint32_t>((items + per_block - 1) / per_block);
}

// "0123…": 32 hexadecimal digits.
std::array<std::uint64_t, 2> name_words(const std::string& name) {
  std::array<std::uint64_t, 2> words{};
  for (std::size_t i = 0; i < 2; ++i) {
    const char* begin = name.data() + std::min(name.size(), i * 16);
    const char* end = name.data() + std::min(name.size(), (i + 1) * 16);
    std::from_chars(begin, end, words[i], 16);
  }
  return words;
}

constexpr std::size_t kPagesEach = 65536 / abi::kPortsPerPage;
using Page = std::array<std::uint16_t, abi::kPortsPerPage>;

// The port classes, 256 ports at a time: 256 entries for each of kPortProtocols, in its order. Most
// are of one class.
struct PortTable {
  std::array<std::uint32_t, kPortProtocols.size() * kPagesEach> directory{};
  std::map<Page, std::vector<std::size_t>> pages;  // of the others, and which entries they are
};

PortTable port_table_of(const VerdictSet& row) {
  PortTable table;
  table.directory.fill(abi::kDirectoryClass);
  std::map<std::size_t, Page> cut;  // entry -> its ports, where a span begins or ends inside
  for (const PortSpan& span : row.ports) {
    auto protocol = std::ranges::find(kPortProtocols, span.protocol);
    if (protocol == kPortProtocols.end()) continue;
    auto base = static_cast<std::size_t>(protocol - kPortProtocols.begin()) * 65536;
    for (std::size_t port = base + span.first; port <= base + span.last;) {
      std::size_t entry = port / abi::kPortsPerPage;
      std::size_t first = port % abi::kPortsPerPage;
      port = std::min((entry + 1) * abi::kPortsPerPage, base + span.last + 1);
      std::size_t count = port - entry * abi::kPortsPerPage - first;
      if (count == abi::kPortsPerPage)
        table.directory[entry] = abi::kDirectoryClass | span.port_class;
      else
        std::fill_n(cut[entry].begin() + static_cast<std::ptrdiff_t>(first), count,
                    span.port_class);
    }
  }
  for (const auto& [entry, page] : cut) table.pages[page].push_back(entry);
  return table;
}

// `items` from the beginning of the extent on, block by block.
template <class Blocks, class Item>
void fill(Blocks& blocks, const Extent& extent, const std::vector<Item>& items) {
  std::size_t done = 0;
  for (std::uint32_t i = 0; i < extent.count && done < items.size(); ++i) {
    auto& block = blocks.at(extent.offset + i).at;
    std::size_t count = std::min(std::size(block), items.size() - done);
    std::copy_n(items.begin() + static_cast<std::ptrdiff_t>(done), count, block);
    done += count;
  }
}

}  // namespace

SetStore::SetStore(PolicyArrays& arrays, const Grace& grace)
    : arrays_(arrays),
      grace_(grace),
      ids_(static_cast<std::uint32_t>(arrays.sets.size())),
      pages_(static_cast<std::uint32_t>(arrays.pages.size())),
      class_blocks_(static_cast<std::uint32_t>(arrays.classes.size())),
      verdict_blocks_(static_cast<std::uint32_t>(arrays.verdicts.size())) {}

Result<std::string> SetStore::adopt(std::uint32_t id) {
  if (id == 0 || id >= arrays_.sets.size()) return fail(Code::kDataLoss, "no verdict set {}", id);
  const abi::policy_set& set = arrays_.sets.at(id);
  std::string name = fmt::format("{:016x}{:016x}", set.name[0], set.name[1]);
  if (auto known = rooms_.find(name); known != rooms_.end()) {
    if (known->second.id == id) return name;
    return fail(Code::kDataLoss, "verdict sets {} and {} have one name", known->second.id, id);
  }
  Room room;
  room.id = id;
  room.classes = {set.class_block, set.class_blocks};
  room.verdicts = {set.verdict_block, set.verdict_blocks};
  std::set<std::uint32_t> pages;
  for (std::uint32_t entry : arrays_.directories.at(id).at)
    if ((entry & abi::kDirectoryClass) == 0) pages.insert(entry);
  if (!pages.empty() && *pages.rbegin() >= arrays_.pages.size())
    return fail(Code::kDataLoss, "verdict set {} has a page outside of the pages", id);
  if (!class_blocks_.reserve(room.classes) || !verdict_blocks_.reserve(room.verdicts))
    return fail(Code::kDataLoss, "verdict set {} lies over another", id);
  ids_.reserve(id);
  for (std::uint32_t page : pages) pages_.reserve(page);
  room.pages.assign(pages.begin(), pages.end());
  rooms_.emplace(name, std::move(room));
  return name;
}

Result<void> SetStore::settle() {
  TRY_OK(grace_.wait());
  ids_.settle();
  pages_.settle();
  class_blocks_.settle();
  verdict_blocks_.settle();
  return {};
}

// A second try when what rests is needed.
template <class Take>
auto SetStore::take(Take take) {
  auto taken = take();
  if (!taken && ids_.resting() > 0 && settle()) taken = take();
  return taken;
}

void SetStore::give_back(const Room& room) {
  if (room.id != 0) ids_.give_back(room.id);
  if (room.classes.count > 0) class_blocks_.give_back(room.classes);
  if (room.verdicts.count > 0) verdict_blocks_.give_back(room.verdicts);
  for (std::uint32_t page : room.pages) pages_.give_back(page);
}

Result<SetStore::Room> SetStore::make_room(const VerdictSet& row, std::size_t pages) {
  Room room;
  auto refuse = [&](std::string_view what) {
    give_back(room);
    return fail(Code::kResourceExhausted, "no room for a verdict set: {}", what);
  };
  auto id = take([&] { return ids_.take(); });
  if (!id) return refuse(fmt::format("more than {} sets", arrays_.sets.size() - 1));
  room.id = *id;
  std::uint32_t class_blocks = blocks_for(row.peer_classes.size(), abi::kClassesPerBlock);
  std::uint32_t verdict_blocks = blocks_for(row.verdicts.size(), abi::kVerdictsPerBlock);
  if (class_blocks > 0) {
    auto extent = take([&] { return class_blocks_.take(class_blocks); });
    if (!extent) return refuse("its peer classes");
    room.classes = *extent;
  }
  if (verdict_blocks > 0) {
    auto extent = take([&] { return verdict_blocks_.take(verdict_blocks); });
    if (!extent) return refuse("its verdicts");
    room.verdicts = *extent;
  }
  for (std::size_t i = 0; i < pages; ++i) {
    auto page = take([&] { return pages_.take(); });
    if (!page) return refuse("its pages of ports");
    room.pages.push_back(*page);
  }
  return room;
}

void SetStore::write_tables(const VerdictSet& row, const Room& room) {
  fill(arrays_.classes, room.classes, row.peer_classes);
  fill(arrays_.verdicts, room.verdicts, row.verdicts);
}

Result<void> SetStore::add(const VerdictSet& row) {
  if (rooms_.contains(row.id)) return {};
  PortTable ports = port_table_of(row);
  TRY(room, make_room(row, ports.pages.size()));
  std::size_t next = 0;
  for (const auto& [page, entries] : ports.pages) {
    std::uint32_t id = room.pages[next++];
    std::ranges::copy(page, arrays_.pages.at(id).at);
    for (std::size_t entry : entries) ports.directory[entry] = id;
  }
  std::ranges::copy(ports.directory, arrays_.directories.at(room.id).at);
  write_tables(row, room);
  abi::policy_set set{};
  auto words = name_words(row.id);
  set.name[0] = words[0];
  set.name[1] = words[1];
  set.class_block = room.classes.offset;
  set.class_blocks = room.classes.count;
  set.peer_count = static_cast<std::uint32_t>(row.peer_classes.size());
  set.verdict_block = room.verdicts.offset;
  set.verdict_blocks = room.verdicts.count;
  set.port_class_count = row.port_class_count;
  for (const PortSpan& span : row.ports)
    if (span.protocol == 0) set.other_class = span.port_class;
  set.otherwise = row.otherwise;
  arrays_.sets.at(room.id) = set;
  rooms_.emplace(row.id, std::move(room));
  return {};
}

std::optional<std::uint32_t> SetStore::id_of(const std::string& name) const {
  auto at = rooms_.find(name);
  if (at == rooms_.end()) return std::nullopt;
  return at->second.id;
}

Result<void> SetStore::remove(const std::string& name) {
  auto at = rooms_.find(name);
  if (at == rooms_.end()) return {};
  const Room& room = at->second;
  ids_.retire(room.id);
  if (room.classes.count > 0) class_blocks_.retire(room.classes);
  if (room.verdicts.count > 0) verdict_blocks_.retire(room.verdicts);
  for (std::uint32_t page : room.pages) pages_.retire(page);
  rooms_.erase(at);
  return ids_.resting() >= kMaxResting ? settle() : Result<void>{};
}

std::vector<std::string> SetStore::names() const {
  std::vector<std::string> names;
  for (const auto& [name, room] : rooms_) names.push_back(name);
  return names;
}

}  // namespace tombolo::bpf
