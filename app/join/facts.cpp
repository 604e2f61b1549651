// The facts of a side as JSON.
#include <boost/json/value_from.hpp>

#include "app/join/join.h"

namespace tombolo {
namespace {

constexpr int kVersion = 1;
constexpr std::size_t kMostEntries = 100'000;

Result<void> expect_list(const Cursor& list) {
  if (list.is_null()) return {};
  TRY_OK(list.expect_array());
  if (list.size() > kMostEntries)
    return list.error(fmt::format("{} entries; the limit is {}", list.size(), kMostEntries));
  return {};
}

Result<Prefix> prefix_at(const Cursor& cursor) {
  TRY(text, cursor.string());
  auto prefix = Prefix::parse(text);
  if (!prefix) return cursor.error(prefix.error().what);
  return *prefix;
}

Result<PlanBlock> block_at(const Cursor& entry) {
  PlanBlock block;
  TRY(cluster, entry["cluster"].string_or(""));
  block.cluster = std::move(cluster);
  Cursor use = entry["use"];
  TRY(text, use.string());
  bool known = false;
  for (BlockUse each : kBlockUses)
    if (text == to_string(each)) {
      block.use = each;
      known = true;
    }
  if (!known) return use.error(fmt::format("'{}' is not known", text.substr(0, 64)));
  TRY(prefix, prefix_at(entry["cidr"]));
  block.prefix = prefix;
  return block;
}

Result<JoinService> service_at(const Cursor& entry) {
  JoinService service;
  TRY(name_space, entry["namespace"].string());
  service.name_space = std::move(name_space);
  TRY(name, entry["name"].string());
  service.name = std::move(name);
  TRY(headless, entry["headless"].boolean_or(false));
  service.headless = headless;
  TRY(ports, entry["ports"].string_list());
  service.ports = std::move(ports);
  return service;
}

Result<void> read_lists(const Cursor& document, JoinFacts& facts) {
  Cursor joined = document["joined"];
  TRY_OK(expect_list(joined));
  for (std::size_t i = 0; i < joined.size(); ++i) {
    Cursor entry = joined.at(i);
    TRY(name, entry["name"].string());
    TRY(id, entry["id"].integer_or(0, 0, 65'535));
    facts.joined.push_back({std::move(name), static_cast<std::uint32_t>(id)});
  }
  Cursor roots = document["address_space"];
  TRY_OK(expect_list(roots));
  for (std::size_t i = 0; i < roots.size(); ++i) {
    TRY(prefix, prefix_at(roots.at(i)));
    facts.roots.push_back(prefix);
  }
  Cursor ranges = document["ranges"];
  TRY_OK(expect_list(ranges));
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    Cursor entry = ranges.at(i);
    TRY(block, block_at(entry));
    facts.ranges.push_back(std::move(block));
  }
  Cursor services = document["services"];
  TRY_OK(expect_list(services));
  for (std::size_t i = 0; i < services.size(); ++i) {
    Cursor entry = services.at(i);
    TRY(service, service_at(entry));
    facts.services.push_back(std::move(service));
  }
  return {};
}

template <class T, class Make>
json::array list_of(const std::vector<T>& values, Make make) {
  json::array list;
  for (const T& value : values) list.push_back(make(value));
  return list;
}

}  // namespace

json::value join_facts_to_json(const JoinFacts& facts) {
  return json::object{
      {"version", kVersion},
      {"fleet", facts.fleet},
      {"cluster", facts.cluster},
      {"id", std::int64_t{facts.id}},
      {"identity_cluster_bits", facts.identity_cluster_bits},
      {"mtu", facts.mtu},
      {"joined", list_of(facts.joined,
                         [](const JoinMember& member) {
                           return json::object{{"name", member.name},
                                               {"id", std::int64_t{member.id}}};
                         })},
      {"address_space",
       list_of(facts.roots, [](const Prefix& root) { return json::value(root.str()); })},
      {"ranges", list_of(facts.ranges,
                         [](const PlanBlock& block) {
                           return json::object{{"cluster", block.cluster},
                                               {"use", to_string(block.use)},
                                               {"cidr", block.prefix.str()}};
                         })},
      {"services", list_of(facts.services, [](const JoinService& service) {
         return json::object{{"namespace", service.name_space},
                             {"name", service.name},
                             {"headless", service.headless},
                             {"ports", json::value_from(service.ports)}};
       })}};
}

Result<JoinFacts> parse_join_facts(const Cursor& document) {
  TRY_OK(document.expect_object());
  Cursor format = document["version"];
  TRY(version, format.integer(1, 1'000'000));
  if (version > kVersion)
    return format.error(
        fmt::format("written by a newer Tombolo (format {}; this one knows {})", version, kVersion),
        Code::kFailedPrecondition);
  JoinFacts facts;
  TRY(fleet, document["fleet"].string());
  facts.fleet = std::move(fleet);
  TRY(cluster, document["cluster"].string());
  facts.cluster = std::move(cluster);
  TRY(id, document["id"].integer(1, 65'535));
  facts.id = static_cast<std::uint32_t>(id);
  TRY(bits, document["identity_cluster_bits"].integer_or(8, 1, 16));
  facts.identity_cluster_bits = static_cast<int>(bits);
  TRY(mtu, document["mtu"].integer_or(0, 0, 65'535));
  facts.mtu = static_cast<int>(mtu);
  TRY_OK(read_lists(document, facts));
  return facts;
}

}  // namespace tombolo
