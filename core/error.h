// Errors as values. Every fallible function of the project returns Result<T>; exceptions of
// libraries stop in the file that wraps the library. ENSURE is for mistakes of our own: it is
// always on and ends the process (the name CHECK is Catch2's).
#pragma once

#include <fmt/format.h>

#include <expected>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tombolo {

// Maps 1:1 to the gRPC status codes of the same name.
enum class Code {
  kInvalidArgument,
  kNotFound,
  kAlreadyExists,
  kFailedPrecondition,
  kPermissionDenied,
  kUnauthenticated,
  kResourceExhausted,
  kAborted,
  kUnavailable,
  kDeadlineExceeded,
  kCancelled,
  kOutOfRange,
  kDataLoss,
  kInternal,
};

std::string_view to_string(Code code);

struct Error {
  Code code = Code::kInternal;
  std::string what;
  int sys_errno = 0;  // errno of the system call that failed, 0 when there is none
  std::source_location at = std::source_location::current();

  // "CODE: what (errno text)", for logs and answers. The source place is not part of it.
  std::string text() const;
  // The same error with "CONTEXT: " in front; used at folder borders.
  Error with_context(std::string_view context) &&;
};

template <class T>
using Result = std::expected<T, Error>;

// A format string that remembers where it was written.
template <class... Args>
struct FormatAt {
  fmt::format_string<Args...> format;
  std::source_location at;
  template <class S>
  consteval FormatAt(const S& s, std::source_location where = std::source_location::current())
      : format(s), at(where) {}
};

// return fail(Code::kNotFound, "no pool {}", name);
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(Code code, FormatAt<std::type_identity_t<Args>...> format,
                                          Args&&... args) {
  return std::unexpected(
      Error{code, fmt::format(format.format, std::forward<Args>(args)...), 0, format.at});
}

// The error of a system call that just set errno: return fail_errno("open {}", path);
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail_errno(int sys_errno,
                                                FormatAt<std::type_identity_t<Args>...> format,
                                                Args&&... args);

// The gRPC-like code that a Linux errno stands for (ENOENT -> kNotFound, EACCES ->
// kPermissionDenied, …).
Code code_of_errno(int sys_errno);

template <class... Args>
std::unexpected<Error> fail_errno(int sys_errno, FormatAt<std::type_identity_t<Args>...> format,
                                  Args&&... args) {
  return std::unexpected(Error{code_of_errno(sys_errno),
                               fmt::format(format.format, std::forward<Args>(args)...), sys_errno,
                               format.at});
}

[[noreturn]] void check_failed(std::string_view condition, std::string_view message,
                               std::source_location at);

}  // namespace tombolo

#define TOMBOLO_CONCAT_(a, b) a##b
#define TOMBOLO_CONCAT(a, b) TOMBOLO_CONCAT_(a, b)

// Statements, never expressions. TRY(v, expr) declares v; TRY_OK(expr) is for a Result<void> or a
// value not needed.
#define TRY(variable, ...)                                                        \
  auto TOMBOLO_CONCAT(result_, __LINE__) = (__VA_ARGS__);                         \
  if (!TOMBOLO_CONCAT(result_, __LINE__))                                         \
    return std::unexpected(std::move(TOMBOLO_CONCAT(result_, __LINE__)).error()); \
  auto variable = std::move(*TOMBOLO_CONCAT(result_, __LINE__))
#define TRY_OK(...)                                          \
  do {                                                       \
    if (auto try_result = (__VA_ARGS__); !try_result)        \
      return std::unexpected(std::move(try_result).error()); \
  } while (false)
#define CO_TRY(variable, ...)                                                        \
  auto TOMBOLO_CONCAT(result_, __LINE__) = __VA_ARGS__;                              \
  if (!TOMBOLO_CONCAT(result_, __LINE__))                                            \
    co_return std::unexpected(std::move(TOMBOLO_CONCAT(result_, __LINE__)).error()); \
  auto variable = std::move(*TOMBOLO_CONCAT(result_, __LINE__))
#define CO_TRY_OK(...)                                  \
  auto TOMBOLO_CONCAT(result_, __LINE__) = __VA_ARGS__; \
  if (!TOMBOLO_CONCAT(result_, __LINE__))               \
  co_return std::unexpected(std::move(TOMBOLO_CONCAT(result_, __LINE__)).error())

#define ENSURE(condition, ...)                                           \
  do {                                                                   \
    if (!(condition)) [[unlikely]]                                       \
      ::tombolo::check_failed(#condition, ::fmt::format("" __VA_ARGS__), \
                              std::source_location::current());          \
  } while (false)
