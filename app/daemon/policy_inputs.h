// What policies are judged by, from the store: policies of this cluster, identities and addresses
// of every cluster. Sources of the agent's flow; control thread.
//
//   tombolo/v1/policies/                                       -> policies
//   cilium/state/identities/v1/id/, cilium/cache/identities/v1/ -> identities
//   cilium/state/ip/v1/default/ ─┐
//   cilium/cache/ip/v1/ ─────────┴-> ip_owners: what this cluster says of an address comes first
//
// Each prefix starts with what an earlier life knew (core/store/last_known.h).
#pragma once

#include <memory>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/store/mirror.h"
#include "core/tables.h"
#include "schema/config/v1/config.pb.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {

// One table from two: a row of `first` hides the one of `second` with the same key.
template <class Row>
class Overlay {
 public:
  Overlay(Table<Row>& first, Table<Row>& second, Table<Row>& target, TaskGroup& tasks)
      : first_(first),
        second_(second),
        target_(target.take_writer("store")),
        tasks_(tasks),
        changed_(tasks.executor()),
        of_first_(first.track([this] { changed_.notify_all(); })),
        of_second_(second.track([this] { changed_.notify_all(); })) {}

  // All that waits, at once.
  void derive() {
    std::set<std::string> keys = of_first_->take();
    keys.merge(of_second_->take());
    for (const std::string& key : keys) {
      const Row* row = first_.find(key);
      if (row == nullptr) row = second_.find(key);
      if (row != nullptr)
        target_.upsert(*row);
      else
        target_.erase(key);
    }
    if (first_.synced() && second_.synced()) target_.mark_synced();
  }
  asio::awaitable<void> run() {
    while (!tasks_.cancelled()) {
      derive();
      if (pending()) continue;
      if (auto woken = co_await changed_.wait(); !woken) co_return;
    }
  }
  bool pending() const { return of_first_->pending() || of_second_->pending(); }

 private:
  Table<Row>& first_;
  Table<Row>& second_;
  typename Table<Row>::Writer target_;
  TaskGroup& tasks_;
  Signal changed_;
  std::unique_ptr<typename Table<Row>::Tracker> of_first_;
  std::unique_ptr<typename Table<Row>::Tracker> of_second_;
};

class PolicyInputs {
 public:
  // `known` may be null: nothing is kept for the next life.
  PolicyInputs(const config::v1::DaemonConfig& config, AgentTables& tables, LastKnown* known,
               RoleContext context);
  // Fills the tables with what an earlier life knew; before start().
  void restore();
  void start(Settling& settling);
  // Every table here holds all that the store has, or had when an earlier life last saw it.
  bool filled() const;

 private:
  TaskGroup& tasks_;
  Table<IpOwner> own_owners_;
  Table<IpOwner> remote_owners_;
  Overlay<IpOwner> owners_;
  Table<Identity>::Writer identities_;
  KvMirror<Policy> policy_mirror_;
  KvMirror<Identity> identity_mirror_;
  KvMirror<Identity> remote_identity_mirror_;
  KvMirror<IpOwner> owner_mirror_;
  KvMirror<IpOwner> remote_owner_mirror_;
};

}  // namespace tombolo
