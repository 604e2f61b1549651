// Parts of the folder that its files share. Everything but FlowLog belongs to the worker thread of
// one Guard.
#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "bpf/guard.h"
#include "bpf/internal.h"
#include "bpf/mapped_array.h"

namespace tombolo::bpf {

// An address as programs keep it; IPv4 mapped (bpf/abi.h).
inline Ip ip_of(const __u32 (&address_be)[4]) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), address_be, bytes.size());
  return Ip::from_mapped_bytes_be(bytes);
}

// ---- the arrays that the kernel shares with us
struct PolicyArrays {
  MappedArray<abi::policy_set> sets;
  MappedArray<abi::policy_directory> directories;
  MappedArray<abi::policy_page> pages;
  MappedArray<abi::policy_class_block> classes;
  MappedArray<abi::policy_verdict_block> verdicts;
  MappedArray<abi::policy_rule> rules;
  MappedArray<abi::policy_globals> globals;
  MappedArray<abi::policy_interface> pods;
  MappedArray<abi::policy_place> places;
};

// ---- verdict sets in the arrays (sets.cpp)
class SetStore {
 public:
  SetStore(PolicyArrays& arrays, const Grace& grace);
  // A set that an interface of an earlier life refers to. kDataLoss: its tables make no sense.
  Result<std::string> adopt(std::uint32_t id);
  // Writes the set where nobody looks; kResourceExhausted without room.
  Result<void> add(const VerdictSet& row);
  std::optional<std::uint32_t> id_of(const std::string& name) const;
  // No interface refers to it any more: its room rests until readers are gone.
  Result<void> remove(const std::string& name);
  std::vector<std::string> names() const;

 private:
  struct Room {
    std::uint32_t id = 0;
    Extent classes;
    Extent verdicts;
    std::vector<std::uint32_t> pages;
  };
  Result<void> settle();
  template <class Take>
  auto take(Take take);
  Result<Room> make_room(const VerdictSet& row, std::size_t pages);
  void give_back(const Room& room);
  void write_tables(const VerdictSet& row, const Room& room);

  PolicyArrays& arrays_;
  const Grace& grace_;
  IdPool ids_;
  IdPool pages_;
  Extents class_blocks_;
  Extents verdict_blocks_;
  std::map<std::string, Room> rooms_;
};

// ---- the kernel's objects (load.cpp, hooks.cpp, maps.cpp)
class PolicyPrograms {
 public:
  virtual ~PolicyPrograms() = default;
  virtual int map_fd(std::string_view name) const = 0;
  virtual int program_fd(std::string_view name) const = 0;
  virtual bool uses_tcx() const = 0;
  // Both programs at the interface, in place of an earlier life's. Returns its index. kNotFound: no
  // such interface.
  virtual Result<std::uint32_t> attach(const std::string& interface) = 0;
  // The same at an interface inside a pod, under that name here.
  virtual Result<void> attach_inside(const std::string& name, const InterfaceInPod& pod) = 0;
  // True when both programs are at the interface of that index, in whichever namespace: by tcx
  // alone, which is known without going there.
  virtual bool is_inside(const std::string& name, std::uint32_t index) const = 0;
  // What is inside gets this life's programs where it is. False: it is not there, or not by tcx.
  virtual Result<bool> renew_inside(const std::string& name, std::uint32_t index) = 0;
  // True when both programs are at this very interface, not at one that had its name before.
  virtual bool is_attached(const std::string& interface) const = 0;
  // Takes away what is there under this name. Of the absent: ok.
  virtual Result<void> detach(const std::string& interface) = 0;
};
Result<std::unique_ptr<PolicyPrograms>> load_policy_programs(const PinFolder& pins,
                                                             const GuardSettings& settings);

// What Guard adds to the port: interfaces, which only it knows. Worker thread.
class KernelPolicyMaps : public PolicyMaps {
 public:
  // Closed, unless it is the `same` interface as before: then as open as it was.
  virtual Result<void> add_interface(std::uint32_t ifindex, const std::string& name,
                                     const std::vector<Ip>& ips, bool same) = 0;
  virtual Result<void> remove_interface(const std::string& name) = 0;
  virtual std::optional<std::uint32_t> index_of(const std::string& name) const = 0;

  // How to remove what other ABI versions left; returns how much there was.
  void set_other_versions(std::function<Result<int>()> remove) { remove_ = std::move(remove); }
  Result<void> drop_other_versions() override {
    if (!remove_) return {};
    TRY_OK(remove_());
    return {};
  }

 private:
  std::function<Result<int>()> remove_;
};
Result<std::unique_ptr<KernelPolicyMaps>> open_policy_maps(const PolicyPrograms& programs);

// ---- what is seen (flows.cpp): a thread of its own reads the ring
class FlowLog {
 public:
  virtual ~FlowLog() = default;
  virtual FlowPage page(std::uint64_t after, std::size_t limit) = 0;
  virtual bool wait(std::uint64_t after, Duration limit) = 0;
  virtual std::uint64_t overwritten() const = 0;
};
Result<std::unique_ptr<FlowLog>> follow_flows(int ring_fd, Clock& clock);

}  // namespace tombolo::bpf
