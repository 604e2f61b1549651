// Reading JSON (and YAML, which core/yaml.h turns into JSON values) that came from outside: every
// complaint names the place, as "FILE:LINE: spec.ports[1].port: …" when lines are known and "KEY:
// spec.ports[1].port: …" when not.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace tombolo {

namespace json = boost::json;

struct JsonLimits {
  std::size_t bytes = 4U << 20U;
  std::size_t depth = 64;
};

// Strict RFC 8259 with limits; duplicate keys are refused, as Kubernetes' strict decoding does.
Result<json::value> parse_json(std::string_view text, JsonLimits limits = {});
std::string to_json(const json::value& value);         // one line
std::string to_pretty_json(const json::value& value);  // two spaces of indent, keys in their order

// Where a document came from: its name (file or store key) and, for YAML, the line of each value by
// its path.
struct DocumentPlace {
  std::string name;
  std::map<std::string, int, std::less<>> lines;  // "spec.ports[1].port" -> 1-based line
};

// A position inside a document. Cheap to copy; the document, its place and the parent cursors must
// outlive it, which holds when cursors live on the stack of the decoder.
class Cursor {
 public:
  Cursor(const json::value& root, const DocumentPlace& place) : value_(&root), place_(&place) {}

  bool present() const { return value_ != nullptr; }
  bool is_null() const { return value_ == nullptr || value_->is_null(); }
  bool is_object() const { return value_ != nullptr && value_->is_object(); }
  bool is_array() const { return value_ != nullptr && value_->is_array(); }
  bool is_string() const { return value_ != nullptr && value_->is_string(); }
  bool is_number() const;
  const json::value& value() const { return *value_; }

  // The member of an object; absent (present() == false) when there is none or this is no object.
  Cursor operator[](std::string_view key) const;
  std::size_t size() const;                    // of an array, else 0
  Cursor at(std::size_t index) const;          // of an array
  std::vector<std::string_view> keys() const;  // of an object, in document order

  // Values of a required type. An absent or null value is an error in the first form, `fallback` in
  // the second.
  Result<std::string> string() const;
  Result<std::string> string_or(std::string fallback) const;
  Result<std::int64_t> integer(std::int64_t low, std::int64_t high) const;
  Result<std::int64_t> integer_or(std::int64_t fallback, std::int64_t low, std::int64_t high) const;
  Result<bool> boolean_or(bool fallback) const;
  // {"k": "v"}; absent or null gives an empty map.
  Result<std::map<std::string, std::string>> string_map() const;
  // ["a", "b"]; absent or null gives an empty list.
  Result<std::vector<std::string>> string_list() const;
  // This must be an object (array); absent and null are errors.
  Result<void> expect_object() const;
  Result<void> expect_array() const;
  // Only these members may be there (strict decoding).
  Result<void> only(std::initializer_list<std::string_view> allowed) const;

  std::string path() const;  // "spec.ports[1].port", "" at the root
  // An error at this place: "fleet.yaml:12: clusters[0].nodes: …".
  [[nodiscard]] std::unexpected<Error> error(std::string_view what,
                                             Code code = Code::kInvalidArgument) const;

 private:
  Cursor(const json::value* value, const Cursor* parent, std::string_view key, std::size_t index)
      : value_(value), place_(parent->place_), parent_(parent), key_(key), index_(index) {}

  const json::value* value_ = nullptr;
  const DocumentPlace* place_ = nullptr;
  const Cursor* parent_ = nullptr;
  std::string_view key_;
  std::size_t index_ = kNoIndex;
  static constexpr std::size_t kNoIndex = static_cast<std::size_t>(-1);
};

}  // namespace tombolo
