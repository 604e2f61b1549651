"""tombolod as agent and controller of a cluster of one node: the real programs, in a network namespace of their own."""

import json
import os
import signal
import socket

from world import Failed, run, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# TOMBOLO_BIN: another build's programs, such as those with sanitizers.
BIN = os.environ.get("TOMBOLO_BIN") or os.path.join(ROOT, "build", "release", "bin")

FLEET = {
    "fleet": "conformance",
    "regions": [{"name": "lab", "cloud": "on-prem"}],
    "address_space": [{"cidr": "10.0.0.0/8"}, {"cidr": "fd00:7a:3b00::/40"}],
    "clusters": [{
        "name": "east", "id": 1, "region": "lab", "nodes": 2, "pods_per_node": 110, "services": 100,
        "cidrs": {"underlay": {"ipv4": "10.9.0.0/24", "ipv6": "fd00:7a:3b20::/64"},
                  # 126 addresses: 64 at once fit, and an exhausted node is soon made.
                  "pod": {"ipv4": {"cidr": "10.21.0.0/16", "node_prefix_length": 25},
                          "ipv6": {"cidr": "fd00:7a:3b21::/56", "node_prefix_length": 64}},
                  "service": {"ipv4": "10.22.0.0/20", "ipv6": "fd00:7a:3b22::/112"}}}],
}


class Agent:
    def __init__(self, world, node, agent=None, environment=None, **subsystems):
        self.environment = {**os.environ, **(environment or {})}
        self.world, self.node, self.process = world, node, None
        self.folder = os.path.join(world.folder, node.name)
        os.makedirs(os.path.join(self.folder, "state"))
        self.socket = os.path.join(self.folder, "cni.sock")
        self.admin = os.path.join(self.folder, "admin.sock")
        config = {
            "roles": ["agent", "controller"],
            "cluster": {"name": "east", "id": 1, "fleet": "conformance"},
            "node": {"name": "n1", "addresses": ["10.9.0.2", "fd00:7a:3b20::2"]},
            "state_dir": f"{self.folder}/state", "run_dir": self.folder,
            "subsystems": {"mesh": False, "dns": False, "lb": False, "policy": False, **subsystems},
            "agent": agent or {}, "metrics": {"listen": "off"},
        }
        if subsystems.get("policy") or subsystems.get("lb"):
            config |= self.datapath_folders()
        self.config = os.path.join(self.folder, "tombolod.yaml")
        with open(self.config, "w", encoding="utf-8") as out:
            json.dump(config, out)

    def datapath_folders(self):
        bpffs = os.path.join(self.folder, "bpf")
        os.makedirs(bpffs)
        run("mount", "-t", "bpf", "bpf", bpffs)
        cgroup = os.path.join(self.folder, "cgroup")
        os.makedirs(cgroup)
        run("mount", "-t", "cgroup2", "none", cgroup)
        return {"bpffs_root": bpffs, "cgroup_root": self.make_cgroup(cgroup)}

    def make_cgroup(self, mount):
        self.cgroup = os.path.join(mount, self.node.name)
        os.makedirs(self.cgroup, exist_ok=True)
        return self.cgroup

    def start(self):
        binary = os.path.join(BIN, "tombolod")
        self.process = self.world.start(self.node, os.path.join(self.folder, "log"), binary, "--config", self.config,
                                        env=self.environment)
        wait_until("tombolod serves CNI", lambda: self.alive() and self.answers())
        return self

    def answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(self.socket) == 0

    def alive(self):
        if self.process.poll() is None:
            return True
        raise Failed(f"tombolod ended with {self.process.returncode}: {self.log()[-1500:]}")

    def give_blocks(self):
        """The first start: a plan, and from it the node's blocks."""
        fleet = os.path.join(self.folder, "fleet.yaml")
        with open(fleet, "w", encoding="utf-8") as out:
            json.dump(FLEET, out)
        wait_until("tombolod takes a plan", lambda: os.path.exists(self.admin))
        self.tombolo("plan", "apply", "--file", fleet)
        wait_until("the node has its blocks", lambda: len(self.ask("pool", "list").get("pools", [])) == 2)
        return self

    def tombolo(self, *arguments):
        return run(os.path.join(BIN, "tombolo"), "--address", f"unix://{self.admin}", *arguments)

    def ask(self, *arguments):
        return json.loads(self.tombolo(*arguments, "-o", "json"))

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as text:
            return text.read()

    def kill(self):
        """As a crash would end it. The socket stays behind, as it does then."""
        self.world.end(self.process, signal.SIGKILL)

    def stop(self):
        self.world.end(self.process)
        if getattr(self, "cgroup", "") and os.path.isdir(self.cgroup):
            os.rmdir(self.cgroup)
