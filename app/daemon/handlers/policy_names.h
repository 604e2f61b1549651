// Who is at an address, and at which address a pod is: what `policy explain` and the flow events
// name ends by. Read from the tables of whichever role there is; an agent knows the pods of every
// cluster, a controller alone those of its own. Control thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/admin/handlers.h"
#include "core/tables.h"
#include "policy/rules/rules.h"

namespace tombolo {

// One end of a packet: as it is shown, and as rules are judged by. Copies: it outlives the rows.
struct NamedEnd {
  admin::api::PolicyEnd shown;
  std::optional<Identity> identity;
  std::optional<Ip> ip;
  std::optional<Ip> node_ip;
  std::vector<NamedPort> ports;
  bool is_pod = false;

  policy::Party party() const { return {identity ? &*identity : nullptr, ip, ports}; }
};

class PolicyNames {
 public:
  // Either of the tables may be null, not both; the agent's are preferred.
  PolicyNames(const AgentTables* agent, const ControllerTables* controller, std::string cluster)
      : agent_(agent), controller_(controller), cluster_(std::move(cluster)) {}

  const std::string& cluster() const { return cluster_; }

  // What is not known of the address is left empty; somebody outside the fleet is an answer too.
  NamedEnd at(const Ip& ip) const;
  // "NS/POD" (of this cluster, else of the only one that has it), "CLUSTER/NS/POD" or an address.
  // kNotFound, or kInvalidArgument when it is none of these or in several clusters.
  Result<NamedEnd> find(const std::string& text) const;

 private:
  Result<Ip> address_of(const std::string& cluster, const std::string& name_space,
                        const std::string& pod) const;
  void fill_from_agent(const Ip& ip, NamedEnd& end) const;
  void fill_from_controller(const Ip& ip, NamedEnd& end) const;

  const AgentTables* agent_;
  const ControllerTables* controller_;
  std::string cluster_;
};

}  // namespace tombolo
