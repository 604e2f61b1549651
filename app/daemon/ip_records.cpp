// The join of attachments and workload records.
#include "app/daemon/ip_records.h"

namespace tombolo {
namespace {

// Cilium's reserved identity of an endpoint whose labels are not known yet.
constexpr std::uint32_t kIdentityInit = 5;

std::optional<Ip> host_ip_of(const config::v1::DaemonConfig& config, Family family) {
  for (const std::string& text : config.node().addresses())
    if (auto ip = Ip::parse(text); ip && ip->family() == family) return *ip;
  return std::nullopt;
}

PublishOptions publish_options(const config::v1::DaemonConfig& config) {
  PublishOptions options;
  options.name = "ip-records";
  options.prefix = cilium::keys::ip(Ip());
  options.prefix.resize(options.prefix.rfind('/') + 1);
  cilium::Origin origin{config.cluster().name(), config.cluster().id(),
                        static_cast<int>(config.cluster().identity_cluster_bits())};
  // All nodes publish under one prefix; ours are those that name one of our addresses as host.
  std::vector<std::string> own(config.node().addresses().begin(), config.node().addresses().end());
  options.owns = [own, origin, prefix = options.prefix](const KeyValue& kv) {
    auto record =
        cilium::decode_ip(kv.key, std::string_view(kv.key).substr(prefix.size()), kv.value, origin);
    if (!record || !record->host_ip) return false;
    for (const std::string& text : own)
      if (record->host_ip->str() == text) return true;
    return false;
  };
  return options;
}

Result<std::optional<Put>> encode_row(const IpRow& row) {
  std::optional<Put> put(Put{cilium::keys::ip(row.record.ip), cilium::encode(row.record), 0});
  return put;
}

}  // namespace

IpRecords::IpRecords(const config::v1::DaemonConfig& config, AgentTables& tables,
                     std::function<bool()> pods_known, Table<ReconcileStatus>::Writer status,
                     RoleContext context)
    : config_(config),
      tables_(tables),
      context_(context),
      changed_(context.tasks.executor()),
      pods_known_(std::move(pods_known)),
      known_(tables.local_pods.track([this] { changed_.notify_all(); })),
      attached_(tables.attachments.track([this] { changed_.notify_all(); })),
      published_(publish_options(config), tables.revisions, "agent", status, encode_row, context) {}

void IpRecords::start(Settling& settling) {
  context_.tasks.spawn("ip records", derive());
  published_.start();
  settling.add(published_.view());
  settling.add_derivation("ip records",
                          [this] { return !known_->pending() && !attached_->pending(); });
}

asio::awaitable<void> IpRecords::derive() {
  while (!context_.tasks.cancelled()) {
    known_->take();
    attached_->take();
    if (pods_known_()) derive_rows();
    if (known_->pending() || attached_->pending()) continue;
    if (auto woken = co_await changed_.wait(); !woken) co_return;
  }
}

void IpRecords::derive_rows() {
  std::vector<IpRow> rows;
  for (const auto& [key, versioned] : tables_.attachments.rows()) {
    const Attachment& attachment = versioned.row;
    const LocalPod* known =
        tables_.local_pods.find(object_key(attachment.name_space, attachment.pod_name));
    for (const Ip& ip : attachment.ips) {
      IpRow row;
      row.record.ip = ip;
      row.record.host_ip = host_ip_of(config_, ip.family());
      if (!row.record.host_ip)
        row.record.host_ip = host_ip_of(config_, ip.is_v4() ? Family::kV6 : Family::kV4);
      row.record.name_space = attachment.name_space;
      row.record.pod_name = attachment.pod_name;
      row.record.identity =
          known != nullptr && known->identity != 0 ? known->identity : kIdentityInit;
      if (known != nullptr) {
        row.record.service_account = known->service_account;
        row.record.named_ports = known->ports;
      }
      rows.push_back(std::move(row));
    }
  }
  published_.writer().replace_all(std::move(rows));
  if (tables_.attachments.synced() && tables_.local_pods.synced())
    published_.writer().mark_synced();
}

}  // namespace tombolo
