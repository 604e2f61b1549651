// Boost.JSON behind the Cursor. The parser throws nothing here: error_code overloads only.
#include "core/json.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <set>

namespace tombolo {
namespace {

// Boost.JSON keeps the last of two equal keys; a document that has both is ambiguous and refused.
// The check walks the text's own structure with a tiny scanner: it sees only strings, braces and
// colons, as the text is valid JSON already.
Result<void> refuse_duplicate_keys(std::string_view text) {
  struct Level {
    bool object;
    bool expects_key;
    std::set<std::string_view> keys;
  };
  std::vector<Level> levels;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '{' || c == '[') {
      levels.push_back({c == '{', c == '{', {}});
    } else if (c == '}' || c == ']') {
      levels.pop_back();
    } else if (c == ',' && !levels.empty()) {
      levels.back().expects_key = levels.back().object;
    } else if (c == '"') {
      std::size_t start = ++i;
      while (text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      if (levels.empty() || !levels.back().expects_key) continue;
      levels.back().expects_key = false;
      auto key = text.substr(start, i - start);
      if (!levels.back().keys.insert(key).second)
        return fail(Code::kInvalidArgument, "the key \"{}\" stands twice in one object (byte {})",
                    key.substr(0, 64), start);
    }
  }
  return {};
}

void print(std::string& out, const json::value& value, int indent) {
  auto pad = [&](int n) { out.append(static_cast<std::size_t>(n) * 2, ' '); };
  if (value.is_object() && !value.get_object().empty()) {
    out += "{\n";
    bool first = true;
    for (const auto& [key, member] : value.get_object()) {
      if (!first) out += ",\n";
      first = false;
      pad(indent + 1);
      out += json::serialize(key) + ": ";
      print(out, member, indent + 1);
    }
    out += '\n';
    pad(indent);
    out += '}';
  } else if (value.is_array() && !value.get_array().empty()) {
    out += "[\n";
    bool first = true;
    for (const auto& element : value.get_array()) {
      if (!first) out += ",\n";
      first = false;
      pad(indent + 1);
      print(out, element, indent + 1);
    }
    out += '\n';
    pad(indent);
    out += ']';
  } else {
    out += json::serialize(value);
  }
}

std::string_view kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number with a fraction";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
  }
  return "something else";
}

}  // namespace

Result<json::value> parse_json(std::string_view text, JsonLimits limits) {
  if (text.size() > limits.bytes)
    return fail(Code::kInvalidArgument, "{} bytes of JSON; the limit is {}", text.size(),
                limits.bytes);
  json::parse_options options;
  options.max_depth = limits.depth;
  boost::system::error_code error;
  json::value value = json::parse(text, error, {}, options);
  if (error) return fail(Code::kInvalidArgument, "not valid JSON: {}", error.message());
  TRY_OK(refuse_duplicate_keys(text));
  return value;
}

std::string to_json(const json::value& value) {
  return json::serialize(value);
}

std::string to_pretty_json(const json::value& value) {
  std::string out;
  print(out, value, 0);
  return out;
}

bool Cursor::is_number() const {
  return value_ != nullptr && (value_->is_int64() || value_->is_uint64() || value_->is_double());
}

Cursor Cursor::operator[](std::string_view key) const {
  const json::value* member = is_object() ? value_->get_object().if_contains(key) : nullptr;
  return {member, this, key, kNoIndex};
}

std::size_t Cursor::size() const {
  return is_array() ? value_->get_array().size() : 0;
}

Cursor Cursor::at(std::size_t index) const {
  return {index < size() ? &value_->get_array()[index] : nullptr, this, {}, index};
}

std::vector<std::string_view> Cursor::keys() const {
  std::vector<std::string_view> result;
  if (is_object())
    for (const auto& member : value_->get_object()) result.push_back(member.key());
  return result;
}

Result<std::string> Cursor::string() const {
  if (is_null()) return error("is required");
  if (!value_->is_string())
    return error(fmt::format("must be a string, is {}", kind_name(*value_)));
  return std::string(value_->get_string());
}

Result<std::string> Cursor::string_or(std::string fallback) const {
  if (is_null()) return fallback;
  return string();
}

Result<std::int64_t> Cursor::integer(std::int64_t low, std::int64_t high) const {
  if (is_null()) return error("is required");
  if (!value_->is_int64()) {
    if (value_->is_uint64()) return error(fmt::format("must be from {} to {}", low, high));
    return error(fmt::format("must be an integer, is {}", kind_name(*value_)));
  }
  std::int64_t number = value_->get_int64();
  if (number < low || number > high)
    return error(fmt::format("{} is not from {} to {}", number, low, high));
  return number;
}

Result<std::int64_t> Cursor::integer_or(std::int64_t fallback, std::int64_t low,
                                        std::int64_t high) const {
  if (is_null()) return fallback;
  return integer(low, high);
}

Result<bool> Cursor::boolean_or(bool fallback) const {
  if (is_null()) return fallback;
  if (!value_->is_bool())
    return error(fmt::format("must be true or false, is {}", kind_name(*value_)));
  return value_->get_bool();
}

Result<std::map<std::string, std::string>> Cursor::string_map() const {
  std::map<std::string, std::string> result;
  if (is_null()) return result;
  TRY_OK(expect_object());
  for (auto key : keys()) {
    TRY(text, (*this)[key].string());
    result.emplace(key, std::move(text));
  }
  return result;
}

Result<std::vector<std::string>> Cursor::string_list() const {
  std::vector<std::string> result;
  if (is_null()) return result;
  TRY_OK(expect_array());
  for (std::size_t i = 0; i < size(); ++i) {
    TRY(text, at(i).string());
    result.push_back(std::move(text));
  }
  return result;
}

Result<void> Cursor::expect_object() const {
  if (is_null()) return error("is required");
  if (!value_->is_object())
    return error(fmt::format("must be an object, is {}", kind_name(*value_)));
  return {};
}

Result<void> Cursor::expect_array() const {
  if (is_null()) return error("is required");
  if (!value_->is_array()) return error(fmt::format("must be a list, is {}", kind_name(*value_)));
  return {};
}

Result<void> Cursor::only(std::initializer_list<std::string_view> allowed) const {
  for (auto key : keys()) {
    if (std::ranges::find(allowed, key) != allowed.end()) continue;
    std::string names;
    for (auto name : allowed) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    return (*this)[key].error(fmt::format("unknown field; known here: {}", names));
  }
  return {};
}

std::string Cursor::path() const {
  if (parent_ == nullptr) return {};
  std::string prefix = parent_->path();
  if (index_ != kNoIndex) return fmt::format("{}[{}]", prefix, index_);
  // Keys that hold dots, such as annotation names, are quoted so that the path stays readable.
  bool plain = key_.find_first_of(".[\" ") == std::string_view::npos;
  std::string step = plain ? std::string(key_) : fmt::format("[\"{}\"]", key_);
  return prefix.empty() || !plain ? prefix + step : prefix + "." + step;
}

std::unexpected<Error> Cursor::error(std::string_view what, Code code) const {
  std::string place = place_->name;
  // An absent value has no line of its own: its parent's is the nearest.
  for (const Cursor* at = this; at != nullptr; at = at->parent_) {
    auto line = place_->lines.find(at->path());
    if (line == place_->lines.end()) continue;
    place += fmt::format(":{}", line->second);
    break;
  }
  std::string where = path();
  return fail(code, "{}: {}{}{}", place, where, where.empty() ? "" : ": ", what);
}

}  // namespace tombolo
