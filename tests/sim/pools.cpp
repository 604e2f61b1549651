// Composition, in the order of the flow.
#include "tests/sim/pools.h"

#include "core/records/records.h"

namespace tombolo::sim {
namespace {

using namespace std::chrono_literals;

// A story is short: what is kept for nobody goes within it.
JanitorOptions janitor_options() {
  JanitorOptions options;
  options.grace = 20s;
  return options;
}

ClaimsOptions claims_options(const std::string& node, LastKnown& known) {
  ClaimsOptions options;
  options.node = node;
  options.known = &known;
  return options;
}

PublishOptions routed_options(const std::string& node) {
  PublishOptions options;
  options.name = "routed-own";
  options.prefix = fmt::format("{}{}/", records::kRoutedPrefix, node);
  return options;
}

}  // namespace

MirrorOptions mirror_of(std::string name, std::string prefix, LastKnown* known) {
  MirrorOptions options;
  options.known = known;
  options.follow.name = std::move(name);
  options.follow.prefix = std::move(prefix);
  return options;
}

ControllerPools::ControllerPools(ControllerTables& tables, Table<ReconcileStatus>::Writer status,
                                 RoleContext context)
    : context_(context),
      claim_mirror_(mirror_of("claims", std::string(records::kClaimsPrefix)), context.kv,
                    tables.claims.take_writer("store"), records::decode_claim, context.tasks,
                    context.clock, context.rng, context.log),
      block_mirror_(mirror_of("pool-blocks", std::string(records::kPoolBlocksPrefix)), context.kv,
                    tables.pool_blocks.take_writer("store"), records::decode_pool_block,
                    context.tasks, context.clock, context.rng, context.log),
      janitor_(janitor_options(), context.kv, context.tasks, context.clock, context.rng,
               context.log),
      sweep_(janitor_, tables, context),
      keeper_(
          {}, tables,
          [&tables]() -> std::optional<std::vector<PoolUse>> {
            if (!tables.claims.synced() || !tables.pool_blocks.synced()) return std::nullopt;
            return claimed_uses(tables);
          },
          status, context) {}

void ControllerPools::start() {
  context_.tasks.spawn("mirror claims", claim_mirror_.run());
  context_.tasks.spawn("mirror pool blocks", block_mirror_.run());
  keeper_.start(settling_);
  context_.tasks.spawn("claims janitor", janitor_.run());
  context_.tasks.spawn("sweep claims", sweep_.run());
}

AgentPools::AgentPools(const std::string& node, AgentTables& tables, LastKnown& known,
                       Table<ReconcileStatus>::Writer status, RoleContext context)
    : context_(context),
      pool_mirror_(mirror_of("pools", std::string(records::kPoolsPrefix), &known), context.kv,
                   tables.pools.take_writer("store"), records::decode_pool_object, context.tasks,
                   context.clock, context.rng, context.log),
      reservation_mirror_(
          mirror_of("reservations", std::string(records::kReservationsPrefix), &known), context.kv,
          tables.reservations.take_writer("store"), records::decode_pool_object, context.tasks,
          context.clock, context.rng, context.log),
      routed_mirror_(mirror_of("routed", std::string(records::kRoutedPrefix), &known), context.kv,
                     tables.routed.take_writer("store"), records::decode_routed, context.tasks,
                     context.clock, context.rng, context.log),
      directory_(
          tables.pools, tables.reservations,
          [this] { return pool_mirror_.filled() && reservation_mirror_.filled(); }, context.kv,
          context.log),
      claims_(claims_options(node, known), context.kv, context.tasks, context.clock, context.rng,
              context.log),
      blocks_(claims_options(node, known), context.kv, context.tasks, context.clock, context.rng,
              context.log),
      own_routed_(routed_options(node), tables.revisions, "cni", status, encode_routed, context),
      routes_(node, tables, context) {}

CniPools AgentPools::ports() {
  CniPools pools;
  pools.directory = &directory_;
  pools.claims = &claims_;
  pools.blocks = &blocks_;
  pools.routed = &own_routed_.writer();
  return pools;
}

void AgentPools::restore() {
  pool_mirror_.restore();
  reservation_mirror_.restore();
  routed_mirror_.restore();
}

void AgentPools::follow() {
  context_.tasks.spawn("mirror pools", pool_mirror_.run());
  context_.tasks.spawn("mirror reservations", reservation_mirror_.run());
  context_.tasks.spawn("mirror routed", routed_mirror_.run());
}

void AgentPools::start() {
  context_.tasks.spawn("claims", claims_.run());
  context_.tasks.spawn("pool blocks", blocks_.run());
}

void AgentPools::tell() {
  own_routed_.writer().mark_synced();
  own_routed_.start();
  routes_.start(settling_);
}

}  // namespace tombolo::sim
