// All interfaces of a pod that are one transaction, and what each of them asks the allocator for.
#include <algorithm>

#include "ipamd/pools/internal.h"

namespace tombolo {
namespace {

PoolRequest request_of(const PodInfo* info, const PodQuestion& question,
                       const std::string& interface_name) {
  PoolRequest request;
  request.interface_name = interface_name;
  request.network = question.network;
  request.name_space = question.name_space;
  request.pod_name = question.pod_name;
  request.node = question.node;
  request.node_labels = question.node_labels;
  request.families = question.families;
  if (interface_name == question.interface_name) {
    // Of the network of this interface: others have configurations of their own.
    request.configured_ipv4 = question.configured_ipv4;
    request.configured_ipv6 = question.configured_ipv6;
  }
  if (info == nullptr) return request;
  request.owner = info->owner;
  request.pod_labels = info->labels;
  request.pod_annotations = info->annotations;
  request.namespace_labels = info->namespace_labels;
  request.namespace_annotations = info->namespace_annotations;
  return request;
}

// The pools of a list are of one kind, the first one's: an underlay's addresses are claimed one by
// one and an overlay's block by block.
void keep_first_kind(const PoolCatalog& catalog, std::vector<std::string>& names) {
  if (names.empty()) return;
  PoolKind kind = catalog.find(names.front())->kind;
  std::erase_if(names, [&](const std::string& name) { return catalog.find(name)->kind != kind; });
}

Result<void> ask_exactly(const PoolCatalog& catalog, InterfaceChoice& choice,
                         const std::vector<Ip>& ips, const PodQuestion& question) {
  for (const Ip& ip : ips) {
    bool given = false;
    for (AddressWish& wish : choice.wishes) {
      for (const std::string& name : wish.pools) {
        const IpPool* pool = catalog.find(name);
        if (given || pool->family != ip.family()) continue;
        auto usable = catalog.usable(*pool);
        if (std::ranges::none_of(usable, [&](const IpRange& range) { return range.contains(ip); }))
          continue;
        if (pool->kind == PoolKind::kOverlay)
          return fail(Code::kFailedPrecondition,
                      "annotation ipam.tombolo.io/ip of pod {}/{}: {} is of the overlay pool '{}', "
                      "whose addresses belong to nodes",
                      question.name_space, question.pod_name, ip.str(), name);
        wish.exact = ip;
        wish.pools = {name};
        given = true;
        break;
      }
    }
    if (!given)
      return fail(Code::kFailedPrecondition,
                  "annotation ipam.tombolo.io/ip of pod {}/{}: {} is in no pool that {} gives "
                  "interface {}",
                  question.name_space, question.pod_name, ip.str(), choice.selection.source,
                  choice.interface_name);
  }
  return {};
}

Result<InterfaceChoice> choose_one(const PoolCatalog& catalog, const PodInfo* info,
                                   const PodQuestion& question, const std::string& interface_name) {
  InterfaceChoice choice;
  choice.interface_name = interface_name;
  TRY(selection, select_pools(catalog, request_of(info, question, interface_name)));
  keep_first_kind(catalog, selection.ipv4);
  keep_first_kind(catalog, selection.ipv6);
  choice.wishes = selection.wishes();
  choice.selection = std::move(selection);
  if (info == nullptr) return choice;
  TRY(ips, asked_addresses(*info, question.pod_name, interface_name));
  TRY_OK(ask_exactly(catalog, choice, ips, question));
  bool underlay = std::ranges::any_of(choice.wishes, [&](const AddressWish& wish) {
    return catalog.find(wish.pools.front())->kind == PoolKind::kUnderlay;
  });
  if (!underlay) return choice;
  TRY(identity, fixed_identity(*info, question.pod_name));
  if (identity) {
    choice.identity = fmt::format("{}/{}", identity->name, interface_name);
    choice.room = identity->room;
  }
  return choice;
}

}  // namespace

Result<std::vector<InterfaceChoice>> choose_for_pod(const PoolCatalog& catalog, const PodInfo* info,
                                                    const PodQuestion& question) {
  std::vector<std::string> interfaces{question.interface_name};
  if (info != nullptr) {
    TRY(named, pools::named_interfaces(request_of(info, question, question.interface_name)));
    // A list that this interface is not in is about a transaction that it has no part in.
    if (std::ranges::count(named, question.interface_name) > 0)
      for (std::string& name : named)
        if (name != question.interface_name) interfaces.push_back(std::move(name));
  }
  std::vector<InterfaceChoice> choices;
  for (const std::string& interface : interfaces) {
    TRY(choice, choose_one(catalog, info, question, interface));
    choices.push_back(std::move(choice));
  }
  return choices;
}

}  // namespace tombolo
