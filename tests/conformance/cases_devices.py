"""A device of the node as a pod's interface ("deviceID"), through the real plugin and agent. The machine has no virtual
functions: the interface is one end of a veth pair, whose other end is the wire, and sysfs is a folder of this suite
(TOMBOLO_SYSFS). What the kernel does with real devices when a namespace ends is played: the interface is put back by hand.
"""

import json
import os
import sys

from cases_crash import AgentKiller, calls_of, points
from cases_recovery import freed
from suite import case
from world import run, wait_until

DEVICES = "ipamd/cni/lending.cpp"
ID = "0000:3b:02.1"
NAME, MAC, MTU = "ens1f0v1", "02:00:00:00:3b:21", 9000


# Nobody listens: that the kernel over there says so means that packets go both ways.
KNOCK = """import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 5)
except ConnectionRefusedError:
    pass"""


def reach(node, address):
    run("nsenter", f"--net={node.path}", sys.executable, "-c", KNOCK, address)


class Vf:
    """The device of one case, on the node when it begins."""

    def __init__(self, t):
        self.t, self.node = t, t.subject.node
        self.folder = os.path.join(t.subject.sysfs, "bus/pci/devices", ID)
        if NAME not in self.node.links():
            self.node.ip("link", "del", "wire", check=False)
            self.node.ip("link", "add", NAME, "address", MAC, "mtu", str(MTU), "type", "veth", "peer", "name", "wire")
            self.node.ip("link", "set", "wire", "up")
        self.node.ip("link", "set", NAME, "up")
        self.tell(NAME)

    def tell(self, *interfaces, driver="iavf"):
        """What sysfs says from now on."""
        net = os.path.join(self.folder, "net")
        os.makedirs(net, exist_ok=True)
        for name in os.listdir(net):
            os.rmdir(os.path.join(net, name))
        for name in interfaces:
            os.mkdir(os.path.join(net, name))
        link = os.path.join(self.folder, "driver")
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(f"../../drivers/{driver}", link)

    def call(self, command, netns, container, **more):
        if command == "ADD":
            self.t.attached.append((container, "net1"))
        config = self.t.subject.config("1.1.0", **{"deviceID": ID, "pciBusID": ID, **more})
        return self.t.call(command, config, container=container, interface="net1", netns=netns and netns.path)

    def added(self, **more):
        netns, container = self.t.netns(), self.t.container()
        answer = self.call("ADD", netns, container, **more)
        self.t.require(answer.ok, f"ADD: {answer}")
        return netns, container, answer.json

    def at_home(self):
        link = self.node.link(NAME)
        return link is not None and link["address"] == MAC and link["mtu"] == MTU and "UP" in link["flags"]

    def programs(self, node, interface):
        """Of ours at an interface, by name."""
        said = run("nsenter", f"--net={node.path}", "bpftool", "-j", "net", "show", "dev", interface)
        return sorted(program.get("name", "") for group in json.loads(said) for program in group.get("tc", []))

    def records(self):
        folder = os.path.join(self.t.subject.agent.folder, "state", "devices")
        return [name for name in os.listdir(folder) if name.endswith(".json")]


@case(DEVICES, "ADD, CHECK, DEL: in the pod with address, route, MAC and MTU, then home as it was", group="devices")
def life(t):
    vf = Vf(t)
    netns, container, result = vf.added(mtu=1500, runtimeConfig={"mac": "02:00:00:00:00:77"})
    t.require(len(result["interfaces"]) == 1, f"not one interface: {result['interfaces']}")
    interface = result["interfaces"][0]
    wanted = {"name": "net1", "mac": "02:00:00:00:00:77", "mtu": 1500, "sandbox": netns.path, "pciID": ID}
    t.require(interface == wanted, f"the result has {interface}, not {wanted}")
    link = netns.link("net1")
    t.require((link["address"], link["mtu"]) == ("02:00:00:00:00:77", 1500), f"in the pod: {link}")
    t.require({ip["address"] for ip in result["ips"]} <= set(netns.addresses("net1")), "not all addresses are there")
    routes = [route for route in netns.routes("net1") if route["dst"] == "default"]
    t.require({route["gateway"] for route in routes} == {ip["gateway"] for ip in result["ips"]}, f"routes: {routes}")
    t.require(NAME not in vf.node.links(), "it is still on the node")
    t.require(len(vf.programs(netns, "net1")) == 2, f"policy at the device in the pod: {vf.programs(netns, 'net1')}")
    # The other end of the pair is the network behind the device.
    gateway = next(ip for ip in result["ips"] if ":" not in ip["address"])
    pod = gateway["address"].split("/")[0]
    vf.node.ip("address", "replace", f"{gateway['gateway']}/32", "dev", "wire")
    vf.node.ip("route", "replace", f"{pod}/32", "dev", "wire", "src", gateway["gateway"])
    reach(vf.node, pod)
    checked = vf.call("CHECK", netns, container, prevResult=result)
    t.require(checked.ok, f"CHECK: {checked}")
    netns.ip("route", "del", "default")
    t.refused(vf.call("CHECK", netns, container, prevResult=result), "CHECK without the route", (102,))
    for _ in range(3):
        deleted = vf.call("DEL", netns, container)
        t.require(deleted.ok, f"DEL: {deleted}")
        t.require(vf.at_home(), f"not home as it was: {vf.node.link(NAME)}")
        t.require(not vf.programs(vf.node, NAME), f"programs came home with it: {vf.programs(vf.node, NAME)}")
    t.require(not vf.records(), f"records are left: {vf.records()}")
    vf.node.ip("address", "flush", "dev", "wire")
    vf.node.ip("route", "flush", "dev", "wire")


@case(DEVICES, "DEL without configuration of the device, and after its namespace was deleted", group="devices")
def without(t):
    vf = Vf(t)
    netns, container, _ = vf.added()
    deleted = t.delete(container, "net1", netns=netns)
    t.require(deleted.ok and vf.at_home(), f"DEL: {deleted}; {vf.node.link(NAME)}")
    netns, container, _ = vf.added()
    vf.tell()  # as the kernel's sysfs while the device is in a pod
    netns.remove()
    deleted = t.delete(container, "net1")
    t.require(deleted.ok, f"DEL after the end of the namespace: {deleted}")
    t.settle_held([], (container, "net1"))
    # The kernel brings it, under whatever name; the veth pair went, so another one stands for it.
    vf.node.ip("link", "add", "dev9", "address", "02:00:00:00:00:99", "type", "veth", "peer", "name", "wire")
    vf.tell("dev9")
    wait_until("the interface has its name again", lambda: NAME in vf.node.links())
    vf.tell(NAME)
    wait_until("it is as it was", lambda: vf.at_home() and not vf.records())


@case(DEVICES, "no such device, one for user space, one of another pod: refused by name", group="devices")
def refused(t):
    vf = Vf(t)
    netns, container = t.netns(), t.container()
    t.refused(vf.call("ADD", netns, container, deviceID="0000:3b:02.7", pciBusID="0000:3b:02.7"), "ADD of none", (106,))
    t.refused(vf.call("ADD", netns, container, deviceID="../x", pciBusID="../x"), "ADD of a path", (7,))
    vf.tell(driver="vfio-pci")
    answer = vf.call("ADD", netns, container)
    t.refused(answer, "ADD of a device for user space", (106,))
    t.require("vfio-pci" in answer.json["msg"], f"the driver is not named: {answer}")
    vf.tell(NAME)
    _, holder, _ = vf.added()
    answer = vf.call("ADD", netns, container)
    t.refused(answer, "ADD of another pod's device", (106,))
    t.require(holder in answer.json["msg"], f"whose it is is not said: {answer}")
    t.settle_held([(holder, "net1")], (holder, "net1"), (container, "net1"))


@case(DEVICES, "GC brings back the device of an attachment that is not valid", group="devices")
def collected(t):
    vf = Vf(t)
    _, container, _ = vf.added()
    answer = t.gc([])
    t.require(answer.ok and vf.at_home(), f"GC: {answer}; {vf.node.link(NAME)}")
    t.settle_held([], (container, "net1"))


@case(DEVICES, "the namespace ends without DEL: the address is freed", group="devices")
def lost(t):
    vf = Vf(t)
    netns, container, _ = vf.added()
    t.settle_held([(container, "net1")], (container, "net1"))
    vf.tell()
    netns.remove()
    freed(t, (container, "net1"))


def whole(t, vf, netns, container, answer):
    """In the pod with everything, or at home and nothing held; before DEL looks."""
    key = (container, "net1")
    if answer.ok:
        t.settle_held([key], key)
        checked = vf.call("CHECK", netns, container, prevResult=answer.json)
        t.require(checked.ok, f"CHECK of an ADD that was answered: {checked}")
    else:
        def settled():
            return (vf.at_home() and not vf.records()) or "net1" in netns.links()
        wait_until(f"lent whole or at home ({vf.node.links()}, {netns.links()}, {vf.records()})", settled, timeout_s=10)
    deleted = vf.call("DEL", netns, container)
    t.require(deleted.ok, f"DEL: {deleted}")
    wait_until(f"home as it was ({vf.node.links()}, {vf.records()})", lambda: vf.at_home() and not vf.records())
    t.settle_held([], key)


@case(DEVICES, "the agent is killed at system calls of ADD: lent whole, or at home", group="devices")
def killed_in_add(t):
    vf = Vf(t)
    tried = []

    def add():
        netns, container = t.netns(), t.container()
        tried.append((netns, container, vf.call("ADD", netns, container)))

    count = calls_of(t, add)
    whole(t, vf, *tried[-1])
    reached = 0
    for at in points(count):
        with AgentKiller(t, at) as killer:
            add()
        reached += killer.reached
        try:
            whole(t, vf, *tried[-1])
        except Exception as error:
            raise type(error)(f"killed at call {at} of {count}: {error}") from None
    t.require(reached, f"no kill came in time: {points(count)} of {count}")


@case(DEVICES, "the agent is killed at system calls of DEL: the next DEL finds it at home", group="devices")
def killed_in_del(t):
    vf = Vf(t)
    made = [vf.added()]
    count = calls_of(t, lambda: vf.call("DEL", made[-1][0], made[-1][1]))
    vf.call("DEL", made[-1][0], made[-1][1])
    reached = 0
    for at in points(count):
        netns, container, _ = vf.added()
        with AgentKiller(t, at) as killer:
            vf.call("DEL", netns, container)  # answered or not: what counts is what the next one finds
        reached += killer.reached
        deleted = vf.call("DEL", netns, container)
        t.require(deleted.ok, f"killed at call {at} of {count}: DEL: {deleted}")
        wait_until(f"killed at call {at}: home as it was", lambda: vf.at_home() and not vf.records())
        t.settle_held([], (container, "net1"))
    t.require(reached, f"no kill came in time: {points(count)} of {count}")
