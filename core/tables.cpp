// Keys and names of the rows.
#include "core/tables.h"

namespace tombolo {

std::string object_key(std::string_view name_space, std::string_view name) {
  return fmt::format("{}/{}", name_space, name);
}

std::string_view to_string(BlockUse use) {
  switch (use) {
    case BlockUse::kUnderlay:
      return "underlay";
    case BlockUse::kPod:
      return "pod";
    case BlockUse::kService:
      return "service";
    case BlockUse::kClusterset:
      return "clusterset";
  }
  return "?";
}

std::string PlanBlock::key() const {
  return fmt::format("{}/{}/{}", cluster, to_string(use), prefix.str());
}
std::string NodeBlock::key() const {
  return fmt::format("{}/{}", node, prefix.str());
}
std::string Node::key() const {
  return object_key(cluster, name);
}
std::string Attachment::key() const {
  return object_key(container_id, interface_name);
}

}  // namespace tombolo
