// What the service keeps for pools (pooled.cpp), and what an ADD out of them gets. Private to
// ipamd/cni. Control thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ipamd/claims/claims.h"
#include "ipamd/cni/interface.h"
#include "ipamd/cni/service.h"

namespace tombolo {

// No configuration can have this name: leases under it wait for the ADD of their interface.
inline constexpr std::string_view kWaitingNetwork = "tombolo/waiting";

struct CniService::Interface {
  Attachment attachment;
  std::string host_mac;
  std::uint32_t mtu = 0;
  cni::InterfaceExtras extras;
};

struct CniService::Granted {
  LeaseBook::Reservation reservation;
  cni::InterfaceExtras extras;
  std::vector<LeaseBook::Held> others;  // of the same transaction, for interfaces to come
  ClaimsUnderWay under_way;
  bool from_pools = false;
};

struct CniService::Pooled {
  Pooled(CniPools given, TaskGroup& tasks) : pools(std::move(given)), changed(tasks.executor()) {}

  CniPools pools;
  Signal changed;                 // something is to be freed, or was
  std::set<std::string> to_free;  // holders whose claims nobody needs
  std::set<std::string> freeing;  // those of the request under way
  bool reconcile_wanted = true;
  // Keys of the leases that wait, by container.
  std::map<std::string, std::set<std::string>> waiting;
  std::map<std::string, std::vector<NodeBlock>> routed;    // by key
  std::map<std::string, std::vector<Prefix>> told_blocks;  // by pool
  std::map<std::string, std::vector<IpRange>> ranges;      // of overlay pools, as the book has them
  // Blocks that are being released, and their pools. One whose release has got no answer stays: it
  // may be another node's by now, whatever is known here.
  std::map<Prefix, std::string> closing;
  std::uint64_t taken = 0;      // generation of the catalog
  std::set<std::string> named;  // pools that the book knows
};

}  // namespace tombolo
