// Rows of this node as Cilium's node record and as Tombolo's lease records.
#include "app/daemon/node_records.h"

#include "core/records/records.h"
#include "core/yaml.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {
namespace {

std::string boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id");
  return text ? text->substr(0, text->find('\n')) : std::string();
}

PublishOptions node_options(const config::v1::DaemonConfig& config) {
  PublishOptions options;
  options.name = "node-record";
  options.prefix = cilium::keys::node(config.cluster().name(), config.node().name());
  // The prefix of n1 is one of n10 as well.
  options.owns = [own = options.prefix](const KeyValue& kv) { return kv.key == own; };
  return options;
}

PublishOptions lease_options(const config::v1::DaemonConfig& config) {
  PublishOptions options;
  options.name = "leases";
  options.prefix = fmt::format("{}{}/", records::kLeasesPrefix, config.node().name());
  return options;
}

Result<std::optional<Put>> encode_node(const Node& node) {
  std::optional<Put> put(Put{cilium::keys::node(node.cluster, node.name),
                             cilium::encode(cilium::node_record_of(node)), 0});
  return put;
}

Result<std::optional<Put>> encode_attachment(const Attachment& attachment) {
  std::optional<Put> put(Put{records::attachment_key(attachment), records::encode(attachment), 0});
  return put;
}

}  // namespace

NodeRecords::NodeRecords(const config::v1::DaemonConfig& config, AgentTables& tables,
                         Table<ReconcileStatus>::Writer status, RoleContext context)
    : config_(config),
      tables_(tables),
      context_(context),
      changed_(context.tasks.executor()),
      blocks_(tables.node_blocks.track([this] { changed_.notify_all(); })),
      node_(node_options(config), tables.revisions, "agent", status, encode_node, context),
      leases_(lease_options(config), tables.attachments, status, encode_attachment, context) {}

NodeRecords::~NodeRecords() = default;

void NodeRecords::start(Settling& settling) {
  node_.start();
  leases_.start();
  context_.tasks.spawn("node record", follow_blocks());
  settling.add(node_.view());
  settling.add(leases_.view());
  settling.add_derivation("node record", [this] { return !blocks_->pending(); });
}

asio::awaitable<void> NodeRecords::follow_blocks() {
  while (!context_.tasks.cancelled()) {
    blocks_->take();
    // A record without the blocks that the node has would take its pods off the other nodes'
    // routes.
    if (tables_.node_blocks.synced()) derive_node();
    if (blocks_->pending()) continue;
    if (auto woken = co_await changed_.wait(); !woken) co_return;
  }
}

void NodeRecords::derive_node() {
  Node node;
  node.cluster = config_.cluster().name();
  node.cluster_id = config_.cluster().id();
  node.name = config_.node().name();
  for (const std::string& text : config_.node().addresses())
    if (auto ip = Ip::parse(text))
      node.internal_ips.push_back(*ip);  // the configuration was checked
  for (const auto& [key, versioned] : tables_.node_blocks.rows())
    held_.insert(versioned.row.prefix);
  // A store that lost a block must not take the addresses in use from their pods: the block stays
  // in the record, and the controller takes it back from there.
  std::erase_if(held_, [&](const Prefix& prefix) {
    NodeBlock block{node.name, prefix};
    return tables_.node_blocks.find(block.key()) == nullptr && !in_use(prefix);
  });
  node.pod_blocks.assign(held_.begin(), held_.end());
  node.labels = {config_.node().labels().begin(), config_.node().labels().end()};
  node.boot_id = boot_id();
  node_.writer().upsert(std::move(node));
  node_.writer().mark_synced();
}

bool NodeRecords::in_use(const Prefix& prefix) const {
  for (const auto& [key, versioned] : tables_.attachments.rows())
    for (const Ip& ip : versioned.row.ips)
      if (prefix.contains(ip)) return true;
  return false;
}

}  // namespace tombolo
