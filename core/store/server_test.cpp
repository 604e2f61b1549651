// The server as others meet it: certificates and rights, etcdctl, idle connections, restarts.
#include "core/store/server.h"

#include <grpcpp/grpcpp.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <thread>

#include "core/store/drive.h"
#include "core/store/etcd_client.h"
#include "core/store/rights.h"
#include "core/store/test_stores.h"
#include "schema/etcd/rpc.grpc.pb.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

// One set of certificates for all cases.
const TempDir* certificates() {
  static TempDir dir;
  static bool made = make_certificates(
      dir.path(), {{"server", "spiffe://fleet/cluster/east/controller"},
                   {"node", "spiffe://fleet/cluster/east/node/n1"},
                   {"operator", "spiffe://fleet/cluster/east/operator/ann"},
                   {"viewer", "spiffe://fleet/cluster/east/operator/bob", "viewer"},
                   {"remote", "spiffe://fleet/cluster/west/controller"},
                   {"nameless", ""}});
  return made ? &dir : nullptr;
}

struct SecureWorld {
  const TempDir* dir = certificates();
  std::unique_ptr<EmbeddedStore> store;
  Drive drive;

  SecureWorld() {
    if (dir == nullptr) SKIP("the openssl program is not installed (Debian package openssl)");
    StoreServerOptions options;
    options.tls = tls_files(dir->path(), "server");
    options.authorize = make_authorizer({"fleet", "east"});
    store = std::make_unique<EmbeddedStore>(EngineOptions{}, options);
  }
  std::unique_ptr<Kv> client(const std::string& name) {
    EtcdClientOptions options;
    options.endpoints = {"https://" + store->endpoints()[0]};
    options.tls = tls_files(dir->path(), name);
    auto made = make_etcd_client(options, drive.executor());
    REQUIRE(made);
    return std::move(*made);
  }
  Ran etcdctl(const std::vector<std::string>& arguments, const std::string& name = "operator") {
    std::string program = find_program("etcdctl");
    if (program.empty()) SKIP("etcdctl is not installed (Debian package etcd-client)");
    std::vector<std::string> all{program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_program(all, environment(name));
  }
  std::vector<std::string> environment(const std::string& name) const {
    TlsFiles files = tls_files(dir->path(), name);
    return {"ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=https://" + store->endpoints()[0],
            "ETCDCTL_CACERT=" + files.authority.string(),
            "ETCDCTL_CERT=" + files.certificate.string(), "ETCDCTL_KEY=" + files.key.string()};
  }
};

void drive_idle(Drive& drive) {
  drive.until([] { return false; }, 100ms);
}

TEST_CASE("server: certificates decide who may do what") {
  SecureWorld world;
  auto controller = world.client("server");
  auto node = world.client("node");
  auto remote = world.client("remote");
  auto nameless = world.client("nameless");
  REQUIRE(world.drive.run(controller->put({"cilium/state/services/v1/east/a/b", "{}"})));
  REQUIRE(world.drive.run(controller->put({"tombolo/v1/policies/p", "{}"})));

  auto viewer = world.client("viewer");
  REQUIRE(world.drive.run(viewer->get("tombolo/v1/policies/p"))->has_value());
  REQUIRE(world.drive.run(viewer->put({"a", "1"})).error().code == Code::kPermissionDenied);

  REQUIRE(world.drive.run(node->get("tombolo/v1/policies/p"))->has_value());
  REQUIRE(world.drive.run(node->put({"cilium/state/nodes/v1/east/n1", "{}"})));
  auto denied = world.drive.run(node->put({"cilium/state/nodes/v1/east/n2", "{}"}));
  REQUIRE(denied.error().code == Code::kPermissionDenied);
  REQUIRE(denied.error().what == "etcdserver: permission denied");

  REQUIRE(world.drive.run(remote->get("cilium/state/services/v1/east/a/b"))->has_value());
  for (const char* key : {"tombolo/v1/policies/p", "cilium/cache/x", "a"})
    REQUIRE(world.drive.run(remote->get(key)).error().code == Code::kPermissionDenied);
  REQUIRE(world.drive.run(remote->put({"cilium/state/x", "1"})).error().code ==
          Code::kPermissionDenied);
  // A transaction is refused for one operation in a branch that would not even run.
  TxnRequest txn;
  txn.then.push_back(RangeRequest{.key = "cilium/state/x"});
  txn.otherwise.push_back(RangeRequest{.key = "secret"});
  REQUIRE(world.drive.run(remote->txn(txn)).error().code == Code::kPermissionDenied);
  auto watch = world.drive.run(remote->watch({.key = "tombolo/", .range_end = "tombolo0"}));
  REQUIRE(watch.error().code == Code::kPermissionDenied);
  REQUIRE(world.drive.run(remote->watch({.key = "cilium/state/", .range_end = "cilium/state0"})));
  REQUIRE(world.drive.run(nameless->get("cilium/state/x")).error().code == Code::kPermissionDenied);

  // A lease can be held by anybody, but only who may write its keys can revoke it.
  auto lease = world.drive.run(controller->lease_grant(60s));
  REQUIRE(world.drive.run(controller->put({"tombolo/v1/policies/q", "{}", *lease})));
  REQUIRE(world.drive.run(remote->lease_revoke(*lease)).error().code == Code::kPermissionDenied);
  REQUIRE(world.drive.run(node->lease_revoke(*lease)).error().code == Code::kPermissionDenied);
  REQUIRE(world.drive.run(controller->lease_revoke(*lease)));
}

TEST_CASE("server: without a certificate of its authority nobody comes in") {
  SecureWorld world;
  TempDir others;
  REQUIRE(make_certificates(others.path(), {{"node", "spiffe://fleet/cluster/east/node/n1"}}));
  EtcdClientOptions options;
  options.endpoints = {"https://" + world.store->endpoints()[0]};
  options.tls = tls_files(others.path(), "node");
  options.tls->authority = world.dir->path() / "authority.pem";
  options.request_timeout = 2s;
  auto stranger = make_etcd_client(options, world.drive.executor());
  REQUIRE(stranger);
  Code code = world.drive.run((*stranger)->get("a")).error().code;
  REQUIRE((code == Code::kUnavailable || code == Code::kDeadlineExceeded));
  options.tls.reset();
  REQUIRE(make_etcd_client(options, world.drive.executor())
              .error()
              .what.contains("needs certificates"));
}

TEST_CASE("server: an address that is not loopback needs certificates") {
  EmbeddedStore store;
  StoreServerOptions options;
  options.addresses = {"0.0.0.0:0"};
  auto refused = StoreServer::start(options, store.engine(), Logger());
  REQUIRE(refused.error().code == Code::kInvalidArgument);
  options.addresses = store.endpoints();
  auto taken = StoreServer::start(options, store.engine(), Logger());
  REQUIRE(taken.error().code == Code::kUnavailable);
  REQUIRE(taken.error().what == "cannot listen on " + store.endpoints()[0]);
}

TEST_CASE("server: new certificates are used without a restart") {
  SecureWorld world;
  TempDir own;
  REQUIRE(make_certificates(own.path(), {{"server", "spiffe://fleet/cluster/east/controller"}}));
  StoreServerOptions server;
  server.tls = tls_files(own.path(), "server");
  EmbeddedStore store({}, server);
  auto can_connect = [&] {
    EtcdClientOptions options;
    options.endpoints = {"https://" + store.endpoints()[0]};
    options.tls = tls_files(world.dir->path(), "server");
    options.request_timeout = 1s;
    auto client = make_etcd_client(options, world.drive.executor());
    REQUIRE(client);
    return world.drive.run((*client)->get("a")).has_value();
  };
  REQUIRE_FALSE(can_connect());
  for (const char* name : {"server.key", "server.pem", "authority.pem"})
    std::filesystem::copy_file(world.dir->path() / name, own.path() / name,
                               std::filesystem::copy_options::overwrite_existing);
  bool connected = false;
  for (int i = 0; i < 100 && !connected; ++i) {
    drive_idle(world.drive);
    connected = can_connect();
  }
  REQUIRE(connected);
}

TEST_CASE("etcdctl: put, get, transactions, leases, status") {
  SecureWorld world;
  REQUIRE(world.etcdctl({"put", "dir/a", "1"}).output == "OK\n");
  REQUIRE(world.etcdctl({"put", "dir/b", "2"}).output == "OK\n");
  REQUIRE(world.etcdctl({"put", "--prev-kv", "dir/b", "3"}).output == "OK\ndir/b\n2\n");
  REQUIRE(world.etcdctl({"get", "--prefix", "dir/"}).output == "dir/a\n1\ndir/b\n3\n");
  REQUIRE(world.etcdctl({"get", "--prefix", "--keys-only", "--order=DESCEND", "dir/"}).output ==
          "dir/b\n\ndir/a\n\n");
  REQUIRE(world.etcdctl({"get", "--rev=3", "dir/b"}).output == "dir/b\n2\n");
  std::string transaction =
      "printf 'mod(\"dir/a\") > \"0\"\\n\\nput dir/c 4\\nget dir/a\\n\\nget dir/b\\n\\n' | "
      "etcdctl txn";
  Ran txn = run_program({"sh", "-c", transaction}, world.environment("operator"));
  REQUIRE(txn.output == "SUCCESS\n\nOK\n\ndir/a\n1\n");
  REQUIRE(world.etcdctl({"del", "dir/c"}).output == "1\n");

  Ran granted = world.etcdctl({"lease", "grant", "60"});
  REQUIRE(granted.status == 0);
  std::string lease = granted.output.substr(6, granted.output.find(' ', 6) - 6);
  REQUIRE(world.etcdctl({"put", "--lease=" + lease, "leased", "1"}).output == "OK\n");
  REQUIRE(world.etcdctl({"lease", "keep-alive", "--once", lease})
              .output.contains("keepalived with TTL(60)"));
  REQUIRE(world.etcdctl({"lease", "timetolive", "--keys", lease})
              .output.contains("attached keys([leased])"));
  REQUIRE(world.etcdctl({"lease", "list"}).output.contains(lease));
  REQUIRE(world.etcdctl({"lease", "revoke", lease}).output == "lease " + lease + " revoked\n");
  REQUIRE(world.etcdctl({"get", "leased"}).output.empty());

  Ran status = world.etcdctl({"endpoint", "status", "-w", "json"});
  REQUIRE(status.status == 0);
  REQUIRE(
      status.output.contains(fmt::format("\"cluster_id\":{}", world.store->engine().cluster_id())));
  REQUIRE(world.etcdctl({"endpoint", "health"}).output.contains("is healthy"));
  REQUIRE(world.etcdctl({"member", "list"}).output.contains(", started, tombolo, "));
  REQUIRE(world.etcdctl({"alarm", "list"}).output.empty());
  REQUIRE(world.etcdctl({"defrag"}).output.contains("Finished defragmenting"));
  REQUIRE(world.etcdctl({"compaction", "3"}).output == "compacted revision 3\n");
  Ran compacted = world.etcdctl({"get", "--rev=2", "dir/a"});
  REQUIRE(compacted.status != 0);
  REQUIRE(compacted.output.contains("mvcc: required revision has been compacted"));
  Ran denied = world.etcdctl({"get", "--prefix", "dir/"}, "remote");
  REQUIRE(denied.status != 0);
  REQUIRE(denied.output.contains("permission denied"));
}

TEST_CASE("etcdctl: watch from the past and on") {
  SecureWorld world;
  REQUIRE(world.etcdctl({"put", "dir/a", "1"}).output == "OK\n");
  TempDir dir;
  std::filesystem::path output = dir.path() / "output";
  std::string command;
  for (const std::string& entry : world.environment("operator")) command += entry + " ";
  auto watch = Process::start(
      {"sh", "-c", "exec env " + command + "etcdctl watch --rev=2 --prev-kv --prefix dir/"},
      output);
  REQUIRE(watch);
  REQUIRE(world.etcdctl({"put", "dir/a", "2"}).output == "OK\n");
  REQUIRE(world.etcdctl({"del", "dir/a"}).output == "1\n");
  std::string wanted = "PUT\ndir/a\n1\nPUT\ndir/a\n1\ndir/a\n2\nDELETE\ndir/a\n2\ndir/a\n\n";
  std::string seen;
  for (int i = 0; i < 500 && seen.size() < wanted.size(); ++i) {
    std::ifstream in(output);
    seen.assign(std::istreambuf_iterator<char>(in), {});
    std::this_thread::sleep_for(10ms);
  }
  REQUIRE(seen == wanted);
}

TEST_CASE("server: a client that pings an idle watch is not cut off") {
  EmbeddedStore store;
  Drive drive;
  EtcdClientOptions options;
  options.endpoints = store.endpoints();
  // Far more pings than gRPC's defaults forgive.
  options.keepalive_time = 100ms;
  auto client = make_etcd_client(options, drive.executor());
  REQUIRE(client);
  auto watch = drive.run((*client)->watch({.key = "a"}));
  REQUIRE(watch);
  std::optional<Result<WatchBatch>> heard;
  asio::co_spawn(drive.context(), (*watch)->next(),
                 [&](std::exception_ptr, Result<WatchBatch> batch) { heard = std::move(batch); });
  REQUIRE_FALSE(drive.until([&] { return heard.has_value(); }, 3s));
  EtcdClientOptions other_options;
  other_options.endpoints = store.endpoints();
  auto other = make_etcd_client(other_options, drive.executor());
  REQUIRE(drive.run((*other)->put({"a", "1"})));
  REQUIRE(drive.until([&] { return heard.has_value(); }));
  REQUIRE(heard->has_value());
}

TEST_CASE("server: malformed requests are refused, and it goes on") {
  EmbeddedStore store;
  auto channel = grpc::CreateChannel(store.endpoints()[0], grpc::InsecureChannelCredentials());
  auto kv = pb::KV::NewStub(channel);
  auto code = [&](auto call) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 5s);
    return call(context).error_code();
  };
  pb::RangeRequest unsorted;
  unsorted.set_key("a");
  unsorted.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(77));
  pb::RangeResponse ranged;
  REQUIRE(code([&](auto& context) { return kv->Range(&context, unsorted, &ranged); }) ==
          grpc::StatusCode::INVALID_ARGUMENT);
  pb::PutRequest large;
  large.set_key("a");
  large.set_value(std::string(3 << 20, 'x'));
  pb::PutResponse stored;
  REQUIRE(code([&](auto& context) { return kv->Put(&context, large, &stored); }) ==
          grpc::StatusCode::RESOURCE_EXHAUSTED);
  // Nested deeper than any allowance.
  pb::TxnRequest deep;
  pb::TxnRequest* inner = &deep;
  for (int i = 0; i < 40; ++i) inner = inner->add_success()->mutable_request_txn();
  pb::TxnResponse done;
  REQUIRE(code([&](auto& context) { return kv->Txn(&context, deep, &done); }) ==
          grpc::StatusCode::OK);
  for (int i = 0; i < 100; ++i) inner = inner->add_success()->mutable_request_txn();
  REQUIRE(code([&](auto& context) { return kv->Txn(&context, deep, &done); }) !=
          grpc::StatusCode::OK);
  // Watches that cannot be.
  auto stub = pb::Watch::NewStub(channel);
  grpc::ClientContext context;
  auto stream = stub->Watch(&context);
  auto ask = [&](const pb::WatchRequest& request) {
    pb::WatchResponse response;
    REQUIRE(stream->Write(request));
    REQUIRE(stream->Read(&response));
    return response;
  };
  pb::WatchRequest request;
  request.mutable_create_request()->set_key("b");
  request.mutable_create_request()->set_range_end("a");
  REQUIRE(ask(request).canceled());
  request.mutable_create_request()->clear_range_end();
  request.mutable_create_request()->set_watch_id(5);
  REQUIRE(ask(request).watch_id() == 5);
  pb::WatchResponse twice = ask(request);
  REQUIRE(twice.canceled());
  REQUIRE(twice.watch_id() == -1);
  REQUIRE(twice.cancel_reason() == "mvcc: duplicate watch ID provided on the WatchStream");
  stream->Write(pb::WatchRequest());  // says nothing: ignored
  request.mutable_cancel_request()->set_watch_id(99);
  stream->Write(request);  // unknown: ignored
  request.mutable_cancel_request()->set_watch_id(5);
  pb::WatchResponse ended = ask(request);
  REQUIRE(ended.canceled());
  REQUIRE(ended.watch_id() == 5);
  context.TryCancel();
  (void)stream->Finish();  // cancelled just now
}

TEST_CASE("server: a client that asks and never reads is not answered without end") {
  EmbeddedStore store;
  auto channel = grpc::CreateChannel(store.endpoints()[0], grpc::InsecureChannelCredentials());
  auto stub = pb::Watch::NewStub(channel);
  grpc::ClientContext context;
  auto stream = stub->Watch(&context);
  // Writing stops when the server does not read on and the transport's windows are full.
  std::atomic<int> written = 0;
  std::thread writer([&] {
    pb::WatchRequest progress;
    progress.mutable_progress_request();
    while (written < 2'000'000 && stream->Write(progress)) ++written;
  });
  int before = -1;
  for (int i = 0; i < 300 && before != written; ++i) {
    before = written;
    std::this_thread::sleep_for(200ms);
  }
  REQUIRE(written < 2'000'000);
  // The store goes on for others, and for this one when it reads.
  pb::WatchResponse response;
  for (int i = 0; i < 5000; ++i) REQUIRE(stream->Read(&response));
  context.TryCancel();
  writer.join();
  (void)stream->Finish();  // cancelled just now
}

TEST_CASE("server: a graceful stop ends, watches or not") {
  EmbeddedStore store;
  Drive drive;
  EtcdClientOptions options;
  options.endpoints = store.endpoints();
  auto client = make_etcd_client(options, drive.executor());
  auto watch = drive.run((*client)->watch({.key = "a"}));
  REQUIRE(watch);
  auto started = std::chrono::steady_clock::now();
  store.server().stop(200ms);
  REQUIRE(std::chrono::steady_clock::now() - started < 5s);
  REQUIRE(drive.run((*watch)->next()).error().code == Code::kUnavailable);
}

}  // namespace
}  // namespace tombolo
