// The node's container runtime behind the port core/container_runtime.h, by the Kubernetes
// container runtime interface (CRI v1, schema/cri): gRPC on a unix socket. One thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/container_runtime.h"

namespace tombolo {

// Where containerd, CRI-O and k3s listen.
std::vector<std::string> usual_runtime_sockets();

// Asks all of those that are there: a node may have more than one. One that answers that it speaks
// no CRI v1 (as Docker's containerd) counts as not there until it is started anew. A life is told
// by the process at the other end of the socket and its start; where that is another's (socket
// activation, another PID namespace), a new start is not seen.
std::unique_ptr<ContainerRuntime> make_cri_runtime(std::vector<std::string> sockets);

}  // namespace tombolo
