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
    case BlockUse::kLoadBalancer:
      return "load-balancer";
    case BlockUse::kTunnel:
      return "tunnel";
  }
  return "?";
}

std::string PlanBlock::key() const {
  return fmt::format("{}/{}/{}", cluster, to_string(use), prefix.str());
}
std::string NodeBlock::key() const {
  return fmt::format("{}/{}", node, prefix.str());
}
std::string AddressClaim::key() const {
  return fmt::format("{}/{}", pool, ip.str());
}
std::string PoolBlock::key() const {
  return fmt::format("{}/{}", pool, prefix.str());
}
std::string Node::key() const {
  return object_key(cluster, name);
}
std::string_view to_string(PoolObjectKind kind) {
  return kind == PoolObjectKind::kPool ? "IPPool" : "IPReservation";
}
std::string PoolObject::key() const {
  return object_key(to_string(kind), name);
}
std::string PodInfo::key() const {
  return fmt::format("{}/{}/{}", name_space, name, kind);
}
std::string Attachment::key() const {
  return object_key(container_id, interface_name);
}

std::string_view to_string(RemoteState state) {
  switch (state) {
    case RemoteState::kConnecting:
      return "connecting";
    case RemoteState::kReady:
      return "ready";
    case RemoteState::kControlPlaneAway:
      return "control plane away";
    case RemoteState::kLost:
      return "lost";
  }
  return "?";
}

std::string_view to_string(PolicyDirection direction) {
  return direction == PolicyDirection::kIngress ? "ingress" : "egress";
}

std::string_view to_string(PolicyAction action) {
  switch (action) {
    case PolicyAction::kAllow:
      return "allow";
    case PolicyAction::kDeny:
      return "deny";
    case PolicyAction::kPass:
      return "pass";
  }
  return "?";
}

std::string_view to_string(PolicyKind kind) {
  switch (kind) {
    case PolicyKind::kNetworkPolicy:
      return "NetworkPolicy";
  }
  return "?";
}

std::string Policy::key() const {
  return fmt::format("{}/{}/{}", to_string(kind), name_space, name);
}

}  // namespace tombolo
