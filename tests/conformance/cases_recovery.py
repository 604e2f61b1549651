"""What nobody gives back comes back by itself, and what is alive never does. Times are printed by tests/bench/run ipam."""

import os
import signal
import subprocess
import time

from cases_chained import List
from cases_together import Delegating
from suite import case
from world import wait_until

RECOVERY = "ipamd/cni/recovery.cpp"
PATIENCE_S = 5.0


def freed(t, key, patience_s=PATIENCE_S):
    wait_until(f"{key[0]} is freed", lambda: not t.held(key), timeout_s=patience_s)


def stays(t, key, seconds=1.5):
    """Longer than two rounds of the agent's look."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        t.require(t.held(key), f"{key[0]} was freed while it lives")
        time.sleep(0.1)


class Resident:
    """A process inside a namespace, which keeps it alive when its name is gone."""

    def __init__(self, netns):
        self.process = subprocess.Popen(["nsenter", f"--net={netns.path}", "sleep", "3600"])
        own = os.stat("/proc/self/ns/net").st_ino
        wait_until("a process in the namespace", lambda: os.stat(f"/proc/{self.process.pid}/ns/net").st_ino != own)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@case(RECOVERY, "DEL never comes, the namespace goes: an interface is freed", group="recovery")
def interface_lost(t):
    netns, container, _ = t.added()
    key = (container, "eth0")
    t.settle_held([key], key)
    netns.remove()
    freed(t, key)


for kind in ("bridge", "macvlan"):
    @case(RECOVERY, f"DEL never comes, the namespace goes: addresses under {kind} are freed", group="recovery")
    def addresses_lost(t, kind=kind):
        user, netns, container = Delegating(t, kind), t.netns(), t.container()
        answer = user.call("ADD", netns, container)
        t.require(answer.ok, f"ADD: {answer}")
        key = (container, "eth0")
        t.settle_held([key], key)
        netns.remove()
        freed(t, key)


@case(RECOVERY, "DEL never comes, the namespace goes: what is chained is let go", group="recovery")
def chained_lost(t):
    user = List(t, "bridge")
    user.body["bridge"] = "cni1"
    netns, container, _, answer = user.added()
    t.require(answer.ok, f"ADD: {answer}")
    key = (container, "eth0")
    t.settle_held([key], key)
    netns.remove()
    freed(t, key)
    user.remove(netns, container)


@case(RECOVERY, "the namespace is replaced by another of the same name: the old one's addresses are freed", group="recovery")
def replaced(t):
    netns, container, _ = t.added()
    key = (container, "eth0")
    t.settle_held([key], key)
    time.sleep(0.7)  # the agent has seen the first one
    netns.remove()
    netns.__init__(netns.name)
    freed(t, key)


@case(RECOVERY, "the agent is dead when the namespace goes: freed when it is back", group="recovery")
def lost_while_away(t):
    netns, container, _ = t.added()
    user, other_netns, other = Delegating(t, "bridge"), t.netns(), t.container()
    answer = user.call("ADD", other_netns, other)
    t.require(answer.ok, f"ADD: {answer}")
    keys = [(container, "eth0"), (other, "eth0")]
    t.settle_held(keys, *keys)
    t.subject.agent.kill()
    netns.remove()
    other_netns.remove()
    t.subject.agent.start()
    for key in keys:
        freed(t, key)


@case(RECOVERY, "a plugin that dies in the middle of ADD leaves nothing, without DEL", group="recovery")
def plugin_dies(t):
    netns, container = t.netns(), t.container()
    plugin = t.subject.plugin
    os.kill(t.subject.agent.process.pid, signal.SIGSTOP)
    try:
        process, _ = plugin.start("ADD", t.subject.config(), container=container, netns=netns.path)
        # It has asked, and waits for the answer.
        wait_until("the plugin waits", lambda: "poll" in open(f"/proc/{process.pid}/wchan", encoding="ascii").read())
        process.kill()
        process.communicate()
    finally:
        os.kill(t.subject.agent.process.pid, signal.SIGCONT)
    # Once the agent has answered a later call, it has met the earlier one too.
    t.added()
    freed(t, (container, "eth0"))
    wait_until("eth0 is gone", lambda: netns.link("eth0") is None)
    t.added(netns=netns, container=container)


@case(RECOVERY, "the end on the node is deleted by hand, the namespace lives: stays", group="recovery")
def link_deleted(t):
    netns, container, _ = t.added()
    key = (container, "eth0")
    t.settle_held([key], key)
    index = netns.link("eth0")["link_index"]
    name = next(line.split(":")[1].split("@")[0].strip() for line in t.subject.node.ip("-o", "link").splitlines()
                if line.startswith(f"{index}:"))
    t.subject.node.ip("link", "del", name)
    stays(t, key)


def freed_with_resident(t, netns, key):
    """The namespace loses its name: the lease stays as long as a process lives in it, and no longer."""
    with Resident(netns):
        netns.remove()
        stays(t, key)
    freed(t, key)


@case(RECOVERY, "the namespace's name goes, a process still lives in it: stays until that ends", group="recovery")
def name_deleted(t):
    netns, container, _ = t.added()
    key = (container, "eth0")
    t.settle_held([key], key)
    freed_with_resident(t, netns, key)


@case(RECOVERY, "addresses under macvlan whose namespace lost its name but not its process: stay until that ends", group="recovery")
def name_deleted_addresses(t):
    user, netns, container = Delegating(t, "macvlan"), t.netns(), t.container()
    answer = user.call("ADD", netns, container)
    t.require(answer.ok, f"ADD: {answer}")
    key = (container, "eth0")
    t.settle_held([key], key)
    freed_with_resident(t, netns, key)


@case(RECOVERY, "addresses under macvlan whose namespace only an open descriptor holds: stay until it is closed", group="recovery")
def descriptor_only(t):
    user, netns, container = Delegating(t, "macvlan"), t.netns(), t.container()
    answer = user.call("ADD", netns, container)
    t.require(answer.ok, f"ADD: {answer}")
    key = (container, "eth0")
    t.settle_held([key], key)
    descriptor = os.open(netns.path, os.O_RDONLY)
    try:
        netns.remove()
        stays(t, key)
    finally:
        os.close(descriptor)
    freed(t, key)


@case(RECOVERY, "addresses that were given and never used stay as long as their namespace", group="recovery")
def unused(t):
    user, netns, container = Delegating(t, "bridge"), t.netns(), t.container()
    answer = t.subject.plugin.call("ADD", user.body, container=container, netns=netns.path)
    t.require(answer.ok, f"ADD: {answer}")
    key = (container, "eth0")
    t.settle_held([key], key)
    stays(t, key)
    netns.remove()
    freed(t, key)
