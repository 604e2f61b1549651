"""Chapter 1: ranges that do not overlap, pods that reach each other, addresses that are never lost."""

import ipaddress
import itertools
import json
import os
import tempfile

from daemons import FLEET, tombolo
from pods import BIN, Pod
from shell import Failed, code_of


def expect(condition, text):
    if not condition:
        raise Failed(text)


def plan_has_no_overlap(demo):
    """the plan of the fleet has no overlap, and a second apply changes nothing"""
    seen = tombolo("plan", "show", "-f", FLEET)
    ranges = [(row.get("cluster", "fleet"), row["use"], ipaddress.ip_network(row["prefix"])) for row in demo.plan["ranges"]]
    for one, other in itertools.combinations(ranges, 2):
        same_family = one[2].version == other[2].version
        expect(not (same_family and one[2].overlaps(other[2])), f"{one} overlaps {other}")
    again = demo.controller("east").ask("plan", "apply", "-f", FLEET)
    expect(not again.get("changes"), f"a second apply changes {again.get('changes')}")
    return seen.strip()


def impossible_fleet_is_refused(demo):
    """a fleet file that cannot be satisfied is refused with the reason"""
    with open(FLEET, encoding="utf-8") as text:
        fleet = text.read()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as out:
        out.write(fleet.replace("nodes: 2", "nodes: 60000"))
        out.flush()
        code, _, said = code_of(os.path.join(BIN, "tombolo"), "plan", "show", "-f", out.name)
    expect(code == 1 and "cluster east" in said and "underlay" in said, f"exit code {code}: {said}")
    return said.strip()


def pods_reach_each_other(demo):
    """every pod reaches every other pod, in both clusters, by IPv4 and IPv6"""
    servers = [pod for pod in demo.pods.values() if pod.namespace == "default" and pod.name != "x-wing"]
    count = 0
    for cluster in ("east", "west"):
        client = demo.pod(cluster, "x-wing")
        for server in servers:
            for ip in server.addresses():
                host = f"[{ip}]" if ":" in ip else ip
                answer = client.ask(f"http://{host}:8080/")
                expect(answer["answers"] == {f"{server.cluster}/{server.name}": 1},
                       f"{client.id} to {server.id} at {ip}: {answer}")
                count += 1
    return f"{count} connections between {len(servers) + 2} pods on 4 nodes"


def cni_keeps_its_word(demo):
    """CNI: VERSION, CHECK of a sound and of a damaged pod, DEL three times, DEL without a namespace"""
    pod = demo.start_pod("east", "n1", "passer-by")
    code, version = pod.cni("VERSION")
    expect(code == 0 and "1.1.0" in version["supportedVersions"], f"VERSION: {version}")
    code, answer = pod.cni("CHECK", previous=pod.result())
    expect(code == 0, f"CHECK: {answer}")
    ip = pod.addresses()[0]
    pod.run("ip", "address", "del", f"{ip}/32", "dev", "eth0")
    code, damaged = pod.cni("CHECK", previous=pod.result())
    expect(code != 0 and ip in json.dumps(damaged), f"CHECK of a damaged pod: {damaged}")
    for attempt in range(3):
        code, answer = pod.cni("DEL", previous=pod.result(), **({} if attempt < 2 else {"netns": ""}))
        expect(code == 0, f"DEL {attempt + 1}: {answer}")
    pod.stop()
    del demo.pods["east/passer-by"]
    return f"CHECK said: {damaged['msg']}"


def crash_loses_no_address(demo):
    """kill -9 of a daemon and a restart lose no address and give none twice"""
    daemon = demo.daemons["east", "n2"]
    before = {entry["ip"] for entry in daemon.ask("ip", "list")["ips"]}
    daemon.kill()
    code, answer = Pod("east", "n2", "too-early").cni("ADD", netns="/run/netns/none")
    expect(code != 0 and answer.get("code") in (8, 11, 50), f"ADD without a daemon: {answer}")
    daemon.start()
    daemon.wait_ready()
    after = {entry["ip"] for entry in daemon.ask("ip", "list")["ips"]}
    expect(before == after, f"addresses before {sorted(before)}, after {sorted(after)}")
    pod = demo.start_pod("east", "n2", "newcomer")
    expect(not set(pod.addresses()) & before, f"{pod.addresses()} was given before")
    pod.stop()
    del demo.pods["east/newcomer"]
    return f"{len(before)} addresses kept; without the daemon ADD says: {answer['msg']}"


CHECKS = [plan_has_no_overlap, impossible_fleet_is_refused, pods_reach_each_other, cni_keeps_its_word, crash_loses_no_address]
