// The table between our codes and gRPC's.
#include "app/admin/status.h"

#include <array>
#include <cstring>
#include <utility>

namespace tombolo::admin {
namespace {

constexpr auto kCodes = std::to_array<std::pair<Code, grpc::StatusCode>>({
    {Code::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
    {Code::kNotFound, grpc::StatusCode::NOT_FOUND},
    {Code::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
    {Code::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
    {Code::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
    {Code::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED},
    {Code::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
    {Code::kAborted, grpc::StatusCode::ABORTED},
    {Code::kUnavailable, grpc::StatusCode::UNAVAILABLE},
    {Code::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
    {Code::kCancelled, grpc::StatusCode::CANCELLED},
    {Code::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE},
    {Code::kDataLoss, grpc::StatusCode::DATA_LOSS},
    {Code::kInternal, grpc::StatusCode::INTERNAL},
});

}  // namespace

grpc::Status to_status(const Error& error) {
  std::string text = error.what;
  if (error.sys_errno != 0) text += fmt::format(" ({})", std::strerror(error.sys_errno));
  for (const auto& [ours, theirs] : kCodes)
    if (ours == error.code) return {theirs, text};
  return {grpc::StatusCode::INTERNAL, text};
}

Error from_status(const grpc::Status& status) {
  for (const auto& [ours, theirs] : kCodes)
    if (theirs == status.error_code()) return Error{ours, status.error_message()};
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED)
    return Error{Code::kFailedPrecondition,
                 "the daemon does not know this call: " + status.error_message()};
  return Error{Code::kInternal, status.error_message()};
}

}  // namespace tombolo::admin
