// What an agent publishes about the addresses of its pods: Cilium's IPIdentityPair for each, with
// the identity that the controller gave the pod. Attachments come from CNI, identities from the
// store.
//
//   attachments, workload records -> ip_records -> cilium/state/ip/v1/default/ADDRESS
//
// Control thread.
#pragma once

#include <memory>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/store/mirror.h"
#include "core/tables.h"
#include "schema/config/v1/config.pb.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {

// A pod of this node as the controller knows it.
struct KnownWorkload {
  std::string pod;  // "NAMESPACE/NAME"
  cilium::WorkloadRecord record;
  std::string key() const { return pod; }
  bool operator==(const KnownWorkload&) const = default;
};

struct IpRow {
  cilium::IpRecord record;
  std::string key() const { return record.ip.str(); }
  bool operator==(const IpRow&) const = default;
};

class IpRecords {
 public:
  IpRecords(const config::v1::DaemonConfig& config, AgentTables& tables,
            Table<ReconcileStatus>::Writer status, RoleContext context);
  void start(Settling& settling);

 private:
  asio::awaitable<void> derive();
  void derive_rows();

  const config::v1::DaemonConfig& config_;
  AgentTables& tables_;
  RoleContext context_;
  Signal changed_;
  Table<KnownWorkload> workloads_;
  KvMirror<KnownWorkload> mirror_;
  std::unique_ptr<Table<KnownWorkload>::Tracker> known_;
  std::unique_ptr<Table<Attachment>::Tracker> attached_;
  PublishedTable<IpRow> published_;
};

}  // namespace tombolo
