// The gRPC services of the store's server, and what they share: the engine, the authorizer and how
// an error becomes a status. Private to core/store.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "core/metrics.h"
#include "core/store/engine.h"
#include "core/store/server.h"
#include "schema/etcd/rpc.grpc.pb.h"

namespace tombolo {

struct ServiceContext {
  Engine& engine;
  StoreServerOptions options;
  Logger log;

  // etcd's "permission denied" unless the peer may.
  Result<void> allow(const grpc::ServerContextBase& call, Access access, std::string_view key,
                     std::string_view range_end) const;
  Result<void> allow_all(const grpc::ServerContextBase& call, Access access) const;
};

grpc::Status to_status(const Result<void>& result);
// Ends the call with the result.
Engine::Done finish(grpc::ServerUnaryReactor* reactor);
grpc::ServerUnaryReactor* refuse(grpc::ServerUnaryReactor* reactor, const Error& error);

std::unique_ptr<grpc::Service> make_kv_service(ServiceContext& context);
std::unique_ptr<grpc::Service> make_watch_service(ServiceContext& context);
std::unique_ptr<grpc::Service> make_lease_service(ServiceContext& context);
std::unique_ptr<grpc::Service> make_cluster_service(ServiceContext& context);
std::unique_ptr<grpc::Service> make_maintenance_service(ServiceContext& context);
std::unique_ptr<grpc::Service> make_auth_service(ServiceContext& context);

}  // namespace tombolo
