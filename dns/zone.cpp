// Rows -> snapshots. Control thread only; see zone.h.
#include "dns/zone.h"

#include <algorithm>

namespace tombolo::dns {
namespace {

Node text_node(std::string_view text) {
  Rrset set{Type::kTxt, 0, 0, {}};
  append_rdata(set, fmt::format("{}{}", static_cast<char>(text.size()), text));
  Node node;
  node.add(std::move(set));
  return node;
}

Node address_node(const std::vector<Ip>& ips) {
  Rrset v4{Type::kA, 0, 0, {}};
  Rrset v6{Type::kAaaa, 0, 0, {}};
  for (const Ip& ip : ips) {
    Rrset& set = ip.is_v4() ? v4 : v6;
    set.rdata += ip.bytes_be();
    ++set.count;
  }
  Node node;
  if (v4.count > 0) node.add(std::move(v4));
  if (v6.count > 0) node.add(std::move(v6));
  return node;
}

Result<std::optional<Zone>> start_zone(ZoneKind kind, const std::string& text,
                                       const ZoneSettings& settings) {
  if (text.empty()) return std::nullopt;
  TRY(name, Name::parse(text));
  if (name.is_root()) return fail(Code::kInvalidArgument, "the root cannot be a cluster's zone");
  Zone zone;
  zone.kind = kind;
  zone.name = name.lowered().wire();
  zone.label_count = name.label_count();
  // Versions of the two specifications, which count on their own.
  zone.version = text_node(kind == ZoneKind::kCluster ? "1.1.0" : "1.0.0");
  zone.name_server = address_node(settings.server_ips);
  return zone;
}

std::string wire_label(const std::string& text) {
  std::string label;
  return append_label(label, text) ? label : std::string();
}

}  // namespace

Result<ZoneBuilder> ZoneBuilder::make(ZoneSettings settings) {
  ZoneBuilder builder(std::move(settings));
  const ZoneSettings& given = builder.settings_;
  TRY(cluster, start_zone(ZoneKind::kCluster, given.cluster_zone, given));
  TRY(clusterset, start_zone(ZoneKind::kClusterset, given.clusterset_zone, given));
  if (cluster && clusterset) {
    Name a = Name::from_wire(cluster->name);
    Name b = Name::from_wire(clusterset->name);
    if (a.is_under(b) || b.is_under(a))
      return fail(Code::kInvalidArgument, "zones {} and {}: one is below the other", a.text(),
                  b.text());
  }
  for (auto& zone : {cluster, clusterset}) {
    if (!zone) continue;
    ZoneDraft draft;
    draft.zone = *zone;
    draft.options = {zone->kind, "\3svc" + zone->name, given.cluster, given.remote_endpoints};
    builder.drafts_.push_back(std::move(draft));
  }
  return builder;
}

void ZoneBuilder::use_namespace(ZoneDraft& draft, const std::string& label, bool more) {
  if (label.empty()) return;
  std::size_t& uses = draft.namespace_uses[label];
  if (more ? uses++ != 0 : --uses != 0) return;
  if (!draft.namespaces) draft.namespaces.emplace(draft.zone.namespaces);
  if (more) {
    draft.namespaces->set(std::make_shared<const NamespaceEntry>(NamespaceEntry{label}));
  } else {
    draft.namespaces->erase(label);
    draft.namespace_uses.erase(label);
  }
}

void ZoneBuilder::apply_namespace(const std::string& name, bool exists) {
  std::string label = wire_label(name);
  if (label.empty() || named_namespaces_.contains(label) == exists) return;
  if (exists)
    named_namespaces_.insert(label);
  else
    named_namespaces_.erase(label);
  for (ZoneDraft& draft : drafts_) use_namespace(draft, label, exists);
}

std::vector<std::string> ZoneBuilder::apply(const std::string& key, const Frontend* row) {
  Contribution next;
  std::vector<std::string> problems;
  std::vector<std::shared_ptr<const ServiceRecords>> records(drafts_.size());
  next.service_keys.resize(drafts_.size());
  next.namespace_labels.resize(drafts_.size());
  for (std::size_t i = 0; row != nullptr && i < drafts_.size(); ++i) {
    bool in_zone = drafts_[i].options.kind == ZoneKind::kCluster ? row->local : row->exported;
    if (in_zone) next.namespace_labels[i] = wire_label(row->name_space);
    ServiceBuild build = build_service(*row, drafts_[i].options);
    if (build.records) next.service_keys[i] = std::string_view(build.records->key);
    records[i] = std::move(build.records);
    next.reverse.insert(next.reverse.end(), build.reverse.begin(), build.reverse.end());
    problems.insert(problems.end(), build.problems.begin(), build.problems.end());
  }
  Contribution& old = contributions_[key];
  old.service_keys.resize(drafts_.size());
  old.namespace_labels.resize(drafts_.size());
  for (std::size_t i = 0; i < drafts_.size(); ++i) {
    ZoneDraft& draft = drafts_[i];
    use_namespace(draft, next.namespace_labels[i], true);
    use_namespace(draft, old.namespace_labels[i], false);
    if (!records[i] && old.service_keys[i].empty()) continue;
    if (!draft.services) draft.services.emplace(draft.zone.services);
    if (records[i])
      draft.services->set(std::move(records[i]));
    else
      draft.services->erase(old.service_keys[i]);
  }
  change_reverse(old.reverse, next.reverse);
  if (row != nullptr)
    old = std::move(next);
  else
    contributions_.erase(key);
  return problems;
}

void ZoneBuilder::change_reverse(const std::vector<ReverseRecord>& before,
                                 const std::vector<ReverseRecord>& after) {
  if (before == after) return;
  std::set<Ip> touched;
  for (const ReverseRecord& record : after) {
    ++reverse_uses_[record.ip][record.target];
    touched.insert(record.ip);
  }
  for (const ReverseRecord& record : before) {
    auto& targets = reverse_uses_[record.ip];
    if (--targets[record.target] == 0) targets.erase(record.target);
    touched.insert(record.ip);
  }
  if (!reverse_editor_) reverse_editor_.emplace(reverse_);
  // A node's own address may be behind many names; an answer shows this many of them.
  constexpr std::size_t kMaxPtr = 16;
  for (const Ip& ip : touched) {
    auto at = reverse_uses_.find(ip);
    if (at->second.empty()) {
      reverse_editor_->erase(ip.bytes_be());
      reverse_uses_.erase(at);
      continue;
    }
    Rrset set{Type::kPtr, 0, 0, {}};
    for (const auto& [target, uses] : at->second)
      if (set.count < kMaxPtr) append_rdata(set, target);
    auto entry = std::make_shared<ReverseEntry>();
    entry->key = ip.bytes_be();
    entry->node.add(std::move(set));
    reverse_editor_->set(std::move(entry));
  }
}

std::shared_ptr<const ZoneSet> ZoneBuilder::snapshot(std::uint32_t unix_s) {
  auto set = std::make_shared<ZoneSet>();
  set->synced = synced_;
  set->generation = ++generation_;
  set->ttl_s = settings_.ttl_s;
  set->negative_ttl_s = settings_.negative_ttl_s;
  set->reverse_prefixes = settings_.reverse_prefixes;
  for (ZoneDraft& draft : drafts_) {
    if (draft.touched()) {
      std::uint32_t next = draft.zone.serial + 1;
      // Ahead in the circle of RFC 1982, not as numbers.
      bool clock_ahead = static_cast<std::int32_t>(unix_s - next) > 0;
      draft.zone.serial = clock_ahead || draft.zone.serial == 0 ? unix_s : next;
    }
    if (draft.services) draft.zone.services = draft.services->commit();
    if (draft.namespaces) draft.zone.namespaces = draft.namespaces->commit();
    draft.services.reset();
    draft.namespaces.reset();
    draft.changed = false;
    set->zones.push_back(draft.zone);
  }
  if (reverse_editor_) reverse_ = reverse_editor_->commit();
  reverse_editor_.reset();
  set->reverse = reverse_;
  return set;
}

}  // namespace tombolo::dns
