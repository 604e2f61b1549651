// pool, ip, service, endpoint: what the cluster consists of.
#include "app/cli/commands_node.h"

namespace tombolo::cli {
namespace {

// "NAMESPACE/NAME" says both; a bare NAME is in `fallback` or in what --namespace says.
template <class Request>
void named(CLI::App* command, std::shared_ptr<Request> request) {
  request->set_name_space("default");
  text_option(command, "-n,--namespace", "Namespace (default \"default\")",
              [request](const std::string& text) { request->set_name_space(text); });
  text_option(command, "SERVICE", "NAME or NAMESPACE/NAME", [request](const std::string& text) {
    std::size_t slash = text.find('/');
    if (slash != std::string::npos) request->set_name_space(text.substr(0, slash));
    request->set_name(slash == std::string::npos ? text : text.substr(slash + 1));
  })->required();
}

void add_pool(CLI::App& app, Session& session) {
  CLI::App* pool = add_group(app, "pool", "Ranges that addresses are given from");
  auto request = std::make_shared<api::ListPoolsRequest>();
  CLI::App* list =
      add_command(pool, "list", "List pools with their use", "tombolo pool list --node east-1");
  text_option(list, "--node", "Only this node's",
              [request](const std::string& text) { request->set_node(text); });
  answers_with<api::PoolApi>(list, session, request, &api::PoolApi::Stub::List,
                             {.facts = {},
                              .sections = {{"pools",
                                            {{"POOL", "name"},
                                             {"CLUSTER", "cluster"},
                                             {"NODE", "node"},
                                             {"USE", "use"},
                                             {"CIDR", "prefix"},
                                             {"SIZE", "size"},
                                             {"USED", "used"},
                                             {"FREE", "free"}},
                                            "no pools"}}});
  add_shared_pools(pool, session);
}

void add_ip(CLI::App& app, Session& session) {
  CLI::App* ip = add_group(app, "ip", "Addresses and whose they are");
  auto request = std::make_shared<api::ListIpsRequest>();
  CLI::App* list = add_command(ip, "list", "List addresses that are given",
                               "tombolo ip list --node east-1 -n default");
  text_option(list, "--node", "Only this node's",
              [request](const std::string& text) { request->set_node(text); });
  text_option(list, "-n,--namespace", "Only this namespace's",
              [request](const std::string& text) { request->set_name_space(text); });
  text_option(list, "--pod", "Only this pod's",
              [request](const std::string& text) { request->set_pod(text); });
  answers_with<api::IpApi>(list, session, request, &api::IpApi::Stub::List,
                           {.facts = {},
                            .sections = {{"ips",
                                          {{"IP", "ip"},
                                           {"NAMESPACE", "name_space"},
                                           {"POD", "pod"},
                                           {"NODE", "node"},
                                           {"INTERFACE", "interface_name"},
                                           {"STATE", "state"},
                                           {"SINCE", "since"}},
                                          "no addresses are given"}}});

  auto explained = std::make_shared<api::ExplainIpRequest>();
  CLI::App* explain = add_command(ip, "explain", "Say whose an address is and how that is known",
                                  "tombolo ip explain 10.1.0.5");
  text_option(explain, "IP", "The address", [explained](const std::string& text) {
    explained->set_ip(text);
  })->required();
  answers_with<api::IpApi>(
      explain, session, explained, &api::IpApi::Stub::Explain,
      {.facts = {{"Address", "ip"}, {"Is", "verdict"}},
       .sections = {
           {"findings", {{"WHAT", "subject"}, {"FINDING", "text"}, {"SOURCE", "source"}}}}});

  auto released = std::make_shared<api::ReleaseIpRequest>();
  CLI::App* release =
      add_command(ip, "release", "Give up an address that is kept for a workload's next pod",
                  "tombolo ip release 172.18.41.40");
  text_option(release, "IP", "The address. One that a pod has is not given up",
              [released](const std::string& text) { released->set_ip(text); })
      ->required();
  answers_with<api::IpApi>(
      release, session, released, &api::IpApi::Stub::Release,
      {.facts = {{"Address", "ip"}, {"Pool", "pool"}, {"Was kept for", "kept_for"}},
       .sections = {}});
}

std::vector<Column> service_columns(std::string_view prefix) {
  if (!prefix.empty())
    return {{"Namespace", "service.name_space"},
            {"Name", "service.name"},
            {"Type", "service.type"},
            {"Cluster addresses", "service.cluster_ips"},
            {"Clusterset addresses", "service.clusterset_ips"},
            {"External addresses", "service.external_ips"},
            {"Announced", "service.announced_by"},
            {"Ports", "service.ports"},
            {"Local", "service.local"},
            {"Global", "service.global"},
            {"Shared", "service.shared"},
            {"Imported", "service.imported"},
            {"Affinity", "service.affinity"},
            {"Clusters", "service.clusters"}};
  return {{"NAMESPACE", "name_space"},
          {"NAME", "name"},
          {"TYPE", "type"},
          {"CLUSTER IPS", "cluster_ips"},
          {"CLUSTERSET IPS", "clusterset_ips"},
          {"EXTERNAL-IP", "external_ips"},
          {"PORTS", "ports"},
          {"GLOBAL", "global"},
          {"AFFINITY", "affinity"},
          {"CLUSTERS", "clusters"},
          {"USED", "backends_used"},
          {"KNOWN", "backends_known"}};
}

View explain_service_view() {
  return {
      .facts = service_columns("service"),
      .sections = {
          {"settings",
           {{"SETTING", "name"}, {"VALUE", "value"}, {"CLUSTER", "cluster"}, {"WHY", "reason"}}},
          {"backends",
           {{"BACKEND", "address"},
            {"PROTOCOL", "protocol"},
            {"PORT", "port_name"},
            {"CLUSTER", "cluster"},
            {"NODE", "node"},
            {"POD", "pod"},
            {"STATE", "state"},
            {"USED", "used"},
            {"WHY", "reason"}},
           "no backends are known"},
          {"notes", {}}}};
}

void add_service(CLI::App& app, Session& session) {
  CLI::App* service = add_group(app, "service", "Services of all clusters, as this one sees them");
  auto request = std::make_shared<api::ListServicesRequest>();
  CLI::App* list = add_command(service, "list", "List services", "tombolo service list -n default");
  text_option(list, "-n,--namespace", "Only this namespace's",
              [request](const std::string& text) { request->set_name_space(text); });
  answers_with<api::ServiceApi>(
      list, session, request, &api::ServiceApi::Stub::List,
      {.facts = {}, .sections = {{"services", service_columns(""), "no services"}}});

  auto explained = std::make_shared<api::ExplainServiceRequest>();
  CLI::App* explain = add_command(service, "explain", "Say for each backend why it is used or not",
                                  "tombolo service explain default/rebel-base\n"
                                  "tombolo service explain rebel-base -n default -o json");
  named(explain, explained);
  answers_with<api::ServiceApi>(explain, session, explained, &api::ServiceApi::Stub::Explain,
                                explain_service_view());

  add_service_export(service, session);

  auto imported = std::make_shared<api::ImportServiceRequest>();
  CLI::App* import = add_command(service, "import",
                                 "Make a service that exists only in another cluster usable here",
                                 "tombolo service import default/rebel-base\n"
                                 "tombolo service import default/rebel-base --remove");
  named(import, imported);
  import->add_flag_callback(
      "--remove", [imported] { imported->set_remove(true); }, "Take the import back");
  answers_with<api::ServiceApi>(import, session, imported, &api::ServiceApi::Stub::Import,
                                {.facts = service_columns("service"), .sections = {}});
}

void add_endpoint(CLI::App& app, Session& session) {
  CLI::App* endpoint = add_group(app, "endpoint", "Workloads with their addresses");
  auto request = std::make_shared<api::ListEndpointsRequest>();
  CLI::App* list = add_command(endpoint, "list", "List endpoints of all clusters",
                               "tombolo endpoint list --cluster west\n"
                               "tombolo endpoint list -n default --service rebel-base");
  text_option(list, "-n,--namespace", "Only this namespace's",
              [request](const std::string& text) { request->set_name_space(text); });
  text_option(list, "--service", "Only those of this service",
              [request](const std::string& text) { request->set_service(text); });
  text_option(list, "--cluster", "Only this cluster's",
              [request](const std::string& text) { request->set_cluster(text); });
  answers_with<api::EndpointApi>(list, session, request, &api::EndpointApi::Stub::List,
                                 {.facts = {},
                                  .sections = {{"endpoints",
                                                {{"NAMESPACE", "name_space"},
                                                 {"POD", "pod"},
                                                 {"CLUSTER", "cluster"},
                                                 {"NODE", "node"},
                                                 {"IPS", "ips"},
                                                 {"IDENTITY", "identity", true},
                                                 {"STATE", "state"},
                                                 {"SERVICES", "services"}},
                                                "no endpoints"}}});
}

}  // namespace

void add_object_commands(CLI::App& app, Session& session) {
  add_pool(app, session);
  add_ip(app, session);
  add_service(app, session);
  add_endpoint(app, session);
}

}  // namespace tombolo::cli
