// Shared by the readers of this folder.
#pragma once

#include "ipamd/import/import.h"

namespace tombolo::imports {

// A text at this place as a prefix, an address.
Result<Prefix> prefix_at(const Cursor& cursor);
// "10.0.0.0/8,fd00::/48", also with blanks; empty parts are refused.
Result<std::vector<Prefix>> prefixes_at(const Cursor& cursor);
std::vector<Prefix> split_out(std::vector<Prefix> prefixes, Family family);

// In one line of printable ASCII, at most 128 characters: names of other people's objects.
std::string shown(std::string_view text);
std::string cluster_title(const ClusterFacts& facts);  // "cluster west"
// The smallest prefix around both.
Prefix cover_of(const Prefix& a, const Prefix& b);

// Comments for the fleet file; empty when no node names its zone (zones.cpp).
std::string zones_text(const ClusterFacts& facts);

// What kubeadm-config and cilium-config say.
Result<void> read_kubeadm_config(const Cursor& data, std::string_view name, ClusterFacts& facts);
Result<void> read_cilium_config(const Cursor& data, ClusterFacts& facts);

}  // namespace tombolo::imports
