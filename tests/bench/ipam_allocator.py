"""The allocator's part of the IPAM benchmark: pools in memory, durable allocations, the start with a million leases
(tests/bench/ipam/), beside other allocators as libraries (tests/bench/ipam/peer/, Go): host-local's, which most nodes run,
and go-ipam's in memory, in the newest version that the Go module proxy hands out whole.

Without a Go toolchain (Debian: golang-go of bookworm-backports) the peers are left out, and said so."""

import os
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEER_ALLOCATIONS = 1000  # the time of both grows with the square


def go_tool():
    return shutil.which("go") or next((go for go in ("/usr/local/go/bin/go", "/usr/lib/go-1.23/bin/go") if os.path.exists(go)), None)


def peer_rates(folder):
    """{"allocate": N, "release": N, "go-ipam-allocate": N, "go-ipam-release": N} per second; None, with a line that says why, when the peer cannot be built."""
    go = go_tool()
    if go is None:
        print("the other allocators are left out: no Go (Debian: golang-go of bookworm-backports)")
        return None
    program = os.path.join(folder, "peer")
    built = subprocess.run([go, "build", "-o", program, "."], cwd=os.path.join(ROOT, "tests", "bench", "ipam", "peer"),
                           capture_output=True, text=True)
    if built.returncode != 0:
        print(f"the other allocators are left out: {built.stderr.strip().splitlines()[-1]}")
        return None
    state = os.path.join(folder, "state")
    os.mkdir(state)
    printed = subprocess.run([program, state, str(PEER_ALLOCATIONS)], capture_output=True, text=True, check=True).stdout
    return {name: float(rate) for name, rate in (line.split() for line in printed.splitlines())}


def run():
    """Prints figures and goals; 0 when all could be measured."""
    program = os.path.join(ROOT, "build", "release", "bin", "bench_ipam")
    ours = {}
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("goal: "):
                _, name, _, value, *_ = line.split()
                ours[name] = float(value)
    if process.returncode != 0:
        return process.returncode
    with tempfile.TemporaryDirectory(prefix="tombolo-bench-", dir="/var/tmp") as folder:
        peer = peer_rates(folder)
    if peer:
        print(f"host-local's allocator, {PEER_ALLOCATIONS} addresses, without fsync   {peer['allocate']:8.0f} allocations/s"
              f"   {peer['release']:8.0f} releases/s")
        times = ours["durable_allocations"] / peer["allocate"]
        print(f"goal: durable_allocations_over_host_local = {times:.4g} x (bound >= 1) {'ok' if times >= 1 else 'short'}")
        print(f"go-ipam's allocator, {PEER_ALLOCATIONS} addresses, in memory   {peer['go-ipam-allocate']:8.0f} allocations/s"
              f"   {peer['go-ipam-release']:8.0f} releases/s")
        times = ours["durable_allocations"] / peer["go-ipam-allocate"]
        print(f"goal: durable_allocations_over_go_ipam_in_memory = {times:.4g} x (bound >= 1) {'ok' if times >= 1 else 'short'}")
    return 0
