"""Tombolo after Debian's plugins ("chained": true): their interface, their addresses, our datapath. Real kernel hooks."""

import json
import os

from calls import Plugin
from suite import case
from subjects import DEBIAN, ROUTES
from world import Failed, run, wait_until

ADD = "ADD: Add container to network, or apply modifications"
DEL = "DEL: Remove container from network, or un-apply modifications"
CHECK = "CHECK: Check container's networking is as expected"
GC = "GC: Clean up any stale resources"
KINDS = {
    "bridge": {"bridge": "cni0", "isGateway": True},
    "ptp": {},
    "macvlan": {"master": "eth0", "mode": "bridge"},
}


class List:
    """A list of two plugins, as a runtime goes through it: first Debian's, then Tombolo."""

    def __init__(self, t, kind, version="1.0.0"):
        self.t, self.kind, self.version = t, kind, version
        self.first = Plugin(os.path.join(DEBIAN, kind), t.subject.node)
        folder = os.path.join(t.world.folder, f"chained-{kind}")
        addresses = {"type": "host-local", "dataDir": folder, "ranges": [[{"subnet": "10.40.0.0/24"}]], "routes": ROUTES[:1]}
        self.body = {"name": f"list-{kind}", "type": kind, "ipam": addresses, **KINDS[kind]}

    def ours(self, **more):
        return {"cniVersion": self.version, "name": self.body["name"], "type": "tombolo-cni", "chained": True,
                "socket": self.t.subject.agent.socket, **more}

    def theirs(self, command, netns, container, **more):
        config = {"cniVersion": "1.0.0", **self.body, **more}
        return self.first.call(command, config, container=container, netns=netns.path)

    def call(self, command, container, netns=None, **more):
        return self.t.subject.plugin.call(command, self.ours(**more), container=container, netns=netns and netns.path)

    def added(self):
        """(namespace, container, Debian's result, our answer)"""
        netns, container = self.t.netns(), self.t.container()
        made = self.theirs("ADD", netns, container)
        self.t.require(made.ok, f"ADD of {self.kind}: {made}")
        previous = {**made.json, "cniVersion": self.version}
        return netns, container, previous, self.call("ADD", container, netns, prevResult=previous)

    def remove(self, netns, container):
        self.call("DEL", container, netns)
        self.theirs("DEL", netns, container)


def host_end(t, netns):
    """The name, on the node, of the other end of eth0."""
    index = netns.link("eth0")["link_index"]
    for link in json.loads(t.subject.node.ip("-j", "link", "show")):
        if link["ifindex"] == index:
            return link["ifname"]
    raise Failed(f"no interface {index} on the node")


def hooks(t, interface):
    """Names of our programs at an interface of the node."""
    said = run("nsenter", f"--net={t.subject.node.path}", "bpftool", "-j", "net", "show", "dev", interface)
    return sorted(program.get("name", "") for group in json.loads(said) for program in group.get("tc", []))


def whole_life(t, kind):
    user = List(t, kind)
    netns, container, previous, answer = user.added()
    try:
        t.require(answer.ok, f"ADD: {answer}")
        t.require(answer.json == previous, f"the result was changed: {answer}")
        end = host_end(t, netns)
        t.require(len(hooks(t, end)) == 2, f"programs at {end}: {hooks(t, end)}")
        addresses = {ip["address"].split("/")[0] for ip in previous["ips"]}
        t.settle_held([(container, "eth0")], (container, "eth0"))
        t.require(t.subject.reserved()[(container, "eth0")] == addresses, "the row has other addresses")
        again = user.call("ADD", container, netns, prevResult=previous)
        t.refused(again, "a second ADD")
        checked = user.call("CHECK", container, netns, prevResult=previous)
        t.require(checked.ok, f"CHECK: {checked}")
        for _ in range(3):
            removed = user.call("DEL", container, netns, prevResult=previous)
            t.require(removed.ok and not removed.output.strip(), f"DEL: {removed}")
        t.require(netns.link("eth0") is not None, "DEL took the interface, which is another's")
        t.require(not hooks(t, end), f"programs at {end} after DEL: {hooks(t, end)}")
        t.settle_held([], (container, "eth0"))
    finally:
        user.remove(netns, container)


for name in ("bridge", "ptp"):
    case(ADD, f"chained after {name}: result unchanged, hooks at the veth, CHECK, DEL", group="chained")(
        lambda t, name=name: whole_life(t, name))


@case(ADD, "chained after macvlan: refused, there is no end on the node to guard", group="chained")
def no_veth(t):
    user = List(t, "macvlan")
    netns, container, _, answer = user.added()
    try:
        t.refused(answer, "ADD", (104,))
        t.settle_held([], (container, "eth0"))
    finally:
        user.remove(netns, container)


@case(ADD, "chained without a result, or unasked, is refused", group="chained")
def not_first(t):
    user = List(t, "bridge")
    netns = t.netns()
    t.refused(user.call("ADD", t.container(), netns), "ADD without prevResult", (7,))
    result = {"cniVersion": "1.0.0", "interfaces": [], "ips": []}
    t.refused(user.call("ADD", t.container(), netns, prevResult=result), "ADD with nothing to adopt", (7,))
    config = {**user.ours(prevResult=result), "chained": False}
    t.refused(t.call("ADD", config, container=t.container(), netns=netns.path), "ADD after another, not chained", (2,))


@case(CHECK, "chained CHECK sees a lost address, route, hook, and what was never added", group="chained")
def check_differences(t):
    user = List(t, "bridge")
    netns, container, previous, answer = user.added()
    try:
        t.require(answer.ok, f"ADD: {answer}")
        address = previous["ips"][0]["address"]
        netns.ip("address", "del", address, "dev", "eth0")
        t.refused(user.call("CHECK", container, netns, prevResult=previous), "CHECK without the address", (102,))
        netns.ip("address", "add", address, "dev", "eth0")
        t.refused(user.call("CHECK", container, netns, prevResult=previous), "CHECK without the route", (102,))
        netns.ip("route", "add", "default", "via", previous["ips"][0]["gateway"])
        t.require(user.call("CHECK", container, netns, prevResult=previous).ok, "CHECK of the repaired")
        t.refused(user.call("CHECK", t.container(), netns, prevResult=previous), "CHECK of the unknown", (3,))
    finally:
        user.remove(netns, container)


@case(GC, "chained GC lets go what is not valid and leaves the interface to its maker", group="chained")
def gc_chained(t):
    user = List(t, "bridge", "1.1.0")
    made = [user.added() for _ in range(3)]
    try:
        t.require(all(answer.ok for *_, answer in made), f"ADD: {[str(answer) for *_, answer in made]}")
        keys = [(container, "eth0") for _, container, *_ in made]
        valid = [{"containerID": keys[1][0], "ifname": "eth0"}]
        collected = t.call("GC", user.ours(**{"cni.dev/valid-attachments": valid}), interface=None)
        t.require(collected.ok and not collected.output.strip(), f"GC: {collected}")
        t.settle_held([keys[1]], *keys)
        counts = [len(hooks(t, host_end(t, netns))) for netns, *_ in made]
        t.require(counts == [0, 2, 0], f"programs: {counts}")
    finally:
        for netns, container, *_ in made:
            user.remove(netns, container)


@case(DEL, "chained DEL without namespace and result, and after the namespace is gone", group="chained")
def del_late(t):
    user = List(t, "bridge")
    netns, container, _, answer = user.added()
    t.require(answer.ok, f"ADD: {answer}")
    netns.remove()
    removed = user.call("DEL", container)
    t.require(removed.ok, f"DEL: {removed}")
    t.settle_held([], (container, "eth0"))
    user.remove(netns, container)


@case(ADD, "what is chained is kept over a restart of the agent", group="chained")
def restart(t):
    user = List(t, "bridge")
    netns, container, previous, answer = user.added()
    try:
        t.require(answer.ok, f"ADD: {answer}")
        t.subject.agent.kill()
        t.subject.agent.start()
        def fine():
            checked = user.call("CHECK", container, netns, prevResult=previous)
            return checked.ok
        wait_until("CHECK after the restart", fine)
        t.require(len(hooks(t, host_end(t, netns))) == 2, "the programs are gone")
    finally:
        user.remove(netns, container)


@case(ADD, "one list with both: addresses by tombolo-cni under bridge, then chained", group="chained")
def both(t):
    user = List(t, "bridge")
    user.body["ipam"] = {"type": "tombolo-cni", "socket": t.subject.agent.socket, "routes": ROUTES}
    user.body["bridge"] = "cni1"
    user.first.path = f"{DEBIAN}:{os.path.dirname(t.subject.plugin.binary)}"
    netns, container, previous, answer = user.added()
    try:
        t.require(answer.ok, f"ADD: {answer}")
        checked = user.call("CHECK", container, netns, prevResult=previous)
        t.require(checked.ok, f"CHECK: {checked}")
        key = (container, "eth0")
        user.call("DEL", container, netns)
        t.settle_held([key], key)  # still held: the bridge has not given it back
        user.theirs("DEL", netns, container)
        t.settle_held([], key)
    finally:
        user.remove(netns, container)
