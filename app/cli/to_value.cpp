// Protobuf messages as JSON values, by reflection.
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "app/cli/render.h"
#include "core/clock.h"

namespace tombolo::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// "done" of RECONCILER_STATE_DONE; the zero value is "".
std::string enum_text(const google::protobuf::EnumValueDescriptor& value) {
  constexpr std::string_view kZero = "UNSPECIFIED";
  const std::string& zero = value.type()->value(0)->name();
  if (value.number() == 0 && zero.ends_with(kZero)) return {};
  std::string text = value.name();
  if (zero.ends_with(kZero)) text = text.substr(zero.size() - kZero.size());
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

json::value message_value(const Message& message) {
  // The well-known types are found by name: a message may be of a dynamic class.
  const std::string& name = message.GetDescriptor()->full_name();
  if (name == "google.protobuf.Timestamp") {
    google::protobuf::Timestamp time;
    time.CopyFrom(message);
    return json::string(format_rfc3339(WallTime(std::chrono::seconds(time.seconds()))));
  }
  if (name == "google.protobuf.Duration") {
    google::protobuf::Duration duration;
    duration.CopyFrom(message);
    if (duration.nanos() == 0) return duration.seconds();
    return static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
  }
  return to_value(message);
}

json::value single(const Message& message, const FieldDescriptor& field) {
  const auto& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field);
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetInt32(message, &field);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetInt64(message, &field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetUInt32(message, &field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.GetUInt64(message, &field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetDouble(message, &field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.GetFloat(message, &field);
    case FieldDescriptor::CPPTYPE_STRING:
      return json::string(reflection.GetString(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return json::string(enum_text(*reflection.GetEnum(message, &field)));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (!reflection.HasField(message, &field)) return nullptr;
      return message_value(reflection.GetMessage(message, &field));
  }
  return nullptr;
}

json::value element(const Message& message, const FieldDescriptor& field, int index) {
  const auto& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return message_value(reflection.GetRepeatedMessage(message, &field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      return json::string(reflection.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_ENUM:
      return json::string(enum_text(*reflection.GetRepeatedEnum(message, &field, index)));
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetRepeatedUInt32(message, &field, index);
    default:
      break;
  }
  ENSURE(false, "lists of the type of {} are not shown", field.full_name());
  return nullptr;
}

}  // namespace

json::value to_value(const Message& message) {
  json::object object;
  const auto& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (!field.is_repeated()) {
      object[field.name()] = single(message, field);
      continue;
    }
    json::array array;
    int size = message.GetReflection()->FieldSize(message, &field);
    for (int k = 0; k < size; ++k) array.push_back(element(message, field, k));
    object[field.name()] = std::move(array);
  }
  return object;
}

}  // namespace tombolo::cli
