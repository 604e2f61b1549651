// Shared by service.cpp and operations.cpp.
#pragma once

#include <string>

#include "ipamd/cni/service.h"

namespace tombolo {

// From take_key() on, the operation under way has the attachment for itself.
class CniService::KeyHeld {
 public:
  KeyHeld(CniService& service, std::string key) : service_(service), key_(std::move(key)) {}
  KeyHeld(const KeyHeld&) = delete;
  KeyHeld& operator=(const KeyHeld&) = delete;
  const std::string& key() const { return key_; }
  ~KeyHeld() {
    service_.busy_.erase(key_);
    service_.key_free_.notify_all();
  }

 private:
  CniService& service_;
  std::string key_;
};

namespace cni {

inline std::unexpected<Failure> failure(int code, const Error& error) {
  return std::unexpected(Failure{code, error.text(), ""});
}

// What an error of the lease book means to the runtime.
inline int code_of_lease(const Error& error) {
  bool later = error.code == Code::kResourceExhausted ||
               error.code == Code::kFailedPrecondition;  // no block yet
  return later ? kTryLater : kIoFailure;
}

}  // namespace cni
}  // namespace tombolo
