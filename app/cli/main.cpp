// The program `tombolo`. Everything is in app/cli/cli.h; gRPC's own log lines are silenced, since
// an error is told once, in one line.
#include <cstdlib>

#include "app/cli/cli.h"

int main(int argc, char** argv) {
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
  return tombolo::cli::run(argc, argv);
}
