"""kill -9 of plugin and agent at their system calls, then GC: nothing is leaked, nothing is given twice, what was answered is
kept. The plugin dies at every one of its calls; the agent, which makes more, at every TOMBOLO_CRASH_EVERY-th (default: about
a dozen in all, from a random first one). TOMBOLO_CRASH_AT=N repeats one.
"""

import os
import random
import subprocess
import sys

from suite import case

GC = "GC: Clean up any stale resources"
KILLER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "killer.py")
MOST_CALLS = 2000  # of one operation; more means that it does not end
POINTS = 12


def links(t):
    return [name for name in t.subject.node.links() if name.startswith("tbo")]


def exactly(t, alive, tried):
    """After GC: held, and in the kernel, is what was answered and nothing else; no address twice."""
    collected = t.gc(alive)
    t.require(collected.ok, f"GC: {collected}")
    t.settle_held(alive, *tried)
    t.require(len(links(t)) == len(alive), f"interfaces on the node: {links(t)}; attached are {sorted(alive)}")
    addresses = []
    for (container, interface), (netns, result) in alive.items():
        checked = t.check(netns, container, result, interface)
        t.require(checked.ok, f"CHECK of {container}, whose ADD was answered: {checked}")
        addresses += [ip["address"] for ip in result["ips"]]
    t.require(len(set(addresses)) == len(addresses), f"one address twice: {addresses}")


def killed_plugin(t, command, at, netns, container):
    """The plugin under the killer; its answer. The exit status says whether it was killed."""
    environment, text = t.subject.plugin.prepare(command, t.subject.config(), container=container, netns=netns.path)
    done = subprocess.run([sys.executable, KILLER, "--", t.subject.plugin.binary], input=text, capture_output=True, text=True,
                          env={**environment, "KILL_AT": str(at)}, timeout=60, check=False)
    return done.returncode


@case(GC, "the plugin is killed at each system call of ADD: nothing leaks", group="crash")
def plugin_in_add(t):
    for at in range(1, MOST_CALLS):
        netns, container = t.netns(), t.container()
        t.attached.append((container, "eth0"))
        status = killed_plugin(t, "ADD", at, netns, container)
        t.require(status in (0, 137), f"killed at call {at}, the plugin ended with {status}")
        exactly(t, {}, [(container, "eth0")])
        t.world.remove(netns)
        if status == 0:
            return
    t.require(False, f"ADD did not end within {MOST_CALLS} calls")


@case(GC, "the plugin is killed at each system call of DEL: the next DEL frees", group="crash")
def plugin_in_del(t):
    for at in range(1, MOST_CALLS):
        netns, container, _ = t.added()
        status = killed_plugin(t, "DEL", at, netns, container)
        again = t.delete(container, netns=netns)
        t.require(again.ok, f"killed at call {at}: DEL: {again}")
        exactly(t, {}, [(container, "eth0")])
        t.world.remove(netns)
        if status == 0:
            return
    t.require(False, f"DEL did not end within {MOST_CALLS} calls")


class AgentKiller:
    """Ends the agent at its N-th system call from now on; the agent is back when the block ends."""

    def __init__(self, t, at):
        self.t, self.agent = t, t.subject.agent
        self.process = subprocess.Popen([sys.executable, KILLER, str(self.agent.process.pid), str(at)], stdout=subprocess.PIPE,
                                        text=True)
        t.require(self.process.stdout.readline() == "ready\n", "the killer could not attach")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        agent = self.agent.process
        if agent.poll() is None:
            # It was not reached: the agent goes on untraced, and dies here.
            self.process.kill()
        self.reached = self.process.communicate()[0].startswith("killed")
        self.agent.kill()
        self.agent.start()


def calls_of(t, operation):
    """How many system calls the agent makes meanwhile, roughly: its timers make some too."""
    process = subprocess.Popen([sys.executable, KILLER, str(t.subject.agent.process.pid), "0"], stdout=subprocess.PIPE, text=True)
    t.require(process.stdout.readline() == "ready\n", "the killer could not attach")
    operation()
    t.subject.agent.process.kill()
    said = process.communicate(timeout=30)[0].split()
    t.subject.agent.process.wait()
    t.subject.agent.start()
    return int(said[1])


def points(count):
    if chosen := os.environ.get("TOMBOLO_CRASH_AT"):
        return [int(chosen)]
    every = int(os.environ.get("TOMBOLO_CRASH_EVERY") or max(1, count // POINTS))
    return list(range(random.randint(1, every), count + 1, every))


@case(GC, "the agent is killed at system calls of ADD: answered stays, the rest is gone", group="crash")
def agent_in_add(t):
    alive, tried = {}, []

    def add():
        netns, container = t.netns(), t.container()
        key = (container, "eth0")
        tried.append(key)
        answer = t.add(netns, container)
        if answer.ok:
            alive[key] = (netns, answer.json)

    count = calls_of(t, add)
    reached = 0
    for at in points(count):
        with AgentKiller(t, at) as killer:
            add()
        reached += killer.reached
        try:
            exactly(t, alive, tried)
        except Exception as error:
            raise type(error)(f"killed at call {at} of {count}: {error}") from None
        for key in list(alive)[:-2]:
            t.delete(*key)
            del alive[key]
    t.require(reached, f"no kill came in time: {points(count)} of {count}")


@case(GC, "the agent is killed at system calls of DEL: it succeeds at last, and frees", group="crash")
def agent_in_del(t):
    made = [t.added()]

    def delete():
        netns, container, _ = made[-1]
        t.delete(container, netns=netns)

    count = calls_of(t, delete)
    t.delete(made[0][1])
    for at in points(count):
        made.append(t.added())
        netns, container, _ = made[-1]
        with AgentKiller(t, at):
            delete()
        again = t.delete(container, netns=netns)
        t.require(again.ok, f"killed at call {at} of {count}: DEL: {again}")
        exactly(t, {}, [(container, "eth0")])


@case(GC, "the agent is killed at system calls of GC: the next GC leaves exactly the valid", group="crash")
def agent_in_gc(t):
    netns, keeper, result = t.added()
    alive = {(keeper, "eth0"): (netns, result)}

    def fill():
        return [(container, "eth0") for _, container, _ in (t.added() for _ in range(3))]

    tried = fill()
    count = calls_of(t, lambda: t.gc(alive))
    exactly(t, alive, [*alive, *tried])
    for at in points(count):
        tried = fill()
        with AgentKiller(t, at):
            t.gc(alive)
        exactly(t, alive, [*alive, *tried])
