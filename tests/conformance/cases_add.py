"""VERSION, ADD, and what is wrong with a call."""

import ipaddress

from suite import case

VERSION = "VERSION: probe plugin version support"
ADD = "ADD: Add container to network, or apply modifications"
SUCCESS = "ADD Success"
DELEGATED = "Delegated plugins (IPAM)"
ERROR = "Error"
PARAMETERS = "Parameters"


@case(VERSION, "VERSION lists 0.4.0, 1.0.0 and 1.1.0")
def versions(t):
    answer = t.call("VERSION", {"cniVersion": "1.0.0"}, interface=None)
    t.require(answer.ok and answer.json.get("cniVersion"), f"VERSION: {answer}")
    lacking = {"0.4.0", "1.0.0", "1.1.0"} - set(answer.json.get("supportedVersions", []))
    t.require(not lacking, f"not supported: {', '.join(sorted(lacking))}")


def check_ips(t, result, version):
    t.require(result.get("ips"), "no ips")
    for ip in result["ips"]:
        address = ipaddress.ip_interface(ip["address"])
        t.require("/" in ip["address"], f"{ip['address']} has no prefix length")
        if "gateway" in ip:
            t.require(ipaddress.ip_address(ip["gateway"]).version == address.version, f"gateway of another family: {ip}")
        family = {4: "4", 6: "6"}[address.version]
        t.require(version != "0.4.0" or ip.get("version") == family, f"0.4.0 asks for ips[].version: {ip}")
        t.require(version == "0.4.0" or "version" not in ip, f"{version} has no ips[].version: {ip}")
        if t.subject.ipam:
            t.require("interface" not in ip, f"ips[].interface of an IPAM plugin: {ip}")
        elif "interface" in ip:
            t.require(0 <= ip["interface"] < len(result["interfaces"]), f"ips[].interface names no interface: {ip}")


def check_schema(t, version):
    t.require(version in t.subject.versions, f"does not speak {version}")
    netns, _, result = t.added(version=version)
    t.require(result.get("cniVersion") == version, f"cniVersion is {result.get('cniVersion')}")
    check_ips(t, result, version)
    for route in result.get("routes", []):
        ipaddress.ip_network(route["dst"])
    t.require(isinstance(result.get("dns", {}), dict), "dns is no object")
    if t.subject.ipam:
        t.require("interfaces" not in result, "an IPAM plugin names interfaces")
        return
    inside = [one for one in result.get("interfaces", []) if one.get("sandbox") == netns.path]
    t.require([one["name"] for one in inside] == ["eth0"], f"not one interface eth0 in the sandbox: {result.get('interfaces')}")
    t.require(all(one.get("mac") for one in inside), "the interface has no mac")


for release in ("0.4.0", "1.0.0", "1.1.0"):
    case(SUCCESS, f"ADD answers in the form of {release}")(lambda t, release=release: check_schema(t, release))


@case(ADD, "ADD: the kernel has what the result says", "interfaces")
def kernel_has_it(t):
    netns, _, result = t.added()
    link = netns.link("eth0")
    t.require(link is not None and "UP" in link["flags"], "eth0 is not there, or down")
    wanted = {entry["address"] for entry in result["ips"]}
    t.require(set(netns.addresses("eth0")) == wanted, f"eth0 has {netns.addresses('eth0')}, the result {sorted(wanted)}")
    macs = [one["mac"] for one in result["interfaces"] if one["name"] == "eth0"]
    t.require(macs == [link["address"]], f"MAC address {link['address']}, the result says {macs}")


@case(ADD, "ADD twice: no second address, the first stays")
def add_twice(t):
    netns, container, result = t.added()
    again = t.add(netns, container)
    t.require(not again.ok or again.addresses() == [ip["address"] for ip in result["ips"]], f"the second ADD: {again}")
    checked = t.check(netns, container, result)
    t.require(checked.ok, f"CHECK of the first: {checked}")


@case(ADD, "ADD of an interface name that exists is an error and leaves it alone", "interfaces")
def add_existing(t):
    netns, container = t.netns(), t.container()
    netns.ip("link", "add", "eth0", "type", "bridge")
    netns.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
    t.refused(t.add(netns, container), "ADD")
    t.require(netns.addresses("eth0") == ["192.0.2.1/24"], "the interface that was there is changed")
    if t.subject.claims_reservations:
        t.settle_held([], (container, "eth0"))


@case(ADD, "two interfaces of one container (Multus): DEL of one leaves the other")
def two_interfaces(t):
    netns, container, first = t.added()
    _, _, second = t.added("net1", netns=netns, container=container)
    both = [ip["address"] for ip in first["ips"] + second["ips"]]
    t.require(len(set(both)) == len(both), f"one address twice: {both}")
    removed = t.delete(container, "net1", netns, second)
    t.require(removed.ok, f"DEL of net1: {removed}")
    checked = t.check(netns, container, first)
    t.require(checked.ok, f"CHECK of eth0 after DEL of net1: {checked}")


@case(PARAMETERS, "CNI_ARGS of Kubernetes are taken")
def kubernetes_args(t):
    netns, container = t.netns(), t.container()
    answer = t.add(netns, container, args="IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;"
                   f"K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID=0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11")
    t.require(answer.ok, f"ADD: {answer}")


@case(ADD, "a network namespace that is not there is an error, and nothing is kept", "interfaces")
def no_netns(t):
    container = t.container()
    t.attached.append((container, "eth0"))
    t.refused(t.call("ADD", container=container, netns="/run/netns/tbc-not-there"), "ADD")
    if t.subject.claims_reservations:
        t.settle_held([], (container, "eth0"))


def lacking(variable):
    def body(t):
        netns, container = t.netns(), t.container()
        whole = {"container": container, "netns": netns.path, "interface": "eth0", variable: None}
        t.attached.append((container, "eth0"))
        t.refused(t.call("ADD", **whole), "ADD", (4,))
    return body


for parameter, argument in (("CNI_CONTAINERID", "container"), ("CNI_NETNS", "netns"), ("CNI_IFNAME", "interface")):
    case(PARAMETERS, f"ADD without {parameter} is code 4")(lacking(argument))


@case(PARAMETERS, "a container id outside of its alphabet is code 4")
def bad_container(t):
    t.refused(t.call("ADD", container="../escape", netns=t.netns().path), "ADD", (4,))


@case(PARAMETERS, "an interface name that the kernel would refuse is code 4")
def bad_interface(t):
    t.refused(t.call("ADD", container=t.container(), netns=t.netns().path, interface="et/h0"), "ADD", (4,))


@case(ERROR, "an error names its cniVersion")
def error_version(t):
    answer = t.call("ADD", container="../escape", netns=t.netns().path)
    t.refused(answer, "ADD")
    t.require(answer.json.get("cniVersion"), f"no cniVersion: {answer}")


@case(ERROR, "an unknown command is code 4")
def bad_command(t):
    t.refused(t.call("REFRESH", container=t.container(), netns=t.netns().path), "REFRESH", (4,))


@case(ERROR, "a version that is not supported is code 1")
def bad_version(t):
    t.refused(t.call("ADD", t.subject.config("9.9.9"), container=t.container(), netns=t.netns().path), "ADD", (1,))


@case(ERROR, "a configuration that is no JSON is code 6")
def no_json(t):
    t.refused(t.call("ADD", '{"cniVersion": ', container=t.container(), netns=t.netns().path), "ADD", (6,))


@case(ERROR, "a configuration without a name is code 7")
def no_name(t):
    config = t.subject.config()
    del config["name"]
    t.refused(t.call("ADD", config, container=t.container(), netns=t.netns().path), "ADD", (7,))


@case(ERROR, "a key of the wrong type is code 6 or 7")
def wrong_type(t):
    t.refused(t.call("ADD", t.subject.config(ipam=5), container=t.container(), netns=t.netns().path), "ADD", (6, 7))
