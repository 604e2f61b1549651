// policy: who may talk to whom. `matrix` needs no daemon: manifests alone are compiled here, to the
// same tables that the kernel gets.
#include <algorithm>
#include <filesystem>
#include <map>

#include "app/cli/commands.h"
#include "core/yaml.h"
#include "policy/languages/languages.h"
#include "policy/matrix/matrix.h"
#include "servicesync/manifests/manifests.h"

namespace tombolo::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestManifest = 64U << 20U;

struct MatrixOptions {
  std::vector<std::string> files;
  std::vector<std::string> ports;
};

bool is_manifest(const fs::path& path) {
  auto extension = path.extension();
  return path.filename().string().front() != '.' &&
         (extension == ".yaml" || extension == ".yml" || extension == ".json");
}

// A file, or the manifests of a folder, sorted; not those of folders below it.
Result<std::vector<std::string>> manifests_at(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector<std::string>{path};
  std::vector<std::string> files;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error))
    if (!at->is_directory() && is_manifest(at->path())) files.push_back(at->path());
  if (error) return fail_errno(error.value(), "{}", path);
  if (files.empty()) return fail(Code::kNotFound, "{}: no manifest (*.yaml, *.yml, *.json)", path);
  std::ranges::sort(files);
  return files;
}

// Collects objects of all files; the same object in two of them is an error.
class Reading {
 public:
  Result<void> read(const std::string& file) {
    TRY(text, read_file(file, kLongestManifest));
    manifests::ForeignDecoders foreign{policy::parse_network_policy};
    TRY(objects, manifests::decode_objects(text, file, foreign));
    for (auto& [name, line] : objects.lines)
      if (auto [at, fresh] = seen_.try_emplace(name, file); !fresh)
        return fail(Code::kInvalidArgument, "{}:{}: {} stands in {} too", file, line, name,
                    at->second);
    append(objects.namespaces, input_.namespaces);
    append(objects.pods, input_.pods);
    append(objects.policies, input_.policies);
    return {};
  }
  policy::MatrixInput take() { return std::move(input_); }

 private:
  template <class Row>
  static void append(std::vector<Row>& from, std::vector<Row>& to) {
    std::ranges::move(from, std::back_inserter(to));
  }

  policy::MatrixInput input_;
  std::map<std::string, std::string> seen_;  // "Pod shop/web" -> file
};

json::value value_of(const policy::Matrix& matrix) {
  json::array pods;
  for (const std::string& pod : matrix.pods) pods.emplace_back(pod);
  json::object allowed;
  for (std::size_t probe = 0; probe < matrix.probes.size(); ++probe) {
    json::array rows;
    for (const std::string& row : matrix.allowed[probe]) rows.emplace_back(row);
    allowed[to_string(matrix.probes[probe])] = std::move(rows);
  }
  return json::object{{"pods", std::move(pods)}, {"allowed", std::move(allowed)}};
}

// A line per source, a column per destination, in the order of the lines.
std::string text_of(const policy::Matrix& matrix) {
  std::size_t width = 0;
  for (const std::string& pod : matrix.pods) width = std::max(width, pod.size());
  std::string text = "From each line to each column, in the same order; . may, X may not.\n";
  for (std::size_t probe = 0; probe < matrix.probes.size(); ++probe) {
    text += fmt::format("\n{}\n", to_string(matrix.probes[probe]));
    for (std::size_t source = 0; source < matrix.pods.size(); ++source)
      text +=
          fmt::format("  {:<{}}  {}\n", matrix.pods[source], width, matrix.allowed[probe][source]);
  }
  return text;
}

Result<void> print_matrix(Session& session, const MatrixOptions& options) {
  Reading reading;
  for (const std::string& path : options.files) {
    TRY(files, manifests_at(path));
    for (const std::string& file : files) TRY_OK(reading.read(file));
  }
  policy::MatrixInput input = reading.take();
  for (const std::string& port : options.ports) {
    TRY(probe, policy::parse_probe(port));
    input.probes.push_back(probe);
  }
  if (input.pods.empty()) return fail(Code::kNotFound, "the manifests have no Pod");
  TRY(matrix, policy::make_matrix(input));
  if (matrix.probes.empty())
    return fail(Code::kInvalidArgument, "no container has a port: say which with --port TCP/80");
  if (session.settings.format == Format::kTable) return Session::write(text_of(matrix));
  return session.print(value_of(matrix), {});
}

void add_matrix(CLI::App* policy, Session& session) {
  auto options = std::make_shared<MatrixOptions>();
  CLI::App* matrix =
      add_command(policy, "matrix", "Who may talk to whom, from manifests; no daemon is needed",
                  "tombolo policy matrix --files manifests/\n"
                  "tombolo policy matrix --files manifests/ --port TCP/80 --port UDP/53 -o json");
  matrix
      ->add_option("--files,-f", options->files,
                   "Folder (or file) with Namespace, Pod and NetworkPolicy; can be repeated")
      ->required();
  matrix->add_option("--port", options->ports,
                     "PROTO/PORT to ask about; can be repeated. Without it: every port that a "
                     "container has");
  matrix->callback([&session, options] {
    session.action = [&session, options] { return print_matrix(session, *options); };
  });
}

}  // namespace

void add_policy_commands(CLI::App& app, Session& session) {
  CLI::App* policy = add_group(app, "policy", "Who may talk to whom, and which rule says so");
  add_policy_questions(policy, session);
  add_matrix(policy, session);
}

}  // namespace tombolo::cli
