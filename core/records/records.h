// How rows that folders share are kept in the cluster's store under "tombolo/v1/": keys, and values
// as the protobuf messages of schema/state/v1/state.proto. A value that does not decode names its
// key in the error.
#pragma once

#include <string>
#include <string_view>

#include "core/kv.h"
#include "core/tables.h"

namespace tombolo::records {

inline constexpr std::string_view kPlanKey = "tombolo/v1/plan/current";
inline constexpr std::string_view kBlocksPrefix = "tombolo/v1/blocks/";             // NODE/PREFIX
inline constexpr std::string_view kBlockOwnersPrefix = "tombolo/v1/block-owners/";  // PREFIX: node
inline constexpr std::string_view kLeasesPrefix = "tombolo/v1/leases/";  // NODE/CONTAINER/INTERFACE
inline constexpr std::string_view kFrontendsPrefix = "tombolo/v1/frontends/";  // NAMESPACE/NAME
inline constexpr std::string_view kPoliciesPrefix = "tombolo/v1/policies/";  // KIND/NAMESPACE/NAME
inline constexpr std::string_view kReachPrefix = "tombolo/v1/reach/";        // NODE/CLUSTER
// The first two are below "tombolo/v1/claim" and so of one watch, in the order of revisions.
inline constexpr std::string_view kClaimsPrefix = "tombolo/v1/claims/";              // POOL/IP
inline constexpr std::string_view kClaimantsPrefix = "tombolo/v1/claimants/";        // IDENTITY
inline constexpr std::string_view kPoolBlocksPrefix = "tombolo/v1/poolblocks/";      // POOL/PREFIX
inline constexpr std::string_view kPoolsPrefix = "tombolo/v1/pools/";                // NAME
inline constexpr std::string_view kReservationsPrefix = "tombolo/v1/reservations/";  // NAME
inline constexpr std::string_view kPodInfoPrefix = "tombolo/v1/podinfo/";  // NAMESPACE/NAME/KIND
inline constexpr std::string_view kRoutedPrefix = "tombolo/v1/routed/";    // NODE/PREFIX
inline constexpr std::string_view kFleetPrefix = "tombolo/v1/fleet/";      // CLUSTER

std::string node_block_key(const NodeBlock& block);
std::string encode(const NodeBlock& block);
Result<NodeBlock> decode_node_block(const KeyValue& kv);

std::string attachment_key(const Attachment& attachment);
std::string encode(const Attachment& attachment);
Result<Attachment> decode_attachment(const KeyValue& kv);

std::string frontend_key(const Frontend& frontend);
std::string encode(const Frontend& frontend);
Result<Frontend> decode_frontend(const KeyValue& kv);

std::string policy_key(const Policy& policy);
std::string encode(const Policy& policy);
Result<Policy> decode_policy(const KeyValue& kv);

std::string reach_key(const NodeReach& reach);
std::string encode(const NodeReach& reach);
Result<NodeReach> decode_reach(const KeyValue& kv);

// Sequences are the revisions of the pairs.
std::string claim_key(const AddressClaim& claim);
std::string encode(const AddressClaim& claim);
Result<AddressClaim> decode_claim(const KeyValue& kv);

std::string claimant_key(const Claimant& claimant);
std::string encode(const Claimant& claimant);
Result<Claimant> decode_claimant(const KeyValue& kv);

std::string pool_block_key(const PoolBlock& block);
std::string encode(const PoolBlock& block);
Result<PoolBlock> decode_pool_block(const KeyValue& kv);

// By the kind of the object: below kPoolsPrefix or kReservationsPrefix. Whether the document means
// a pool, ipamd/pools knows.
std::string pool_object_key(const PoolObject& object);
std::string encode(const PoolObject& object);
Result<PoolObject> decode_pool_object(const KeyValue& kv);

std::string pod_info_key(const PodInfo& info);
std::string encode(const PodInfo& info);
Result<PodInfo> decode_pod_info(const KeyValue& kv);

// What of a pool other nodes reach by this node; a node block in form.
std::string routed_key(const NodeBlock& block);
Result<NodeBlock> decode_routed(const KeyValue& kv);

}  // namespace tombolo::records
