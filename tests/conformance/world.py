"""The ground of the conformance cases: network namespaces of unique names, a folder, processes. World is a context manager:
what was made in it is gone when it ends, also after a failure or a signal.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time


class Failed(Exception):
    """A case, or what it needs, is not as it should be; the text says what."""


def run(*command, check=True, timeout_s=30):
    """Runs a command to its end and returns its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace")
    if check and done.returncode != 0:
        raise Failed(f"'{' '.join(command)}' ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def wait_until(what, condition, timeout_s=5.0):
    """Waits until condition() is true and returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.01)


class Netns:
    """A named network namespace with its loopback up."""

    def __init__(self, name):
        self.name, self.path = name, f"/run/netns/{name}"
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def ip(self, *words, check=True):
        return run("ip", "-n", self.name, *words, check=check)

    def links(self):
        return [link["ifname"] for link in json.loads(self.ip("-j", "link", "show") or "[]")]

    def link(self, interface):
        """The interface as `ip -j -d address show` has it; None when it is not there."""
        said = self.ip("-j", "-d", "address", "show", "dev", interface, check=False)
        return json.loads(said)[0] if said.strip() else None

    def addresses(self, interface):
        link = self.link(interface)
        if link is None:
            return []
        return [f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] != "link"]

    def routes(self, interface):
        found = []
        for family in ("-4", "-6"):
            found += json.loads(self.ip("-j", family, "route", "show", "dev", interface, check=False) or "[]")
        return found

    def sysctl(self, name, value):
        run("nsenter", f"--net={self.path}", "sysctl", "-qw", f"{name}={value}")

    def remove(self):
        run("ip", "netns", "del", self.name, check=False)


class World:
    """A node's namespace and what cases make beside it."""

    def __init__(self, parent="/tmp"):
        self.prefix, self.parent = f"tbc{os.getpid()}", parent
        self.folder, self.processes, self.made, self.count = "", [], [], 0

    def __enter__(self):
        # A kill of the runner ends the process kindly first: what is here must go then too.
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
        self.folder = tempfile.mkdtemp(prefix="tombolo-conformance-", dir=self.parent)
        return self

    def __exit__(self, *_):
        for process in list(self.processes):
            self.end(process)
        for netns in self.made:
            netns.remove()
        # mkdtemp's own folder; nothing is mounted below it but what is unmounted here.
        with open("/proc/mounts", encoding="utf-8") as mounts:
            ours = [line.split()[1] for line in mounts if line.split()[1].startswith(self.folder + "/")]
        for place in sorted(ours, reverse=True):
            run("umount", "-l", place, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def netns(self, what="pod"):
        self.count += 1
        made = Netns(f"{self.prefix}-{what}{self.count}")
        self.made.append(made)
        return made

    def remove(self, netns):
        netns.remove()
        if netns in self.made:
            self.made.remove(netns)

    def node(self, addresses=("10.9.0.2/24", "fd00:7a:3b20::2/64")):
        """A namespace as a machine has it: an uplink, named eth0, with addresses and forwarding."""
        node = self.netns("node")
        node.ip("link", "add", "eth0", "type", "veth", "peer", "name", "uplink")
        for address in addresses:
            node.ip("address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        for link in ("uplink", "eth0"):
            node.ip("link", "set", link, "up")
        node.sysctl("net.ipv4.ip_forward", 1)
        return node

    def start(self, node, log, *command, **more):
        """A process in the node's namespace; it ends with the world."""
        with open(log, "a", encoding="utf-8") as out:
            process = subprocess.Popen(["nsenter", f"--net={node.path}", *command], stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=out, start_new_session=True, **more)
        self.processes.append(process)
        return process

    def end(self, process, number=signal.SIGTERM):
        """By its process id, and only after that by force."""
        for signal_number, patience_s in ((number, 10), (signal.SIGKILL, 5)):
            if process.poll() is not None:
                break
            process.send_signal(signal_number)
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        if process in self.processes:
            self.processes.remove(process)
