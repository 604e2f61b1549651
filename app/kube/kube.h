// API servers of Kubernetes, reached as kubectl reaches them: a kubeconfig says where and as whom,
// a client asks with GET over HTTPS. Only reading; nothing here changes a cluster.
//
//   $KUBECONFIG, --kubeconfig -> read_access -> obtain_credentials -> Client::get, Client::list
//
// Guide: docs/plan-exports.md.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/json.h"

namespace tombolo::kube {

namespace asio = boost::asio;

// A program that hands out credentials, as the clouds' kubeconfigs name one
// (client.authentication.k8s.io).
struct ExecCommand {
  std::string api_version;
  std::string command;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string install_hint;
};

// One context of a kubeconfig, its files read.
struct Access {
  std::string context;
  std::string server;         // "https://api.east.example:6443", also with a path
  std::string authority_pem;  // empty: the system's authorities
  bool insecure = false;      // insecure-skip-tls-verify
  std::string server_name;    // in the server's certificate; empty: the host of `server`
  std::string certificate_pem;
  std::string key_pem;
  std::string token;
  std::string user;
  std::string password;
  std::optional<ExecCommand> exec;
};

// The files that kubectl would read: those of KUBECONFIG, else ~/.kube/config.
std::vector<std::string> default_kubeconfigs();

// The context of that name, or with an empty one the current one. Of several files the first that
// names a thing has it, missing ones are passed over, as kubectl does; relative paths are relative
// to their file. kNotFound: no file, context, cluster or user of the name; kInvalidArgument with
// the place: what cannot be read, or what only kubectl can do (proxies, impersonation).
Result<Access> read_access(const std::vector<std::string>& files, const std::string& context);

// With `exec`: runs the command, at most `limit`, and takes its credentials. It is run as kubectl
// would run it: with the user's rights and environment, without a terminal to ask on.
Result<Access> obtain_credentials(Access access, Duration limit);

struct ClientLimits {
  Duration request = std::chrono::seconds(30);
  std::size_t answer_bytes = 64U << 20U;
  std::size_t page_objects = 500;
  std::size_t objects = 100'000;  // of one list
};

// One connection, kept between requests. Not for two calls at a time.
class Client {
 public:
  // kInvalidArgument: certificates, keys or the server's address cannot be read.
  static Result<std::unique_ptr<Client>> make(Access access, asio::any_io_executor executor,
                                              ClientLimits limits = {});
  virtual ~Client() = default;
  // "/api/v1/namespaces/kube-system/configmaps/kubeadm-config". kNotFound, kUnauthenticated,
  // kPermissionDenied: what the server said; kUnavailable: it was not reached, or its certificate
  // is not trusted; kDeadlineExceeded. Errors name the server and the path.
  virtual asio::awaitable<Result<json::value>> get(std::string path) = 0;
  // All pages of a list ("/api/v1/nodes"), as one. An expired page begins anew, once.
  // kResourceExhausted: more objects than the limit.
  virtual asio::awaitable<Result<json::object>> list(std::string path) = 0;
};

// What a plan import wants to know of a cluster (ipamd/import): nodes, services and ServiceCIDRs,
// Calico's pools, the ConfigMaps of kubeadm and Cilium, as kubectl would print them.
struct ClusterObjects {
  std::vector<json::object> documents;
  std::vector<std::string> withheld;  // what the user may not read, as the server said it
};
// What a cluster does not have is left out; nodes have to be there. Errors of Client::get.
asio::awaitable<Result<ClusterObjects>> cluster_objects(Client& client);

}  // namespace tombolo::kube
