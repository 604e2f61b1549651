// One file of manifests -> its objects: documents, lists, kinds. Pure.
#include "core/yaml.h"
#include "servicesync/manifests/internal.h"

namespace tombolo::manifests {
namespace {

constexpr int kMaxListDepth = 4;  // lists inside lists

template <class Row>
std::string full_name(const Row& row) {
  return row.key();
}
std::string full_name(const PodTemplate& pods) {
  return object_key(pods.pod.name_space, pods.name);
}

std::string full_name(const PoolObject& object) {
  return object.name;
}

std::string full_name(const Policy& policy) {
  return object_key(policy.name_space, policy.name);
}

bool is_pool_object(std::string_view version, std::string_view kind) {
  if (version == "tombolo.io/v1alpha1") return kind == "IPPool" || kind == "IPReservation";
  return version == "spiderpool.spidernet.io/v2beta1" &&
         (kind == "SpiderIPPool" || kind == "SpiderReservedIP");
}

int line_of(const YamlDocument& document, const Cursor& at) {
  auto line = document.place.lines.find(at.path());
  return line == document.place.lines.end() ? 0 : line->second;
}

class Reader {
 public:
  Reader(const YamlDocument& document, const ForeignDecoders& foreign, Objects& out)
      : document_(document), foreign_(foreign), out_(out) {}

  Result<void> read(const Cursor& root, int depth) {
    TRY_OK(root.expect_object());
    TRY(version, root["apiVersion"].string());
    TRY(kind, root["kind"].string());
    if (version == "v1" && kind == "List") return read_list(root, depth);
    if (version == "v1" && kind == "Namespace")
      return add(root, kind, decode_namespace(root), out_.namespaces);
    if (version == "v1" && kind == "Pod") return add(root, kind, decode_pod(root), out_.pods);
    if (version == "v1" && kind == "Service")
      return add(root, kind, decode_service(root), out_.services);
    if (version == "discovery.k8s.io/v1" && kind == "EndpointSlice")
      return add(root, kind, decode_endpoint_slice(root), out_.endpoint_slices);
    if (version == "networking.k8s.io/v1" && kind == "NetworkPolicy" && foreign_.network_policy)
      return add(root, kind, foreign_.network_policy(root), out_.policies);
    if (is_pool_object(version, kind) && foreign_.pool_object)
      return add(root, kind, foreign_.pool_object(root), out_.pool_objects);
    bool makes_pods = version == "apps/v1" ? kind == "Deployment" || kind == "ReplicaSet" ||
                                                 kind == "StatefulSet" || kind == "DaemonSet"
                                           : version == "v1" && kind == "ReplicationController";
    if (version == "kubevirt.io/v1" && kind == "VirtualMachine")
      return add(root, kind, decode_virtual_machine(root), out_.templates);
    if (makes_pods) return add(root, kind, decode_pod_template(root), out_.templates);
    ++out_.ignored;
    return {};
  }

 private:
  Result<void> read_list(const Cursor& root, int depth) {
    if (depth >= kMaxListDepth) return root.error("lists nested too deeply");
    Cursor items = root["items"];
    if (items.is_null()) return {};
    TRY_OK(items.expect_array());
    for (std::size_t i = 0; i < items.size(); ++i) {
      Cursor item = items.at(i);
      TRY_OK(read(item, depth + 1));
    }
    return {};
  }

  template <class Row>
  Result<void> add(const Cursor& root, const std::string& kind, Result<Row> row,
                   std::vector<Row>& rows) {
    if (!row) return std::unexpected(std::move(row).error());
    std::string name = fmt::format("{} {}", kind, full_name(*row));
    int line = line_of(document_, root);
    if (auto [at, fresh] = out_.lines.emplace(name, line); !fresh)
      return root.error(fmt::format("{} stands twice, first in line {}", name, at->second));
    rows.push_back(std::move(*row));
    return {};
  }

  const YamlDocument& document_;
  const ForeignDecoders& foreign_;
  Objects& out_;
};

}  // namespace

Result<Objects> decode_objects(std::string_view text, std::string file,
                               const ForeignDecoders& foreign) {
  Objects objects;
  TRY(documents, parse_yaml(text, std::move(file)));
  for (const YamlDocument& document : documents) {
    Reader reader(document, foreign, objects);
    Cursor root = document.root();
    TRY_OK(reader.read(root, 0));
  }
  return objects;
}

}  // namespace tombolo::manifests
