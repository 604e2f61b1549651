// The configuration of tombolod: file, then flags, then defaults, then checks. What comes out is
// complete: whoever uses it asks nothing about absent fields. Runs once at the start, and again for
// `tombolod --check`.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo::config {

using v1::DaemonConfig;

struct Sources {
  std::string file;               // YAML or JSON; empty: defaults and flags only
  std::string roles;              // --role: "agent,controller"; empty: not given
  std::vector<std::string> sets;  // --set: "agent.mtu=1400", "store.endpoints=[a:1, b:2]"; in order
  std::string host_name;          // the default of node.name; empty: the machine's
};

// Errors name the place: "tombolod.yaml:3: cluster.id: …", "--set: agent.mtu: …". kNotFound when
// the file is not there, else kInvalidArgument.
Result<DaemonConfig> load(const Sources& sources);

// A field that is wrong: its path, as in errors of the file, and what is wrong with it.
struct Complaint {
  std::string path;
  std::string what;
};

// Every default that config.proto documents. `host_name` for node.name.
void apply_defaults(DaemonConfig& config, const std::string& host_name);
// The first thing that is wrong, or nothing. After apply_defaults.
std::vector<Complaint> validate(const DaemonConfig& config);

bool has_role(const DaemonConfig& config, v1::Role role);

}  // namespace tombolo::config
