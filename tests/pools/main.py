"""Pools from end to end: real daemons of two nodes and of two clusters, the real plugin, Debian's bridge plugin. One line for each case.

    tests/pools/run [--only TEXT] [--report FILE]        (root; TOMBOLO_BIN: another build's programs)
"""

import argparse
import json
import os
import sys

from cluster import Cluster, Failed, wait_until
import losses
import shared
from world import World  # found by cluster's path

POOLS = """
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: racks}
spec: {subnet: 172.18.41.0/24, ips: [172.18.41.40-172.18.41.45], gateway: 172.18.41.1, gatewayProbe: false, routes: [{dst: 172.31.0.0/16, gw: 172.18.41.2}]}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: storage}
spec: {subnet: 172.18.42.0/24, ips: [172.18.42.10-172.18.42.19]}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: everybody}
spec: {subnet: 172.18.43.0/24, ips: [172.18.43.10-172.18.43.19], default: true, namespaceName: [open]}
---
apiVersion: v1
kind: Namespace
metadata:
  name: team
  annotations: {ipam.spidernet.io/default-ipv4-ippool: '["storage"]'}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 2
  serviceName: db
  template:
    metadata: {labels: {app: db}, annotations: {ipam.tombolo.io/ippool: '{"ipv4": ["racks"]}'}}
    spec: {containers: [{name: db}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: two
  namespace: shop
  annotations: {ipam.tombolo.io/ippools: '[{"ipv4": ["racks"]}, {"interface": "net1", "ipv4": ["storage"], "cleangateway": true}]'}
"""
PODS = "".join(f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {space}, annotations: {{{annotations}}}}}
""" for space, name, annotations in (
    *(("shop", f"web-{i}", """ipam.tombolo.io/ippool: '{"ipv4": ["racks"]}'""") for i in range(8)),
    ("team", "member", ""), ("open", "anybody", ""), ("shop", "plain", "")))

CASES = []


def case(body):
    CASES.append(body)
    return body


def expect(condition, what):
    if not condition:
        raise Failed(what)


def address(answer):
    return answer.addresses()[0].split("/")[0]


def freed(cluster, *addresses):
    wait_until(f"{', '.join(addresses)} free", lambda: not set(addresses) & set(cluster.states()), timeout_s=15)


@case
def pools_by_pod_namespace_and_default(cluster):
    """a pool by the pod's annotation, the namespace's, by default, and none"""
    first = cluster.nodes[0]
    for name, begin in (("shop/web-0", "172.18.41."), ("team/member", "172.18.42."), ("open/anybody", "172.18.43."),
                        ("shop/plain", "10.21."), ("none", "10.21.")):
        pod = cluster.pod(name)
        given = address(first.add(pod))
        expect(given.startswith(begin), f"{name} got {given}, not one of {begin}")
        expect(first.call("CHECK", pod, prevResult={"ips": [{"address": f"{given}/32"}]}).ok, f"CHECK of {name}")
        first.delete(pod)
        freed(cluster, given)
    unknown = cluster.nodes[0].call("ADD", cluster.pod("shop/stranger"))
    expect(unknown.code == 11 and "shop/stranger" in unknown.json["msg"], f"a pod that nobody knows: {unknown}")


@case
def two_nodes_one_pool(cluster):
    """two nodes never give out one address; one that is full says so; pods reach each other"""
    pods = [(cluster.nodes[i % 2], cluster.pod(f"shop/web-{i}")) for i in range(6)]
    given = [address(node.add(pod)) for node, pod in pods]
    expect(len(set(given)) == 6, f"an address twice: {given}")
    late = cluster.nodes[1].call("ADD", cluster.pod("shop/web-6"))
    expect(late.code == 11 and "racks" in late.json["msg"], f"a full pool: {late}")
    row = [pool for pool in cluster.nodes[0].ask("pool", "list")["pools"] if pool["name"] == "racks"][0]
    expect(int(row["used"]) == 6 and int(row.get("free", 0)) == 0 and row["use"] == "underlay", f"pool list: {row}")
    here, there = pods[0][1], given[1]
    wait_until("the pods reach each other", lambda: here.reaches(there), timeout_s=10)
    said = cluster.nodes[0].tombolo("ip", "explain", there)
    expect("racks" in said and "shop/web-1" in said, f"ip explain: {said}")
    for node, pod in pods:
        node.delete(pod)
    freed(cluster, *given)


@case
def statefulset_moves(cluster):
    """a StatefulSet's pod keeps its address on the other node, and is reached there"""
    one, two = cluster.nodes
    before = cluster.pod("shop/db-0")
    given = address(one.add(before))
    peer = cluster.pod("shop/web-0")
    one.add(peer)
    early = two.call("ADD", cluster.pod("shop/db-0"))
    expect(early.code == 11, f"while it is held: {early}")
    one.delete(before)
    wait_until("it is kept", lambda: "kept for StatefulSet/shop/db/0/eth0" in cluster.states().get(given, ""), timeout_s=15)
    after = cluster.pod("shop/db-0")
    moved = address(two.add(after))
    expect(moved == given, f"{given} became {moved}")
    wait_until("it is reached on the other node", lambda: peer.reaches(given), timeout_s=10)
    expect("in use" in one.refusal("ip", "release", given), f"{given} was given up under its pod")
    two.delete(after)
    one.delete(peer)
    wait_until("it is kept again", lambda: "kept for" in cluster.states().get(given, ""), timeout_s=15)
    expect(one.ask("ip", "release", given)["kept_for"] == "StatefulSet/shop/db/0/eth0", "whose it was")
    freed(cluster, given)


@case
def interfaces_are_one(cluster):
    """the interfaces of a pod are reserved together, over a kill; DEL frees all"""
    node = cluster.nodes[1]
    pod = cluster.pod("shop/two")
    first = address(node.add(pod))
    reserved = [ip for ip in cluster.states() if ip.startswith("172.18.42.")]
    wait_until("net1's address is reserved", lambda: [ip for ip in cluster.states() if ip.startswith("172.18.42.")])
    reserved = [ip for ip in cluster.states() if ip.startswith("172.18.42.")]
    node.kill()
    node.start()
    wait_until("n2 is back", node.ready, timeout_s=30)
    answer = node.add(pod, interface="net1")
    expect([address(answer)] == reserved, f"reserved {reserved}, given {answer}")
    expect(not [r for r in answer.json["routes"] if r["dst"] == "0.0.0.0/0"], f"cleangateway: {answer}")
    node.delete(pod, interface="net1")
    node.delete(pod)
    freed(cluster, first, *reserved)
    unfetched = cluster.pod("shop/two")
    first = address(node.add(unfetched))
    node.delete(unfetched)
    wait_until("nothing of storage is in use", lambda: not [ip for ip in cluster.states() if ip.startswith("172.18.42.")])
    freed(cluster, first)


@case
def under_another_plugin(cluster):
    """Debian's bridge plugin gets subnet, gateway and routes of the pool"""
    node = cluster.nodes[0]
    network = {"cniVersion": "1.0.0", "name": "bridged", "type": "bridge", "bridge": "cni0", "isGateway": False,
               "ipam": {"type": "tombolo-cni", "socket": node.network["socket"]}}
    pod = cluster.pod("shop/web-1")
    bridge = type(node.plugin)("/usr/lib/cni/bridge", node.netns, node.plugin.path)
    ours, node.plugin = node.plugin, bridge
    try:
        answer = node.add(pod, network=network)
        ips, routes = answer.json["ips"][0], answer.json["routes"]
        expect(ips["address"].endswith("/24") and ips["gateway"] == "172.18.41.1", f"{ips}")
        expect({"dst": "0.0.0.0/0", "gw": "172.18.41.1"} in routes and {"dst": "172.31.0.0/16", "gw": "172.18.41.2"} in routes, f"{routes}")
        node.delete(pod, network=network)
        freed(cluster, address(answer))
    finally:
        node.plugin = ours


@case
def killed_in_between(cluster):
    """kill -9 of an agent under ADDs and DELs leaves no claim without a pod and no address twice"""
    node = cluster.nodes[1]
    for round_number in range(3):
        pods = [cluster.pod(f"shop/web-{i}") for i in range(4)]
        config = json.dumps(node.network)
        started = [node.plugin.start("ADD", config, container=pod.container, netns=pod.netns.path,
                                     args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod.name.split('/')[1]}")
                   for pod in pods]
        node.plugin.finish(started[round_number])
        node.kill()
        answers = [node.plugin.finish(one) for i, one in enumerate(started) if i != round_number]
        expect(len({address(a) for a in answers if a.ok}) == sum(a.ok for a in answers), f"an address twice: {answers}")
        node.start()
        wait_until("n2 is back", node.ready, timeout_s=30)
        for pod in pods:
            node.delete(pod)
        wait_until("everything is free", lambda: not [
            ip for ip, state in cluster.states().items() if ip.startswith("172.18.41.") and "kept" not in state], timeout_s=20)


@case
def a_bad_catalog(cluster):
    """a catalog that is no good changes nothing and is told with its line"""
    cluster.write("bad.yaml", "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {name: twin}\nspec: {subnet: 172.18.41.0/25}\n")
    first = cluster.nodes[0]
    wait_until("the status names both pools", lambda: "'twin'" in first.tombolo("status"), timeout_s=10)
    pod = cluster.pod("shop/web-2")
    expect(address(first.add(pod)).startswith("172.18.41."), "the last good catalog")
    first.delete(pod)
    os.remove(os.path.join(cluster.manifests, "bad.yaml"))
    wait_until("the status is good again", lambda: "'twin'" not in first.tombolo("status"), timeout_s=20)


@case
def lost_by_word(cluster):
    """a StatefulSet that is scaled down, and a namespace that is deleted, give their addresses back within seconds"""
    watch = losses.Watch(cluster)
    for name, lose in (("shrinks", losses.scaled_down), ("leaves", losses.namespace_deleted)):
        took = lose(cluster, watch, name, cluster.nodes[1])
        expect(took < 5, f"{lose.__name__}: free after {took:.1f} s")
    expect(not watch.freed_alive, f"freed alive: {watch.freed_alive}")
    cluster.take_away("shrinks.yaml")


@case
def node_lost(cluster):
    """a node that loses its power: its fixed addresses are nobody else's, and wait for their pods once it is back"""
    watch = losses.Watch(cluster)
    took = losses.node_lost(cluster, watch, "lost", cluster.nodes[1], cluster.nodes[0], pods=2)
    expect(max(took) < 20, f"started on the other node after {took}")
    expect(not watch.freed_alive, f"freed alive: {watch.freed_alive}")
    cluster.take_away("lost.yaml")


def one_cluster(world):
    cluster = Cluster(world)
    cluster.write("pools.yaml", POOLS + PODS)
    return cluster.start()


def run_cases(begin, cases):
    """The outcomes of cases on what begin() makes, in one world."""
    outcomes = []
    with World() as world:
        ground = begin(world)
        for body in cases:
            try:
                body(ground)
                outcomes.append({"name": body.__doc__, "state": "passed", "detail": ""})
            except Failed as failure:
                outcomes.append({"name": body.__doc__, "state": "failed", "detail": str(failure)})
            ground.clear()
            print(f"{outcomes[-1]['state']}: {body.__doc__}" + (f"\n    {outcomes[-1]['detail']}" if outcomes[-1]["detail"] else ""),
                  flush=True)
        if any(one["state"] == "failed" for one in outcomes):
            for node in ground.nodes:
                print(f"--- the end of the log of {node.port}\n{node.log()[-3000:]}")
    return outcomes


def main():
    parser = argparse.ArgumentParser(prog="tests/pools/run", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose text has this")
    parser.add_argument("--report", metavar="FILE", help="the outcomes as JSON")
    arguments = parser.parse_args()
    outcomes = []
    for begin, cases in ((one_cluster, CASES), (shared.two_clusters, shared.CASES)):
        chosen = [body for body in cases if arguments.only in body.__doc__]
        if chosen:
            outcomes += run_cases(begin, chosen)
    if arguments.report:
        with open(arguments.report, "w", encoding="utf-8") as out:
            json.dump(outcomes, out)
    return 1 if any(one["state"] == "failed" for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
