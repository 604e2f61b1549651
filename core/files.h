// Files that are replaced whole. Blocking. Any thread. (read_file is in core/yaml.h.)
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"

namespace tombolo {

// Replaces the file in one step and syncs it and its folder: after a crash or a loss of power it is
// the old one or the new one. What a crash leaves beside it is PATH.PID.new.
Result<void> write_file_atomically(const std::string& path, std::string_view text, int mode);
// Of the absent: ok. Synced as well.
Result<void> remove_file(const std::string& path);

}  // namespace tombolo
