// A store goes from one engine to the other and back with its history, by etcd's own tools.
#include "core/store/snapshot.h"

#include <grpcpp/grpcpp.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>

#include "core/store/test_stores.h"
#include "schema/etcd/rpc.grpc.pb.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

struct Connection {
  explicit Connection(const TestStore& store)
      : channel(grpc::CreateChannel(store.endpoints()[0], grpc::InsecureChannelCredentials())),
        kv(pb::KV::NewStub(channel)),
        lease(pb::Lease::NewStub(channel)) {}
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::KV::Stub> kv;
  std::unique_ptr<pb::Lease::Stub> lease;
};

void put(Connection& to, const std::string& key, const std::string& value, std::int64_t lease = 0) {
  grpc::ClientContext context;
  pb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  request.set_lease(lease);
  pb::PutResponse response;
  REQUIRE(to.kv->Put(&context, request, &response).ok());
}

void fill(Connection& to) {
  grpc::ClientContext context;
  pb::LeaseGrantRequest grant;
  grant.set_id(77);
  grant.set_ttl(600);
  pb::LeaseGrantResponse granted;
  REQUIRE(to.lease->LeaseGrant(&context, grant, &granted).ok());
  for (int i = 0; i < 300; ++i) put(to, fmt::format("k/{:03}", i % 100), fmt::format("{}", i));
  put(to, "large", std::string(300'000, 'x'));
  put(to, "leased", "1", 77);
  grpc::ClientContext erase_context;
  pb::DeleteRangeRequest erase;
  erase.set_key("k/000");
  pb::DeleteRangeResponse erased;
  REQUIRE(to.kv->DeleteRange(&erase_context, erase, &erased).ok());
  grpc::ClientContext compact_context;
  pb::CompactionRequest compaction;
  compaction.set_revision(150);
  compaction.set_physical(true);
  pb::CompactionResponse compacted;
  REQUIRE(to.kv->Compact(&compact_context, compaction, &compacted).ok());
}

// Everything there is at a revision, with its revisions and leases.
std::string content(Connection& from, std::int64_t revision) {
  grpc::ClientContext context;
  pb::RangeRequest request;
  request.set_key(std::string(1, '\0'));
  request.set_range_end(std::string(1, '\0'));
  request.set_revision(revision);
  pb::RangeResponse response;
  grpc::Status status = from.kv->Range(&context, request, &response);
  if (!status.ok()) return status.error_message();
  response.clear_header();
  return response.DebugString();
}

std::string etcdctl() {
  std::string program = find_program("etcdctl");
  if (program.empty()) SKIP("etcdctl is not installed (Debian package etcd-client)");
  return program;
}

void save(const TestStore& store, const std::filesystem::path& file) {
  Ran saved = run_program(
      {etcdctl(), "--endpoints=http://" + store.endpoints()[0], "snapshot", "save", file.string()},
      {"ETCDCTL_API=3"});
  INFO(saved.output);
  REQUIRE(saved.status == 0);
}

TEST_CASE("snapshot: ours is read by etcdctl, restored by it, and by ourselves") {
  TempDir dir;
  EmbeddedStore store;
  Connection original(store);
  fill(original);
  std::filesystem::path file = dir.path() / "snapshot";
  save(store, file);
  Ran status = run_program({etcdctl(), "snapshot", "status", "-w", "json", file.string()},
                           {"ETCDCTL_API=3"});
  INFO(status.output);
  REQUIRE(status.status == 0);
  REQUIRE(status.output.contains(fmt::format("\"revision\":{}", store.engine().revision())));

  EngineOptions options;
  options.file = dir.path() / "restored.db";
  auto facts = restore_snapshot(file, options.file);
  REQUIRE(facts);
  REQUIRE(facts->revision == store.engine().revision());
  REQUIRE(facts->compacted == 150);
  REQUIRE(facts->leases == 1);
  EmbeddedStore restored(options);
  REQUIRE(restored.engine().cluster_id() != store.engine().cluster_id());
  Connection copy(restored);
  for (std::int64_t revision : {std::int64_t{0}, std::int64_t{150}, std::int64_t{250},
                                std::int64_t{100}, std::int64_t{301}})
    REQUIRE(content(copy, revision) == content(original, revision));

  auto etcd = EtcdStore::start_from(file);
  if (etcd == nullptr) SKIP("etcd is not installed (Debian package etcd-server)");
  Connection real(*etcd);
  for (std::int64_t revision : {std::int64_t{0}, std::int64_t{150}, std::int64_t{250},
                                std::int64_t{100}, std::int64_t{301}})
    REQUIRE(content(real, revision) == content(original, revision));
  grpc::ClientContext context;
  pb::LeaseTimeToLiveRequest ask;
  ask.set_id(77);
  ask.set_keys(true);
  pb::LeaseTimeToLiveResponse lease;
  REQUIRE(real.lease->LeaseTimeToLive(&context, ask, &lease).ok());
  REQUIRE(lease.grantedttl() == 600);
  REQUIRE(lease.keys_size() == 1);
}

TEST_CASE("snapshot: a real etcd's becomes a store of ours") {
  auto etcd = EtcdStore::start();
  if (etcd == nullptr) SKIP("etcd is not installed (Debian package etcd-server)");
  TempDir dir;
  Connection original(*etcd);
  fill(original);
  std::filesystem::path file = dir.path() / "snapshot";
  save(*etcd, file);
  EngineOptions options;
  options.file = dir.path() / "restored.db";
  auto facts = restore_snapshot(file, options.file);
  REQUIRE(facts);
  EmbeddedStore restored(options);
  Connection copy(restored);
  for (std::int64_t revision : {std::int64_t{0}, std::int64_t{150}, std::int64_t{250},
                                std::int64_t{100}, std::int64_t{301}})
    REQUIRE(content(copy, revision) == content(original, revision));
  put(copy, "after", "1");
}

TEST_CASE("snapshot: an empty store, a damaged file, a name that is taken") {
  TempDir dir;
  EmbeddedStore store;
  std::filesystem::path file = dir.path() / "snapshot";
  REQUIRE(write_snapshot(store.file(), file));
  auto facts = restore_snapshot(file, dir.path() / "a.db");
  REQUIRE(facts);
  REQUIRE(facts->revision == 1);
  auto taken = restore_snapshot(file, dir.path() / "a.db");
  REQUIRE(taken.error().code == Code::kAlreadyExists);
  {
    std::fstream damage(file, std::ios::in | std::ios::out | std::ios::binary);
    damage.seekp(5000);
    damage << "damage";
  }
  auto damaged = restore_snapshot(file, dir.path() / "b.db");
  REQUIRE(damaged.error().code == Code::kDataLoss);
  REQUIRE(damaged.error().what ==
          file.string() + " is damaged: its SHA-256 is not that of its content");
  std::ofstream(dir.path() / "text") << "no snapshot";
  REQUIRE(restore_snapshot(dir.path() / "text", dir.path() / "b.db").error().code ==
          Code::kDataLoss);
  REQUIRE(restore_snapshot(dir.path() / "none", dir.path() / "b.db").error().code ==
          Code::kNotFound);
  REQUIRE_FALSE(std::filesystem::exists(dir.path() / "b.db"));
}

}  // namespace
}  // namespace tombolo
