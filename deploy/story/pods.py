"""Pods as a container runtime makes them: a network namespace, `tombolo-cni` called with CNI's environment and standard
input, a cgroup, and a mount namespace with the resolv.conf of the CNI result. The processes in them are real.
"""

import json
import os
import subprocess
import sys

import lab
from shell import Failed, code_of, run

HERE = os.path.dirname(os.path.abspath(__file__))
# TOMBOLO_BIN: another build's programs, such as those with sanitizers.
BIN = os.environ.get("TOMBOLO_BIN") or os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "release", "bin")


class Pod:
    def __init__(self, cluster, node, name, namespace="default"):
        self.cluster, self.node, self.name, self.namespace = cluster, node, name, namespace
        self.id = f"{cluster}-{namespace}-{name}"
        self.netns = f"{lab.PREFIX}p-{self.id}"
        self.folder = os.path.join(lab.STATE, cluster, "pods", namespace, name)
        self.cgroup = os.path.join(lab.cgroup_root(cluster, node), "pods", self.id)

    # ---- CNI -------------------------------------------------------------------------------------------------------

    def cni(self, command, previous=None, netns=None, **extra):
        """Calls the plugin; returns (exit code, its JSON)."""
        config = {"cniVersion": "1.1.0", "name": "tombolo", "type": "tombolo-cni",
                  "socket": os.path.join(lab.node_folder(self.cluster, self.node), "cni.sock"), **extra}
        if previous is not None:
            config["prevResult"] = previous
        environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": self.id, "CNI_IFNAME": "eth0", "CNI_PATH": BIN,
                       "CNI_NETNS": f"/run/netns/{self.netns}" if netns is None else netns,
                       "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={self.namespace};K8S_POD_NAME={self.name};"
                                   f"K8S_POD_INFRA_CONTAINER_ID={self.id};K8S_POD_UID={self.id}-uid"}
        code, out, _ = code_of(os.path.join(BIN, "tombolo-cni"), text_in=json.dumps(config), environment=environment)
        return code, json.loads(out) if out.strip() else {}

    def result(self):
        with open(os.path.join(self.folder, "result.json"), encoding="utf-8") as text:
            return json.load(text)

    def addresses(self):
        return [entry["address"].split("/")[0] for entry in self.result()["ips"]]

    # ---- life ------------------------------------------------------------------------------------------------------

    def start(self, *command):
        """Attaches the pod and starts its process, if it has one."""
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        code, answer = self.cni("ADD")
        if code != 0:
            raise Failed(f"CNI ADD of {self.id}: {answer}")
        os.makedirs(self.folder, exist_ok=True)
        os.makedirs(self.cgroup, exist_ok=True)
        with open(os.path.join(self.folder, "result.json"), "w", encoding="utf-8") as out:
            json.dump(answer, out)
        with open(os.path.join(self.folder, "node"), "w", encoding="utf-8") as out:
            out.write(self.node)
        dns = answer.get("dns", {})
        with open(os.path.join(self.folder, "resolv.conf"), "w", encoding="utf-8") as out:
            out.writelines(f"nameserver {server}\n" for server in dns.get("nameservers", []))
            if dns.get("search"):
                out.write(f"search {' '.join(dns['search'])}\n")
            if dns.get("options"):
                out.write(f"options {' '.join(dns['options'])}\n")
        if command:
            with open(os.path.join(self.folder, "log"), "w", encoding="utf-8") as log:
                subprocess.Popen(self.command(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
        return self

    def stop(self):
        """Ends the processes and gives the addresses back."""
        if os.path.isdir(self.cgroup):
            for pid in lab.processes_below(self.cgroup):
                lab.end(pid, timeout_s=3)
            for _ in range(50):
                try:
                    os.rmdir(self.cgroup)
                    break
                except OSError:
                    continue
        code, answer = self.cni("DEL", previous=self.result())
        if code != 0:
            raise Failed(f"CNI DEL of {self.id}: {answer}")
        run("ip", "netns", "del", self.netns)
        os.remove(os.path.join(self.folder, "result.json"))

    # ---- processes -------------------------------------------------------------------------------------------------

    def command(self, *command):
        """The command line that runs `command` in this pod."""
        script = ('echo $$ > "$1/cgroup.procs"; mount --make-rprivate /; '
                  'mount --bind "$2" "$(readlink -f /etc/resolv.conf)"; shift 2; exec "$@"')
        return ["nsenter", f"--net=/run/netns/{self.netns}", "unshare", "--mount", "sh", "-c", script, "sh", self.cgroup,
                os.path.join(self.folder, "resolv.conf"), *command]

    def run(self, *command, timeout_s=30, check=True):
        return run(*self.command(*command), timeout_s=timeout_s, check=check)

    def ask(self, url, count=1, timeout_s=2.0):
        """Sends requests one after the other, each on a connection of its own."""
        out = self.run(sys.executable, os.path.join(HERE, "client.py"), url, "--count", str(count), "--timeout", str(timeout_s),
                       timeout_s=count * timeout_s + 20)
        return json.loads(out)

    def open(self, *command):
        """A process in the pod whose standard input and output are ours."""
        return subprocess.Popen(self.command(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def keep_asking(self, url, keep=False):
        """A client that asks without a pause until its standard input is closed; then it prints its totals. With `keep`
        all its requests share one connection."""
        return self.open(sys.executable, os.path.join(HERE, "client.py"), url, "--until-closed", *(["--keep"] if keep else []))


def totals(client):
    out, _ = client.communicate("", timeout=20)
    return json.loads(out)


def web(pod, port=8080):
    """The command of a web server that answers with the pod's name and cluster."""
    return [sys.executable, os.path.join(HERE, "web.py"), pod.cluster, pod.name, str(port)]


def find(path):
    """CLUSTER/NAMESPACE/POD of a running demo."""
    parts = path.split("/")
    if len(parts) != 3:
        raise Failed(f"'{path}' is not CLUSTER/NAMESPACE/POD")
    cluster, namespace, name = parts
    try:
        with open(os.path.join(lab.STATE, cluster, "pods", namespace, name, "node"), encoding="utf-8") as text:
            return Pod(cluster, text.read(), name, namespace)
    except OSError:
        raise Failed(f"no pod {path} in the demo (deploy/demo status lists them)") from None
