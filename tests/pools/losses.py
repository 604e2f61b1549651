"""Ways in which a fixed address loses its pod, each with the seconds until the address is free again. Used by the cases of
tests/pools and, many times over, by tests/bench/run ipam. DEL is never delivered: the pod's namespace just goes.
"""

import time

from world import Failed

RACK = "172.18.41."
POOL = """
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: racks}
spec: {subnet: 172.18.41.0/24, ips: [172.18.41.40-172.18.41.199], gateway: 172.18.41.1, gatewayProbe: false}
"""


def stateful_set(space, name, replicas):
    return f"""---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}, namespace: {space}}}
spec:
  replicas: {replicas}
  serviceName: {name}
  template:
    metadata: {{labels: {{app: {name}}}, annotations: {{ipam.tombolo.io/ippool: '{{"ipv4": ["racks"]}}'}}}}
    spec: {{containers: [{{name: {name}}}]}}
"""


def name_space(name):
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"


def address(answer):
    return answer.addresses()[0].split("/")[0]


class Watch:
    """Looks at the addresses of the cluster. Those of living pods must be there every time."""

    def __init__(self, cluster):
        self.cluster, self.alive, self.looks = cluster, set(), 0
        self.freed_alive = set()

    def rows(self):
        """{address: row of `tombolo ip list`}"""
        rows = {row["ip"]: row for row in self.cluster.nodes[0].ask("ip", "list").get("ips", [])}
        self.looks += 1
        # What is merely kept has no container.
        self.freed_alive |= {ip for ip in self.alive if not rows.get(ip, {}).get("container_id")}
        return rows

    def seconds_until(self, what, condition, patience_s=15.0):
        began = time.monotonic()
        while not condition(self.rows()):
            if time.monotonic() - began > patience_s:
                raise Failed(f"{what}: not within {patience_s:g} s")
        return time.monotonic() - began

    def seconds_until_free(self, ip):
        return self.seconds_until(f"{ip} is free", lambda rows: ip not in rows)


def started(cluster, watch, node, name):
    """A pod that lives; its address."""
    pod = cluster.pod(name)
    ip = address(node.add(pod))
    if not ip.startswith(RACK):
        raise Failed(f"{name} got {ip}, not one of {RACK}")
    watch.alive.add(ip)
    return pod, ip


def ends(watch, pod, ip):
    """As a pod ends whose DEL is lost."""
    watch.alive.discard(ip)
    pod.netns.remove()


def scaled_down(cluster, watch, name, node):
    """A StatefulSet of two is scaled to one: seconds until the address of the pod that went is free."""
    cluster.write(f"{name}.yaml", stateful_set("shop", name, 2))
    started(cluster, watch, node, f"shop/{name}-0")
    pod, ip = started(cluster, watch, node, f"shop/{name}-1")
    cluster.write(f"{name}.yaml", stateful_set("shop", name, 1))
    ends(watch, pod, ip)
    return watch.seconds_until_free(ip)


def namespace_deleted(cluster, watch, name, node):
    """A namespace goes with the StatefulSet in it: seconds until its pod's address is free."""
    cluster.write(f"{name}.yaml", name_space(name) + stateful_set(name, "db", 1))
    pod, ip = started(cluster, watch, node, f"{name}/db-0")
    cluster.take_away(f"{name}.yaml")
    ends(watch, pod, ip)
    return watch.seconds_until_free(ip)


def node_lost(cluster, watch, name, lost, other, pods=4):
    """A node loses its power. What its pods held stays theirs, for a pod that runs behind a cut is not to lose its address;
    once the node is back they are kept for their pods to come: seconds until each has started, on the other node.
    """
    cluster.write(f"{name}.yaml", stateful_set("shop", name, pods))
    had = [started(cluster, watch, lost, f"shop/{name}-{number}") for number in range(pods)]
    lost.kill()
    for pod, _ in had:
        pod.netns.remove()
    # Its agent's lease in the store ends after 15 s; nobody frees anything for that.
    early = other.call("ADD", cluster.pod(f"shop/{name}-0"))
    if early.code != 11:
        raise Failed(f"{had[0][1]} was given again while its node may live: {early}")
    watch.rows()
    for _, ip in had:
        watch.alive.discard(ip)
    began = time.monotonic()
    lost.start()
    times = []
    for number, (_, ip) in enumerate(had):
        again = address(other.add(cluster.pod(f"shop/{name}-{number}"), patience_s=30))
        if again != ip:
            raise Failed(f"{name}-{number} had {ip} and got {again}")
        times.append(time.monotonic() - began)
        watch.alive.add(ip)
    return times
