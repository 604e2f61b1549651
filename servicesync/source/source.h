// The folder of manifests as tables: files come and go, a bad one keeps the last good objects it
// had. Source in the flow: files -> Catalog -> tables. Control thread; reading and decoding run on
// the worker.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/clock.h"
#include "core/log.h"
#include "core/task_group.h"
#include "core/worker.h"
#include "servicesync/manifests/manifests.h"

namespace tombolo::source {

// What the files say, before anything is derived from it.
struct SourceTables {
  explicit SourceTables(RevisionCounter& revisions);
  Table<Workload> pods;
  Table<manifests::PodTemplate> templates;
  Table<Service> services;
  Table<EndpointSlice> endpoint_slices;
};

// All files' objects together. An object that several files have counts once, from the first file
// by name; the others are told in the status table (reconciler "manifests", object = file).
class Catalog {
 public:
  Catalog(SourceTables& tables, Table<Namespace>::Writer namespaces, Table<Policy>::Writer policies,
          Table<PoolObject>::Writer pool_objects, Table<ReconcileStatus>::Writer status,
          Logger log);

  // An error keeps what the file had before.
  void set_file(const std::string& file, Result<manifests::Objects> objects);
  void remove_file(const std::string& file);
  // A complaint about the folder itself; empty when all is well.
  void set_folder_error(const std::string& error);
  // Every file of the first scan has been handed over.
  void mark_listed();
  bool listed() const { return listed_; }
  // Listed, and every file was good at least once: only then may anything be pruned.
  bool complete() const { return listed_ && never_good_.empty(); }
  // Called after each change, also of listed().
  void on_change(std::function<void()> callback) { on_change_ = std::move(callback); }

 private:
  void rebuild();
  void report(const std::string& file, const std::string& error);

  SourceTables& tables_;
  Table<Workload>::Writer pods_;
  Table<manifests::PodTemplate>::Writer templates_;
  Table<Service>::Writer services_;
  Table<EndpointSlice>::Writer endpoint_slices_;
  Table<Namespace>::Writer namespaces_;
  Table<Policy>::Writer policies_;
  Table<PoolObject>::Writer pool_objects_;
  Table<ReconcileStatus>::Writer status_;
  Logger log_;
  std::function<void()> on_change_;
  std::map<std::string, manifests::Objects> files_;
  std::map<std::string, std::string> errors_;  // of files that are bad now
  std::set<std::string> never_good_;
  std::map<std::string, std::string> reported_;
  bool listed_ = false;
};

struct FolderOptions {
  std::string path;
  Duration debounce = std::chrono::milliseconds(20);
  Duration rescan = std::chrono::seconds(5);         // finds what inotify does not tell
  Duration settle = std::chrono::milliseconds(200);  // how long a file must be left alone
  manifests::ForeignDecoders foreign;
};

// Watches a folder: files *.yaml, *.yml and *.json that do not begin with a dot, not below
// subfolders. A file is read when it was closed after writing, renamed into place, or has not
// changed between two scans, so that a half-written one is not taken.
class ManifestFolder {
 public:
  ManifestFolder(FolderOptions options, Catalog& catalog, Worker& worker, TaskGroup& tasks,
                 Clock& clock, Logger log);
  ~ManifestFolder();
  // Until the group is cancelled.
  asio::awaitable<void> run();

 private:
  class Inotify;
  struct Signature;
  struct Scan;
  static Scan scan(std::string path, const manifests::ForeignDecoders& foreign, bool first,
                   std::map<std::string, Signature> known, std::set<std::string> touched);
  asio::awaitable<void> listen();
  asio::awaitable<void> tick();
  void take(Scan scan);

  FolderOptions options_;
  Catalog& catalog_;
  Worker& worker_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  Signal changed_;
  std::unique_ptr<Inotify> inotify_;
  std::map<std::string, Signature> known_;
  std::set<std::string> touched_;
  bool due_ = true;
};

}  // namespace tombolo::source
