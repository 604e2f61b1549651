// Answers as a table, JSON or YAML. A message becomes one JSON value (names as in the .proto, enums
// as short lower-case words, times as RFC 3339, every field there), and all three forms are made of
// that value. Pure.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace tombolo::cli {

// {"state": "control_plane_away", "last_heard": "2026-01-02T03:04:05Z", "uptime_s": …}: a Duration
// is a number of seconds under its own name. An unset message is null, an absent list empty.
json::value to_value(const google::protobuf::Message& message);

// Block style; texts are quoted where YAML 1.2 (or 1.1's yes/no) would read something else.
std::string to_yaml(const json::value& value);

// `path` leads from a row to a value: "cluster.name"; "" is the row itself. Lists are joined by
// commas, booleans are yes and no, what is absent or empty is "-".
struct Column {
  std::string_view header;
  std::string_view path;
  bool zero_is_nothing = false;  // 0 is shown as "-" too
};

// A list of the answer. Rows that are texts are printed as they are.
struct Section {
  std::string_view rows;  // path of the list
  std::vector<Column> columns;
  std::string_view if_empty = "";  // a line instead of an empty table
};

struct View {
  std::vector<Column> facts;  // of the answer itself, one per line; empty ones are left out
  std::vector<Section> sections;
};

std::string to_table(const json::value& answer, const View& view);

enum class Format { kTable, kJson, kYaml };
std::string render(const json::value& answer, const View& view, Format format);

}  // namespace tombolo::cli
