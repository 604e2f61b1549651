// A derived table whose rows are keys of the store: table, publisher and reconciler in one piece,
// because the daemon has several. Owner: a role; control thread.
#pragma once

#include <optional>
#include <string>

#include "core/reconciler.h"
#include "core/store/publisher.h"

namespace tombolo {

// What every part of a role is built from. All referred to outlive the role.
struct RoleContext {
  Kv& kv;
  TaskGroup& tasks;
  Clock& clock;
  Rng& rng;
  Logger log;
};

// Publishes an existing table.
template <class Row>
class Publication {
 public:
  using Encode = typename KvPublisher<Row>::Encode;

  Publication(PublishOptions options, Table<Row>& table, Table<ReconcileStatus>::Writer status,
              Encode encode, RoleContext context)
      : publisher_(options, context.kv, std::move(encode), context.tasks, context.clock,
                   context.rng, context.log),
        reconciler_(ReconcilerOptions{options.name}, table, publisher_, status, context.tasks,
                    context.clock, context.rng, context.log),
        tasks_(context.tasks) {}

  void start() {
    tasks_.spawn("publish " + reconciler_.name(), reconciler_.run());
    tasks_.spawn("repair " + reconciler_.name(), publisher_.run());
  }
  const ReconcilerView& view() const { return reconciler_; }
  void use_lease(std::int64_t lease) { publisher_.use_lease(lease); }

 private:
  KvPublisher<Row> publisher_;
  Reconciler<Row> reconciler_;
  TaskGroup& tasks_;
};

// Owns the table too.
template <class Row>
class PublishedTable {
 public:
  PublishedTable(PublishOptions options, RevisionCounter& revisions, std::string writer,
                 Table<ReconcileStatus>::Writer status, typename Publication<Row>::Encode encode,
                 RoleContext context)
      : table_(options.name, revisions),
        writer_(table_.take_writer(std::move(writer))),
        publication_(std::move(options), table_, status, std::move(encode), context) {}

  typename Table<Row>::Writer& writer() { return writer_; }
  const Table<Row>& table() const { return table_; }
  std::unique_ptr<typename Table<Row>::Tracker> track(std::function<void()> wake) {
    return table_.track(std::move(wake));
  }
  void start() { publication_.start(); }
  const ReconcilerView& view() const { return publication_.view(); }

 private:
  Table<Row> table_;
  typename Table<Row>::Writer writer_;
  Publication<Row> publication_;
};

}  // namespace tombolo
