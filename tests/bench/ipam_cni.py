"""The plugin's part of the IPAM benchmark: ADD and DEL of addresses through the real binary and a real tombolod, beside
Debian's host-local, call by call in turn; 64 at once.

tombolod's leases are on the disk before it answers (fsync); host-local writes files and does not wait for the disk. Both
keep them below /var/tmp.
"""

import json
import os
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
from subjects import HostLocal, TomboloAddresses  # noqa: E402
from world import World  # noqa: E402

ROUNDS, AT_ONCE = 400, 64


def goal(name, value, unit, bound):
    print(f"goal: {name} = {value:.3g} {unit} (bound <= {bound:g}) {'ok' if value <= bound else 'short'}", flush=True)


class Caller:
    """Calls a plugin with as little as possible around it: no shell, no namespace to enter, input from a file."""

    def __init__(self, subject, netns):
        self.subject, self.netns = subject, netns
        self.more = {}  # variables of the environment
        self.input = tempfile.TemporaryFile()
        self.input.write(json.dumps(subject.config("1.0.0")).encode())

    def start(self, command, container):
        """(process id, the end that its output comes from)"""
        environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0", "CNI_PATH": "/usr/lib/cni",
                       "CNI_NETNS": self.netns.path, **self.more}
        source, sink = os.pipe()
        own = os.open(f"/proc/self/fd/{self.input.fileno()}", os.O_RDONLY)
        binary = self.subject.plugin.binary
        pid = os.posix_spawn(binary, [binary], environment,
                             file_actions=[(os.POSIX_SPAWN_DUP2, own, 0), (os.POSIX_SPAWN_DUP2, sink, 1),
                                           (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
        os.close(own)
        os.close(sink)
        return pid, source

    @staticmethod
    def finish(started):
        pid, source = started
        output = b""
        while part := os.read(source, 65536):
            output += part
        os.close(source)
        _, status = os.waitpid(pid, 0)
        if status != 0:
            raise RuntimeError(f"a plugin ended with {status}: {output.decode()}")
        return json.loads(output) if output.strip() else {}

    def timed(self, command, container):
        """Milliseconds from the start of the process to its end."""
        self.input.flush()
        began = time.perf_counter()
        self.finish(self.start(command, container))
        return 1000 * (time.perf_counter() - began)


def at(values, quantile):
    return sorted(values)[int((len(values) - 1) * quantile)]


def measure_calls(world):
    callers = {"tombolo": Caller(TomboloAddresses("tombolo", world), world.netns()),
               "host-local": Caller(HostLocal("host-local", world), world.netns())}
    times = {(name, command): [] for name in callers for command in ("ADD", "DEL")}
    for number in range(ROUNDS + 10):  # the first ten are warming up
        for command in ("ADD", "DEL"):
            for name in sorted(callers, reverse=number % 2 == 0):
                took = callers[name].timed(command, f"c{number}")
                if number >= 10:
                    times[name, command].append(took)
    for (name, command), values in times.items():
        print(f"{name:<10} {command}   p50 {at(values, 0.5):5.2f} ms   p99 {at(values, 0.99):5.2f} ms   ({len(values)} calls)")
    for command in ("ADD", "DEL"):
        for name, quantile in (("p50", 0.5), ("p99", 0.99)):
            ours, theirs = at(times["tombolo", command], quantile), at(times["host-local", command], quantile)
            goal(f"ipam_{command.lower()}_{name}_over_host_local", ours / theirs, "x", 1.0)
    return callers["tombolo"]


def measure_at_once(caller):
    began = time.perf_counter()
    started = [caller.start("ADD", f"m{number}") for number in range(AT_ONCE)]
    addresses = [ip["address"] for one in started for ip in caller.finish(one)["ips"]]
    took = 1000 * (time.perf_counter() - began)
    print(f"{AT_ONCE} ADDs at once: {took:.0f} ms, {len(addresses)} addresses")
    goal("ipam_duplicates_of_64_at_once", len(addresses) - len(set(addresses)), "addresses", 0)
    for number in range(AT_ONCE):
        caller.finish(caller.start("DEL", f"m{number}"))


def run():
    """Prints figures and goals; 0 when all could be measured."""
    if os.geteuid() != 0:
        print("needs root: it makes network namespaces", file=sys.stderr)
        return 1
    with World("/var/tmp") as world:
        caller = measure_calls(world)
        measure_at_once(caller)
        caller.subject.stop()
    return 0


if __name__ == "__main__":
    sys.exit(run())
