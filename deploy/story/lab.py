"""The ground that the two clusters stand on: network namespaces for nodes and a router, cgroups, bpffs mounts.

    tbd-east-n1 ─┐                          ┌─ tbd-west-n1
                 ├─ br-east  ROUTER  br-west ┤        every line is a veth pair; a bridge is a cluster's L2
    tbd-east-n2 ─┘                          └─ tbd-west-n2

Everything made here is named tbd-… or lives below STATE, so that down() finds all of it, also after a failure.
"""

import fcntl
import os
import shutil
import signal
import time

from shell import Failed, code_of, run

STATE = "/run/tombolo-demo"
PREFIX = "tbd-"
ROUTER = PREFIX + "router"
LOCK, LOCK_FILE = None, "/run/tombolo-demo.lock"
CLUSTERS = ("east", "west")
NODES = ("n1", "n2")


def node_namespace(cluster, node):
    return f"{PREFIX}{cluster}-{node}"


def node_folder(cluster, node):
    return os.path.join(STATE, cluster, node)


def cgroup_mount():
    """Where cgroup v2 is mounted; one of our own when it is nowhere."""
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, place, kind, *_ = line.split()
            if kind == "cgroup2":
                return place
    place = os.path.join(STATE, "cgroup2")
    os.makedirs(place, exist_ok=True)
    run("mount", "-t", "cgroup2", "none", place)
    return place


def cgroup_root(cluster, node):
    return os.path.join(cgroup_mount(), "tombolo-demo", f"{cluster}-{node}")


def namespaces():
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith(PREFIX)]


def lock():
    """One demo on a machine: its names are fixed. The lock goes with this process."""
    global LOCK  # kept open for the life of the process
    LOCK = open(LOCK_FILE, "w", encoding="utf-8")
    try:
        fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed("another demo, or its tests, is at work on this machine") from None


def unlock():
    """At the end of a process that leaves no demo behind."""
    if LOCK and os.path.exists(LOCK_FILE):
        os.remove(LOCK_FILE)


def is_up():
    return ROUTER in namespaces()


def require_machine():
    """One clear line for whatever this machine lacks."""
    if os.geteuid() != 0:
        raise Failed("needs root: it makes network namespaces, cgroups and eBPF programs")
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release < (6, 1):
        raise Failed(f"kernel {os.uname().release} is too old: Tombolo needs 6.1, which Debian 12 has")
    code, _, said = code_of("ip", "netns", "add", PREFIX + "probe")
    if code != 0:
        raise Failed(f"network namespaces cannot be made here ({said.strip()}): run on a machine or a privileged container")
    run("ip", "netns", "del", PREFIX + "probe")


def sysctl(namespace, **settings):
    for name, value in settings.items():
        run("nsenter", f"--net=/run/netns/{namespace}", "sysctl", "-qw", f"{name.replace('__', '.')}={value}")


def make_router():
    run("ip", "netns", "add", ROUTER)
    run("ip", "-n", ROUTER, "link", "set", "lo", "up")
    sysctl(ROUTER, net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
           net__ipv6__conf__default__accept_dad=0, net__ipv6__conf__all__accept_dad=0)


def make_cluster(cluster, gateways):
    """The cluster's L2 with its gateway addresses ("10.0.0.1/20") on the router's bridge."""
    run("ip", "-n", ROUTER, "link", "add", f"br-{cluster}", "type", "bridge", "mcast_snooping", "0")
    for address in gateways:
        run("ip", "-n", ROUTER, "address", "add", address, "dev", f"br-{cluster}", "nodad")
    run("ip", "-n", ROUTER, "link", "set", f"br-{cluster}", "up")


def make_node(cluster, node, addresses, gateways):
    """A node: eth0 on the cluster's L2 with its addresses, default routes by the gateways, a cgroup and a bpffs."""
    namespace = node_namespace(cluster, node)
    run("ip", "netns", "add", namespace)
    run("ip", "-n", ROUTER, "link", "add", f"{cluster}-{node}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
    run("ip", "-n", ROUTER, "link", "set", f"{cluster}-{node}", "master", f"br-{cluster}", "up")
    run("ip", "-n", namespace, "link", "set", "lo", "up")
    sysctl(namespace, net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
           net__ipv6__conf__default__accept_dad=0, net__ipv6__conf__all__accept_dad=0)
    for address in addresses:
        run("ip", "-n", namespace, "address", "add", address, "dev", "eth0", "nodad")
    run("ip", "-n", namespace, "link", "set", "eth0", "up")
    for gateway in gateways:
        run("ip", "-n", namespace, "route", "add", "default", "via", gateway)
    folder = node_folder(cluster, node)
    for name in ("state", "bpf"):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    run("mount", "-t", "bpf", "bpf", os.path.join(folder, "bpf"))
    os.makedirs(os.path.join(cgroup_root(cluster, node), "pods"), exist_ok=True)


def add_routes(commands):
    """What the router between the clusters holds: the lines that `tombolo plan routes` prints, and nothing else."""
    for line in commands.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] != "ip":
            raise Failed(f"not an ip command: {line}")
        run("ip", "-n", ROUTER, *words[1:])


def pid_of(path, marker):
    """The process of a pid file, when it still lives and its command line holds `marker`."""
    try:
        with open(path, encoding="utf-8") as text:
            pid = int(text.read())
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            return pid if marker.encode() in command.read() else None
    except (OSError, ValueError):
        return None


def is_gone(pid):
    """Whether the process, with all its threads and what they held, is no more."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # another one's child
    return not os.path.exists(f"/proc/{pid}")


def end(pid, timeout_s=10.0):
    """SIGTERM, then SIGKILL; returns when the process is gone."""
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if is_gone(pid):
                return
            time.sleep(0.01)


def processes_below(folder):
    """Process ids in a cgroup and the cgroups below it."""
    found = []
    for place, _, _ in os.walk(folder):
        try:
            with open(os.path.join(place, "cgroup.procs"), encoding="utf-8") as text:
                found += [int(line) for line in text]
        except FileNotFoundError:
            pass  # it went while we looked
    return found


def remove_cgroups():
    top = os.path.join(cgroup_mount(), "tombolo-demo")
    if not os.path.isdir(top):
        return
    for pid in processes_below(top):
        end(pid, timeout_s=2)
    for place, _, _ in os.walk(top, topdown=False):
        for _ in range(100):
            try:
                os.rmdir(place)
                break
            except OSError:
                time.sleep(0.02)
    if os.path.isdir(top):
        raise Failed(f"{top} is still in use")


def remove_daemons():
    for folder, _, files in os.walk(STATE):
        for name in files:
            pid = pid_of(os.path.join(folder, name), folder) if name == "tombolod.pid" else None
            if pid:
                end(pid)


def remove_namespaces():
    for namespace in namespaces():
        for pid in run("ip", "netns", "pids", namespace).split():
            end(int(pid), timeout_s=2)
        run("ip", "netns", "del", namespace)


def remove_state():
    with open("/proc/mounts", encoding="utf-8") as mounts:
        ours = [line.split()[1] for line in mounts if line.split()[1].startswith(STATE + "/")]
    for place in sorted(ours, reverse=True):
        run("umount", "-l", place)
    if os.path.isdir(STATE):
        shutil.rmtree(STATE)


def remove_everything():
    """Leaves nothing behind; safe when only a part, or nothing, is there. What could not be removed is named."""
    problems = []
    for step in (remove_daemons, remove_cgroups, remove_namespaces, remove_state):
        try:
            step()
        except (Failed, OSError) as error:
            problems.append(str(error))
    if problems:
        raise Failed("left behind: " + "; ".join(problems))
