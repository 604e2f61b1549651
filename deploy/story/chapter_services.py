"""Chapter 2: one service over two clusters, balanced in the kernel, shared as its annotations say."""

import json
import os
import sys
import time

import lab
from chapter_pods import expect
from daemons import environment
from pods import HERE, totals
from shell import Failed, code_of, run, wait_until

GLOBAL = 'io.cilium/global-service: "true"'
SHARED_OFF = GLOBAL + '\n    io.cilium/shared-service: "false"'


def service_address(demo, cluster="east", name="rebel-base", family=4):
    """A cluster IP of a service."""
    for service in demo.controller(cluster).ask("service", "list")["services"]:
        if service["name"] == name:
            for ip in service["cluster_ips"]:
                if (":" in ip) == (family == 6):
                    return f"[{ip}]" if family == 6 else ip
    raise Failed(f"{cluster} has no IPv{family} address for {name}")


def settle(demo, cluster, clusters, name="rebel-base"):
    """Waits until the kernel of the client's node balances `name` over exactly `clusters`."""
    daemon = demo.controller(cluster)

    def balanced():
        daemon.tombolo("wait", "--for", "5")
        found = daemon.ask("service", "explain", f"default/{name}")["backends"]
        return {entry["cluster"] for entry in found if entry.get("used")} == set(clusters)
    wait_until(f"{name} in {cluster} served by {sorted(clusters)}", balanced)


def asked(demo, url, count=40, cluster="east"):
    answer = demo.pod(cluster, "x-wing").ask(url, count)
    expect(answer["failed"] == 0, f"{url}: {answer}")
    return answer["clusters"]


def both_clusters_answer(demo):
    """rebel-base is answered by both clusters, from east and from west, by IPv4 and IPv6"""
    seen = []
    for cluster in lab.CLUSTERS:
        settle(demo, cluster, lab.CLUSTERS)
        for family in (4, 6):
            answers = asked(demo, f"http://{service_address(demo, cluster, family=family)}/", cluster=cluster)
            expect(set(answers) == {"east", "west"}, f"from {cluster} by IPv{family}: {answers}")
            seen.append(f"from {cluster} by IPv{family}: {answers}")
    return "\n".join(seen)


def scale_to_zero_and_back(demo):
    """scaled to 0 in east, all answers come from west; scaled back, from both; not one request fails"""
    client = demo.pod("east", "x-wing").keep_asking(f"http://{service_address(demo)}/")
    try:
        time.sleep(0.5)
        demo.edit("east", "rebel-base.yaml", "replicas: 2", "replicas: 0")
        settle(demo, "east", {"west"})
        for name in ("rebel-base-1", "rebel-base-2"):
            demo.pod("east", name).stop()
        alone = asked(demo, f"http://{service_address(demo)}/")
        expect(set(alone) == {"west"}, f"with no backend in east: {alone}")
        for index, node in enumerate(lab.NODES):
            demo.start_pod("east", node, f"rebel-base-{index + 1}", served=True)
        for index in (1, 2):
            ip = demo.pod("east", f"rebel-base-{index}").addresses()[0]
            wait_until("the web servers of east", lambda: demo.pod("east", "x-wing").ask(f"http://{ip}:8080/")["failed"] == 0)
        demo.edit("east", "rebel-base.yaml", "replicas: 0", "replicas: 2")
        settle(demo, "east", lab.CLUSTERS)
        time.sleep(0.5)
    finally:
        seen = totals(client)
    expect(seen["failed"] == 0, f"requests failed: {seen}")
    expect(set(seen["clusters"]) == {"east", "west"}, f"{seen}")
    return f"{seen['asked']} requests without a pause, 0 failed: {seen['clusters']}; while east had none: {alone}"


def unshared_service_stays_at_home(demo):
    """shared-service: "false" in west hides its backends from east, not east's from west"""
    demo.edit("west", "rebel-base.yaml", GLOBAL, SHARED_OFF)
    try:
        settle(demo, "east", {"east"})
        settle(demo, "west", {"east", "west"})
        east = asked(demo, f"http://{service_address(demo)}/")
        west = asked(demo, f"http://{service_address(demo, 'west')}/", cluster="west")
        expect(set(east) == {"east"} and set(west) == {"east", "west"}, f"east {east}, west {west}")
    finally:
        demo.edit("west", "rebel-base.yaml", SHARED_OFF, GLOBAL)
    settle(demo, "east", lab.CLUSTERS)
    return f"from east: {east}; from west: {west}"


def affinity_prefers(demo):
    """service-affinity: local and remote prefer what they name"""
    seen = []
    for affinity, wanted in (("local", {"east"}), ("remote", {"west"})):
        changed = GLOBAL + f'\n    io.cilium/service-affinity: "{affinity}"'
        demo.edit("east", "rebel-base.yaml", GLOBAL, changed)
        try:
            settle(demo, "east", wanted)
            answers = asked(demo, f"http://{service_address(demo)}/")
            expect(set(answers) == wanted, f"affinity {affinity}: {answers}")
            seen.append(f"{affinity}: {answers}")
        finally:
            demo.edit("east", "rebel-base.yaml", changed, GLOBAL)
    settle(demo, "east", lab.CLUSTERS)
    return "; ".join(seen)


def import_by_name(demo):
    """a service that only west has is imported by name and works in east"""
    controller = demo.controller("east")
    controller.tombolo("service", "import", "default/echo-base")
    settle(demo, "east", {"west"}, "echo-base")
    answers = asked(demo, f"http://{service_address(demo, name='echo-base')}/", count=10)
    expect(set(answers) == {"west"}, f"{answers}")
    return f"echo-base asked from east: {answers}"


def explain_says_why(demo):
    """service explain says for each backend why it is in or out"""
    changed = GLOBAL + '\n    io.cilium/service-affinity: "local"'
    demo.edit("east", "rebel-base.yaml", GLOBAL, changed)
    try:
        settle(demo, "east", {"east"})
        backends = demo.controller("east").ask("service", "explain", "default/rebel-base")["backends"]
        expect(len(backends) == 8 and all(entry["reason"] for entry in backends), f"{backends}")
        out = [entry for entry in backends if not entry.get("used")]
        expect({entry["cluster"] for entry in out} == {"west"} and "affinity" in out[0]["reason"], f"{out}")
        return demo.controller("east").tombolo("service", "explain", "default/rebel-base").strip()
    finally:
        demo.edit("east", "rebel-base.yaml", changed, GLOBAL)
        settle(demo, "east", lab.CLUSTERS)


def restart_breaks_nothing(demo):
    """a restart of the daemon breaks no established connection and fails no new one"""
    client = demo.pod("east", "x-wing")
    url = f"http://{service_address(demo)}/"
    kept = client.keep_asking(url, keep=True)
    fresh = client.keep_asking(url)
    try:
        time.sleep(0.3)
        daemon = demo.daemons["east", "n1"]
        daemon.kill()
        time.sleep(0.3)
        daemon.start()
        daemon.wait_ready()
        time.sleep(0.3)
    finally:
        seen_kept, seen_fresh = totals(kept), totals(fresh)
    expect(seen_kept["failed"] == 0 and seen_fresh["failed"] == 0, f"kept {seen_kept}, fresh {seen_fresh}")
    settle(demo, "east", lab.CLUSTERS)
    return f"{seen_kept['asked']} requests on one connection, {seen_fresh['asked']} on new ones, 0 failed"


def outsiders_are_untouched(demo):
    """a process outside the node's cgroup is not touched"""
    inside = demo.pod("east", "x-wing")
    command = [sys.executable, os.path.join(HERE, "client.py"), f"http://{service_address(demo)}/", "--timeout", "0.5"]
    outside = json.loads(run("nsenter", f"--net=/run/netns/{inside.netns}", *command))
    expect(outside["failed"] == 1, f"a process outside the cgroup was balanced: {outside}")
    return "the same namespace, another cgroup: " + ", ".join(outside["errors"])


def etcdctl_speaks_to_the_store(demo):
    """a plain etcdctl reads, writes, leases and snapshots the embedded store over mutual TLS"""
    keys = environment("east", demo.controller("east").folder)
    read = run("etcdctl", "get", "--prefix", "--keys-only", "cilium/state/", environment=keys).split()
    expect(any(key.startswith("cilium/state/services/v1/east/default/rebel-base") for key in read), f"{read}")
    run("etcdctl", "put", "tombolo/v1/scratch", "1", environment=keys)
    lease = run("etcdctl", "lease", "grant", "60", environment=keys).split()[1]
    run("etcdctl", "put", "--lease", lease, "tombolo/v1/scratch", "2", environment=keys)
    run("etcdctl", "lease", "revoke", lease, environment=keys)
    expect(run("etcdctl", "get", "tombolo/v1/scratch", environment=keys) == "", "a revoked lease keeps its key")
    done = run("etcdctl", "txn", text_in='version("tombolo/v1/scratch") = "0"\n\nput tombolo/v1/scratch 3\n\n\n', environment=keys)
    expect(done.startswith("SUCCESS"), done)
    run("etcdctl", "del", "tombolo/v1/scratch", environment=keys)
    snapshot = os.path.join(lab.STATE, "snapshot.db")
    run("etcdctl", "snapshot", "save", snapshot, environment=keys)
    status = run("etcdctl", "endpoint", "status", environment=keys).strip()
    return f"{len(read)} keys below cilium/state/; snapshot of {os.path.getsize(snapshot)} bytes\n{status}"


def foreign_rights_end_at_what_is_published(demo):
    """west's certificate reads what east publishes and nothing else"""
    with open(os.path.join(lab.STATE, "east-for-west.json"), encoding="utf-8") as text:
        bundle = json.load(text)
    keys = dict(environment("east", demo.controller("east").folder))
    for variable, field in (("ETCDCTL_CACERT", "authority"), ("ETCDCTL_CERT", "certificate"), ("ETCDCTL_KEY", "key")):
        keys[variable] = os.path.join(lab.STATE, f"foreign-{field}.pem")
        with open(keys[variable], "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(bundle[field])
    read = run("etcdctl", "get", "--prefix", "--keys-only", "cilium/state/", environment=keys).split()
    expect(read, "nothing published")
    seen = []
    for command in (("get", "--prefix", "tombolo/v1/leases/"), ("get", "--prefix", ""), ("put", "cilium/state/x", "1"), ("del", "cilium/.heartbeat")):
        code, _, said = code_of("etcdctl", *command, environment=keys)
        expect(code != 0 and "permission denied" in said.lower(), f"etcdctl {' '.join(command)}: {code} {said}")
        seen.append(f"etcdctl {' '.join(command)}: permission denied")
    return "\n".join(seen)


CHECKS = [both_clusters_answer, scale_to_zero_and_back, unshared_service_stays_at_home, affinity_prefers, import_by_name,
          explain_says_why, restart_breaks_nothing, outsiders_are_untouched, etcdctl_speaks_to_the_store,
          foreign_rights_end_at_what_is_published]
