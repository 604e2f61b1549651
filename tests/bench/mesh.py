"""The mesh benchmark: two real clusters as deploy/demo makes them, and a change that travels from one to the other."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "deploy", "story"))
import demo  # noqa: E402
import lab  # noqa: E402
from daemons import STORE_PORT  # noqa: E402
from pods import BIN  # noqa: E402
from shell import wait_until  # noqa: E402

SERVICE = """apiVersion: v1
kind: Namespace
metadata: {name: bench}
---
apiVersion: v1
kind: Service
metadata:
  name: probe
  namespace: bench
  annotations: {io.cilium/global-service: "true"}
spec:
  selector: {app: probe}
  ports: [{name: http, port: 80, targetPort: 8080}]
"""


def address_of_probe(controller):
    for service in controller.ask("service", "list").get("services", []):
        if service["name"] == "probe" and service.get("cluster_ips"):
            return service["cluster_ips"][0]
    return None


def main():
    lab.require_machine()
    lab.lock()
    lab.remove_everything()
    try:
        made = demo.build(with_pods=False)
        with open(made.manifest("east", "probe.yaml"), "w", encoding="utf-8") as out:
            out.write(SERVICE)
        near, far = made.daemons["east", "n2"], made.controller("west")
        vip = wait_until("the service's address", lambda: address_of_probe(made.controller("east")))
        near.tombolo("wait")
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{lab.node_namespace('west', 'n1')}", os.path.join(BIN, "bench_mesh"),
             "--store", f"{far.addresses[0]}:{STORE_PORT}", "--keys", os.path.join(lab.STATE, "west", "pki", "operator"),
             "--pins", os.path.join(near.folder, "bpf", "tombolo", "v1", "maps"), "--vip", vip, "--cluster", "west",
             "--id", str(demo.cluster_facts(made.plan, "west")["id"])], check=False).returncode
    finally:
        lab.remove_everything()
        lab.unlock()


if __name__ == "__main__":
    sys.exit(main())
