// The command line `tombolo`: parses, asks the daemon over the admin API, prints.
#pragma once

namespace tombolo::cli {

// The exit code: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 the daemon is not reached,
// 6 too late. An error is one line on standard error.
int run(int argc, char** argv);

}  // namespace tombolo::cli
