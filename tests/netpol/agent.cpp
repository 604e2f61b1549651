// See agent.h.
#include "tests/netpol/agent.h"

namespace tombolo::netpol {

PolicyAgent::PolicyAgent(const bpf::TestWorld& world, bpf::Hook hook) {
  bpf::GuardSettings settings;
  settings.bpffs_root = world.settings().bpffs_root;
  settings.hook = hook;
  auto opened = bpf::Guard::open(settings, *clock_, Logger());
  ENSURE(opened.has_value(), "{}", opened.error().text());
  guard_ = std::move(*opened);
  policy_ = std::make_unique<AgentPolicy>(
      tables_, status_, *guard_, [] { return true; },
      RoleContext{kv_, tasks_, *clock_, *rng_, Logger()});
  attachments.mark_synced();
  policies.mark_synced();
  identities.mark_synced();
  owners.mark_synced();
  local_pods.mark_synced();
  policy_->start(settling_);
}

PolicyAgent::~PolicyAgent() {
  tasks_.cancel();
  ENSURE(drive_.until([&] { return tasks_.size() == 0; }));
}

Result<void> PolicyAgent::add(const Attachment& attachment) {
  TRY_OK(drive_.run(policy_->before_up(attachment)));
  attachments.upsert(attachment);
  return {};
}

Result<void> PolicyAgent::settle() {
  if (drive_.until([&] { return settling_.busy({}).empty(); }, std::chrono::seconds(20))) return {};
  std::string left;
  for (const std::string& name : settling_.busy({})) left += " " + name;
  for (const auto& [key, versioned] : tables_.status.rows())
    if (!versioned.row.error.empty()) left += fmt::format("\n{}: {}", key, versioned.row.error);
  return fail(Code::kUnavailable, "not in the kernel after 20 s:{}", left);
}

}  // namespace tombolo::netpol
