// Durable addresses of services: cluster addresses from the plan's service ranges, clusterset
// addresses from this cluster's slice of the fleet's range, and load balancer addresses from the
// ranges that are for those. Reconciler in the flow: wants -> store
// records -> (mirror) rows. Control thread.
//
// Per object one key PREFIX/NS/NAME with the addresses, and per address one key OWNERS/ADDRESS with
// the object; both are written in one transaction that asks for the owner key to be absent, so that
// no address is given twice, whoever writes.
#pragma once

#include "servicesync/controller/rows.h"

namespace tombolo::controller {

// A free address of a family: begun at a place that the object's name decides (so that it gets the
// same again when it can), the first sixteenth of a range (16 to 256 addresses) last, which is
// where people put fixed ones (Kubernetes KEP-3070). First and last address are not used.
std::optional<Ip> choose_address(const std::vector<Prefix>& ranges, Family family,
                                 std::string_view object, bool low_band_last,
                                 const std::function<bool(const Ip&)>& taken);

// The same in spans; every address of them may be given.
std::optional<Ip> choose_in_spans(const std::vector<AddressSpan>& spans, Family family,
                                  std::string_view object,
                                  const std::function<bool(const Ip&)>& taken);

std::string encode(const AddressRecord& record);
// `prefix` is that of the key.
Result<AddressRecord> decode_address_record(std::string_view prefix, const KeyValue& kv);

struct AllocatorOptions {
  std::string name;    // in status and logs
  std::string prefix;  // keys.h
  std::string owners;
  bool low_band_last = true;
  // Fixed addresses outside the ranges are given, with a word in the status; else they are refused.
  bool outside_ranges = true;
  // Whoever asks for an address that it cannot have keeps what it has meanwhile.
  bool keep_meanwhile = false;
  std::string taken_note;                       // behind "10.0.0.1 belongs to NS/NAME"
  std::function<std::vector<Prefix>()> ranges;  // now
  // Asked when the ranges have nothing free; none: there are no others.
  std::function<std::vector<AddressSpan>()> spans;
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
};

class AddressAllocator {
 public:
  AddressAllocator(AllocatorOptions options, Kv& kv, Table<AddressWant>& wants,
                   Table<AddressRecord>& records, Table<ReconcileStatus>::Writer status,
                   TaskGroup& tasks, Clock& clock, Rng& rng, Logger log);
  // Until the group is cancelled. Nothing is given before the records have been listed, nothing is
  // released before the wants are synced.
  asio::awaitable<void> run();
  // The ranges have changed: objects without an address may get one now.
  void reconsider_all();

 private:
  struct Plan {
    std::vector<Ip> ips;
    std::string problem;  // told in the status table; empty when all is well
  };
  void follow_records();
  bool taken(const Ip& ip, const std::string& object) const;
  std::optional<Ip> had(const AddressWant& want, const AddressRecord* record, Family family) const;
  bool give_fixed(const AddressWant& want, const Ip& fixed, const std::optional<Ip>& had,
                  Plan& plan) const;
  Plan plan_for(const AddressWant& want, const AddressRecord* record) const;
  asio::awaitable<Result<void>> reconcile(std::string object);
  asio::awaitable<Result<void>> write(AddressRecord next, std::optional<AddressRecord> before);
  asio::awaitable<Result<void>> release(AddressRecord record);
  void report(const std::string& object, const std::string& problem);

  AllocatorOptions options_;
  Kv& kv_;
  Table<AddressWant>& wants_;
  Table<AddressRecord>& records_;
  Table<ReconcileStatus>::Writer status_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  Signal changed_;
  std::unique_ptr<Table<AddressWant>::Tracker> wants_tracker_;
  std::unique_ptr<Table<AddressRecord>::Tracker> records_tracker_;
  std::map<std::string, std::vector<Ip>> held_;     // by object, as the records say
  std::map<Ip, std::string> owners_;                // the same by address
  std::map<std::string, std::vector<Ip>> pending_;  // asked for, not seen in the records yet
  std::set<Ip> avoid_;              // owned in the store by somebody whom the records do not show
  std::set<std::string> troubled_;  // with a problem that another's release may solve
  std::set<std::string> due_;
};

}  // namespace tombolo::controller
