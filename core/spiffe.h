// Who somebody in a fleet is: the one URI name of a certificate, a SPIFFE ID (SPIFFE-ID standard,
// section 2),
//   spiffe://FLEET/cluster/CLUSTER/controller | node/NODE | operator/NAME
// read here for the store's rights (core/store), the admin API and certificates (app/pki) alike.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"

namespace tombolo {

enum class SpiffeKind { kController, kNode, kOperator };

struct SpiffeName {
  std::string fleet;
  std::string cluster;
  SpiffeKind kind = SpiffeKind::kController;
  std::string name;  // of the node or operator; empty for a controller

  // kInvalidArgument with the part that is wrong; what it quotes is short and printable.
  static Result<SpiffeName> parse(std::string_view uri);
  std::string str() const;         // the whole URI
  std::string short_name() const;  // "controller", "node/NODE", "operator/NAME"
  bool operator==(const SpiffeName&) const = default;
};

// Fleet: lower case letters, digits, '.', '-'; cluster: a DNS label of up to 32; node: a DNS name;
// operator: letters, digits, '.', '_', '-', up to 64. kInvalidArgument names the part.
Result<void> check_name(const SpiffeName& name);

// Bytes of others made fit for a line of a log: at most 200, what is not printable ASCII as \xHH.
std::string printable(std::string_view bytes);

}  // namespace tombolo
