// Policy in the agent: the tables of the store -> compiler -> tables of verdicts -> guard, and the
// guard at every interface that CNI makes, before it carries its first packet.
//
//   policies, identities, ip_owners, local_pods, attachments
//     -> policy::Compiler (worker) -> numbered_rules, verdict_sets, policy_peers, guarded_pods
//     -> bpf::Guard
//
// A new interface is closed until its verdict is known; the compiler hears of it before CNI does
// the rest. Nothing is compiled before every input is complete (as the store says, or as it was
// last known), and nothing is taken out of the kernel before the store itself has said it all.
// Control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "bpf/guard.h"
#include "core/tables.h"
#include "core/worker.h"
#include "ipamd/cni/service.h"

namespace tombolo {

namespace policy {
class Compiler;
struct Changes;
}  // namespace policy

class AgentPolicy final : public InterfaceHooks {
 public:
  // `filled` says whether every input from the store is complete; `worker` compiles. All must
  // outlive the join of the task group.
  AgentPolicy(AgentTables& tables, Table<ReconcileStatus>::Writer status, bpf::Guard& guard,
              std::function<bool()> filled, RoleContext context,
              std::unique_ptr<Worker> worker = std::make_unique<Worker>());
  ~AgentPolicy() override;

  // Who knows which attachments are devices inside their pods. Without it none is. Before start().
  using FindDevice =
      std::function<std::optional<bpf::InterfaceInPod>(const std::string& attachment)>;
  void find_devices(FindDevice find) { find_device_ = std::move(find); }

  // After the attachments of an earlier life are in their table: guards those that are not, lets go
  // those that are gone, and compiles from then on.
  void start(Settling& settling);

  // Guarded and closed. An error refuses the ADD: no interface goes up without its guard.
  asio::awaitable<Result<void>> before_up(Attachment attachment) override;
  asio::awaitable<void> removed(Attachment attachment) override;
  asio::awaitable<Result<void>> verify(Attachment attachment) override;

  // Every change so far has been compiled and is in the tables.
  bool idle() const;
  // What could not be compiled as written, by object; those are closed.
  const std::map<std::string, std::string>& errors() const { return errors_; }

 private:
  struct Compiled;
  struct Input;

  asio::awaitable<Result<void>> guard(Attachment attachment);
  asio::awaitable<void> guard_attached();
  asio::awaitable<Result<void>> guard_all();
  asio::awaitable<void> let_go();
  asio::awaitable<void> compile();
  asio::awaitable<Result<void>> prepared_in_kernel();
  std::vector<Input> take_input();
  void add_pod(const std::string& attachment, std::vector<Input>& input);
  void write(policy::Changes changes);
  void report(std::map<std::string, std::string> errors);
  bool pending() const;
  bool synced() const;
  bool ready() const;

  AgentTables& tables_;
  Table<ReconcileStatus>::Writer status_;
  bpf::Guard& guard_;
  std::function<bool()> filled_;
  FindDevice find_device_ = [](const std::string&) { return std::nullopt; };
  RoleContext context_;
  Logger log_;
  Signal changed_;
  Table<NumberedRule>::Writer rules_;
  Table<VerdictSet>::Writer sets_;
  Table<PolicyPeer>::Writer peers_;
  Table<GuardedPod>::Writer pods_;
  std::unique_ptr<Table<Policy>::Tracker> policies_changed_;
  std::unique_ptr<Table<Identity>::Tracker> identities_changed_;
  std::unique_ptr<Table<IpOwner>::Tracker> owners_changed_;
  std::unique_ptr<Table<LocalPod>::Tracker> local_pods_changed_;
  std::unique_ptr<Table<Attachment>::Tracker> attachments_changed_;
  std::map<std::string, Attachment> coming_;  // guarded, not yet in the table
  std::set<std::string> leaving_;             // interfaces that are gone, and still guarded
  bool letting_go_ = false;
  std::set<std::string> due_;  // attachments to tell the compiler of
  std::map<std::string, std::set<std::string>> attachments_of_;  // pod -> attachments
  std::map<std::string, std::string> pod_of_;                    // attachment -> pod
  std::map<std::string, std::string> errors_;
  bool compiled_once_ = false;
  bool compiling_ = false;
  bool guarded_all_ = false;
  std::unique_ptr<policy::Compiler> compiler_;  // the worker's once the first job has begun
  std::unique_ptr<bpf::GuardReconciler> reconciler_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace tombolo
