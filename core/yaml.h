// YAML from outside (fleet files, configuration, manifests) as JSON values with the line of every
// value. Scalars are typed by the YAML 1.2 core schema, as sigs.k8s.io/yaml reads Kubernetes
// manifests, but for 1.1's yes/no.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace tombolo {

struct YamlLimits {
  std::size_t bytes = 4U << 20U;
  std::size_t values = 200'000;  // after aliases are expanded, so that an alias bomb ends early
  std::size_t depth = 64;
  std::size_t documents = 10'000;
};

struct YamlDocument {
  json::value value;
  DocumentPlace place;
  Cursor root() const { return {value, place}; }
};

// All documents of a stream ("---" between them); empty ones are left out. JSON is read too, being
// YAML. Duplicate keys, non-string keys and tags other than the core ones are refused. `name`
// stands in front of every error.
Result<std::vector<YamlDocument>> parse_yaml(std::string_view text, std::string name,
                                             YamlLimits limits = {});
// The same for a file that holds exactly one document. kNotFound when the file is not there.
Result<YamlDocument> read_yaml_file(const std::string& path, YamlLimits limits = {});
// A whole file, refused over `limit` bytes.
Result<std::string> read_file(const std::string& path, std::size_t limit = 16U << 20U);

}  // namespace tombolo
