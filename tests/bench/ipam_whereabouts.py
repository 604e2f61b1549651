"""A part of the IPAM benchmark: ADD and DEL of the IPAM plugin whereabouts, whose addresses are the whole cluster's and are
kept by a real kube-apiserver on etcd, beside Tombolo's, call by call in turn. Both are durable before they answer.

The API server and the plugin come from their Go modules (tests/peers); what cannot be built is left out, and said so.
`tests/run --lane peers` builds the API server, which takes minutes: this part does not, when it is not there."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
sys.path.insert(0, os.path.join(ROOT, "tests", "peers"))
import api_server  # noqa: E402
import programs  # noqa: E402
from calls import Plugin  # noqa: E402
from ipam_cni import Caller, at  # noqa: E402
from subjects import TomboloAddresses  # noqa: E402
from world import World  # noqa: E402

ROUNDS = 60


class Whereabouts:
    def __init__(self, world, server):
        self.plugin = Plugin(programs.whereabouts(), world.node())
        self.kubeconfig = server.kubeconfig()
        self.log = server.path("whereabouts.log")
        self.settings = server.write("whereabouts.conf", "{}")  # it insists on a file beside its configuration
        folder = os.path.join(programs.module_folder(programs.WHEREABOUTS), "doc", "crds")
        for name in ("ippools", "overlappingrangeipreservations"):
            with open(os.path.join(folder, f"whereabouts.cni.cncf.io_{name}.yaml")) as file:
                status, answer = server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", file.read(), "application/yaml")
            if status != 201:
                raise RuntimeError(f"whereabouts' definition {name}: {answer}")

    def config(self, version):
        return {"cniVersion": version, "name": "peer", "type": "bridge",
                "ipam": {"type": "whereabouts", "range": "10.30.0.0/16", "log_file": self.log, "log_level": "error",
                         "configuration_path": self.settings,
                         "kubernetes": {"kubeconfig": self.kubeconfig}}}


def run():
    """Prints figures; 0 also when the peer is left out."""
    if not os.path.exists(os.path.join(programs.FOLDER, "kube-apiserver")):
        print("whereabouts is left out: there is no API server (tests/run --lane peers builds one)")
        return 0
    try:
        programs.whereabouts()
    except programs.Missing as reason:
        print(f"whereabouts is left out: {reason}")
        return 0
    with api_server.ApiServer(os.path.join(programs.FOLDER, "kube-apiserver")) as server, World("/var/tmp") as world:
        callers = {"tombolo": Caller(TomboloAddresses("tombolo", world), world.netns()),
                   "whereabouts": Caller(Whereabouts(world, server), world.netns())}
        callers["whereabouts"].more = {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=peer", "NODENAME": "node"}
        times = {(name, command): [] for name in callers for command in ("ADD", "DEL")}
        for number in range(ROUNDS + 5):  # the first five are warming up
            for command in ("ADD", "DEL"):
                for name in sorted(callers, reverse=number % 2 == 0):
                    took = callers[name].timed(command, f"w{number}")
                    if number >= 5:
                        times[name, command].append(took)
        callers["tombolo"].subject.stop()
    for (name, command), values in times.items():
        print(f"{name:<11} {command}   p50 {at(values, 0.5):6.2f} ms   p99 {at(values, 0.99):6.2f} ms   ({len(values)} calls, one at a time)")
    for command in ("ADD", "DEL"):
        ratio = at(times["tombolo", command], 0.5) / at(times["whereabouts", command], 0.5)
        print(f"goal: ipam_{command.lower()}_p50_over_whereabouts = {ratio:.3g} x (bound <= 1) {'ok' if ratio <= 1 else 'short'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run())
