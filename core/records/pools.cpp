// Pools as operators wrote them, what is known of the pods that ask for them, and what nodes reach
// for each other. Decoding checks the form and the key; ipamd/pools reads the documents.
#include "core/names.h"
#include "core/records/fields.h"

namespace tombolo::records {
namespace {

namespace state = ::tombolo::state::v1;
using Pairs = google::protobuf::RepeatedPtrField<state::Pair>;

void fill(Pairs* list, const StringMap& map) {
  for (const auto& [key, value] : map) {
    auto* added = list->Add();
    added->set_key(key);
    added->set_value(value);
  }
}

Result<StringMap> map_of(const KeyValue& kv, const Pairs& list, std::string_view what) {
  StringMap map;
  for (const state::Pair& pair : list)
    if (!map.emplace(pair.key(), pair.value()).second)
      return fail(Code::kInvalidArgument, "{}: the {} '{}' stands twice", kv.key, what,
                  pair.key().substr(0, 80));
  return map;
}

}  // namespace

std::string pool_object_key(const PoolObject& object) {
  bool pool = object.kind == PoolObjectKind::kPool;
  return fmt::format("{}{}", pool ? kPoolsPrefix : kReservationsPrefix, object.name);
}

std::string encode(const PoolObject& object) {
  state::PoolObject message;
  message.set_name(object.name);
  message.set_place(object.place);
  message.set_document(object.document);
  message.set_leaving(object.leaving);
  return bytes_of(message);
}

Result<PoolObject> decode_pool_object(const KeyValue& kv) {
  TRY(message, parse<state::PoolObject>(kv));
  PoolObject object;
  object.kind = kv.key.starts_with(kReservationsPrefix) ? PoolObjectKind::kReservation
                                                        : PoolObjectKind::kPool;
  object.name = message.name();
  object.place = message.place();
  object.document = message.document();
  object.leaving = message.leaving();
  if (!is_dns_subdomain(object.name))
    return fail(Code::kInvalidArgument, "{}: '{}' is not a name of an object", kv.key,
                object.name.substr(0, 80));
  if (pool_object_key(object) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the pool of another key, {}", kv.key,
                pool_object_key(object));
  return object;
}

std::string pod_info_key(const PodInfo& info) {
  return fmt::format("{}{}", kPodInfoPrefix, info.key());
}

std::string encode(const PodInfo& info) {
  state::PodInfo message;
  message.set_name_space(info.name_space);
  message.set_name(info.name);
  message.set_kind(info.kind);
  message.set_owner(info.owner);
  message.set_replicas(info.replicas);
  fill(message.mutable_labels(), info.labels);
  fill(message.mutable_annotations(), info.annotations);
  fill(message.mutable_namespace_labels(), info.namespace_labels);
  fill(message.mutable_namespace_annotations(), info.namespace_annotations);
  return bytes_of(message);
}

Result<PodInfo> decode_pod_info(const KeyValue& kv) {
  TRY(message, parse<state::PodInfo>(kv));
  PodInfo info;
  info.name_space = message.name_space();
  info.name = message.name();
  info.kind = message.kind();
  info.owner = message.owner();
  info.replicas = message.replicas();
  TRY(labels, map_of(kv, message.labels(), "label"));
  TRY(annotations, map_of(kv, message.annotations(), "annotation"));
  TRY(namespace_labels, map_of(kv, message.namespace_labels(), "label"));
  TRY(namespace_annotations, map_of(kv, message.namespace_annotations(), "annotation"));
  info.labels = std::move(labels);
  info.annotations = std::move(annotations);
  info.namespace_labels = std::move(namespace_labels);
  info.namespace_annotations = std::move(namespace_annotations);
  if (info.name_space.empty() || info.name.empty() || info.kind.empty())
    return fail(Code::kInvalidArgument, "{}: a pod without namespace, name or kind", kv.key);
  if (pod_info_key(info) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the pod of another key, {}", kv.key,
                pod_info_key(info));
  return info;
}

std::string routed_key(const NodeBlock& block) {
  return fmt::format("{}{}", kRoutedPrefix, block.key());
}

Result<NodeBlock> decode_routed(const KeyValue& kv) {
  TRY(message, parse<state::NodeBlock>(kv));
  TRY(prefix, prefix_of(kv, message.prefix()));
  NodeBlock block{message.node(), prefix};
  if (routed_key(block) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the prefix of another key, {}", kv.key,
                routed_key(block));
  return block;
}

}  // namespace tombolo::records
