"""A pool of two clusters on one link, each with its own store: the cases of ADR 9 with real daemons."""

from ipaddress import ip_address, ip_network

from cluster import Cluster, Failed, link, wait_until

# Four parts: from .16, .32, .48 and .64.
POOL = """
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: campus}
spec:
  subnet: 172.18.44.0/24
  ips: [172.18.44.16-172.18.44.79]
  rest: {wantedSeconds: 0, leastSeconds: 0}
  conflictProbe: false
  sharing: {home: east, clusters: [east, west], partLength: 28}
"""
PODS = "".join(f"""---
apiVersion: v1
kind: Pod
metadata: {{name: web-{i}, namespace: shop, annotations: {{ipam.tombolo.io/ippool: '{{"ipv4": ["campus"]}}'}}}}
""" for i in range(60))

CASES = []


def case(body):
    CASES.append(body)
    return body


def expect(condition, what):
    if not condition:
        raise Failed(what)


class Pair:
    """Two clusters that have joined each other."""

    def __init__(self, world):
        lan = link(world)
        lan.ip("link", "add", "br1", "type", "bridge")
        lan.ip("link", "set", "br1", "up")
        self.east, self.west = Cluster(world, 1, lan), Cluster(world, 2, lan)
        self.clusters = [self.east, self.west]
        self.nodes = [node for cluster in self.clusters for node in cluster.nodes]
        self.names = {cluster.name: iter(range(60)) for cluster in self.clusters}

    def parts(self, cluster, state):
        """Those of which it says so itself."""
        found = cluster.nodes[0].ask("pool", "show", "campus").get("parts", [])
        return {part["range"] for part in found if part["cluster"] == cluster.name and part["state"] == state}

    def holds(self, cluster):
        return self.parts(cluster, "held")

    def has_part(self, cluster):
        return not cluster.nodes[0].refusal("pool", "show", "campus") and self.holds(cluster)

    def start_pods(self, cluster, count, patience_s=20):
        """So many pods, on the cluster's nodes in turn: [(node, pod, address)]"""
        started = []
        for i in range(count):
            node = cluster.nodes[i % 2]
            pod = cluster.pod(f"shop/web-{next(self.names[cluster.name])}")
            started.append((node, pod, node.add(pod, patience_s=patience_s).addresses()[0].split("/")[0]))
        return started

    def cut(self, whether):
        """Between the clusters: west's nodes are on a bridge of their own meanwhile."""
        for node in self.west.nodes:
            self.west.lan.ip("link", "set", node.port, "master", "br1" if whether else "br0")

    def clear(self):
        self.cut(False)
        for cluster in self.clusters:
            cluster.clear()
            self.names[cluster.name] = iter(range(60))


def two_clusters(world):
    pair = Pair(world)
    for cluster in pair.clusters:
        cluster.write("pool.yaml", POOL + PODS)
        cluster.start()
    pair.east.hear(pair.west)
    pair.west.hear(pair.east)
    # A new store may be one that was put back: its nodes have half a minute to say what they hold.
    for cluster in pair.clusters:
        wait_until(f"{cluster.name} has a part", lambda c=cluster: pair.has_part(c), timeout_s=60)
    return pair


def addresses(*started):
    return [ip for some in started for _, _, ip in some]


def expect_apart(pair, *started):
    given = addresses(*started)
    expect(len(given) == len(set(given)), f"an address twice: {sorted(given)}")
    held = [pair.holds(cluster) for cluster in pair.clusters]
    expect(not held[0] & held[1], f"a part that both hold: {held}")


@case
def parts_come_and_go(pair):
    """two clusters share a pool: each has its parts, gets more as it grows, and gives back what the other needs"""
    west = pair.start_pods(pair.west, 40)
    east = pair.start_pods(pair.east, 6)
    expect_apart(pair, west, east)
    expect(len(pair.holds(pair.west)) == 3, f"west holds {pair.holds(pair.west)}")
    # Of every part some stay.
    for node, pod, _ in west[::2]:
        node.delete(pod)
    for node, pod, _ in west[1::4]:
        node.delete(pod)
    stay = west[3::4]
    # East wants a second one: west's emptiest takes no new pods, and goes with its last.
    east += pair.start_pods(pair.east, 8)
    [part] = wait_until("west gives one back", lambda: pair.parts(pair.west, "returning"), timeout_s=30)
    for node, pod, ip in [one for one in stay if ip_address(one[2]) in ip_network(part)]:
        node.delete(pod)
    stay = [one for one in stay if ip_address(one[2]) not in ip_network(part)]
    more = pair.start_pods(pair.east, 10, patience_s=60)
    expect_apart(pair, stay, east, more)
    expect(len(pair.holds(pair.east)) >= 2, f"east holds {pair.holds(pair.east)}")


@case
def cut_off(pair):
    """two clusters share a pool and are cut off, the home is killed meanwhile: no address twice, and growth waits"""
    west, refused = pair.start_pods(pair.west, 1), None
    pair.cut(True)
    while refused is None and len(west) < 64:
        node = pair.west.nodes[len(west) % 2]
        pod = pair.west.pod(f"shop/web-{next(pair.names['west'])}")
        answer = node.call("ADD", pod)
        if answer.ok:
            west.append((node, pod, answer.addresses()[0].split("/")[0]))
        else:
            refused = answer
    expect(refused is not None and refused.code == 11 and "campus" in refused.json["msg"], f"a pool without a home: {refused}")
    pair.east.nodes[0].kill()
    pair.east.nodes[0].start()
    wait_until("east's controller is back", pair.east.nodes[0].ready, timeout_s=30)
    east = pair.start_pods(pair.east, 6)
    expect_apart(pair, west, east)
    pair.cut(False)
    more = pair.start_pods(pair.west, 4, patience_s=60)
    expect_apart(pair, west, east, more)


@case
def a_node_is_forgotten(pair):
    """`tombolo node forget`: not while the node lives; what a dead one held is free for others"""
    east = pair.start_pods(pair.east, 4)
    first, second = pair.east.nodes
    expect("lives" in first.refusal("node", "forget", "n2", "--yes"), "a node that lives was forgotten")
    lost = {ip for node, _, ip in east if node is second}
    second.kill()
    held = {row["name"] for row in first.ask("node", "forget", "n2", "--dry-run")["holdings"] if row["what"] == "address"}
    expect(held == lost, f"n2 had {lost}; it is said to hold {held}")
    wait_until("n2 counts as dead", lambda: not [one for one in first.ask("node", "list")["nodes"]
                                                 if one["name"] == "n2" and one.get("alive")], timeout_s=30)
    first.tombolo("node", "forget", "n2", "--yes")
    expect(not lost & set(pair.east.states()), f"still there: {pair.east.states()}")
    names = [one["name"] for one in first.ask("node", "list")["nodes"]]
    expect(names == ["n1"], f"nodes: {names}")
    # Such a machine is made anew: nothing of it comes back.
    for node, pod, _ in east:
        if node is second:
            pod.netns.remove()
    second.start_anew()
    wait_until("n2 is ready", second.ready, timeout_s=30)
    again = pair.start_pods(pair.east, 4, patience_s=60)  # a node that is new to the store waits for half a minute
    expect_apart(pair, [one for one in east if one[0] is first], again)


@case
def a_cluster_is_gone(pair):
    """`tombolo pool reclaim`: the parts of a cluster that an operator says is gone are the others'; it takes none of them back"""
    west = pair.start_pods(pair.west, 24)
    home = pair.east.nodes[0]
    gone = ("pool", "reclaim", "campus", "--cluster-is-gone", "west")
    expect("lives" in home.refusal(*gone, "--yes"), "the parts of a cluster that lives were reclaimed")
    expect("--yes" in home.refusal(*gone), "nobody was asked")
    pair.cut(True)
    east = pair.start_pods(pair.east, 4)
    wait_until("west is not heard any more", lambda: not home.refusal(*gone, "--yes"), timeout_s=30)
    east += pair.start_pods(pair.east, 30, patience_s=60)
    expect(len(pair.holds(pair.east)) >= 3, f"east holds {pair.holds(pair.east)}")
    # It was not gone. From the home's first word on it takes nothing new where the home's pods are.
    pair.cut(False)
    wait_until("west holds nothing that east holds", lambda: not pair.holds(pair.west) & pair.holds(pair.east), timeout_s=60)
    expect(len(set(addresses(east))) == 34, f"{addresses(east)}")
    expect(set(addresses(west)) <= set(pair.west.states()), "an address of a living pod was taken away")
    late = pair.west.nodes[0].call("ADD", pair.west.pod(f"shop/web-{next(pair.names['west'])}"))
    expect(not late.ok or late.addresses()[0].split("/")[0] not in addresses(east), f"an address of east's: {late}")
