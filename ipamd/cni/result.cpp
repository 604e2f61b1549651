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
    // Up to 0.4.0 each address says its family.
    if (cni_version == "0.4.0") entry["version"] = ip.is_v4() ? "4" : "6";
    entry["interface"] = 1;
    entry["address"] = Prefix::host(ip).str();
    entry["gateway"] = gateway;
    ips.push_back(std::move(entry));
    routes.push_back(json::object{{"dst", ip.is_v4() ? "0.0.0.0/0" : "::/0"}, {"gw", gateway}});
  }
  json::object dns;
  if (!success.nameservers.empty()) {
    json::array nameservers;
    for (const Ip& ip : success.nameservers) nameservers.emplace_back(ip.str());
    dns["nameservers"] = std::move(nameservers);
    dns["search"] = strings(success.search);
    dns["options"] = strings(success.options);
  }
  return {{"cniVersion", cni_version},
          {"interfaces", json::array{std::move(host), std::move(inside)}},
          {"ips", std::move(ips)},
          {"routes", std::move(routes)},
          {"dns", std::move(dns)}};
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
