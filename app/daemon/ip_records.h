// What an agent publishes about the addresses of its pods: Cilium's IPIdentityPair for each, with
// the identity that the controller gave the pod. Attachments come from CNI, identities from the
// store.
//
//   attachments, local_pods -> ip_records -> cilium/state/ip/v1/default/ADDRESS
//
// Control thread.
#pragma once

#include <functional>
#include <memory>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/tables.h"
#include "schema/config/v1/config.pb.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {

struct IpRow {
  cilium::IpRecord record;
  std::string key() const { return record.ip.str(); }
  bool operator==(const IpRow&) const = default;
};

class IpRecords {
 public:
  // `pods_known` says whether local_pods is complete: before, an address would lose the identity
  // that it has in the store.
  IpRecords(const config::v1::DaemonConfig& config, AgentTables& tables,
            std::function<bool()> pods_known, Table<ReconcileStatus>::Writer status,
            RoleContext context);
  void start(Settling& settling);

 private:
  asio::awaitable<void> derive();
  void derive_rows();

  const config::v1::DaemonConfig& config_;
  AgentTables& tables_;
  RoleContext context_;
  Signal changed_;
  std::function<bool()> pods_known_;
  std::unique_ptr<Table<LocalPod>::Tracker> known_;
  std::unique_ptr<Table<Attachment>::Tracker> attached_;
  PublishedTable<IpRow> published_;
};

}  // namespace tombolo
