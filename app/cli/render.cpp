// JSON values as YAML and as aligned tables.
#include "app/cli/render.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/yaml.h"

namespace tombolo::cli {
namespace {

constexpr std::string_view kNothing = "-";

// A text may stand without quotes when it is made of plain characters and means itself.
bool is_plain(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
  if (text.empty() || text.find_first_not_of(kPlain) != std::string_view::npos) return false;
  // A letter or '/' in front keeps it from being a number or a list's dash.
  bool letter = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z');
  if (!letter && text[0] != '/') return false;
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  for (std::string_view word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
    if (lower == word) return false;
  return true;
}

std::string scalar(const json::value& value) {
  if (value.is_string() && is_plain(value.get_string())) return std::string(value.get_string());
  return to_json(value);  // JSON's scalars, [] and {} are YAML's
}

bool is_block(const json::value& value) {
  return (value.is_object() && !value.get_object().empty()) ||
         (value.is_array() && !value.get_array().empty());
}

// `begun`: the first line's indent is there already, behind a list's dash.
void yaml(std::string& out, const json::value& value, std::size_t indent, bool begun) {
  auto begin_line = [&] {
    if (!begun) out.append(indent, ' ');
    begun = false;
  };
  if (value.is_object()) {
    for (const auto& [key, member] : value.get_object()) {
      begin_line();
      out += scalar(json::string(key)) + ":";
      if (is_block(member)) {
        out += '\n';
        yaml(out, member, indent + 2, false);
      } else {
        out += " " + scalar(member) + "\n";
      }
    }
    return;
  }
  for (const auto& element : value.get_array()) {
    begin_line();
    out += "- ";
    if (is_block(element))
      yaml(out, element, indent + 2, true);
    else
      out += scalar(element) + "\n";
  }
}

const json::value* find(const json::value& from, std::string_view path) {
  const json::value* at = &from;
  while (!path.empty() && at != nullptr) {
    std::size_t dot = path.find('.');
    at = at->is_object() ? at->get_object().if_contains(path.substr(0, dot)) : nullptr;
    path = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  }
  return at;
}

std::string cell(const json::value* value) {
  if (value == nullptr || value->is_null()) return std::string(kNothing);
  if (value->is_bool()) return value->get_bool() ? "yes" : "no";
  if (value->is_array()) {
    std::string text;
    for (const auto& element : value->get_array())
      text += (text.empty() ? "" : ",") + cell(&element);
    return text.empty() ? std::string(kNothing) : text;
  }
  if (value->is_double()) return fmt::format("{:.1f}", value->get_double());
  if (!value->is_string()) return to_json(*value);
  std::string text(value->get_string());
  // A row stays a row, whatever a remote cluster's error holds.
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text.empty() ? std::string(kNothing) : text;
}

std::string cell(const json::value& row, const Column& column) {
  std::string text = cell(find(row, column.path));
  return column.zero_is_nothing && text == "0" ? std::string(kNothing) : text;
}

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & '\xC0') != '\x80'; }));
}

std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - width_of(row[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string facts_of(const json::value& answer, const std::vector<Column>& facts) {
  std::vector<std::vector<std::string>> rows;
  for (const Column& fact : facts) {
    std::string text = cell(answer, fact);
    if (text != kNothing) rows.push_back({fmt::format("{}:", fact.header), std::move(text)});
  }
  return aligned(rows);
}

std::string section_of(const json::value& answer, const Section& section) {
  const json::value* list = find(answer, section.rows);
  if (list == nullptr || !list->is_array() || list->get_array().empty())
    return section.if_empty.empty() ? "" : fmt::format("{}\n", section.if_empty);
  if (list->get_array().front().is_string()) {
    std::string out;
    for (const auto& line : list->get_array()) out += cell(&line) + "\n";
    return out;
  }
  std::vector<std::vector<std::string>> rows(1);
  for (const Column& column : section.columns) rows.front().emplace_back(column.header);
  for (const auto& element : list->get_array()) {
    auto& row = rows.emplace_back();
    for (const Column& column : section.columns) row.push_back(cell(element, column));
  }
  return aligned(rows);
}

}  // namespace

std::string to_yaml(const json::value& value) {
  if (!is_block(value)) return scalar(value) + "\n";
  std::string out;
  yaml(out, value, 0, false);
  return out;
}

std::string to_table(const json::value& answer, const View& view) {
  std::string out = facts_of(answer, view.facts);
  for (const Section& section : view.sections) {
    std::string text = section_of(answer, section);
    if (!out.empty() && !text.empty()) out += '\n';
    out += text;
  }
  return out;
}

std::string render(const json::value& answer, const View& view, Format format) {
  switch (format) {
    case Format::kTable:
      return to_table(answer, view);
    case Format::kJson:
      return to_pretty_json(answer) + "\n";
    case Format::kYaml:
      return to_yaml(answer);
  }
  return {};
}

}  // namespace tombolo::cli
