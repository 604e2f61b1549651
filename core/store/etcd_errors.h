// The error texts and limits of etcd's gRPC API (api/v3rpc/rpctypes of etcd 3.4 to 3.6). Clients
// match the texts, so they are part of the protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace tombolo::etcd {

struct KnownError {
  Code code;
  std::string_view text;
  Error error() const { return Error{code, std::string(text)}; }
  std::unexpected<Error> fail() const { return std::unexpected(error()); }
};

inline constexpr KnownError kEmptyKey{Code::kInvalidArgument, "etcdserver: key is not provided"};
inline constexpr KnownError kKeyNotFound{Code::kInvalidArgument, "etcdserver: key not found"};
inline constexpr KnownError kValueProvided{Code::kInvalidArgument, "etcdserver: value is provided"};
inline constexpr KnownError kLeaseProvided{Code::kInvalidArgument, "etcdserver: lease is provided"};
inline constexpr KnownError kTooManyOperations{Code::kInvalidArgument,
                                               "etcdserver: too many operations in txn request"};
inline constexpr KnownError kDuplicateKey{Code::kInvalidArgument,
                                          "etcdserver: duplicate key given in txn request"};
inline constexpr KnownError kInvalidSortOption{Code::kInvalidArgument,
                                               "etcdserver: invalid sort option"};
inline constexpr KnownError kRequestTooLarge{Code::kInvalidArgument,
                                             "etcdserver: request is too large"};
inline constexpr KnownError kCompacted{Code::kOutOfRange,
                                       "etcdserver: mvcc: required revision has been compacted"};
inline constexpr KnownError kFutureRevision{
    Code::kOutOfRange, "etcdserver: mvcc: required revision is a future revision"};
inline constexpr KnownError kNoSpace{Code::kResourceExhausted,
                                     "etcdserver: mvcc: database space exceeded"};
inline constexpr KnownError kTooManyRequests{Code::kResourceExhausted,
                                             "etcdserver: too many requests"};
inline constexpr KnownError kLeaseNotFound{Code::kNotFound,
                                           "etcdserver: requested lease not found"};
inline constexpr KnownError kLeaseExists{Code::kFailedPrecondition,
                                         "etcdserver: lease already exists"};
inline constexpr KnownError kLeaseTtlTooLarge{Code::kOutOfRange, "etcdserver: too large lease TTL"};
inline constexpr KnownError kPermissionDenied{Code::kPermissionDenied,
                                              "etcdserver: permission denied"};
inline constexpr KnownError kAuthNotEnabled{Code::kFailedPrecondition,
                                            "etcdserver: authentication is not enabled"};
inline constexpr KnownError kMemberNotFound{Code::kNotFound, "etcdserver: member not found"};
inline constexpr KnownError kStopped{Code::kUnavailable, "etcdserver: server stopped"};

// etcd's defaults (--max-txn-ops, --max-request-bytes) and fixed limits.
inline constexpr std::size_t kMaxTxnOperations = 128;
inline constexpr std::size_t kMaxRequestBytes = 1536 * 1024;
inline constexpr std::int64_t kMaxLeaseTtl_s = 9'000'000'000;
inline constexpr std::int64_t kMinLeaseTtl_s = 2;

}  // namespace tombolo::etcd
