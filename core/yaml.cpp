// yaml-cpp behind parse_yaml: its nodes become JSON values, its marks become lines, its exceptions
// become errors.
#include "core/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <regex>
#include <sstream>

namespace tombolo {
namespace {

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  for (auto word : words)
    if (text == word) return true;
  return false;
}

json::value plain_scalar(const std::string& text) {
  if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) return nullptr;
  if (is_one_of(text, {"true", "True", "TRUE"})) return true;
  if (is_one_of(text, {"false", "False", "FALSE"})) return false;
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const char* begin = text.data() + (text[0] == '+' ? 1 : 0);
  if (auto [stop, error] = std::from_chars(begin, end, number); error == std::errc{} && stop == end)
    return number;
  if (text.starts_with("0x")) {
    auto [stop, error] = std::from_chars(text.data() + 2, end, number, 16);
    if (error == std::errc{} && stop == end) return number;
  }
  static const std::regex kFloat("[-+]?(\\.[0-9]+|[0-9]+(\\.[0-9]*)?)([eE][-+]?[0-9]+)?");
  if (text.size() < 64 && std::regex_match(text, kFloat)) return std::strtod(text.c_str(), nullptr);
  return json::string(text);
}

class Converter {
 public:
  Converter(DocumentPlace& place, YamlLimits limits) : place_(place), limits_(limits) {}

  Result<json::value> convert(const YAML::Node& node, const std::string& path, std::size_t depth) {
    int line = node.Mark().line + 1;
    if (line > 0) place_.lines.emplace(path, line);
    if (depth > limits_.depth) return refuse(line, path, "nested too deeply");
    if (++values_ > limits_.values) return refuse(line, path, "too many values (or an alias bomb)");
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return json::value(nullptr);
      case YAML::NodeType::Scalar:
        return scalar(node, line, path);
      case YAML::NodeType::Sequence:
        return sequence(node, path, depth);
      case YAML::NodeType::Map:
        return mapping(node, line, path, depth);
    }
    return refuse(line, path, "unknown kind of value");
  }

 private:
  std::unexpected<Error> refuse(int line, const std::string& path, std::string_view what) const {
    return fail(Code::kInvalidArgument, "{}:{}: {}{}{}", place_.name, line, path,
                path.empty() ? "" : ": ", what);
  }

  Result<json::value> scalar(const YAML::Node& node, int line, const std::string& path) {
    const std::string& tag = node.Tag();
    if (tag == "?" || tag.empty()) return plain_scalar(node.Scalar());
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return json::string(node.Scalar());
    return refuse(line, path, fmt::format("the tag {} is not understood", tag.substr(0, 64)));
  }

  Result<json::value> sequence(const YAML::Node& node, const std::string& path, std::size_t depth) {
    json::array array;
    std::size_t index = 0;
    for (const auto& element : node) {
      TRY(value, convert(element, fmt::format("{}[{}]", path, index++), depth + 1));
      array.push_back(std::move(value));
    }
    return array;
  }

  Result<json::value> mapping(const YAML::Node& node, int line, const std::string& path,
                              std::size_t depth) {
    json::object object;
    for (const auto& member : node) {
      if (!member.first.IsScalar()) return refuse(line, path, "a key must be a string");
      const std::string& key = member.first.Scalar();
      if (object.contains(key))
        return refuse(member.first.Mark().line + 1, path,
                      fmt::format("the key \"{}\" stands twice", key.substr(0, 64)));
      // The same spelling as Cursor::path, so that lines are found again.
      bool plain = key.find_first_of(".[\" ") == std::string::npos;
      std::string step = plain ? key : fmt::format("[\"{}\"]", key);
      std::string child = path.empty() || !plain ? path + step : path + "." + step;
      place_.lines.emplace(child, member.first.Mark().line + 1);
      TRY(value, convert(member.second, child, depth + 1));
      object.emplace(key, std::move(value));
    }
    return object;
  }

  DocumentPlace& place_;
  YamlLimits limits_;
  std::size_t values_ = 0;
};

// yaml-cpp recurses on nested flow collections; text that nests deeper than any document of ours is
// refused first.
Result<void> refuse_deep_nesting(std::string_view text, const std::string& name,
                                 std::size_t depth) {
  std::size_t open = 0;
  for (char c : text) {
    if (c == '[' || c == '{') ++open;
    if ((c == ']' || c == '}') && open > 0) --open;
    if (open > depth * 4) return fail(Code::kInvalidArgument, "{}: nested too deeply", name);
  }
  return {};
}

// Counts what a stream holds without keeping it, and throws at the limit. yaml-cpp 0.7 answers some
// malformed text (a comma where a document begins) with empty documents without end; LoadAll would
// take all memory.
class EventCounter : public YAML::EventHandler {
 public:
  explicit EventCounter(std::size_t limit) : limit_(limit) {}
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    count(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    count(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    count(mark);
  }
  void OnMapEnd() override {}

 private:
  void count(const YAML::Mark& mark) {
    if (++events_ > limit_) throw YAML::ParserException(mark, "too many values");
  }

  std::size_t limit_;
  std::size_t events_ = 0;
};

// Throws what yaml-cpp throws.
Result<void> refuse_endless_stream(const std::string& text, const std::string& name,
                                   YamlLimits limits) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  EventCounter counter(2 * limits.values);  // keys count too
  for (std::size_t documents = 0; parser.HandleNextDocument(counter);)
    if (++documents > limits.documents)
      return fail(Code::kInvalidArgument, "{}: more than {} documents", name, limits.documents);
  return {};
}

}  // namespace

Result<std::vector<YamlDocument>> parse_yaml(std::string_view text, std::string name,
                                             YamlLimits limits) {
  if (text.size() > limits.bytes)
    return fail(Code::kInvalidArgument, "{}: {} bytes; the limit is {}", name, text.size(),
                limits.bytes);
  TRY_OK(refuse_deep_nesting(text, name, limits.depth));
  std::vector<YamlDocument> documents;
  try {
    const std::string owned(text);
    TRY_OK(refuse_endless_stream(owned, name, limits));
    for (const YAML::Node& node : YAML::LoadAll(owned)) {
      YamlDocument document;
      document.place.name = name;
      Converter converter(document.place, limits);
      TRY(value, converter.convert(node, "", 0));
      if (value.is_null()) continue;
      document.value = std::move(value);
      documents.push_back(std::move(document));
    }
  } catch (const YAML::Exception& error) {
    return fail(Code::kInvalidArgument, "{}:{}: not valid YAML: {}", name, error.mark.line + 1,
                error.msg);
  }
  return documents;
}

Result<YamlDocument> read_yaml_file(const std::string& path, YamlLimits limits) {
  TRY(text, read_file(path, limits.bytes));
  TRY(documents, parse_yaml(text, path, limits));
  if (documents.size() != 1)
    return fail(Code::kInvalidArgument, "{}: {} documents where one is expected", path,
                documents.size());
  return std::move(documents.front());
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail_errno(errno == 0 ? EIO : errno, "{}: cannot be opened", path);
  std::string text;
  std::array<char, 65536> buffer{};
  while (in.read(buffer.data(), buffer.size()) || in.gcount() > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > limit)
      return fail(Code::kInvalidArgument, "{}: larger than {} bytes", path, limit);
  }
  if (in.bad()) return fail_errno(errno == 0 ? EIO : errno, "{}: cannot be read", path);
  return text;
}

}  // namespace tombolo
