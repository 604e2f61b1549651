// Reads cluster configuration, plan, members and shared services from a cluster's store.
#include "app/join/grant_facts.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "core/records/records.h"
#include "core/store/etcd_client.h"
#include "servicesync/cilium/cilium.h"
#include "servicesync/cilium/keys.h"

namespace tombolo {
namespace {

constexpr std::int64_t kPage = 500;
constexpr std::size_t kMostServices = 100'000;

// A folder for the grant's key, of mode 0700 and gone with the object.
class KeyFolder {
 public:
  static Result<KeyFolder> make() {
    std::string name = (std::filesystem::temp_directory_path() / "tombolo-grant-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) return fail_errno(errno, "make a folder {}", name);
    return KeyFolder(std::move(name));
  }
  KeyFolder(KeyFolder&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  KeyFolder& operator=(KeyFolder&&) = delete;
  ~KeyFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  explicit KeyFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// As Cilium names the split: 255 clusters are 8 bits.
int bits_of_clusters(std::uint32_t most) {
  int bits = 8;
  while (bits < 16 && (std::uint32_t{1} << bits) <= most) ++bits;
  return bits;
}

JoinService join_service(const cilium::ClusterService& service) {
  JoinService result{service.name_space, service.name, false, {}};
  result.headless = service.extras ? service.extras->headless : service.frontends.empty();
  std::set<std::string> ports;
  for (const auto* side : {&service.frontends, &service.backends}) {
    if (side == &service.backends && !ports.empty()) break;
    for (const auto& [ip, map] : *side)
      for (const auto& [name, number] : map)
        ports.insert(fmt::format("{} {}/{}", name, number.port, to_string(number.protocol)));
  }
  result.ports.assign(ports.begin(), ports.end());
  return result;
}

asio::awaitable<Result<void>> read_plan(Kv& kv, JoinFacts& facts) {
  std::string key(records::kPlanKey);
  CO_TRY(stored, co_await kv.get(key));
  if (!stored) co_return Result<void>{};
  auto document = parse_json(stored->value);
  if (!document) co_return std::unexpected(std::move(document).error().with_context(key));
  DocumentPlace place{key, {}};
  CO_TRY(plan, plan_from_json(Cursor(*document, place)));
  facts.roots = plan.roots;
  facts.ranges = blocks_of(plan);
  co_return Result<void>{};
}

// Of each: {"id": 3, …} under its name.
asio::awaitable<Result<void>> read_members(Kv& kv, JoinFacts& facts) {
  RangeRequest request;
  request.key = std::string(records::kFleetPrefix);
  request.range_end = prefix_end(records::kFleetPrefix);
  request.limit = kPage;
  CO_TRY(listed, co_await kv.range(std::move(request)));
  for (const KeyValue& each : listed.kvs) {
    auto document = parse_json(each.value);
    if (!document) co_return std::unexpected(std::move(document).error().with_context(each.key));
    DocumentPlace place{each.key, {}};
    Cursor root(*document, place);
    CO_TRY(id, root["id"].integer_or(0, 0, 65'535));
    facts.joined.push_back(
        {each.key.substr(records::kFleetPrefix.size()), static_cast<std::uint32_t>(id)});
  }
  co_return Result<void>{};
}

asio::awaitable<Result<void>> read_services(Kv& kv, JoinFacts& facts) {
  std::string prefix = cilium::keys::state_prefix(facts.cluster, cilium::RecordKind::kServices);
  std::string from = prefix;
  cilium::Origin origin{facts.cluster, facts.id, facts.identity_cluster_bits};
  while (facts.services.size() < kMostServices) {
    RangeRequest request;
    request.key = from;
    request.range_end = prefix_end(prefix);
    request.limit = kPage;
    CO_TRY(page, co_await kv.range(std::move(request)));
    for (const KeyValue& each : page.kvs) {
      CO_TRY(name, cilium::name_in_key(each.key, prefix));
      CO_TRY(service, cilium::decode_service(each.key, name, each.value, origin));
      if (service.shared) facts.services.push_back(join_service(service));
    }
    if (!page.more || page.kvs.empty()) co_return Result<void>{};
    from = page.kvs.back().key + '\0';
  }
  co_return fail(Code::kResourceExhausted, "{}: more than {} services", facts.cluster,
                 kMostServices);
}

}  // namespace

asio::awaitable<Result<JoinFacts>> read_store_facts(Kv& kv, std::string fleet,
                                                    std::string cluster) {
  JoinFacts facts;
  facts.fleet = std::move(fleet);
  facts.cluster = std::move(cluster);
  std::string key = cilium::keys::cluster_config(facts.cluster);
  CO_TRY(stored, co_await kv.get(key));
  if (!stored) co_return fail(Code::kNotFound, "{}: the store has no such record", key);
  CO_TRY(config, cilium::decode_cluster_config(key, stored->value));
  facts.id = config.id;
  facts.identity_cluster_bits = bits_of_clusters(config.max_clusters);
  CO_TRY_OK(co_await read_plan(kv, facts));
  CO_TRY_OK(co_await read_members(kv, facts));
  CO_TRY_OK(co_await read_services(kv, facts));
  co_return facts;
}

Result<JoinFacts> facts_through_grant(const pki::Grant& grant) {
  TRY(folder, KeyFolder::make());
  TRY_OK(pki::write_identity(folder.path(), grant.client, grant.authority));
  EtcdClientOptions options;
  options.tls = TlsFiles{folder.file("tls.crt"), folder.file("tls.key"), folder.file("ca.crt")};
  for (const std::string& address : grant.addresses)
    options.endpoints.push_back("https://" + address);
  asio::io_context context;
  TRY(kv, make_etcd_client(std::move(options), context.get_executor()));
  // Each question has a time limit of its own; the first that fails ends it.
  auto work = asio::make_work_guard(context);
  std::optional<Result<JoinFacts>> answer;
  asio::co_spawn(context, read_store_facts(*kv, grant.fleet, grant.cluster),
                 [&](std::exception_ptr error, Result<JoinFacts> facts) {
                   if (!error) answer.emplace(std::move(facts));
                   context.stop();
                 });
  context.run();
  ENSURE(answer.has_value());
  return std::move(*answer);
}

}  // namespace tombolo
