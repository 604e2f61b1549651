"""Tombolo for addresses ("ipam": {"type": "tombolo-cni"}) under Debian's plugins, and as Multus calls them. Debian's plugins
run from their folder, with tombolo-cni found through CNI_PATH as a runtime would have it.
"""

import os

from agent import BIN
from calls import Plugin
from suite import case
from subjects import DEBIAN, ROUTES

DELEGATION = "Section 4: Plugin Delegation"
DELEGATED = "Delegated plugins (IPAM)"
ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"


def ipam(t):
    return {"type": "tombolo-cni", "socket": t.subject.agent.socket, "routes": ROUTES}


# Keys of each plugin's configuration beside the addresses.
KINDS = {
    "bridge": {"bridge": "cni0", "isGateway": True},
    "ptp": {"ipMasq": False},
    "macvlan": {"master": "eth0", "mode": "bridge"},
    "host-device": {"device": "spare"},
}


class Delegating:
    """One of Debian's plugins with Tombolo for addresses."""

    def __init__(self, t, kind, **more):
        self.t, self.kind = t, kind
        self.plugin = Plugin(os.path.join(DEBIAN, kind), t.subject.node, f"{DEBIAN}:{BIN}")
        self.body = {"cniVersion": "1.0.0", "name": f"net-{kind}", "type": kind, "ipam": ipam(t), **KINDS[kind], **more}
        if kind == "host-device":
            t.subject.node.ip("link", "add", "spare", "type", "veth", "peer", "name", "spare-peer")
            t.subject.node.ip("link", "set", "spare-peer", "up")

    def call(self, command, netns, container, interface="eth0", **more):
        return self.plugin.call(command, {**self.body, **more}, container=container, interface=interface,
                                netns=netns.path, args=ARGS)

    def direct(self, command, version="1.1.0", **more):
        """The call that a runtime or Multus passes on to the addresses' plugin."""
        return self.t.subject.plugin.call(command, {**self.body, "cniVersion": version, **more}, interface=None)

    def finish(self, *attachments):
        for netns, container, interface in attachments:
            self.call("DEL", netns, container, interface)
        if self.kind == "host-device":
            self.t.subject.node.ip("link", "del", "spare", check=False)


def whole_life(t, kind):
    """ADD, what is held, CHECK, DEL three times."""
    user = Delegating(t, kind)
    netns, container = t.netns(), t.container()
    try:
        added = user.call("ADD", netns, container)
        t.require(added.ok, f"ADD: {added}")
        addresses = {text.split("/")[0] for text in added.addresses()}
        t.require(len(addresses) == 2, f"not one address of each family: {added}")
        inside = {text.split("/")[0] for text in netns.addresses("eth0")}
        t.require(addresses <= inside, f"the interface has {inside}, the result {addresses}")
        t.settle_held([(container, "eth0")], (container, "eth0"))
        t.require(t.subject.reserved()[(container, "eth0")] == addresses, "other addresses are held than given")
        checked = user.call("CHECK", netns, container, prevResult=added.json)
        t.require(checked.ok, f"CHECK: {checked}")
        # Debian's host-device refuses a second DEL itself, before it asks anybody.
        for _ in range(1 if kind == "host-device" else 3):
            removed = user.call("DEL", netns, container, prevResult=added.json)
            t.require(removed.ok, f"DEL: {removed}")
        t.settle_held([], (container, "eth0"))
        for _ in range(2):
            removed = t.subject.plugin.call("DEL", user.body, container=container, netns=netns.path)
            t.require(removed.ok, f"DEL of the addresses alone: {removed}")
    finally:
        user.finish((netns, container, "eth0"))


for name in KINDS:
    case(DELEGATION, f"addresses under {name}: ADD, CHECK, DEL", group="together")(lambda t, name=name: whole_life(t, name))


@case(DELEGATED, "two plugins and three interfaces of one container (Multus): each is held and freed alone", group="together")
def several_interfaces(t):
    # Only the first has routes: Debian's plugins refuse a default route that is there.
    bridge, macvlan = Delegating(t, "bridge"), Delegating(t, "macvlan")
    del macvlan.body["ipam"]["routes"]
    netns, container = t.netns(), t.container()
    calls = [(bridge, "eth0"), (macvlan, "net1"), (macvlan, "net2")]
    try:
        answers = [user.call("ADD", netns, container, interface) for user, interface in calls]
        t.require(all(answer.ok for answer in answers), f"ADD: {[str(answer) for answer in answers]}")
        addresses = [address for answer in answers for address in answer.addresses()]
        t.require(len(set(addresses)) == 6, f"one address twice: {addresses}")
        keys = [(container, interface) for _, interface in calls]
        t.settle_held(keys, *keys)
        macvlan.call("DEL", netns, container, "net1")
        t.settle_held([keys[0], keys[2]], *keys)
    finally:
        bridge.finish((netns, container, "eth0"))
        macvlan.finish((netns, container, "net1"), (netns, container, "net2"))


@case(DELEGATION, "the plugin fails after it has addresses: its DEL frees them", group="together")
def failure_after_add(t):
    user = Delegating(t, "bridge", bridge="clash0", forceAddress=False)
    netns, container = t.netns(), t.container()
    probe = Delegating(t, "ptp")
    first = probe.call("ADD", netns, container, "probe")
    t.require(first.ok, f"ADD: {first}")
    # The bridge has an address of the subnet that is not its gateway: Debian's plugin refuses that, after it has asked.
    subnet = first.addresses()[0]
    t.subject.node.ip("link", "add", "clash0", "type", "bridge")
    t.subject.node.ip("address", "add", subnet, "dev", "clash0")
    try:
        refused = user.call("ADD", netns, container)
        t.require(not refused.ok and "clash0" in str(refused), f"ADD: {refused}")
        t.settle_held([], (container, "eth0"))
    finally:
        user.finish((netns, container, "eth0"))
        probe.finish((netns, container, "probe"))
        t.subject.node.ip("link", "del", "clash0")


@case(DELEGATION, "CHECK through the plugin fails when the addresses are not held any more", group="together")
def check_through(t):
    user = Delegating(t, "ptp")
    netns, container = t.netns(), t.container()
    try:
        added = user.call("ADD", netns, container)
        t.require(added.ok, f"ADD: {added}")
        t.subject.plugin.call("DEL", user.body, container=container, netns=netns.path)
        checked = user.call("CHECK", netns, container, prevResult=added.json)
        t.require(not checked.ok and "holds no addresses" in str(checked), f"CHECK: {checked}")
    finally:
        user.finish((netns, container, "eth0"))


@case("GC: Clean up any stale resources", "GC for the default delegate (Multus) frees its network's addresses and no others", group="together")
def gc_of_delegate(t):
    bridge, ptp = Delegating(t, "bridge"), Delegating(t, "ptp")
    made = [(user, t.netns(), t.container()) for user in (bridge, bridge, ptp)]
    own_netns, own, _ = t.added()
    try:
        for user, netns, container in made:
            answer = user.call("ADD", netns, container)
            t.require(answer.ok, f"ADD: {answer}")
        keep, lose, other = [(container, "eth0") for _, _, container in made]
        valid = [{"containerID": keep[0], "ifname": "eth0"}]
        collected = bridge.direct("GC", **{"cni.dev/valid-attachments": valid})
        t.require(collected.ok and not collected.output.strip(), f"GC: {collected}")
        t.settle_held([keep, other, (own, "eth0")], keep, lose, other, (own, "eth0"))
        t.require(own_netns.link("eth0") is not None, "GC took an interface of another network")
    finally:
        for user, netns, container in made:
            user.finish((netns, container, "eth0"))


@case("STATUS: Check plugin status", "STATUS for the default delegate", group="together")
def status_of_delegate(t):
    answer = Delegating(t, "bridge").direct("STATUS")
    t.require(answer.ok and not answer.output.strip(), f"STATUS: {answer}")


@case(DELEGATED, "the gateway of a block is no pod's, whichever plugin comes first", group="together")
def gateways(t):
    user = Delegating(t, "ptp")
    netns, container = t.netns(), t.container()
    try:
        answer = user.call("ADD", netns, container)
        t.require(answer.ok, f"ADD: {answer}")
        given = {ip["gateway"] for ip in answer.json["ips"]}
        _, _, other = t.added()
        pods = {address.split("/")[0] for address in answer.addresses()}
        pods |= {ip["address"].split("/")[0] for ip in other["ips"]}
        t.require(len(given) == 2 and not given & pods, f"gateways {given}, pods {pods}")
    finally:
        user.finish((netns, container, "eth0"))
