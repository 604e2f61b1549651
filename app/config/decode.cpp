// Reflection over the message's descriptor; every complaint is made by the Cursor, which knows the
// place.
#include "app/config/decode.h"

#include <google/protobuf/descriptor.h>

#include <limits>

namespace tombolo::config {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kMostElements = 10'000;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

// "agent" of ROLE_AGENT: what the names have in common is the zero value's name without
// UNSPECIFIED.
std::string short_name(const EnumValueDescriptor& value) {
  constexpr std::string_view kZero = "UNSPECIFIED";
  const std::string& zero = value.type()->value(0)->name();
  std::size_t prefix = zero.ends_with(kZero) ? zero.size() - kZero.size() : 0;
  return lower(std::string_view(value.name()).substr(prefix));
}

Result<const EnumValueDescriptor*> enum_value(const Cursor& from, const EnumDescriptor& type) {
  TRY(text, from.string());
  std::string known;
  for (int i = 0; i < type.value_count(); ++i) {
    const EnumValueDescriptor* value = type.value(i);
    if (value->number() == 0) continue;
    if (short_name(*value) == text) return value;
    known += (known.empty() ? "" : ", ") + short_name(*value);
  }
  return from.error(fmt::format("\"{}\" is unknown; known here: {}", text.substr(0, 64), known));
}

Result<void> expect_boolean(const Cursor& from) {
  TRY(unused, from.boolean_or(false));
  static_cast<void>(unused);
  return {};
}

// A list's element: null has no meaning there.
Result<void> add_element(const Cursor& from, const FieldDescriptor& field, Message& into) {
  const auto& reflection = *into.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      TRY(text, from.string());
      reflection.AddString(&into, &field, std::move(text));
      return {};
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      TRY(value, enum_value(from, *field.enum_type()));
      reflection.AddEnum(&into, &field, value);
      return {};
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return decode(from, *reflection.AddMessage(&into, &field));
    case FieldDescriptor::CPPTYPE_UINT32: {
      TRY(number, from.integer(0, std::numeric_limits<std::uint32_t>::max()));
      reflection.AddUInt32(&into, &field, static_cast<std::uint32_t>(number));
      return {};
    }
    default:
      break;
  }
  ENSURE(false, "lists of the type of {} are not decoded", field.full_name());
  return {};
}

Result<void> decode_list(const Cursor& from, const FieldDescriptor& field, Message& into) {
  TRY_OK(from.expect_array());
  if (from.size() > kMostElements)
    return from.error(fmt::format("has {} elements; the limit is {}", from.size(), kMostElements));
  into.GetReflection()->ClearField(&into, &field);
  for (std::size_t i = 0; i < from.size(); ++i) TRY_OK(add_element(from.at(i), field, into));
  return {};
}

// map<string, string>, through the entries that the repeated field holds on the wire.
Result<void> decode_map(const Cursor& from, const FieldDescriptor& field, Message& into) {
  const FieldDescriptor& key = *field.message_type()->map_key();
  const FieldDescriptor& value = *field.message_type()->map_value();
  ENSURE(key.cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
             value.cpp_type() == FieldDescriptor::CPPTYPE_STRING,
         "maps of the type of {} are not decoded", field.full_name());
  TRY_OK(from.expect_object());
  TRY(given, from.string_map());
  const auto& reflection = *into.GetReflection();
  std::map<std::string, std::string> merged;
  for (int i = 0; i < reflection.FieldSize(into, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(into, &field, i);
    merged[entry.GetReflection()->GetString(entry, &key)] =
        entry.GetReflection()->GetString(entry, &value);
  }
  for (auto& [name, text] : given) merged[name] = text;
  reflection.ClearField(&into, &field);
  for (auto& [name, text] : merged) {
    Message& entry = *reflection.AddMessage(&into, &field);
    entry.GetReflection()->SetString(&entry, &key, name);
    entry.GetReflection()->SetString(&entry, &value, text);
  }
  return {};
}

Result<void> decode_integer(const Cursor& from, const FieldDescriptor& field, Message& into) {
  const auto& reflection = *into.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      using Limits = std::numeric_limits<std::int32_t>;
      TRY(number, from.integer(Limits::min(), Limits::max()));
      reflection.SetInt32(&into, &field, static_cast<std::int32_t>(number));
      return {};
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      TRY(number, from.integer(0, std::numeric_limits<std::uint32_t>::max()));
      reflection.SetUInt32(&into, &field, static_cast<std::uint32_t>(number));
      return {};
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      using Limits = std::numeric_limits<std::int64_t>;
      TRY(number, from.integer(Limits::min(), Limits::max()));
      reflection.SetInt64(&into, &field, number);
      return {};
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      TRY(number, from.integer(0, std::numeric_limits<std::int64_t>::max()));
      reflection.SetUInt64(&into, &field, static_cast<std::uint64_t>(number));
      return {};
    }
    default:
      break;
  }
  ENSURE(false, "the type of {} is not decoded", field.full_name());
  return {};
}

Result<void> decode_field(const Cursor& from, const FieldDescriptor& field, Message& into) {
  const auto& reflection = *into.GetReflection();
  if (field.is_map()) return decode_map(from, field, into);
  if (field.is_repeated()) return decode_list(from, field, into);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      TRY(text, from.string());
      reflection.SetString(&into, &field, std::move(text));
      return {};
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      TRY_OK(expect_boolean(from));
      reflection.SetBool(&into, &field, from.value().get_bool());
      return {};
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      TRY(value, enum_value(from, *field.enum_type()));
      reflection.SetEnum(&into, &field, value);
      return {};
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return decode(from, *reflection.MutableMessage(&into, &field));
    default:
      return decode_integer(from, field, into);
  }
}

}  // namespace

Result<void> decode(const Cursor& from, Message& into) {
  TRY_OK(from.expect_object());
  const auto& type = *into.GetDescriptor();
  for (auto key : from.keys()) {
    const FieldDescriptor* field = type.FindFieldByName(std::string(key));
    if (field == nullptr) {
      std::string known;
      for (int i = 0; i < type.field_count(); ++i)
        known += (known.empty() ? "" : ", ") + type.field(i)->name();
      return from[key].error(fmt::format("unknown field; known here: {}", known));
    }
    Cursor member = from[key];
    if (!member.is_null()) TRY_OK(decode_field(member, *field, into));
  }
  return {};
}

}  // namespace tombolo::config
