// Both records as JSON, with limits.
#include <charconv>
#include <limits>

#include "core/json.h"
#include "core/spiffe.h"
#include "ipamd/grants/grants.h"

namespace tombolo::grants {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr JsonLimits kLimits{.bytes = 1U << 20U, .depth = 8};

json::value value_of(const Generation& generation) {
  json::object object;
  object["number"] = generation.number;
  object["life"] = generation.life;
  return object;
}

Result<Generation> generation_of(const Cursor& at) {
  TRY_OK(at.only({"number", "life"}));
  TRY(number, at["number"].integer(0, kMost - 1));
  TRY(life, at["life"].integer(0, kMost));
  return Generation{number, life};
}

// 64 bits, which JSON's readers do not all have as a number.
Result<std::uint64_t> store_of(const Cursor& at) {
  TRY(text, at.string());
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    return at.error("not a hexadecimal number");
  return value;
}

Result<Prefix> range_of(const Cursor& at) {
  TRY(text, at.string());
  Result<Prefix> range = Prefix::parse(text);
  if (!range) return at.error(range.error().what);
  return range;
}

Result<std::string> pool_in(const KeyValue& kv, std::string_view prefix) {
  if (!kv.key.starts_with(prefix) || kv.key.size() == prefix.size() ||
      kv.key.find('/', prefix.size()) != std::string::npos)
    return fail(Code::kInvalidArgument, "{}: not the key of a pool", printable(kv.key));
  return kv.key.substr(prefix.size());
}

Result<json::value> read(const KeyValue& kv) {
  Result<json::value> root = parse_json(kv.value, kLimits);
  if (!root) return std::unexpected(std::move(root).error().with_context(kv.key));
  return root;
}

Result<std::size_t> length_of(const Cursor& list) {
  TRY_OK(list.expect_array());
  if (list.size() > 2 * kMaxGrants)
    return list.error(fmt::format("{} entries, over {}", list.size(), 2 * kMaxGrants));
  return list.size();
}

Result<PartState> state_of(const Cursor& at) {
  TRY(text, at.string());
  for (PartState state : {PartState::kHeld, PartState::kReturning, PartState::kReturned})
    if (text == to_string(state)) return state;
  return at.error("not held, returning or returned");
}

Result<GrantLedger::Member> member_of(const Cursor& at) {
  TRY_OK(at.only({"generation", "reported", "gone_at"}));
  GrantLedger::Member member;
  TRY(generation, generation_of(at["generation"]));
  member.generation = generation;
  TRY(reported, at["reported"].boolean_or(false));
  member.reported = reported;
  TRY(gone_at, at["gone_at"].integer_or(0, 0, kMost));
  member.gone_at = gone_at;
  return member;
}

Result<Grant> grant_of(const Cursor& at) {
  TRY_OK(at.only({"id", "range", "cluster"}));
  TRY(id, at["id"].integer(0, kMost));
  TRY(range, range_of(at["range"]));
  TRY(cluster, at["cluster"].string());
  return Grant{id, range, cluster};
}

Result<Part> part_of(const Cursor& at) {
  TRY_OK(at.only({"id", "range", "state"}));
  TRY(id, at["id"].integer(0, kMost));
  TRY(range, range_of(at["range"]));
  TRY(state, state_of(at["state"]));
  return Part{id, range, state};
}

}  // namespace

std::string ledger_key(std::string_view pool) {
  return fmt::format("{}{}", kLedgersPrefix, pool);
}

std::string parts_key(std::string_view pool) {
  return fmt::format("{}{}", kPartsPrefix, pool);
}

std::string encode(const GrantLedger& ledger) {
  json::object members;
  for (const auto& [cluster, member] : ledger.members) {
    json::object object;
    object["generation"] = value_of(member.generation);
    object["reported"] = member.reported;
    if (member.gone_at != 0) object["gone_at"] = member.gone_at;
    members[cluster] = std::move(object);
  }
  json::array grants;
  for (const Grant& grant : ledger.grants) {
    json::object object;
    object["id"] = grant.id;
    object["range"] = grant.range.str();
    object["cluster"] = grant.cluster;
    grants.push_back(std::move(object));
  }
  json::object object;
  object["home"] = ledger.home;
  object["store"] = fmt::format("{:x}", ledger.store_id);
  object["generation"] = value_of(ledger.generation);
  object["sequence"] = ledger.sequence;
  object["recovering"] = ledger.recovering;
  object["scarce"] = ledger.scarce;
  object["members"] = std::move(members);
  object["grants"] = std::move(grants);
  return to_json(object);
}

std::string encode(const PoolParts& parts) {
  json::array list;
  for (const Part& part : parts.parts) {
    json::object object;
    object["id"] = part.id;
    object["range"] = part.range.str();
    object["state"] = std::string(to_string(part.state));
    list.push_back(std::move(object));
  }
  json::object object;
  object["home"] = parts.home;
  object["store"] = fmt::format("{:x}", parts.store_id);
  object["generation"] = value_of(parts.generation);
  object["home_generation"] = value_of(parts.home_generation);
  object["seen"] = parts.seen;
  object["forgetful"] = parts.forgetful;
  object["wanted"] = parts.wanted;
  object["parts"] = std::move(list);
  json::array stray;
  for (const Prefix& range : parts.stray) stray.emplace_back(range.str());
  object["stray"] = std::move(stray);
  return to_json(object);
}

Result<GrantLedger> decode_ledger(const KeyValue& kv) {
  TRY(pool, pool_in(kv, kLedgersPrefix));
  TRY(root, read(kv));
  DocumentPlace place{kv.key, {}};
  Cursor at(root, place);
  TRY_OK(at.expect_object());
  GrantLedger ledger;
  ledger.pool = pool;
  TRY(home, at["home"].string());
  ledger.home = home;
  TRY(store, store_of(at["store"]));
  ledger.store_id = store;
  TRY(generation, generation_of(at["generation"]));
  ledger.generation = generation;
  TRY(sequence, at["sequence"].integer(0, kMost - 1));
  ledger.sequence = sequence;
  TRY(recovering, at["recovering"].boolean_or(true));
  ledger.recovering = recovering;
  TRY(scarce, at["scarce"].boolean_or(false));
  ledger.scarce = scarce;
  Cursor members = at["members"];
  for (std::string_view name : members.keys()) {
    TRY(member, member_of(members[name]));
    ledger.members.emplace(std::string(name), member);
  }
  Cursor grants = at["grants"];
  TRY(count, length_of(grants));
  for (std::size_t i = 0; i < count; ++i) {
    TRY(grant, grant_of(grants.at(i)));
    ledger.grants.push_back(std::move(grant));
  }
  return ledger;
}

Result<PoolParts> decode_parts(const KeyValue& kv) {
  TRY(pool, pool_in(kv, kPartsPrefix));
  TRY(root, read(kv));
  DocumentPlace place{kv.key, {}};
  Cursor at(root, place);
  TRY_OK(at.expect_object());
  PoolParts parts;
  parts.pool = pool;
  TRY(home, at["home"].string());
  parts.home = home;
  TRY(store, store_of(at["store"]));
  parts.store_id = store;
  TRY(generation, generation_of(at["generation"]));
  parts.generation = generation;
  TRY(home_generation, generation_of(at["home_generation"]));
  parts.home_generation = home_generation;
  TRY(seen, at["seen"].integer(0, kMost));
  parts.seen = seen;
  TRY(forgetful, at["forgetful"].boolean_or(true));
  parts.forgetful = forgetful;
  TRY(wanted, at["wanted"].integer_or(0, 0, 2 * static_cast<std::int64_t>(kMaxGrants)));
  parts.wanted = wanted;
  Cursor list = at["parts"];
  TRY(count, length_of(list));
  for (std::size_t i = 0; i < count; ++i) {
    TRY(part, part_of(list.at(i)));
    parts.parts.push_back(part);
  }
  Cursor stray = at["stray"];
  for (std::size_t i = 0; i < std::min(stray.size(), kMaxGrants); ++i) {
    TRY(range, range_of(stray.at(i)));
    parts.stray.push_back(range);
  }
  return parts;
}

}  // namespace tombolo::grants
