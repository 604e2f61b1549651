// What a node holds that will never come back, and giving it up on an operator's word: addresses
// and blocks of shared pools, its interfaces' records, its own record and its node blocks.
//
//   tombolo node forget --NodeApi--> NodeForgetter --transactions--> the cluster's store
//
// An agent that lives has a key under a lease (NodePresence). Every transaction here compares that
// there is none, so an agent that comes back in the middle stops it. What was done by then is done,
// and the next call goes on. Controller; control thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "app/daemon/published.h"
#include "core/kv.h"
#include "core/tables.h"
#include "ipamd/claims/claims.h"

namespace tombolo {

struct NodeHolding {
  enum class Kind { kAddress, kPoolBlock, kNodeBlock, kInterface, kRecord };
  Kind kind = Kind::kAddress;
  std::string name;   // address, prefix, interface ("CONTAINER/eth0")
  std::string pool;   // of the first two
  std::string whose;  // the pod, or the identity that a fixed address stays kept for
};
// "address", "pool block", "node block", "interface", "record"
std::string_view to_string(NodeHolding::Kind kind);

class NodeForgetter {
 public:
  struct Options {
    // Until this controller's own table has lost the node's record.
    Duration step = std::chrono::milliseconds(20);
    int steps = 500;
  };

  // `janitor` and `tables` outlive it.
  NodeForgetter(Options options, std::string cluster, ControllerTables& tables,
                ClaimJanitor& janitor, RoleContext context);

  // What the node holds, in the order of Kind, then by name. kNotFound: nothing is known of it;
  // kUnavailable: not everything was read yet.
  Result<std::vector<NodeHolding>> holdings(const std::string& node) const;
  // kUnavailable: the store is away.
  asio::awaitable<Result<bool>> lives(std::string node) const;
  // All that live. kUnavailable: the store is away, or not everything was read of it yet.
  asio::awaitable<Result<std::set<std::string, std::less<>>>> living() const;

  // Gives all of it up: what it was. kFailedPrecondition: its agent lives; else as above, and
  // kAborted: something changed meanwhile, and another call does the rest.
  asio::awaitable<Result<std::vector<NodeHolding>>> forget(std::string node);

 private:
  Result<void> synced() const;
  static Compare not_alive(const std::string& node);
  asio::awaitable<Result<void>> write(std::string node, TxnRequest request);
  asio::awaitable<Result<void>> release_claims(std::string node);
  asio::awaitable<Result<void>> release_pool_blocks(std::string node);
  asio::awaitable<Result<void>> erase_routes(std::string node);
  asio::awaitable<Result<void>> erase_ip_records(std::string node);
  asio::awaitable<Result<void>> erase_records(std::string node);
  asio::awaitable<Result<void>> erase_node_blocks(std::string node);

  Options options_;
  std::string cluster_;
  ControllerTables& tables_;
  ClaimJanitor& janitor_;
  RoleContext context_;
};

}  // namespace tombolo
