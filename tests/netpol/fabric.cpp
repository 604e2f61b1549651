// See fabric.h. Namespaces live as long as the descriptors of this process.
#include "tests/netpol/fabric.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace tombolo::netpol {
namespace {

constexpr std::uint32_t kFirstIdentity = 256;
constexpr auto kNextHop = "169.254.1.1";

Descriptor this_netns() {
  Descriptor fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  ENSURE(static_cast<bool>(fd));
  return fd;
}

void enter_netns(const Descriptor& fd) {
  ENSURE(setns(fd.get(), CLONE_NEWNET) == 0, "{}", std::strerror(errno));
}

// `ip -batch` in this thread's network namespace.
void ip(const std::string& lines) {
  FILE* pipe = popen("ip -batch - >/dev/null", "we");
  ENSURE(pipe != nullptr);
  ENSURE(std::fwrite(lines.data(), 1, lines.size(), pipe) == lines.size());
  ENSURE(pclose(pipe) == 0, "ip -batch:\n{}", lines);
}

void set_sysctl(const std::string& name, const char* value) {
  Descriptor fd(open(("/proc/sys/net/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  ENSURE(fd && write(fd.get(), value, 1) == 1, "{}: {}", name, std::strerror(errno));
}

std::string mac_of(std::size_t slot, int end) {
  return fmt::format("02:00:00:00:{:02x}:{:02x}", end, slot + 1);
}

}  // namespace

std::optional<std::string> Fabric::missing() {
  if (auto missing = bpf::TestWorld::missing()) return missing;
  if (std::system("ip -Version >/dev/null 2>&1") != 0) return "the command ip";
  return std::nullopt;
}

Ip Fabric::address(std::size_t slot, Family family) const {
  if (family == Family::kV6) return Ip::parse(fmt::format("fd00:244::{:x}", slot + 1)).value();
  return slot == node() ? Ip::parse("192.0.2.1").value() : addresses_.at(slot);
}

std::optional<std::size_t> Fabric::slot_of(const Ip& ip) const {
  for (std::size_t slot = 0; slot <= node(); ++slot)
    if (address(slot, ip.family()) == ip) return slot;
  return std::nullopt;
}

std::size_t Fabric::slot_of(const Workload& pod) const {
  ENSURE(pod.ips.size() == 1, "{} has {} addresses", pod.key(), pod.ips.size());
  return slot_of(pod.ips.front()).value();
}

Fabric::Fabric(bpf::Hook hook, const std::set<Ip>& addresses)
    : addresses_(addresses.begin(), addresses.end()), node_(this_netns()), agent_(world_, hook) {
  set_sysctl("ipv4/ip_forward", "1");
  set_sysctl("ipv6/conf/all/forwarding", "1");
  ip(fmt::format("address add {}/32 dev lo\naddress add {}/128 dev lo nodad\n",
                 address(node(), Family::kV4).str(), address(node(), Family::kV6).str()));
  for (std::size_t slot = 0; slot < pods(); ++slot) make_pod(slot);
}

Fabric::~Fabric() {
  enter_netns(node_);
}

Attachment Fabric::attachment_of(std::size_t slot) const {
  Attachment row;
  row.container_id = fmt::format("c{}", slot);
  row.interface_name = "eth0";
  row.host_interface = fmt::format("tbo{}", slot);
  row.mac = mac_of(slot, 1);
  row.ips = {address(slot, Family::kV4), address(slot, Family::kV6)};
  return row;
}

void Fabric::make_pod(std::size_t slot) {
  ENSURE(unshare(CLONE_NEWNET) == 0, "{}", std::strerror(errno));
  pods_.push_back(this_netns());
  set_sysctl("ipv6/conf/all/accept_dad", "0");
  set_sysctl("ipv6/conf/default/accept_dad", "0");
  enter_netns(node_);
  Attachment row = attachment_of(slot);
  std::string v4 = row.ips[0].str();
  std::string v6 = row.ips[1].str();
  ip(fmt::format(
      "link add {} address {} type veth peer name eth0 address {} netns /proc/{}/fd/{}\n",
      row.host_interface, mac_of(slot, 0), row.mac, getpid(), pods_.back().get()));
  auto guarded = agent_.add(row);
  ENSURE(guarded.has_value(), "{}", guarded.error().text());
  set_sysctl("ipv6/conf/" + row.host_interface + "/accept_dad", "0");
  ip(
      fmt::format("link set {0} up\naddress add fe80::1/64 dev {0} nodad\n"
                  "route add {1}/32 dev {0}\nroute add {2}/128 dev {0}\n"
                  "neighbour add {1} lladdr {3} dev {0} nud permanent\n"
                  "neighbour add {2} lladdr {3} dev {0} nud permanent\n",
                  row.host_interface, v4, v6, row.mac));
  inside(slot, [&] {
    ip(
        fmt::format("link set lo up\nlink set eth0 up\n"
                    "address add {0}/32 dev eth0\naddress add {1}/128 dev eth0 nodad\n"
                    "neighbour add {2} lladdr {3} dev eth0 nud permanent\n"
                    "neighbour add fe80::1 lladdr {3} dev eth0 nud permanent\n"
                    "route add default via {2} dev eth0 onlink\n"
                    "route add default via fe80::1 dev eth0\n",
                    v4, v6, kNextHop, mac_of(slot, 0)));
  });
}

void Fabric::inside(std::size_t slot, const std::function<void()>& body) const {
  if (slot != node()) enter_netns(pods_.at(slot));
  body();
  enter_netns(node_);
}

// A set of labels is an identity, of which nothing ever changes.
std::uint32_t Fabric::number_of(const Step& step, const Workload& pod) {
  Identity identity;
  identity.number = kFirstIdentity + static_cast<std::uint32_t>(identities_.size());
  identity.cluster = "east";
  identity.name_space = pod.name_space;
  identity.labels = pod.labels;
  for (const Namespace& row : step.namespaces)
    if (row.name == pod.name_space) identity.namespace_labels = row.labels;
  auto [at, fresh] = identities_.try_emplace(
      std::tuple(pod.name_space, pod.labels, identity.namespace_labels), identity);
  if (fresh) agent_.identities.upsert(identity);
  identity_of_pod_[pod.key()] = at->second.number;
  return at->second.number;
}

const Identity& Fabric::identity_of(const Workload& pod) const {
  for (const auto& [labels, identity] : identities_)
    if (identity.number == identity_of_pod_.at(pod.key())) return identity;
  ENSURE(false, "{} has no identity", pod.key());
  std::abort();
}

void Fabric::leave(std::size_t slot) {
  auto pod = pod_at_.find(slot);
  if (pod == pod_at_.end()) return;
  for (Family family : {Family::kV4, Family::kV6}) agent_.owners.erase(address(slot, family).str());
  agent_.attachments.erase(attachment_of(slot).key());
  agent_.local_pods.erase(pod->second);
  pod_at_.erase(pod);
}

Result<void> Fabric::enter(const Step& step) {
  std::set<std::string> wanted;
  for (const Policy& policy : step.policies) wanted.insert(policy.key());
  std::vector<std::string> gone;
  for (const auto& [key, versioned] : agent_.tables().policies.rows())
    if (!wanted.contains(key)) gone.push_back(key);
  for (const std::string& key : gone) agent_.policies.erase(key);
  for (const Policy& policy : step.policies) agent_.policies.upsert(policy);
  std::map<std::size_t, const Workload*> pod_at;
  for (const Workload& pod : step.pods) pod_at[slot_of(pod)] = &pod;
  for (std::size_t slot = 0; slot < pods(); ++slot)
    if (auto known = pod_at_.find(slot);
        known != pod_at_.end() &&
        (!pod_at.contains(slot) || pod_at.at(slot)->key() != known->second))
      leave(slot);
  for (const auto& [slot, pod] : pod_at) {
    std::uint32_t identity = number_of(step, *pod);
    Attachment row = attachment_of(slot);
    row.name_space = pod->name_space;
    row.pod_name = pod->name;
    for (const Ip& ip : row.ips)
      agent_.owners.upsert({ip, identity, "east", pod->name_space, pod->name, {}, pod->ports});
    agent_.local_pods.upsert({pod->name_space, pod->name, identity, "default", pod->ports});
    agent_.attachments.upsert(std::move(row));
    pod_at_[slot] = pod->key();
  }
  return agent_.settle();
}

}  // namespace tombolo::netpol
