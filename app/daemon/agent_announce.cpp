// How the parts of announcing are made.
#include "app/daemon/agent_announce.h"

namespace tombolo {
namespace {

MirrorOptions mirror_options() {
  MirrorOptions options;
  options.follow.name = "announcements";
  options.follow.prefix = announce::kAnnouncementsPrefix;
  return options;
}

announce::LinkSettings link_settings(const config::v1::DaemonConfig& config) {
  announce::LinkSettings settings;
  const auto& interfaces = config.agent().announce().interfaces();
  settings.interfaces = {interfaces.begin(), interfaces.end()};
  return settings;
}

announce::Settings settings_of(const config::v1::DaemonConfig& config) {
  announce::Settings settings;
  settings.cluster = config.cluster().name();
  settings.node = config.node().name();
  settings.stop_without_store = config.agent().announce().stop_without_store();
  return settings;
}

}  // namespace

AgentAnnounce::AgentAnnounce(const config::v1::DaemonConfig& config, AgentTables& tables,
                             Table<ReconcileStatus>::Writer status, Net& net, Worker& worker,
                             RoleContext context)
    : context_(context),
      records_("announcements", tables.revisions),
      answered_("answered", tables.revisions),
      mirror_(mirror_options(), context.kv, records_.take_writer("store"),
              announce::decode_announcement, context.tasks, context.clock, context.rng,
              context.log),
      link_(announce::make_link(link_settings(config), context.tasks, context.clock, context.log)),
      announcer_(settings_of(config), tables.frontends, tables.nodes, records_, *link_,
                 answered_.take_writer("announcer"), status, context.kv, context.tasks,
                 context.clock, context.rng, context.log),
      dead_ends_(net, worker),
      routes_(ReconcilerOptions{"announced-routes"}, answered_, dead_ends_, status, context.tasks,
              context.clock, context.rng, context.log) {}

void AgentAnnounce::start(Settling& settling) {
  context_.tasks.spawn("mirror announcements", mirror_.run());
  context_.tasks.spawn("reconcile announced-routes", routes_.run());
  announcer_.start();
  settling.add(mirror_.follower());
  settling.add(routes_);
}

}  // namespace tombolo
