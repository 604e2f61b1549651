// The other clusters of the fleet that this one has joined. What is public about a membership
// (name, id, addresses) is a record under "tombolo/v1/fleet/"; the grant with its private key is a
// file of mode 0600 in the controller's state folder, because agents may read the whole store.
// Controller; control thread.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "app/daemon/published.h"
#include "app/pki/pki.h"
#include "core/store/follow.h"

namespace tombolo {

struct FleetMember {
  std::string name;
  std::uint32_t id = 0;
  std::vector<std::string> addresses;  // host:port of its store
  pki::TlsFiles tls;                   // that its store accepts
  bool operator==(const FleetMember& other) const {
    return name == other.name && id == other.id && addresses == other.addresses;
  }
};

struct FleetSettings {
  std::string fleet;
  std::string cluster;
  std::uint32_t cluster_id = 0;
  std::string state_dir;
};

class FleetMembers final : private FollowHandler {
 public:
  using OnJoin = std::function<void(const FleetMember&)>;
  using OnLeave = std::function<void(const std::string& cluster)>;
  // Once: the names of all members that the store knows, also of those whose record is refused.
  using OnListed = std::function<void(std::set<std::string> names)>;

  // The callbacks run on the control thread: at start for every member that is known, then at every
  // change.
  FleetMembers(FleetSettings settings, RoleContext context, OnJoin on_join, OnLeave on_leave,
               OnListed on_listed);
  asio::awaitable<void> run() { return follower_.run(); }
  const PrefixFollower& follower() const { return follower_; }
  const std::map<std::string, FleetMember>& members() const { return members_; }

  // Takes a grant (app/pki) and remembers it durably; the callback follows when the store says so.
  // kAlreadyExists when the cluster is a member already and `replace` is false; the errors of
  // parse_grant and check_grant_for.
  asio::awaitable<Result<FleetMember>> join(std::string grant_text, bool replace);
  // kNotFound when the cluster is no member.
  asio::awaitable<Result<void>> leave(std::string cluster);

 private:
  void on_put(const KeyValue& kv) override;
  void on_delete(const std::string& key) override;
  void on_listed(const std::set<std::string>& keys) override;
  void forget(const std::string& cluster);
  std::string folder_of(const std::string& cluster) const;
  Result<FleetMember> decode(const KeyValue& kv) const;

  FleetSettings settings_;
  RoleContext context_;
  OnJoin on_join_;
  OnLeave on_leave_;
  OnListed first_listed_;
  std::map<std::string, FleetMember> members_;
  PrefixFollower follower_;
};

}  // namespace tombolo
