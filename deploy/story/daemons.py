"""The daemons of the demo: certificates, configuration files, start and stop, and the command line that talks to them.

Each cluster has its own authority. Its first node's daemon is controller and agent, the second's is an agent. The
clusters exchange grants, as an operator would do it.
"""

import json
import os
import subprocess

import lab
from pods import BIN, HERE
from shell import Failed, code_of, run, wait_until

STORE_PORT = 2379
DNS4, DNS6 = "169.254.20.10", "fd00:20::10"
FLEET = os.path.join(HERE, "fleet.yaml")


class Daemon:
    """One tombolod in a node's network namespace."""

    def __init__(self, cluster, node, addresses, store_addresses):
        self.cluster, self.node, self.addresses, self.store_addresses = cluster, node, addresses, store_addresses
        self.folder = lab.node_folder(cluster, node)
        self.is_controller = node == lab.NODES[0]
        self.config = os.path.join(self.folder, "tombolod.yaml")
        self.pid_file = os.path.join(self.folder, "tombolod.pid")
        self.log = os.path.join(self.folder, "tombolod.log")

    def configuration(self, cluster_id):
        """The daemon's configuration as JSON, which is YAML too."""
        keys = os.path.join(lab.STATE, self.cluster, "pki")
        own = os.path.join(keys, self.node)
        tls = {"certificate": f"{own}/tls.crt", "key": f"{own}/tls.key", "ca": f"{own}/ca.crt"}
        host = lambda ip: f"[{ip}]" if ":" in ip else ip
        config = {
            "roles": ["agent", "controller"] if self.is_controller else ["agent"],
            "cluster": {"name": self.cluster, "id": cluster_id, "fleet": "demo"},
            "node": {"name": self.node, "addresses": self.addresses},
            "state_dir": f"{self.folder}/state", "run_dir": self.folder,
            "cgroup_root": os.path.join(lab.cgroup_root(self.cluster, self.node), "pods"),
            "bpffs_root": f"{self.folder}/bpf",
            "store": {"tls": tls},
            "agent": {"cni_socket": f"{self.folder}/cni.sock",
                      "dns": {"listen": [f"{DNS4}:53", f"[{DNS6}]:53"]}},
            "admin": {"socket": f"{self.folder}/admin.sock"},
            "metrics": {"listen": "127.0.0.1:9470"},
        }
        if self.is_controller:
            config["store"]["embedded"] = {"listen": [f"{host(ip)}:{STORE_PORT}" for ip in self.addresses]}
            config["controller"] = {"manifests": os.path.join(lab.STATE, self.cluster, "manifests"),
                                    "signing": {"certificate": f"{keys}/ca.crt", "key": f"{keys}/ca.key"}}
        else:
            config["store"]["endpoints"] = [f"{host(ip)}:{STORE_PORT}" for ip in self.store_addresses]
        return config

    def start(self):
        with open(self.log, "a", encoding="utf-8") as log:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{lab.node_namespace(self.cluster, self.node)}",
                 os.path.join(BIN, "tombolod"), "--config", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        with open(self.pid_file, "w", encoding="utf-8") as out:
            out.write(str(process.pid))
        return process

    def pid(self):
        return lab.pid_of(self.pid_file, self.config)

    def stop(self):
        if pid := self.pid():
            lab.end(pid)

    def kill(self):
        """kill -9, as a crash would."""
        if pid := self.pid():
            os.kill(pid, 9)
            wait_until(f"the end of {self.cluster}/{self.node}", lambda: lab.is_gone(pid), timeout_s=5)

    def tombolo(self, *arguments, timeout_s=30):
        return run(os.path.join(BIN, "tombolo"), "--address", f"unix://{self.folder}/admin.sock", *arguments,
                   timeout_s=timeout_s)

    def ask(self, *arguments):
        return json.loads(self.tombolo(*arguments, "-o", "json"))

    def wait_ready(self, timeout_s=30.0):
        """Until the admin API answers and every reconciler is done."""
        def ready():
            if self.pid() is None:
                with open(self.log, encoding="utf-8", errors="replace") as text:
                    raise Failed(f"tombolod of {self.cluster}/{self.node} ended: " + "".join(text.readlines()[-5:]))
            return code_of(os.path.join(BIN, "tombolo"), "--address", f"unix://{self.folder}/admin.sock", "wait", "--synced",
                           "--for", "10")[0] == 0
        wait_until(f"{self.cluster}/{self.node} ready", ready, timeout_s=timeout_s)


def tombolo(*arguments, **options):
    """The command line without a daemon."""
    return run(os.path.join(BIN, "tombolo"), *arguments, **options)


def issue_keys(cluster, daemons):
    """A certificate authority for the cluster and one certificate for each of its daemons and its operator."""
    keys = os.path.join(lab.STATE, cluster, "pki")
    tombolo("pki", "init", "--fleet", "demo", "--cluster", cluster, "--dir", keys)
    for daemon in daemons:
        who = ["--controller"] if daemon.is_controller else ["--node", daemon.node]
        # 127.0.0.1: the demo's door to the store (door.py).
        addresses = [word for ip in [*daemon.addresses, "127.0.0.1"] for word in ("--ip", ip)]
        tombolo("pki", "issue", "--dir", keys, "--cluster", cluster, "--out", os.path.join(keys, daemon.node), *who, *addresses)
    tombolo("pki", "issue", "--dir", keys, "--cluster", cluster, "--out", os.path.join(keys, "operator"),
            "--operator", "demo", "--role", "admin")


def environment(cluster, folder):
    """Shell variables with which `tombolo` and a plain etcdctl talk to a cluster."""
    keys = os.path.join(lab.STATE, cluster, "pki", "operator")
    with open(os.path.join(lab.STATE, cluster, "door"), encoding="utf-8") as text:
        door = text.read()
    return {
        "TOMBOLO_ADDRESS": f"unix://{folder}/admin.sock",
        "ETCDCTL_API": "3",
        "ETCDCTL_ENDPOINTS": f"https://{door}",
        "ETCDCTL_CACERT": f"{keys}/ca.crt",
        "ETCDCTL_CERT": f"{keys}/tls.crt",
        "ETCDCTL_KEY": f"{keys}/tls.key",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
