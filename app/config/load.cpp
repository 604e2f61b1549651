// File, flags, defaults, checks, in this order; and the place of what a check complains about.
#include <unistd.h>

#include <array>
#include <cerrno>

#include "app/config/config.h"
#include "app/config/decode.h"
#include "core/yaml.h"

namespace tombolo::config {
namespace {

constexpr std::size_t kLongestFile = 1U << 20U;
constexpr std::size_t kMostSets = 1'000;

// Where values came from, so that a check that fails later can still name file and line.
class Places {
 public:
  void add_file(DocumentPlace place) { file_ = std::move(place); }
  void add_flag(std::string flag, std::string path) {
    flags_.insert_or_assign(std::move(path), std::move(flag));
  }

  Error error(const Complaint& complaint) const {
    return Error{Code::kInvalidArgument, fmt::format("{}{}: {}", source_of(complaint.path),
                                                     complaint.path, complaint.what)};
  }

 private:
  // "FILE:LINE: " of the path or of the nearest thing around it; "--set: " when a flag gave it.
  std::string source_of(std::string_view path) const {
    for (std::string_view at = path;; at = at.substr(0, at.find_last_of(".["))) {
      if (auto flag = flags_.find(at); flag != flags_.end()) return flag->second + ": ";
      if (auto line = file_.lines.find(at); line != file_.lines.end() && !at.empty())
        return fmt::format("{}:{}: ", file_.name, line->second);
      if (at.find_last_of(".[") == std::string_view::npos) break;
    }
    return file_.name.empty() ? "" : file_.name + ": ";
  }

  DocumentPlace file_;
  std::map<std::string, std::string, std::less<>> flags_;
};

Result<void> read_into(const std::string& file, DaemonConfig& config, Places& places) {
  YamlLimits limits;
  limits.bytes = kLongestFile;
  limits.depth = 16;
  TRY(document, read_yaml_file(file, limits));
  TRY_OK(decode(document.root(), config));
  places.add_file(std::move(document.place));
  return {};
}

// {"agent": {"mtu": 1400}} of "agent.mtu" and 1400.
Result<json::value> nest(std::string_view flag, std::string_view path, json::value value) {
  std::string_view rest = path;
  while (!rest.empty()) {
    std::size_t dot = rest.rfind('.');
    std::string_view step = dot == std::string_view::npos ? rest : rest.substr(dot + 1);
    bool plain = !step.empty() && step.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") ==
                                      std::string_view::npos;
    if (!plain)
      return fail(Code::kInvalidArgument, "{}: \"{}\" is not a path of field names", flag, path);
    json::object outer;
    outer[step] = std::move(value);
    value = std::move(outer);
    rest = dot == std::string_view::npos ? "" : rest.substr(0, dot);
    if (dot == 0)
      return fail(Code::kInvalidArgument, "{}: \"{}\" is not a path of field names", flag, path);
  }
  return value;
}

Result<void> set_into(const std::string& flag, std::string_view path, std::string_view text,
                      DaemonConfig& config, Places& places) {
  YamlLimits limits;
  limits.bytes = 65536;
  limits.depth = 16;
  TRY(documents, parse_yaml(text, flag, limits));
  // An empty text is an empty string, so that a setting of the file can be taken back.
  json::value value = json::string();
  if (documents.size() == 1) value = documents.front().value;
  if (documents.size() > 1)
    return fail(Code::kInvalidArgument, "{}: {}: more than one document", flag, path);
  TRY(document, nest(flag, path, std::move(value)));
  DocumentPlace place{flag, {}};
  TRY_OK(decode(Cursor(document, place), config));
  places.add_flag(flag, std::string(path));
  return {};
}

Result<void> apply_sets(const std::vector<std::string>& sets, DaemonConfig& config,
                        Places& places) {
  if (sets.size() > kMostSets)
    return fail(Code::kInvalidArgument, "--set: given more than {} times", kMostSets);
  for (const std::string& set : sets) {
    std::size_t equals = set.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(Code::kInvalidArgument, "--set: \"{}\" is not PATH=VALUE", set.substr(0, 100));
    std::string_view text = set;
    TRY_OK(set_into("--set", text.substr(0, equals), text.substr(equals + 1), config, places));
  }
  return {};
}

Result<std::string> machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0)
    return fail_errno(errno, "the machine's host name cannot be read");
  return std::string(name.data());
}

}  // namespace

Result<DaemonConfig> load(const Sources& sources) {
  DaemonConfig config;
  Places places;
  if (!sources.file.empty()) TRY_OK(read_into(sources.file, config, places));
  TRY_OK(apply_sets(sources.sets, config, places));
  if (!sources.roles.empty())
    TRY_OK(set_into("--role", "roles", "[" + sources.roles + "]", config, places));
  std::string host_name = sources.host_name;
  if (host_name.empty()) {
    TRY(name, machine_name());
    host_name = std::move(name);
  }
  apply_defaults(config, host_name);
  auto complaints = validate(config);
  if (!complaints.empty()) return std::unexpected(places.error(complaints.front()));
  return config;
}

}  // namespace tombolo::config
