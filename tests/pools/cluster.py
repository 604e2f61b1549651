"""Clusters for the pools' cases: real tombolod processes with keys of their own, in network namespaces on one bridge; the
first node of each cluster is agent and controller. Built on the ground of tests/conformance.
"""

import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "conformance"))
from calls import Plugin  # noqa: E402
from world import Failed, run, wait_until  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("TOMBOLO_BIN") or os.path.join(ROOT, "build", "release", "bin")
FLEET = {
    "fleet": "pools",
    "regions": [{"name": "lab", "cloud": "on-prem"}],
    "address_space": [{"cidr": "10.0.0.0/8"}],
    "families": ["ipv4"],
    "clusters": [{"name": name, "id": number, "region": "lab", "nodes": 2, "pods_per_node": 110, "services": 100,
                  "cidrs": {"underlay": {"ipv4": f"10.9.{number - 1}.0/24"},
                            "pod": {"ipv4": {"cidr": f"10.{20 + number}.0.0/16", "node_prefix_length": 25}},
                            "service": {"ipv4": f"10.{30 + number}.0.0/20"}}}
                 for number, name in enumerate(("east", "west"), 1)],
}


class Node:
    """One tombolod and the plugin beside it."""

    def __init__(self, cluster, number):
        self.cluster, self.name, self.address = cluster, f"n{number}", f"10.9.{cluster.number - 1}.{number}"
        self.port = f"{cluster.name}{number}"  # of the bridge
        self.folder = os.path.join(cluster.folder, self.name)
        os.makedirs(os.path.join(self.folder, "state"))
        self.netns = cluster.world.netns("node")
        self.join_bridge()
        self.process = None
        self.plugin = Plugin(os.path.join(BIN, "tombolo-cni"), self.netns, f"/usr/lib/cni:{BIN}")
        self.network = {"cniVersion": "1.1.0", "name": "pods", "type": "tombolo-cni", "socket": f"{self.folder}/cni.sock"}

    def join_bridge(self):
        lan = self.cluster.lan
        run("ip", "link", "add", "eth0", "netns", self.netns.name, "type", "veth", "peer", "name", self.port, "netns", lan.name)
        lan.ip("link", "set", self.port, "master", "br0", "up")
        self.netns.ip("address", "add", f"{self.address}/16", "dev", "eth0")
        self.netns.ip("link", "set", "eth0", "up")
        self.netns.sysctl("net.ipv4.ip_forward", 1)

    @property
    def is_controller(self):
        return self.name == "n1"

    def configuration(self):
        own = os.path.join(self.cluster.keys, self.name)
        config = {
            "roles": ["agent", "controller"] if self.is_controller else ["agent"],
            "cluster": {"name": self.cluster.name, "id": self.cluster.number, "fleet": "pools"},
            "node": {"name": self.name, "addresses": [self.address]},
            "state_dir": f"{self.folder}/state", "run_dir": self.folder,
            "store": {"tls": {"certificate": f"{own}/tls.crt", "key": f"{own}/tls.key", "ca": f"{own}/ca.crt"}},
            "subsystems": {"mesh": True, "dns": False, "lb": False, "policy": False},
            "metrics": {"listen": "off"},
        }
        if self.is_controller:
            config["store"]["embedded"] = {"listen": [self.cluster.store]}
            authority = self.cluster.keys
            config["controller"] = {"manifests": self.cluster.manifests,
                                    "signing": {"certificate": f"{authority}/ca.crt", "key": f"{authority}/ca.key"}}
        else:
            config["store"]["endpoints"] = [self.cluster.store]
        return config

    def start(self):
        path = os.path.join(self.folder, "tombolod.yaml")
        with open(path, "w", encoding="utf-8") as out:
            json.dump(self.configuration(), out)
        self.process = self.cluster.world.start(self.netns, f"{self.folder}/log", os.path.join(BIN, "tombolod"), "--config", path)

    def kill(self):
        self.cluster.world.end(self.process, 9)

    def start_anew(self):
        """As a machine whose disk is new."""
        shutil.rmtree(f"{self.folder}/state")
        os.makedirs(f"{self.folder}/state")
        self.start()

    def log(self):
        with open(f"{self.folder}/log", encoding="utf-8", errors="replace") as text:
            return text.read()

    def ready(self):
        if self.process.poll() is not None:
            raise Failed(f"tombolod of {self.name} ended with {self.process.returncode}: {self.log()[-1500:]}")
        return os.path.exists(f"{self.folder}/admin.sock") and self.status().ok

    def status(self):
        return self.plugin.call("STATUS", self.network, interface=None)

    def tombolo(self, *arguments):
        return run(os.path.join(BIN, "tombolo"), "--address", f"unix://{self.folder}/admin.sock", *arguments)

    def refusal(self, *arguments):
        """Why it was not done; empty: it was."""
        try:
            self.tombolo(*arguments)
        except Failed as failure:
            return str(failure)
        return ""

    def ask(self, *arguments):
        return json.loads(self.tombolo(*arguments, "-o", "json"))

    def call(self, command, pod, network=None, interface="eth0", **more):
        """A call for `pod`, which has a name (NAMESPACE/NAME, or none), a container and a namespace."""
        args = None
        if "/" in pod.name:
            name_space, name = pod.name.split("/")
            args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={name_space};K8S_POD_NAME={name}"
        return self.plugin.call(command, {**(network or self.network), **more}, container=pod.container, interface=interface,
                                netns=pod.netns.path, args=args)

    def add(self, pod, patience_s=10, **more):
        """ADD until it is not told to try later; the addresses."""
        last = None

        def answered():
            nonlocal last
            last = self.call("ADD", pod, **more)
            return last.code != 11
        try:
            wait_until(f"ADD of {pod.name} on {self.name}", answered, timeout_s=patience_s)
        except Failed as failure:
            raise Failed(f"{failure}: {last}") from None
        if not last.ok:
            raise Failed(f"ADD of {pod.name} on {self.name}: {last}")
        return last

    def delete(self, pod, **more):
        answer = self.call("DEL", pod, **more)
        if not answer.ok:
            raise Failed(f"DEL of {pod.name} on {self.name}: {answer}")


# A refusal comes from the other end: nobody listens there.
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=1)
except ConnectionRefusedError:
    print("reached")
except OSError:
    pass
"""


class Pod:
    def __init__(self, cluster, name):
        cluster.count += 1
        self.name, self.container, self.netns = name, f"c{cluster.count}", cluster.world.netns()

    def reaches(self, ip):
        return "reached" in run("ip", "netns", "exec", self.netns.name, "python3", "-c", CONNECT, ip)


def link(world):
    """What all nodes are on: the namespace of a bridge."""
    lan = world.netns("lan")
    lan.ip("link", "add", "br0", "type", "bridge")
    lan.ip("link", "set", "br0", "up")
    return lan


class Cluster:
    """The fleet's cluster of that number; `lan` is a link that others are on, too."""

    def __init__(self, world, number=1, lan=None):
        self.world, self.count, self.pods = world, 0, []
        self.number, self.name = number, FLEET["clusters"][number - 1]["name"]
        self.store = f"10.9.{number - 1}.1:2379"
        self.folder = os.path.join(world.folder, self.name)
        self.keys = os.path.join(self.folder, "pki")
        self.manifests = os.path.join(self.folder, "manifests")
        os.makedirs(self.manifests)
        self.lan = lan or link(world)
        self.nodes = [Node(self, 1), Node(self, 2)]
        self.issue_keys()

    def issue_keys(self):
        def pki(*words):
            run(os.path.join(BIN, "tombolo"), "pki", *words)
        pki("init", "--fleet", "pools", "--cluster", self.name, "--dir", self.keys)
        for node in self.nodes:
            who = ["--controller"] if node.is_controller else ["--node", node.name]
            pki("issue", "--dir", self.keys, "--cluster", self.name, "--out", os.path.join(self.keys, node.name), *who, "--ip", node.address)

    def start(self):
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        fleet = os.path.join(self.folder, "fleet.yaml")
        with open(fleet, "w", encoding="utf-8") as out:
            json.dump(FLEET, out)
        wait_until("the controller answers", lambda: os.path.exists(f"{first.folder}/admin.sock"), timeout_s=20)
        first.tombolo("plan", "apply", "--file", fleet)
        for node in self.nodes:
            wait_until(f"{node.name} is ready", node.ready, timeout_s=30)
        return self

    def hear(self, other):
        """Joins another cluster, in this direction."""
        grant = os.path.join(self.folder, f"from-{other.name}.json")
        other.nodes[0].tombolo("cluster", "grant", self.name, "--out", grant)
        self.nodes[0].tombolo("cluster", "join", grant)

    def write(self, name, text):
        """A manifest, renamed into place."""
        with open(os.path.join(self.manifests, ".new"), "w", encoding="utf-8") as out:
            out.write(text)
        os.rename(os.path.join(self.manifests, ".new"), os.path.join(self.manifests, name))

    def take_away(self, name):
        os.remove(os.path.join(self.manifests, name))

    def pod(self, name):
        self.pods.append(Pod(self, name))
        return self.pods[-1]

    def clear(self):
        """What a case that failed has left is not the next one's."""
        for pod in self.pods:
            for node in self.nodes:
                node.call("DEL", pod)
        self.pods.clear()

    def states(self):
        """{address: state} as `tombolo ip list` has it."""
        return {row["ip"]: row["state"] for row in self.nodes[0].ask("ip", "list").get("ips", [])}
