// A document (YAML or JSON) into a protobuf message, by reflection and strictly: unknown fields,
// wrong types, unknown enum names and numbers that do not fit are refused with their place. Pure.
#pragma once

#include <google/protobuf/message.h>

#include "core/json.h"

namespace tombolo::config {

// Sets the fields that the document has and leaves the others; a list replaces the list that was
// there, a map entry the entry of that key. Null is the same as absent. Field names as in the
// .proto; enum values in lower case without the enum's prefix ("agent" for ROLE_AGENT). Fields are
// booleans, integers, strings, enums, messages, lists of these, and maps of strings.
// Error: "FILE:LINE: cluster.id: must be an integer, is a string".
Result<void> decode(const Cursor& from, google::protobuf::Message& into);

}  // namespace tombolo::config
