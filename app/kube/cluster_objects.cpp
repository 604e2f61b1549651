// Which objects of a cluster say what addresses it uses.
#include "app/kube/kube.h"

namespace tombolo::kube {
namespace {

struct Wanted {
  const char* path;
  bool list;
  bool needed;  // every cluster has it and every user who may plan may read it
};

constexpr Wanted kWanted[] = {
    {"/api/v1/nodes", true, true},
    {"/api/v1/services", true, false},
    // v1 since Kubernetes 1.33; v1beta1 was off unless somebody asked for it.
    {"/apis/networking.k8s.io/v1/servicecidrs", true, false},
    {"/apis/crd.projectcalico.org/v1/ippools", true, false},
    {"/api/v1/namespaces/kube-system/configmaps/kubeadm-config", false, false},
    {"/api/v1/namespaces/kube-system/configmaps/cilium-config", false, false},
};

}  // namespace

asio::awaitable<Result<ClusterObjects>> cluster_objects(Client& client) {
  ClusterObjects objects;
  for (const Wanted& wanted : kWanted) {
    std::string path = wanted.path;
    Result<json::object> found = json::object();
    if (wanted.list) {
      found = co_await client.list(path);
    } else {
      auto one = co_await client.get(path);
      if (!one) {
        found = std::unexpected(std::move(one).error());
      } else if (one->is_object()) {
        found = std::move(one->as_object());
      } else {
        found = fail(Code::kInvalidArgument, "{}: is no object", path);
      }
    }
    if (found) {
      objects.documents.push_back(std::move(*found));
      continue;
    }
    const Error& error = found.error();
    bool absent = error.code == Code::kNotFound;
    if (wanted.needed || (!absent && error.code != Code::kPermissionDenied))
      co_return std::unexpected(error);
    if (!absent) objects.withheld.push_back(error.what);
  }
  co_return objects;
}

}  // namespace tombolo::kube
