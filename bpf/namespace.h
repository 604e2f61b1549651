// Work inside another network namespace. Part of the folder.
#pragma once

#include <functional>
#include <string>

#include "core/error.h"

namespace tombolo::bpf {

// Runs `work` on a thread of its own inside the network namespace at that path and waits for it:
// sockets belong to the namespace of the thread that opens them, and an index of an interface means
// something there alone. Blocking. The error names the path when it leads to no namespace.
Result<void> in_namespace(const std::string& path, const std::function<Result<void>()>& work);

}  // namespace tombolo::bpf
