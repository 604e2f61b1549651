"""The recovery part of the IPAM benchmark: addresses are lost in every way that is known, and the time until they are free
again is taken, as `tombolo ip list` says it. Beside them live pods, whose addresses must be there at every look.

Real tombolod, tombolo-cni and Debian's plugins: one node with addresses of its own, then a cluster of two with a pool.
"""

import os
import signal
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", folder) for folder in ("conformance", "pools", "runtime")]
import containerd  # noqa: E402
import losses  # noqa: E402
from cases_recovery import Resident  # noqa: E402
from cases_together import Delegating  # noqa: E402
from cluster import Cluster  # noqa: E402
from ipam_cni import at, goal  # noqa: E402
from pods import RuntimeNode  # noqa: E402
from subjects import Together  # noqa: E402
from suite import Trial  # noqa: E402
from world import Failed, World, wait_until  # noqa: E402

ROUNDS = int(os.environ.get("TOMBOLO_RECOVERY_ROUNDS", "10"))  # of each way of each class
PATIENCE_S = 30
FAILED_ADD, NO_DEL, KILLED = "failed ADD", "DEL never delivered", "daemon killed in the middle"
SCALED, DELETED = "StatefulSet scaled", "namespace deleted"
UNDONE, FORGOTTEN = "containerd killed in a start", "containerd without GC, folder lost"
NODE_BACK = "node lost, and back"  # apart: the node was not alive


class Losses:
    """Seconds by class, and who was freed alive."""

    def __init__(self):
        self.times, self.freed_alive, self.looks = {}, set(), 0

    def add(self, name, *seconds):
        self.times.setdefault(name, []).extend(seconds)

    def table(self):
        lines = [f"{'class':<34} {'n':>4} {'p50':>6} {'p95':>6} {'max':>6}  s to recovery"]
        for name, values in self.times.items():
            lines.append(f"{name:<34} {len(values):>4} {at(values, 0.5):>6.2f} {at(values, 0.95):>6.2f} {max(values):>6.2f}")
        return lines


class OneNode:
    """A node whose pods are made in four ways; some of them live through everything."""

    def __init__(self, world, found):
        self.subject, self.found = Together("recovery", world), found
        self.subject.learn_versions()
        self.trial = Trial(self.subject, 0)
        self.alive, self.residents = set(), []

    def live(self):
        """Pods that must keep their addresses: of each kind, and one whose namespace lost its name but not its process."""
        for _ in range(3):
            self.alive.add(self.interface()[0])
        for kind in ("bridge", "macvlan"):
            self.alive.add(self.delegated(kind)[0])
        key, netns = self.interface()
        self.residents.append(Resident(netns))
        netns.remove()
        self.alive.add(key)
        self.trial.settle_held(self.alive, *self.alive)

    def interface(self):
        netns, container, _ = self.trial.added()
        return (container, "eth0"), netns

    def delegated(self, kind):
        netns, container = self.trial.netns(), self.trial.container()
        answer = Delegating(self.trial, kind).call("ADD", netns, container)
        if not answer.ok:
            raise Failed(f"ADD under {kind}: {answer}")
        return (container, "eth0"), netns

    def held(self):
        held = set(self.subject.reserved())
        self.found.looks += 1
        self.found.freed_alive |= self.alive - held
        return held

    def until_free(self, keys, began):
        """Seconds since `began` until each of the keys is free."""
        times, left = [], set(keys)
        while left:
            gone = left - self.held()
            times += [time.monotonic() - began] * len(gone)
            left -= gone
            if time.monotonic() - began > PATIENCE_S:
                raise Failed(f"{sorted(left)} not free within {PATIENCE_S} s")
        return times

    def lose_names(self, make):
        """The namespace goes and no DEL comes."""
        made = [make() for _ in range(ROUNDS)]
        self.trial.settle_held([key for key, _ in made], *[key for key, _ in made])
        for key, netns in made:
            began = time.monotonic()
            netns.remove()
            self.found.add(NO_DEL, *self.until_free([key], began))

    def plugin_killed(self):
        """The plugin is killed while the agent has its call; the runtime hears nothing and calls no DEL."""
        netns, container = self.trial.netns(), self.trial.container()
        os.kill(self.subject.agent.process.pid, signal.SIGSTOP)
        try:
            process, _ = self.subject.plugin.start("ADD", self.subject.config(), container=container, netns=netns.path)
            wait_until("the plugin waits", lambda: "poll" in open(f"/proc/{process.pid}/wchan", encoding="ascii").read())
            process.kill()
            process.communicate()
        finally:
            began = time.monotonic()
            os.kill(self.subject.agent.process.pid, signal.SIGCONT)
        self.interface()  # once a later call is answered, the agent has met the earlier one
        self.found.add(FAILED_ADD, *self.until_free([(container, "eth0")], began))

    def add_refused(self):
        """The kernel refuses the interface: what was reserved for it is free when the answer is there."""
        netns, container = self.trial.netns(), self.trial.container()
        netns.ip("link", "add", "eth0", "type", "bridge")
        began = time.monotonic()
        answer = self.subject.plugin.call("ADD", self.subject.config(), container=container, netns=netns.path)
        if answer.ok:
            raise Failed("ADD succeeded where eth0 was taken")
        self.found.add(FAILED_ADD, *self.until_free([(container, "eth0")], began))

    def delegate_fails(self):
        """Debian's bridge has its addresses and then fails; its own DEL frees them."""
        netns, container = self.trial.netns(), self.trial.container()
        netns.ip("link", "add", "eth0", "type", "bridge")
        began = time.monotonic()
        if Delegating(self.trial, "bridge").call("ADD", netns, container).ok:
            raise Failed("bridge succeeded where eth0 was taken")
        self.found.add(FAILED_ADD, *self.until_free([(container, "eth0")], began))

    def daemon_killed(self, number):
        """kill -9 among four ADDs. A runtime takes the namespaces of those away that failed, its DELs find no agent. From the
        new agent's first moment on.
        """
        started = []
        for _ in range(4):
            netns, container = self.trial.netns(), self.trial.container()
            call = self.subject.plugin.start("ADD", self.subject.config(), container=container, netns=netns.path)
            started.append((netns, (container, "eth0"), call))
        time.sleep(0.004 * number)  # another moment each time
        self.subject.agent.kill()
        failed = []
        for netns, key, call in started:
            if self.subject.plugin.finish(call).ok:
                self.alive.add(key)
            else:
                netns.remove()
                failed.append(key)
        began = time.monotonic()
        self.subject.agent.start()
        self.found.add(KILLED, *self.until_free(failed, began))

    def node_back(self):
        """The power goes: the agent and all namespaces of some pods. From the agent's new start on."""
        made = [self.interface() for _ in range(4)] + [self.delegated("macvlan")]
        self.trial.settle_held([key for key, _ in made], *[key for key, _ in made])
        self.subject.agent.kill()
        for _, netns in made:
            netns.remove()
        began = time.monotonic()
        self.subject.agent.start()
        self.found.add(NODE_BACK, *self.until_free([key for key, _ in made], began))

    def run(self):
        self.live()
        for way in (self.plugin_killed, self.add_refused, self.delegate_fails):
            for _ in range(ROUNDS):
                way()
        for make in (self.interface, lambda: self.delegated("bridge"), lambda: self.delegated("macvlan")):
            self.lose_names(make)
        for number in range(ROUNDS):
            self.daemon_killed(number)
        for _ in range(max(1, ROUNDS // 3)):
            self.node_back()
        self.held()

    def stop(self):
        for resident in self.residents:
            resident.__exit__()
        self.trial.finish()
        self.subject.stop()


def with_a_pool(world, found):
    """What is kept for pods that will not come."""
    cluster = Cluster(world)
    cluster.write("pool.yaml", losses.POOL)
    cluster.start()
    watch = losses.Watch(cluster)
    for number in range(ROUNDS):
        node = cluster.nodes[number % 2]
        found.add(SCALED, losses.scaled_down(cluster, watch, f"set{number}", node))
        found.add(DELETED, losses.namespace_deleted(cluster, watch, f"space{number}", node))
    found.add(NODE_BACK, *losses.node_lost(cluster, watch, "lost", cluster.nodes[1], cluster.nodes[0]))
    watch.rows()
    found.freed_alive |= watch.freed_alive
    found.looks += watch.looks
    cluster.clear()


def with_containerd(world, found):
    """A real containerd that never calls GC is killed: while it starts a pod, which it undoes once it is back and kubelet asks;
    and with its folder lost, where nobody ever calls DEL. From its return on, when it can start pods again; it has to start one
    before it is believed.
    """
    node = RuntimeNode(world)
    try:
        living = [node.name() for _ in range(2)]
        for name in living:
            node.runtime.run_sandbox(name)
        for _ in range(ROUNDS):
            lost = node.name()
            node.kill_while_starting(lost)
            node.runtime.start()
            began = time.monotonic()
            for sandbox, ready in node.runtime.sandboxes().items():
                if not ready:
                    node.runtime.stop_sandbox(sandbox)
                    node.runtime.remove_sandbox(sandbox)
            node.until_free(lost, living)
            found.add(UNDONE, time.monotonic() - began)
        for _ in range(ROUNDS):
            lost, new = node.name(), node.name()
            node.forget(node.runtime.run_sandbox(lost))
            node.runtime.start().import_image()
            began = time.monotonic()
            node.runtime.run_sandbox(new)
            living.append(new)
            node.until_free(lost, living)
            found.add(FORGOTTEN, time.monotonic() - began)
        found.looks += node.looks
        found.freed_alive |= node.freed_alive
    finally:
        node.stop()


def measure(found):
    with World("/var/tmp") as world:
        node = OneNode(world, found)
        try:
            node.run()
        finally:
            node.stop()
    with World("/var/tmp") as world:
        with_a_pool(world, found)
    if absent := containerd.missing():
        print(f"left out: {UNDONE}, {FORGOTTEN}: {', '.join(absent)} not installed (deploy/deps test)")
        return
    with World("/var/tmp") as world:
        with_containerd(world, found)


def run():
    """Prints the table and goals; 0 when all could be measured."""
    if os.geteuid() != 0:
        print("needs root: it makes network namespaces", file=sys.stderr)
        return 1
    found = Losses()
    measure(found)
    print("\n".join(found.table()))
    print(f"live addresses freed: {len(found.freed_alive)} in {found.looks} looks", *sorted(map(str, found.freed_alive)))
    alive = [value for name, values in found.times.items() if name != NODE_BACK for value in values]
    goal("ipam_recovery_p95", at(alive, 0.95), "s", 2.0)
    goal("ipam_recovery_worst_class_p95", max(at(values, 0.95) for name, values in found.times.items() if name != NODE_BACK), "s", 2.0)
    goal("ipam_live_addresses_freed", len(found.freed_alive), "addresses", 0)
    return 0


if __name__ == "__main__":
    sys.exit(run())
