"""Builds and runs benchmarks, and collects their goal lines. A benchmark is a program (a target of the release preset in
tests/bench/NAME) or a Python module here (ipam, mesh, loss)."""

import argparse
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "runner"))
import build  # noqa: E402  (the runner's build module, found through the path above)

PROGRAMS = {
    "cni": ("bench_cni", "CNI ADD through the real plugin beside host-local; durable allocations"),
    "plan": ("bench_plan", "the fleet planner beside other ways to assign: routes over the optimum, growth, 10,000 clusters"),
    "store": ("bench_store", "durable writes of the embedded store beside etcd"),
    "dns": ("bench_dns", "DNS answers per server CPU-second beside Knot"),
    "policy": ("bench_policy", "a changed policy, label or pod into one node's kernel, beside iptables-restore"),
    "datapath": ("bench_datapath", "what policy costs a packet, with 10 to 10,000 rules, beside a list of as many"),
    "connect": ("bench_connect", "cost of connect() with and without a service; row to kernel map"),
}
MODULES = {
    "ipam": "pools, durable allocations, ADD and DEL of the plugin, each beside host-local; recovery of lost addresses",
    "mesh": "from a remote endpoint's change to the local kernel map, through two real clusters",
    "loss": "a cluster lost and back, out of names and maps; restarts of an agent: what clients in pods see",
}
# What a module needs of the release preset, when that is not everything.
MODULE_TARGETS = {"ipam": ["bench_ipam", "tombolo", "tombolo-cni", "tombolod"]}
GOAL = re.compile(r"^goal: (?P<name>\S+) = (?P<value>\S+) (?P<unit>.+) \(bound (?P<op>\S+) (?P<bound>\S+)\) (?P<verdict>ok|short)$")


def run_one(name):
    """Runs one benchmark, its output passing through, and returns its goals."""
    if name in PROGRAMS:
        target = PROGRAMS[name][0]
        build.build(ROOT, "release", [target, "tombolo-cni"] if name == "cni" else [target])
        command = [os.path.join(ROOT, "build", "release", "bin", target)]
    else:
        build.build(ROOT, "release", MODULE_TARGETS.get(name, []))
        command = [sys.executable, os.path.join(ROOT, "tests", "bench", f"{name}.py")]
    goals = []
    print(f"== {name}", flush=True)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if match := GOAL.match(line.rstrip()):
                goals.append(match.groupdict())
    if process.returncode != 0:
        sys.exit(f"tests/bench/run: {name} ended with {process.returncode}")
    if not goals:
        sys.exit(f"tests/bench/run: {name} printed no goal")
    return goals


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is short")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    known = {**{name: text for name, (_, text) in PROGRAMS.items()}, **MODULES}
    if not arguments.names:
        for name, text in known.items():
            print(f"{name:<10} {text}")
        return 0
    if unknown := [name for name in arguments.names if name not in known]:
        sys.exit(f"tests/bench/run: no benchmark is named {', '.join(unknown)}; there are {', '.join(known)}")
    goals = [goal for name in arguments.names for goal in run_one(name)]
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump({"goals": goals}, out, indent=2)
    return 1 if arguments.check and any(goal["verdict"] == "short" for goal in goals) else 0


if __name__ == "__main__":
    sys.exit(main())
