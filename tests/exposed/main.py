"""Services for clients outside, with real daemons: two nodes beside a router on one link, a fleet with ranges for load
balancers, services of both families. Every address is given, announced by one node, found by the router's kernel there,
taken over when its node dies, and the same after the controller was killed.

Needs root and iproute2. Both nodes' daemons are in one namespace, each with an interface of its own: what is asked of
them is packets. Writes one check per line to --report as JSON; --binaries names the folder with tombolod and tombolo.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MACS = {"e0": "02:00:00:00:00:0a", "e1": "02:00:00:00:00:0b"}
SERVICES = 8

FLEET = """
fleet: fleet
regions: [{name: here, cloud: on-prem}]
address_space: [{cidr: 10.0.0.0/8}, {cidr: "fd00:1::/40"}]
clusters:
  - name: east
    id: 1
    region: here
    nodes: 2
    load_balancer_services: 20
    cidrs: {load_balancer: {ipv4: 203.0.113.64/26, ipv6: "2001:db8:1:0:b::/112"}}
"""

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: web{0}, namespace: shop}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}], ipFamilyPolicy: RequireDualStack}}
"""

POOL = """
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: edge}
spec: {subnet: 198.51.100.0/24, ips: [198.51.100.5-198.51.100.9], allowedUses: [LoadBalancer]}
"""

FIXED = """
apiVersion: v1
kind: Service
metadata: {name: fixed, namespace: shop, annotations: {ipam.tombolo.io/load-balancer-ips: 198.51.100.7}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
"""


def run(command, check=True):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
    return done.stdout


def soon(holds, what, limit_s=60):
    end = time.monotonic() + limit_s
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            raise RuntimeError(f"not within {limit_s} s: {what}")
        time.sleep(0.05)


class World:
    """Namespaces, daemons and files; all gone with close()."""

    def __init__(self, binaries):
        self.binaries = binaries
        self.router, self.nodes = f"tbo-r{os.getpid()}", f"tbo-n{os.getpid()}"
        self.folder = tempfile.mkdtemp(prefix="tombolo-exposed-", dir="/tmp")
        self.processes = {}
        self.manifests = os.path.join(self.folder, "manifests")

    def make_link(self):
        router, nodes = self.router, self.nodes
        run(f"ip netns add {router} && ip netns add {nodes} && ip -n {nodes} link set lo up")
        run(f"ip -n {router} link add br0 type bridge forward_delay 0 mcast_snooping 0")
        run(f"ip -n {router} link set br0 up && ip -n {router} address add 203.0.113.1/24 dev br0")
        run(f"ip -n {router} address add 2001:db8:1::1/64 dev br0 nodad")
        for number, mac in enumerate(MACS.values()):
            run(f"ip -n {router} link add p{number} type veth peer name eth{number} address {mac} netns {nodes}")
            run(f"ip -n {router} link set p{number} master br0 up && ip -n {nodes} link set eth{number} up")
        run(f"ip -n {nodes} address add 203.0.113.11/24 dev eth0")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, node, roles, store):
        home = os.path.join(self.folder, node)
        os.makedirs(f"{home}/state", exist_ok=True)
        os.makedirs(f"{home}/run", exist_ok=True)
        config = {
            "roles": roles, "cluster": {"name": "east", "id": 1}, "store": store,
            "node": {"name": node, "addresses": ["203.0.113.11"]},
            "state_dir": f"{home}/state", "run_dir": f"{home}/run", "bpffs_root": f"{home}/bpf",
            "subsystems": {"ipam": False, "policy": False, "lb": False, "dns": False},
            "agent": {"announce": {"interfaces": ["eth" + node[1:]]}}, "metrics": {"listen": "off"},
        }
        if "controller" in roles:
            config["controller"] = {"manifests": self.manifests}
        path = self.write(f"{node}.json", json.dumps(config))
        with open(f"{home}/log", "ab") as log:
            command = ["ip", "netns", "exec", self.nodes, f"{self.binaries}/tombolod", "--config", path]
            self.processes[node] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, node):
        process = self.processes.pop(node)
        process.kill()
        process.wait()

    def tombolo(self, *arguments):
        command = [f"{self.binaries}/tombolo", "--address", f"unix://{self.folder}/e0/run/admin.sock", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def services(self):
        """NAME -> the service as the API has it; nothing while the daemon does not answer."""
        done = self.tombolo("service", "list", "-o", "json")
        if done.returncode != 0:
            return {}
        return {one["name"]: one for one in json.loads(done.stdout).get("services", [])}

    def neighbour(self, ip):
        text = run(f"ip -n {self.router} neigh show {ip} dev br0")
        return text.split("lladdr ")[1].split()[0] if "lladdr " in text else ""

    def finds(self, ip, node):
        run(f"ip netns exec {self.router} bash -c 'echo > /dev/udp/{ip}/9'", check=False)
        return self.neighbour(ip) == MACS[node]

    def close(self):
        for node in list(self.processes):
            self.kill(node)
        for name in (self.router, self.nodes):
            run(f"ip netns del {name}", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def announcers(services):
    """Who announces which address: ADDRESS -> NODE."""
    found = {}
    for service in services.values():
        for text in service.get("announced_by", []):
            ip, _, node = text.split()[:3]
            found[ip] = node
    return found


def story(world, check):
    world.make_link()
    os.makedirs(world.manifests)
    world.start("e0", ["agent", "controller"], {"embedded": {"listen": ["127.0.0.1:2379"]}})
    world.start("e1", ["agent"], {"endpoints": ["127.0.0.1:2379"]})
    plan = world.write("fleet.yaml", FLEET)
    soon(lambda: world.tombolo("plan", "apply", "-f", plan).returncode == 0, "the plan is applied")
    # Who is there first announces everything, and goes on.
    soon(lambda: os.path.exists(f"{world.folder}/e1/run/admin.sock"), "the other node's daemon serves")
    time.sleep(2)
    world.write("manifests/services.yaml", "---".join(SERVICE.format(i) for i in range(SERVICES)))

    soon(lambda: len(announcers(world.services())) == 2 * SERVICES, "every service has two addresses, all announced")
    given = {name: one["external_ips"] for name, one in world.services().items()}
    outside = [ip for ips in given.values() for ip in ips if not ip.startswith(("203.0.113.", "2001:db8:1:0:b:"))]
    check("addresses are of the cluster's ranges", not outside, ", ".join(outside))
    by_address = announcers(world.services())
    check("both nodes announce some", set(by_address.values()) == set(MACS), str(sorted(set(by_address.values()))))

    for ip, node in by_address.items():
        soon(lambda i=ip, n=node: world.finds(i, n), f"the router finds {ip} at {node}", 15)
    check("the router finds each where it is announced", True)

    def all_end_here():
        routes = run(f"ip -n {world.nodes} route show proto 205; ip -n {world.nodes} -6 route show proto 205")
        return not [ip for ip in by_address if f"unreachable {ip} " not in routes]
    soon(all_end_here, "an unreachable route for each address", 15)
    check("what no balancer takes ends here", True)

    moved = [ip for ip, node in by_address.items() if node == "e1"]
    begin = time.monotonic()
    world.kill("e1")
    for ip in moved:
        soon(lambda i=ip: world.neighbour(i) == MACS["e0"], f"{ip} moves to e0", 20)
    check("a node that dies is replaced", True, f"{len(moved)} addresses in {time.monotonic() - begin:.1f} s")

    world.kill("e0")
    world.start("e0", ["agent", "controller"], {"embedded": {"listen": ["127.0.0.1:2379"]}})
    soon(lambda: {name: one.get("external_ips") for name, one in world.services().items()} == given,
         "the same addresses after kill -9 of the controller")
    check("addresses outlive the controller", True)

    world.write("manifests/fixed.yaml", FIXED)
    world.write("manifests/pool.yaml", POOL)
    has_fixed = lambda: world.services().get("fixed", {}).get("external_ips") == ["198.51.100.7"]  # noqa: E731
    soon(has_fixed, "the service gets the address of the pool that it asks for")
    check("a pool for services gives the address that an annotation names", True)
    os.remove(os.path.join(world.manifests, "pool.yaml"))
    soon(lambda: "written no more" in world.tombolo("status").stdout, "the pool leaves")
    world.write("manifests/other.yaml", FIXED.replace("name: fixed", "name: other").replace("198.51.100.7", "198.51.100.8"))
    soon(lambda: "other" in world.services(), "the other service is read")
    time.sleep(1)  # so that a wrong answer has the time to come
    check("a pool that leaves gives nothing, and takes nothing away",
          has_fixed() and "198.51.100.8" not in world.services()["other"].get("external_ips", []))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", default=os.path.join(ROOT, "build", "release", "bin"))
    parser.add_argument("--report", help="where the checks go, as JSON")
    options = parser.parse_args()
    checks = []

    def check(name, holds, detail=""):
        checks.append({"name": name, "state": "passed" if holds else "failed", "detail": detail})
        print(f"{'ok' if holds else 'FAILED'}: {name}{': ' + detail if detail else ''}", flush=True)

    world = World(options.binaries)
    try:
        story(world, check)
    except (RuntimeError, OSError) as error:
        check("the story reaches its end", False, str(error))
        for node in MACS:
            print(f"---- {node}\n" + run(f"tail -n 30 {world.folder}/{node}/log", check=False))
    finally:
        world.close()
        if options.report:
            with open(options.report, "w", encoding="utf-8") as file:
                json.dump(checks, file)
    return 0 if all(one["state"] == "passed" for one in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
