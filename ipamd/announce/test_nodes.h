// Nodes for tests: everything of announcing but the packets. Only tests include this.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include "core/store/drive.h"
#include "core/store/mirror.h"
#include "ipamd/announce/announce.h"

namespace tombolo::announce {

using namespace std::chrono_literals;

class FakeLink final : public Link {
 public:
  explicit FakeLink(Clock& clock) : clock_(clock) {}
  void answer_for(std::map<Ip, bool> addresses, MonotonicTime until) override {
    addresses_ = std::move(addresses);
    until_ = until;
  }
  void on_other(std::function<void(const Ip&, const std::string&)> heard) override {
    heard_ = std::move(heard);
  }
  asio::awaitable<void> run() override { co_return; }

  bool answers(const Ip& ip) const { return addresses_.contains(ip) && clock_.now() < until_; }
  bool sure(const Ip& ip) const {
    auto at = addresses_.find(ip);
    return at != addresses_.end() && at->second;
  }
  void hear(const Ip& ip) { heard_(ip, "02:00:00:00:00:99"); }
  MonotonicTime until() const { return until_; }

 private:
  Clock& clock_;
  std::map<Ip, bool> addresses_;
  MonotonicTime until_{};
  std::function<void(const Ip&, const std::string&)> heard_;
};

// One life of a node's agent, as far as this part is concerned.
class Life {
 public:
  Life(Drive& drive, Clock& clock, Rng& rng, std::unique_ptr<Kv> kv, Settings settings)
      : drive_(drive),
        kv_(std::move(kv)),
        tasks_(drive.executor()),
        frontends_(table_frontends_.take_writer("test")),
        nodes_(table_nodes_.take_writer("test")),
        status_(table_status_.take_writer("test")),
        mirror_(options(), *kv_, table_records_.take_writer("store"), decode_announcement, tasks_,
                clock, rng, Logger()),
        link(clock),
        announcer_(std::move(settings), table_frontends_, table_nodes_, table_records_, link,
                   table_answered_.take_writer("test"), status_, *kv_, tasks_, clock, rng,
                   Logger()) {}
  ~Life() {
    tasks_.cancel();
    drive_.until([&] { return tasks_.size() == 0; });
  }

  void start() {
    frontends_.mark_synced();
    nodes_.mark_synced();
    tasks_.spawn("mirror", mirror_.run());
    announcer_.start();
  }
  void set(Frontend frontend) { frontends_.upsert(std::move(frontend)); }
  void erase(const std::string& key) { frontends_.erase(key); }
  void set(Node node) { nodes_.upsert(std::move(node)); }
  const Table<Answered>& answered() const { return table_answered_; }
  std::string status(const std::string& key) const {
    const ReconcileStatus* line = table_status_.find(key);
    return line == nullptr ? "" : line->error;
  }

 private:
  static MirrorOptions options() {
    MirrorOptions options;
    options.follow.name = "announcements";
    options.follow.prefix = kAnnouncementsPrefix;
    options.follow.retry_base = 1ms;
    options.follow.retry_cap = 4ms;
    options.follow.progress_interval = 20ms;
    return options;
  }
  Drive& drive_;
  std::unique_ptr<Kv> kv_;
  TaskGroup tasks_;
  RevisionCounter revisions_;
  Table<Frontend> table_frontends_{"frontends", revisions_};
  Table<Node> table_nodes_{"nodes", revisions_};
  Table<Announcement> table_records_{"announcements", revisions_};
  Table<ReconcileStatus> table_status_{"status", revisions_};
  Table<Answered> table_answered_{"answered", revisions_};
  Table<Frontend>::Writer frontends_;
  Table<Node>::Writer nodes_;
  Table<ReconcileStatus>::Writer status_;
  KvMirror<Announcement> mirror_;

 public:
  FakeLink link;

 private:
  Announcer announcer_;
};

inline Node node(const std::string& name) {
  Node row;
  row.cluster = "east";
  row.name = name;
  return row;
}

inline Frontend web(const std::vector<std::string>& ips,
                    const std::vector<std::string>& backends = {}) {
  Frontend row;
  row.name_space = "shop";
  row.name = "web";
  for (const std::string& ip : ips) row.load_balancer_ips.push_back(*Ip::parse(ip));
  for (const std::string& name : backends) {
    Backend backend;
    backend.cluster = "east";
    backend.node = name;
    row.backends.push_back(backend);
  }
  return row;
}

}  // namespace tombolo::announce
