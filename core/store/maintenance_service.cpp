// etcdserverpb.Maintenance, Cluster and Auth: one healthy member that leads itself, without users
// of etcd's own kind.
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "core/store/etcd_errors.h"
#include "core/store/services.h"
#include "core/store/snapshot.h"

namespace tombolo {
namespace {

constexpr std::size_t kSnapshotChunkBytes = 64 * 1024;
constexpr int kMaxSnapshots = 2;  // at once

// Writes a snapshot file beside the store, then sends it. The file has no name while it is sent.
class SnapshotReactor final : public grpc::ServerWriteReactor<pb::SnapshotResponse> {
 public:
  SnapshotReactor(Engine& engine, std::atomic<int>& running) : engine_(engine), running_(running) {
    thread_ = std::thread([this] { begin(); });
  }
  ~SnapshotReactor() override {
    thread_.join();
    --running_;
  }

  void OnWriteDone(bool ok) override {
    if (ok)
      send_next();
    else
      Finish(grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  void begin() {
    static std::atomic<std::uint64_t> serial = 0;
    std::filesystem::path copy = engine_.file();
    copy += fmt::format(".snapshot-{}-{}", ::getpid(), ++serial);
    Result<SnapshotFacts> written = write_snapshot(engine_.file(), copy);
    std::error_code ignored;  // there may be no file when writing failed
    if (written) {
      file_.open(copy, std::ios::binary);
      left_ = std::filesystem::file_size(copy, ignored);
    }
    std::filesystem::remove(copy, ignored);
    if (!written) return Finish(to_status(std::unexpected(written.error())));
    if (!file_) return Finish(to_status(fail(Code::kInternal, "cannot read the snapshot")));
    send_next();
  }
  void send_next() {
    if (left_ == 0) return Finish(grpc::Status::OK);
    std::string blob(std::min<std::uint64_t>(left_, kSnapshotChunkBytes), '\0');
    if (!file_.read(blob.data(), static_cast<std::streamsize>(blob.size())))
      return Finish(to_status(fail(Code::kDataLoss, "cannot read the snapshot")));
    left_ -= blob.size();
    message_.Clear();
    engine_.fill(*message_.mutable_header());
    message_.set_remaining_bytes(left_);
    message_.set_blob(std::move(blob));
    StartWrite(&message_);
  }

  Engine& engine_;
  std::atomic<int>& running_;
  std::thread thread_;
  std::ifstream file_;
  std::uint64_t left_ = 0;
  pb::SnapshotResponse message_;
};

class RefusedSnapshot final : public grpc::ServerWriteReactor<pb::SnapshotResponse> {
 public:
  explicit RefusedSnapshot(const Error& error) { Finish(to_status(std::unexpected(error))); }
  void OnDone() override { delete this; }
};

class MaintenanceService final : public pb::Maintenance::CallbackService {
 public:
  explicit MaintenanceService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* Alarm(grpc::CallbackServerContext* call, const pb::AlarmRequest*,
                                  pb::AlarmResponse* response) override {
    auto* reactor = call->DefaultReactor();
    auto status = std::make_shared<pb::StatusResponse>();
    context_.engine.status(*status, [reactor, response, status](const Result<void>& result) {
      *response->mutable_header() = status->header();
      if (status->errors_size() > 0) {
        pb::AlarmMember* alarm = response->add_alarms();
        alarm->set_memberid(status->header().member_id());
        alarm->set_alarm(pb::NOSPACE);
      }
      reactor->Finish(to_status(result));
    });
    return reactor;
  }
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* call, const pb::StatusRequest*,
                                   pb::StatusResponse* response) override {
    auto* reactor = call->DefaultReactor();
    context_.engine.status(*response, finish(reactor));
    return reactor;
  }
  grpc::ServerUnaryReactor* Defragment(grpc::CallbackServerContext* call,
                                       const pb::DefragmentRequest*,
                                       pb::DefragmentResponse* response) override {
    auto* reactor = call->DefaultReactor();
    if (auto allowed = context_.allow_all(*call, Access::kWrite); !allowed)
      return refuse(reactor, allowed.error());
    context_.engine.fill(*response->mutable_header());
    context_.engine.defragment(finish(reactor));
    return reactor;
  }
  grpc::ServerUnaryReactor* HashKV(grpc::CallbackServerContext* call,
                                   const pb::HashKVRequest* request,
                                   pb::HashKVResponse* response) override {
    auto* reactor = call->DefaultReactor();
    if (auto allowed = context_.allow_all(*call, Access::kRead); !allowed)
      return refuse(reactor, allowed.error());
    context_.engine.hash_kv(*request, *response, finish(reactor));
    return reactor;
  }
  grpc::ServerWriteReactor<pb::SnapshotResponse>* Snapshot(grpc::CallbackServerContext* call,
                                                           const pb::SnapshotRequest*) override {
    if (auto allowed = context_.allow_all(*call, Access::kRead); !allowed)
      return new RefusedSnapshot(allowed.error());
    if (++snapshots_ > kMaxSnapshots) {
      --snapshots_;
      return new RefusedSnapshot(etcd::kTooManyRequests.error());
    }
    return new SnapshotReactor(context_.engine, snapshots_);
  }

 private:
  ServiceContext& context_;
  std::atomic<int> snapshots_ = 0;
};

class ClusterService final : public pb::Cluster::CallbackService {
 public:
  explicit ClusterService(ServiceContext& context) : context_(context) {}
  grpc::ServerUnaryReactor* MemberList(grpc::CallbackServerContext* call,
                                       const pb::MemberListRequest*,
                                       pb::MemberListResponse* response) override {
    auto* reactor = call->DefaultReactor();
    context_.engine.fill(*response->mutable_header());
    pb::Member* member = response->add_members();
    member->set_id(context_.engine.member_id());
    member->set_name(context_.options.member_name);
    for (const std::string& url : context_.options.client_urls) {
      member->add_clienturls(url);
      member->add_peerurls(url);
    }
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  ServiceContext& context_;
};

class AuthService final : public pb::Auth::CallbackService {
 public:
  explicit AuthService(ServiceContext& context) : context_(context) {}
  grpc::ServerUnaryReactor* AuthStatus(grpc::CallbackServerContext* call,
                                       const pb::AuthStatusRequest*,
                                       pb::AuthStatusResponse* response) override {
    auto* reactor = call->DefaultReactor();
    context_.engine.fill(*response->mutable_header());
    response->set_enabled(false);
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerUnaryReactor* Authenticate(grpc::CallbackServerContext* call,
                                         const pb::AuthenticateRequest*,
                                         pb::AuthenticateResponse*) override {
    return refuse(call->DefaultReactor(), etcd::kAuthNotEnabled.error());
  }

 private:
  ServiceContext& context_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_maintenance_service(ServiceContext& context) {
  return std::make_unique<MaintenanceService>(context);
}
std::unique_ptr<grpc::Service> make_cluster_service(ServiceContext& context) {
  return std::make_unique<ClusterService>(context);
}
std::unique_ptr<grpc::Service> make_auth_service(ServiceContext& context) {
  return std::make_unique<AuthService>(context);
}

}  // namespace tombolo
