// All leases of a node, by attachment key, in little memory: each is one packed record (150 bytes
// or so) and a pointer. Leases come out by value; their order is fixed by their keys, but is no
// order that means anything. Pure, control thread.
#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ipamd/allocator/lease_codec.h"

namespace tombolo {

class LeaseTable {
 public:
  LeaseTable();
  ~LeaseTable();
  LeaseTable(const LeaseTable&) = delete;
  LeaseTable& operator=(const LeaseTable&) = delete;

  void reserve(std::size_t leases) { records_.reserve(leases); }
  // False when there is a lease of that key; then nothing changes.
  bool insert(const Lease& lease);
  // ENSUREs that there is a lease of that key.
  void replace(const Lease& lease);
  // A lease as it is stored: reads it with repack(), which the caller hands over to insert_packed()
  // or forget_packed().
  Result<void> repack(std::string_view stored, LeaseState state, Repacked& into);
  bool insert_packed(const Repacked& lease);  // false when there is a lease of that key
  void forget_packed(const Repacked& lease);
  std::string key_of(const Repacked& lease) const { return unpack_key(lease.bytes, names()); }
  bool erase(std::string_view key);
  // ENSUREs that there is a lease of that key.
  void set_state(std::string_view key, LeaseState state);
  // Costs less than find(), for who needs no more.
  std::optional<LeasedAddresses> addresses_of(std::string_view key) const;
  std::optional<Lease> find(std::string_view key) const;
  // ENSUREs that there is one.
  Lease at(std::string_view key) const;
  bool contains(std::string_view key) const;
  std::size_t size() const { return records_.size(); }
  bool empty() const { return records_.empty(); }

 private:
  // A record owns its bytes: two of length, then the packed lease.
  using Record = std::unique_ptr<char[]>;
  static std::string_view bytes_of(const char* record);
  struct Shared {
    NameTable names;
    std::string key, other;  // memory for the keys that are compared
  };
  // By the key, of a record or as a text.
  struct Hash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming)
    Shared* shared;
    std::size_t operator()(const Record& record) const;
    std::size_t operator()(std::string_view key) const;
  };
  struct Equal {
    using is_transparent = void;  // NOLINT(readability-identifier-naming)
    Shared* shared;
    bool operator()(const Record& one, const Record& other) const;
    bool operator()(const Record& record, std::string_view key) const;
    bool operator()(std::string_view key, const Record& record) const;
  };
  using Records = boost::unordered_flat_set<Record, Hash, Equal>;
  static Record record_of(std::string_view bytes);

  NameTable& names() const { return shared_->names; }

  std::unique_ptr<Shared> shared_;  // at a fixed place: Hash and Equal point to it
  Records records_;

 public:
  // Of pairs of key and lease, made when looked at. The table does not change meanwhile.
  class Iterator {
   public:
    using value_type = std::pair<std::string, Lease>;  // NOLINT(readability-identifier-naming)
    using difference_type = std::ptrdiff_t;            // NOLINT(readability-identifier-naming)
    Iterator() = default;
    Iterator(Records::const_iterator at, const NameTable& names) : at_(at), names_(&names) {}
    value_type operator*() const;
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++at_;
      return before;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    Records::const_iterator at_;
    const NameTable* names_ = nullptr;
  };
  Iterator begin() const { return {records_.begin(), names()}; }
  Iterator end() const { return {records_.end(), names()}; }
};

}  // namespace tombolo
