// Errors as gRPC statuses and back. The codes of core/error.h and of gRPC have the same names and
// are mapped 1:1; the text goes along, with the errno's text when there is one.
#pragma once

#include <grpcpp/support/status.h>

#include "core/error.h"

namespace tombolo::admin {

grpc::Status to_status(const Error& error);
// Codes that only gRPC has (UNKNOWN, UNIMPLEMENTED) become kInternal and kFailedPrecondition.
Error from_status(const grpc::Status& status);

}  // namespace tombolo::admin
