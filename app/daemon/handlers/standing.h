// How another cluster stands, in words with its age. Pure.
#pragma once

#include <string>

#include "core/tables.h"

namespace tombolo {

// "ready", "control plane away, silent for 12s", "lost, heard 34s ago".
std::string standing_of(const RemoteCluster& remote, WallTime now);

}  // namespace tombolo
