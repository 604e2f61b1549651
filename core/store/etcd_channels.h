// The connections of a client: one channel per endpoint, and which of them is in use. Private to
// core/store; control thread only, as all of the client.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "core/store/etcd_client.h"
#include "schema/etcd/rpc.grpc.pb.h"

namespace tombolo {

namespace pb = etcdserverpb;

struct EtcdEndpoint {
  std::string target;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::KV::Stub> kv;
  std::unique_ptr<pb::Watch::Stub> watch;
  std::unique_ptr<pb::Lease::Stub> lease;
};

class EtcdChannels {
 public:
  static Result<std::unique_ptr<EtcdChannels>> open(const EtcdClientOptions& options);
  // The endpoint to use now: the one in use unless its connection is known to fail.
  std::shared_ptr<EtcdEndpoint> pick();
  // This one failed: the next pick is another one, when there is one.
  void report_failure(const EtcdEndpoint& endpoint);
  std::size_t size() const { return endpoints_.size(); }

  // The answers' cluster id; kAborted when it is not the one known so far.
  Result<void> note_cluster(std::uint64_t cluster_id);

 private:
  std::vector<std::shared_ptr<EtcdEndpoint>> endpoints_;
  std::size_t active_ = 0;
  std::uint64_t cluster_id_ = 0;
};

Error error_of(const grpc::Status& status);
// True when the request cannot have reached a server.
bool surely_not_sent(const grpc::Status& status);

}  // namespace tombolo
