// Answers as JSON, in the form of each supported version of the specification. Any thread.
#include <boost/json/array.hpp>

#include "ipamd/cni/call.h"

namespace tombolo::cni {
namespace {

json::array strings(const std::vector<std::string>& texts) {
  json::array list;
  for (const auto& text : texts) list.emplace_back(text);
  return list;
}

json::object resolver(const std::vector<Ip>& nameservers, const std::vector<std::string>& search,
                      const std::vector<std::string>& options) {
  json::object dns;
  if (nameservers.empty()) return dns;
  json::array addresses;
  for (const Ip& ip : nameservers) addresses.emplace_back(ip.str());
  dns["nameservers"] = std::move(addresses);
  dns["search"] = strings(search);
  dns["options"] = strings(options);
  return dns;
}

// Up to 0.4.0 each address says its family.
void add_family(json::object& entry, const Ip& ip, std::string_view cni_version) {
  if (cni_version == "0.4.0") entry["version"] = ip.is_v4() ? "4" : "6";
}

}  // namespace

json::object encode_success(const Success& success, std::string_view cni_version) {
  bool with_mtu = cni_version == "1.1.0";
  json::object host{{"name", success.host_interface}, {"mac", success.host_mac}};
  json::object inside{
      {"name", success.interface_name}, {"mac", success.mac}, {"sandbox", success.netns_path}};
  if (with_mtu) {
    host["mtu"] = success.mtu;
    inside["mtu"] = success.mtu;
  }
  json::array ips;
  json::array routes;
  for (std::size_t i = 0; i < success.ips.size(); ++i) {
    Ip ip = success.ips[i];
    std::string gateway = success.gateways.at(i).str();
    json::object entry;
    add_family(entry, ip, cni_version);
    entry["interface"] = 1;
    entry["address"] = Prefix::host(ip).str();
    entry["gateway"] = gateway;
    ips.push_back(std::move(entry));
    std::vector<Prefix> destinations;
    if (success.default_routes) destinations.emplace_back(Ip(ip.family(), 0), 0);
    for (const Prefix& route : success.routes)
      if (route.family() == ip.family()) destinations.push_back(route);
    for (const Prefix& destination : destinations)
      routes.push_back(json::object{{"dst", destination.str()}, {"gw", gateway}});
  }
  return {{"cniVersion", cni_version},
          {"interfaces", json::array{std::move(host), std::move(inside)}},
          {"ips", std::move(ips)},
          {"routes", std::move(routes)},
          {"dns", resolver(success.nameservers, success.search, success.options)}};
}

json::object encode_addresses(const GrantedAddresses& granted, std::string_view cni_version) {
  json::array ips;
  for (std::size_t i = 0; i < granted.addresses.size(); ++i) {
    json::object entry;
    add_family(entry, granted.addresses[i].ip, cni_version);
    entry["address"] = granted.addresses[i].str();
    if (auto gateway = granted.gateways.at(i)) entry["gateway"] = gateway->str();
    ips.push_back(std::move(entry));
  }
  json::array routes;
  for (const AddressRoute& route : granted.routes) {
    json::object entry{{"dst", route.destination.str()}};
    if (route.gateway) entry["gw"] = route.gateway->str();
    routes.push_back(std::move(entry));
  }
  return {{"cniVersion", cni_version},
          {"ips", std::move(ips)},
          {"routes", std::move(routes)},
          {"dns", resolver(granted.nameservers, granted.search, granted.options)}};
}

json::object encode_device(const LentDevice& device, const GrantedAddresses& granted,
                           std::string_view cni_version) {
  json::object result = encode_addresses(granted, cni_version);
  json::object inside{
      {"name", device.interface_name}, {"mac", device.mac}, {"sandbox", device.netns_path}};
  if (cni_version == "1.1.0") {
    inside["mtu"] = device.mtu;
    // A name of the auxiliary bus is none of PCI's.
    if (device.device.find(':') != std::string::npos) inside["pciID"] = device.device;
  }
  result["interfaces"] = json::array{std::move(inside)};
  for (json::value& ip : result["ips"].as_array()) ip.as_object()["interface"] = 0;
  return result;
}

json::object encode_failure(const Failure& failure, std::string_view cni_version) {
  json::object text{{"cniVersion", cni_version}, {"code", failure.code}, {"msg", failure.message}};
  if (!failure.details.empty()) text["details"] = failure.details;
  return text;
}

json::object encode_versions(std::string_view cni_version) {
  json::array supported;
  for (auto version : kVersions) supported.emplace_back(version);
  return {{"cniVersion", cni_version}, {"supportedVersions", std::move(supported)}};
}

}  // namespace tombolo::cni
