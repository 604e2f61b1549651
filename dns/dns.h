// Cross-cluster DNS: cluster.local and clusterset.local from the frontends table, over UDP and TCP,
// other names from upstream servers. The public header of this folder.
//
//   Table<Frontend> -> ZonePublisher (control thread) -> ZoneSet -> DnsServer (its own threads)
//
// Compose it so: make a DnsServer and a ZonePublisher whose `publish` hands snapshots to
// DnsServer::publish(), run a Reconciler<Frontend> over the publisher, start() the server. Until
// the table is synced, names of our zones get SERVFAIL (extended error 14), never a denial.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/ip.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/reconciler.h"
#include "core/tables.h"
#include "dns/zone.h"

namespace tombolo::dns {

struct DnsSettings {
  std::vector<Endpoint> listen;  // UDP and TCP; port 0 lets the kernel choose one for both
  ZoneSettings zones;
  std::vector<Endpoint> upstreams;      // other names; none: REFUSED
  std::vector<Prefix> forward_clients;  // who may ask for other names; empty: everybody
  std::size_t udp_workers = 1;          // threads; more than one share each address (SO_REUSEPORT)
  // Bind before an address is on an interface (IP_FREEBIND).
  bool free_bind = false;
  // A headless name of clusterset.local that does not fit the client's UDP size shows a subset (the
  // same of A and AAAA) instead of nothing and TC; over TCP it shows all.
  bool clusterset_subset = true;
  std::size_t max_tcp_connections = 512;
  std::size_t max_tcp_connections_per_client = 64;
  Duration tcp_idle_timeout = std::chrono::seconds(10);
  Duration upstream_timeout = std::chrono::seconds(1);  // of one attempt; there are two or three
  std::size_t cache_entries = 4096;                     // of forwarded answers; 0: no cache
  std::size_t max_forwards = 1000;                      // questions at the upstreams at once
};

// Control thread; its answers are made on threads of its own.
class DnsServer {
 public:
  // kInvalidArgument names the setting: no address, a zone's name, an upstream that is this server
  // itself.
  static Result<std::unique_ptr<DnsServer>> make(DnsSettings settings, Logger log);
  ~DnsServer();  // stops
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  // Binds every address and starts the threads; on an error (the address and errno are in it)
  // nothing runs.
  Result<void> start();
  // Answers what was received, closes the sockets, joins the threads. A second call does nothing.
  void stop();
  // Questions that arrive from now on are answered from `zones`.
  void publish(std::shared_ptr<const ZoneSet> zones);
  // Where it listens, with the ports that were chosen. Empty before start().
  std::vector<Endpoint> addresses() const;

 private:
  struct Running;
  DnsServer(DnsSettings settings, std::shared_ptr<const ZoneSet> first, Logger log);
  DnsSettings settings_;
  std::shared_ptr<const ZoneSet> latest_;
  Logger log_;
  std::unique_ptr<Running> running_;
};

// Turns changed frontends into snapshots. Hand it to a Reconciler<Frontend>; changes of one turn
// make one snapshot. Nothing is published before the table is synced, or serve_known() was called.
class ZonePublisher final : public ReconcileOperations<Frontend> {
 public:
  using Publish = std::function<void(std::shared_ptr<const ZoneSet>)>;
  static Result<std::unique_ptr<ZonePublisher>> make(ZoneSettings settings, Clock& clock,
                                                     Publish publish, Logger log);

  asio::awaitable<Result<void>> update(Frontend row) override;
  asio::awaitable<Result<void>> erase(std::string key) override;
  asio::awaitable<Result<void>> prune(std::vector<Frontend> rows) override;
  std::size_t batch_limit() const override { return 256; }
  asio::awaitable<std::vector<Result<void>>> apply(std::vector<Change> changes) override;

  // Rows of an earlier life that are complete: published at once, so that names are answered while
  // the store is away. The reconciler corrects them. Before it runs.
  void serve_known(const std::vector<Frontend>& rows);

  // Namespaces that exist without a service: their names are NODATA, not NXDOMAIN.
  void set_namespace(const std::string& name, bool exists);

 private:
  ZonePublisher(ZoneBuilder builder, Clock& clock, Publish publish, Logger log);
  void apply_row(const std::string& key, const Frontend* row);
  void publish_snapshot();

  ZoneBuilder builder_;
  Clock& clock_;
  Publish publish_;
  Logger log_;
  metrics::Counter rejected_;
  metrics::Histogram publish_seconds_;
};

}  // namespace tombolo::dns
