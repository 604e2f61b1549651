"""Cases, and the hand that runs them.

A case is a function of one argument, the Trial: it makes calls, and says by t.require(...) what must hold. It names the
section of the CNI specification 1.1.0 that it follows. `needs` are facts of the subject without which the case says nothing.
"""

import dataclasses
import typing

from world import Failed, wait_until

CASES = {}  # by group: "plugin" is for any plugin, the others are for Tombolo with plugins around it
ERROR_KEYS = ("code", "msg")  # a case of its own asks for cniVersion


@dataclasses.dataclass
class Case:
    name: str
    section: str
    needs: tuple
    body: typing.Callable


@dataclasses.dataclass
class Outcome:
    case: Case
    state: str  # passed, failed, without (the subject lacks what the case needs)
    detail: str = ""


def case(section, name, *needs, group="plugin"):
    def register(body):
        CASES.setdefault(group, []).append(Case(name, section, needs, body))
        return body
    return register


# What `needs` may name, and how it is called in the table.
NEEDS = {
    "interfaces": ("an IPAM plugin makes no interface", lambda s: not s.ipam),
    "ipam": ("is no IPAM plugin", lambda s: s.ipam),
    "reservations": ("keeps no reservations that can be seen", lambda s: s.claims_reservations),
    "1.1.0": ("does not speak 1.1.0", lambda s: "1.1.0" in s.versions),
    "daemon": ("has no daemon", lambda s: s.agent is not None),
    "delegation": ("delegates to no other plugin", lambda s: s.delegates),
}


class Trial:
    """One case on one subject. Containers and namespaces are its own; what it left is taken away at its end."""

    def __init__(self, subject, number):
        self.subject, self.world, self.number = subject, subject.world, number
        self.attached, self.spaces, self.count = [], [], 0

    # ---- what a case does ----

    def netns(self):
        netns = self.world.netns()
        self.spaces.append(netns)
        return netns

    def container(self):
        self.count += 1
        return f"c{self.number}-{self.count}"

    def call(self, command, config=None, **more):
        return self.subject.plugin.call(command, config or self.subject.config(), **more)

    def add(self, netns, container, interface="eth0", version=None, **more):
        self.attached.append((container, interface))
        config = self.subject.config(version)
        return self.call("ADD", config, container=container, interface=interface, netns=netns.path, **more)

    def added(self, interface="eth0", version=None, netns=None, container=None):
        """(namespace, container, result) of an ADD that has to succeed."""
        netns = netns or self.netns()
        container = container or self.container()
        answer = self.add(netns, container, interface, version)
        self.require(answer.ok, f"ADD: {answer}")
        return netns, container, answer.json

    def delete(self, container, interface="eth0", netns=None, previous=None):
        config = self.subject.config(**({} if previous is None else {"prevResult": previous}))
        return self.call("DEL", config, container=container, interface=interface, netns=netns and netns.path)

    def check(self, netns, container, previous, interface="eth0", version=None):
        config = self.subject.config(version, prevResult=previous)
        return self.call("CHECK", config, container=container, interface=interface, netns=netns.path)

    def gc(self, valid, network="conformance", **more):
        attachments = [{"containerID": container, "ifname": interface} for container, interface in valid]
        config = self.subject.config("1.1.0", network, **{"cni.dev/valid-attachments": attachments}, **more)
        return self.call("GC", config, interface=None)

    def status(self):
        return self.call("STATUS", self.subject.config("1.1.0"), interface=None)

    def held(self, *wanted):
        """Which of the attachments hold addresses."""
        return {key for key in self.subject.reserved() if key in wanted or not wanted}

    def settle_held(self, expected, *wanted):
        """Waits: the subject may tell what it holds a little later than it answers."""
        try:
            wait_until("", lambda: self.held(*wanted) == set(expected), timeout_s=2)
        except Failed:
            raise Failed(f"held are {sorted(self.held(*wanted))}, not {sorted(expected)}") from None

    # ---- what a case says ----

    @staticmethod
    def require(condition, text):
        if not condition:
            raise Failed(text)

    def refused(self, answer, what, codes=()):
        """An error as the specification has it: exit status, and its JSON on standard output."""
        self.require(not answer.ok, f"{what} succeeds")
        missing = [key for key in ERROR_KEYS if key not in answer.json]
        self.require(not missing, f"{what}: the error has no {', '.join(missing)}: {answer}")
        self.require(not codes or answer.code in codes,
                     f"{what}: code {answer.code}, not {' or '.join(map(str, codes))}: {answer.json['msg'][:160]}")

    def finish(self):
        for container, interface in self.attached:
            self.delete(container, interface)
        for netns in self.spaces:
            self.world.remove(netns)


def run_case(subject, one, number):
    for need in one.needs:
        text, holds = NEEDS[need]
        if not holds(subject):
            return Outcome(one, "without", text)
    trial = Trial(subject, number)
    try:
        one.body(trial)
        return Outcome(one, "passed")
    except Failed as failure:
        return Outcome(one, "failed", str(failure))
    finally:
        trial.finish()


def run_all(subject, only=""):
    subject.learn_versions()
    return [run_case(subject, one, number) for number, one in enumerate(CASES[subject.group]) if only in one.name]
