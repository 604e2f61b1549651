// Shared by call.cpp (the environment) and config.cpp (standard input): how a refusal is made, and
// the second half of the decoding. Pure. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "ipamd/cni/call.h"

namespace tombolo::cni {

inline constexpr std::size_t kLongestId = 256;

inline std::unexpected<Failure> refuse(int code, std::string message) {
  return std::unexpected(Failure{code, std::move(message), ""});
}

// Turns an error of a Cursor into the failure of that code.
template <class T>
Answer<T> or_invalid(Result<T> result, int code = kInvalidConfig) {
  if (!result) return refuse(code, result.error().what);
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return std::move(*result);
}

// SPEC.md: starts with a letter or digit, then letters, digits, underscore, dot, hyphen.
bool is_identifier(std::string_view text);

// Fills what the configuration says of a call whose environment was decoded before.
Answer<void> decode_config(const Cursor& config, Call& call);

}  // namespace tombolo::cni
