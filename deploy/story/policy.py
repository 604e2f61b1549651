"""What the policy chapters share: probers in pods, waiting until a policy is in force, and who denied what.

A denial counts only when both hold: the connection does not come about, and the node's daemon names cluster, policy and
rule of the drop (`tombolo flows`).
"""

import json
import os
import subprocess
import sys

from pods import HERE
from shell import Failed, wait_until

PATIENCE_S, DENIED_S = 5.0, 0.7


class Prober:
    """probe.py in one pod (or, with a command in front, elsewhere)."""

    def __init__(self, *before):
        self.process = subprocess.Popen([*before, sys.executable, os.path.join(HERE, "probe.py")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def send(self, tasks):
        self.process.stdin.write(json.dumps(tasks) + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"a prober ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, *tasks):
        self.send(tasks)
        return self.receive()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


def in_pod(pod):
    return Prober(*pod.command())


def task(name, host, port, allowed, family=4, **more):
    """A probe of one connection. Who should be refused is given less time."""
    return {"id": name, "host": host, "port": port, "family": family, "timeout": PATIENCE_S if allowed else DENIED_S, **more}


def probe_all(plan):
    """plan: {prober: [task, …]}; all at once. Returns all answers by task id."""
    for prober, tasks in plan.items():
        prober.send(tasks)
    answers = {}
    for prober in plan:
        answers.update(prober.receive())
    return answers


def in_force(demo, cluster, keys):
    """Waits until every node of the cluster knows exactly these policies ("NAMESPACE/NAME") and its kernel carries them out."""
    for (owner, node), daemon in demo.daemons.items():
        if owner != cluster:
            continue

        def known():
            found = daemon.ask("policy", "list").get("policies", [])
            return {f"{entry['name_space']}/{entry['name']}" for entry in found} == set(keys)
        wait_until(f"{cluster}/{node} knows the policies {sorted(keys)}", known)
        daemon.tombolo("wait", "--for", "10")


def denials(daemon):
    """The drops that the node's daemon remembers, newest last: `tombolo flows -o json` prints one a line."""
    return [json.loads(line) for line in daemon.tombolo("flows", "--last", "1000", "-o", "json").splitlines()]


def last_drop(daemon, source, destination, port):
    """The newest drop of a packet between two addresses to a port; waits for it, as events take a moment from the kernel."""
    def found():
        return [flow for flow in denials(daemon) if flow["verdict"] == "dropped" and flow["source"]["address"] == source
                and flow["destination"]["address"] == destination and flow["destination"].get("port") == port]
    return wait_until(f"a drop of {source} to {destination}:{port} told by {daemon.cluster}/{daemon.node}", found, 5)[-1]
