"""Builds the two clusters: plan, ground, keys, daemons, grants, pods. The story and `deploy/demo up` both start here."""

import json
import os
import shutil
import socket
import subprocess
import sys

import lab
from daemons import FLEET, STORE_PORT, Daemon, environment, issue_keys, tombolo
from pods import HERE, Pod, web
from shell import Failed, wait_until

# The workloads of the policy chapters: node, namespace, name, and the port that they serve.
WORKLOADS = {
    "east": [("n1", "client", "client", 9000), ("n2", "management-ui", "management-ui", 9001),
             ("n1", "networkdemo", "mysql", 3306), ("n2", "networkdemo", "interpoddemo", 80),
             ("n1", "networkdemo", "demopod", None)],
    "west": [("n1", "stars", "frontend", 80), ("n2", "stars", "backend", 6379)],
}


class Demo:
    """Everything the story talks about."""

    def __init__(self, plan):
        self.plan = plan
        self.daemons = {}  # (cluster, node)
        self.pods = {}     # "cluster/name"

    def controller(self, cluster):
        return self.daemons[cluster, lab.NODES[0]]

    def pod(self, cluster, name):
        return self.pods[f"{cluster}/{name}"]

    def start_pod(self, cluster, node, name, served=False, namespace="default", port=8080):
        pod = Pod(cluster, node, name, namespace)
        self.pods[f"{cluster}/{name}"] = pod
        return pod.start(*(web(pod, port) if served else []))

    def manifest(self, cluster, name):
        return os.path.join(lab.STATE, cluster, "manifests", name)

    def apply(self, cluster, name):
        """Puts a file of policies/CLUSTER among the cluster's manifests, whole."""
        shutil.copy(os.path.join(HERE, "policies", cluster, name), self.manifest(cluster, name) + ".new")
        os.replace(self.manifest(cluster, name) + ".new", self.manifest(cluster, name))

    def withdraw(self, cluster, name):
        os.remove(self.manifest(cluster, name))

    def edit(self, cluster, name, old, new):
        """Changes a manifest as an operator would: the file is replaced whole."""
        path = self.manifest(cluster, name)
        with open(path, encoding="utf-8") as text:
            before = text.read()
        if old not in before:
            raise Failed(f"{path} does not hold '{old}'")
        with open(path + ".new", "w", encoding="utf-8") as out:
            out.write(before.replace(old, new))
        os.replace(path + ".new", path)


def read_plan():
    return json.loads(tombolo("plan", "show", "-f", FLEET, "-o", "json"))


def build(with_pods=True):
    demo = Demo(read_plan())
    os.makedirs(lab.STATE, exist_ok=True)
    make_ground(demo)
    for cluster in lab.CLUSTERS:
        start_cluster(demo, cluster)
    join_clusters(demo)
    for cluster in lab.CLUSTERS if with_pods else ():
        start_pods(demo, cluster)
    return demo


def make_ground(demo):
    lab.make_router()
    for cluster in lab.CLUSTERS:
        facts = cluster_facts(demo.plan, cluster)
        lab.make_cluster(cluster, facts["gateways"])
        controller_addresses = [address.split("/")[0] for address in facts["nodes"][0]]
        for index, node in enumerate(lab.NODES):
            addresses = facts["nodes"][index]
            lab.make_node(cluster, node, addresses, [gateway.split("/")[0] for gateway in facts["gateways"]])
            demo.daemons[cluster, node] = Daemon(cluster, node, [address.split("/")[0] for address in addresses],
                                                 controller_addresses)
    lab.add_routes(tombolo("plan", "routes", "-f", FLEET, "--commands"))


def cluster_facts(plan, cluster):
    """Gateway and node addresses with their prefix lengths, as the plan gives them."""
    for entry in plan["clusters"]:
        if entry["name"] == cluster:
            return {"id": entry["id"], "gateways": entry["gateways"], "nodes": [node["addresses"] for node in entry["nodes"]]}
    raise Failed(f"the plan has no cluster {cluster}")


def start_cluster(demo, cluster):
    shutil.copytree(os.path.join(HERE, "manifests", cluster), os.path.join(lab.STATE, cluster, "manifests"))
    daemons = [demo.daemons[cluster, node] for node in lab.NODES]
    issue_keys(cluster, daemons)
    for daemon in daemons:
        with open(daemon.config, "w", encoding="utf-8") as out:
            json.dump(daemon.configuration(cluster_facts(demo.plan, cluster)["id"]), out, indent=2)
    daemons[0].start()
    # The plan is a part of the cluster's state: without it no node gets a block of pod addresses.
    wait_until(f"the admin API of {cluster}", lambda: daemons[0].tombolo("status") != "")
    daemons[0].tombolo("plan", "apply", "-f", FLEET, "--reason", "the demo")
    daemons[1].start()
    for daemon in daemons:
        daemon.wait_ready()
    open_door(demo, cluster)


def open_door(demo, cluster):
    """The store of a cluster on a loopback port of this machine, for etcdctl."""
    controller = demo.controller(cluster)
    listener = socket.create_server(("127.0.0.1", 0))
    subprocess.Popen(["nsenter", f"--net=/run/netns/{lab.node_namespace(cluster, lab.NODES[0])}", sys.executable,
                      os.path.join(HERE, "door.py"), str(listener.fileno()), controller.addresses[0], str(STORE_PORT)],
                     pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
    with open(os.path.join(lab.STATE, cluster, "door"), "w", encoding="utf-8") as out:
        out.write(f"127.0.0.1:{listener.getsockname()[1]}")
    listener.close()


def join_clusters(demo):
    for cluster, other in (lab.CLUSTERS, lab.CLUSTERS[::-1]):
        bundle = os.path.join(lab.STATE, f"{cluster}-for-{other}.json")
        demo.controller(cluster).tombolo("cluster", "grant", other, "--out", bundle)
        demo.controller(other).tombolo("cluster", "join", bundle)
    for cluster, other in (lab.CLUSTERS, lab.CLUSTERS[::-1]):
        def ready():
            found = demo.controller(cluster).ask("cluster", "list")["clusters"]
            return any(entry["name"] == other and entry["state"] == "ready" for entry in found)
        wait_until(f"{cluster} hears {other}", ready)


def start_pods(demo, cluster):
    for index, node in enumerate(lab.NODES):
        demo.start_pod(cluster, node, f"rebel-base-{index + 1}", served=True)
    demo.start_pod(cluster, "n1", "x-wing")
    if cluster == "west":
        demo.start_pod(cluster, "n2", "echo-base-0", served=True)
    for node, namespace, name, port in WORKLOADS[cluster]:
        demo.start_pod(cluster, node, name, served=port is not None, namespace=namespace, port=port)


def show_status():
    for cluster in lab.CLUSTERS:
        folder = os.path.join(lab.STATE, cluster)
        print(f"cluster {cluster}")
        for node in lab.NODES:
            pid = lab.pid_of(os.path.join(folder, node, "tombolod.pid"), folder)
            print(f"  node {node}: tombolod {f'runs (pid {pid})' if pid else 'is down'}, "
                  f"log {folder}/{node}/tombolod.log")
        for place, _, files in sorted(os.walk(os.path.join(folder, "pods"))):
            if "result.json" in files:
                with open(os.path.join(place, "result.json"), encoding="utf-8") as text:
                    ips = " ".join(entry["address"].split("/")[0] for entry in json.load(text)["ips"])
                print(f"  pod {os.path.relpath(place, os.path.join(folder, 'pods'))}: {ips}")
    print('try: deploy/demo exec east/default/x-wing curl -s rebel-base;  eval "$(deploy/demo env east)"; tombolo status')


def show_environment(cluster):
    keys = environment(cluster, lab.node_folder(cluster, lab.NODES[0]))
    for name, value in keys.items():
        print(f"export {name}='{value}'")
