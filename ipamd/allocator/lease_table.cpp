// A flat hash set of records.
#include "ipamd/allocator/lease_table.h"

#include <cstring>

namespace tombolo {

LeaseTable::LeaseTable()
    : shared_(std::make_unique<Shared>()), records_(0, Hash{shared_.get()}, Equal{shared_.get()}) {}
LeaseTable::~LeaseTable() = default;

std::string_view LeaseTable::bytes_of(const char* record) {
  std::uint16_t size = 0;
  std::memcpy(&size, record, sizeof size);
  return {record + sizeof size, size};
}

LeaseTable::Record LeaseTable::record_of(std::string_view bytes) {
  ENSURE(bytes.size() <= 2 * kLeaseBytes, "a lease has {} bytes", bytes.size());
  auto size = static_cast<std::uint16_t>(bytes.size());
  auto record = std::make_unique_for_overwrite<char[]>(sizeof size + bytes.size());
  std::memcpy(record.get(), &size, sizeof size);
  std::memcpy(record.get() + sizeof size, bytes.data(), bytes.size());
  return record;
}

bool LeaseTable::insert(const Lease& lease) {
  std::string bytes = pack_lease(lease, names());
  bool inserted = records_.insert(record_of(bytes)).second;
  if (!inserted) release_names(bytes, names());
  return inserted;
}

void LeaseTable::replace(const Lease& lease) {
  bool erased = erase(lease.key());
  ENSURE(erased, "{} has no lease", lease.key());
  records_.insert(record_of(pack_lease(lease, names())));
}

Result<void> LeaseTable::repack(std::string_view stored, LeaseState state, Repacked& into) {
  return repack_lease(stored, state, names(), into);
}

bool LeaseTable::insert_packed(const Repacked& lease) {
  return records_.insert(record_of(lease.bytes)).second;
}

void LeaseTable::forget_packed(const Repacked& lease) {
  release_names(lease.bytes, names());
}

bool LeaseTable::erase(std::string_view key) {
  auto at = records_.find(key);
  if (at == records_.end()) return false;
  release_names(bytes_of(at->get()), names());
  records_.erase(at);
  return true;
}

void LeaseTable::set_state(std::string_view key, LeaseState state) {
  auto at = records_.find(key);
  ENSURE(at != records_.end(), "{} has no lease", key);
  std::size_t size = bytes_of(at->get()).size();
  set_packed_state({at->get() + sizeof(std::uint16_t), size}, state, names());
}

std::optional<LeasedAddresses> LeaseTable::addresses_of(std::string_view key) const {
  auto at = records_.find(key);
  if (at == records_.end()) return std::nullopt;
  return unpack_addresses(bytes_of(at->get()), names());
}

std::optional<Lease> LeaseTable::find(std::string_view key) const {
  auto at = records_.find(key);
  if (at == records_.end()) return std::nullopt;
  return unpack_lease(bytes_of(at->get()), names());
}

Lease LeaseTable::at(std::string_view key) const {
  auto lease = find(key);
  ENSURE(lease, "{} has no lease", key);
  return std::move(*lease);
}

bool LeaseTable::contains(std::string_view key) const {
  return records_.find(key) != records_.end();
}

std::size_t LeaseTable::Hash::operator()(std::string_view key) const {
  return std::hash<std::string_view>{}(key);
}
std::size_t LeaseTable::Hash::operator()(const Record& record) const {
  unpack_key(bytes_of(record.get()), shared->names, shared->key);
  return (*this)(std::string_view(shared->key));
}

bool LeaseTable::Equal::operator()(const Record& one, const Record& other) const {
  unpack_key(bytes_of(other.get()), shared->names, shared->other);
  return (*this)(one, std::string_view(shared->other));
}
bool LeaseTable::Equal::operator()(const Record& record, std::string_view key) const {
  unpack_key(bytes_of(record.get()), shared->names, shared->key);
  return shared->key == key;
}
bool LeaseTable::Equal::operator()(std::string_view key, const Record& record) const {
  return (*this)(record, key);
}

LeaseTable::Iterator::value_type LeaseTable::Iterator::operator*() const {
  Lease lease = unpack_lease(bytes_of(at_->get()), *names_);
  std::string key = lease.key();
  return {std::move(key), std::move(lease)};
}

}  // namespace tombolo
