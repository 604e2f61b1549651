"""What real Kubernetes makes of our definitions and exports, and what we read from it.

Each case is a function of (server, programs) that raises AssertionError, with what was seen, when it does not hold."""

import os
import re
import subprocess
import time

import api_server
import programs as peers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POOLS = "/apis/tombolo.io/v1alpha1/ippools"
YAML = "application/yaml"
CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


def expect(status, answer, *wanted):
    assert status in wanted, f"HTTP {status}: {answer['message'] if isinstance(answer, dict) and 'message' in answer else answer}"


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def run(programs, *arguments):
    return subprocess.run([programs["tombolo"], *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def definitions():
    folder = os.path.join(ROOT, "schema", "crd")
    return sorted(name for name in os.listdir(folder) if name.endswith(".yaml"))


@case("the definitions are taken, and established")
def established(server, _):
    for name in definitions():
        status, answer = server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldValidation=Strict",
                                        read(f"schema/crd/{name}"), YAML)
        expect(status, answer, 201)
    for name in definitions():
        for _ in range(100):
            _, answer = server.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + name.removesuffix(".yaml"))
            conditions = {entry["type"]: entry for entry in answer.get("status", {}).get("conditions", [])}
            assert conditions.get("NonStructuralSchema", {}).get("status") != "True", conditions["NonStructuralSchema"]["message"]
            if conditions.get("Established", {}).get("status") == "True":
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"{name}: not established: {conditions}")


def documented():
    """The documents of our kinds in the guide's examples."""
    for block in re.findall(r"^```yaml\n(.*?)^```", read("docs/ipam.md"), re.M | re.S):
        for document in block.split("---\n"):
            kind = re.search(r"^kind: (IPPool|IPReservation)$", document, re.M)
            if kind and "apiVersion: tombolo.io/" in document:
                yield kind[1].lower() + "s", document


@case("the guide's pools and reservations are taken")
def examples(server, _):
    count = 0
    for plural, document in documented():
        status, answer = server.request("POST", f"/apis/tombolo.io/v1alpha1/{plural}?fieldValidation=Strict", document, YAML)
        expect(status, answer, 201, 409)
        count += 1
    assert count >= 2, f"{count} examples found in docs/ipam.md"


REFUSED = (
    ("no subnet", {"ips": ["10.0.0.1"]}, "spec.subnet"),
    ("a subnet that is an address", {"subnet": "10.0.0.1"}, "spec.subnet"),
    ("an unknown kind", {"subnet": "10.0.0.0/24", "kind": "both"}, "spec.kind"),
    ("a VLAN that is none", {"subnet": "10.0.0.0/24", "vlan": 4095}, "spec.vlan"),
    ("a field that is none", {"subnet": "10.0.0.0/24", "gatway": "10.0.0.1"}, "gatway"),
    ("a word as address", {"subnet": "10.0.0.0/24", "excludeIPs": ["router"]}, "spec.excludeIPs[0]"),
    ("an operator that is none", {"subnet": "10.0.0.0/24", "podAffinity": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}, "operator"),
)


@case("pools that are wrong are refused, and the field is named")
def refused(server, _):
    for name, spec, field in REFUSED:
        pool = {"apiVersion": "tombolo.io/v1alpha1", "kind": "IPPool", "metadata": {"name": "wrong"}, "spec": spec}
        status, answer = server.request("POST", POOLS + "?fieldValidation=Strict", pool)
        assert status in (400, 422), f"{name}: HTTP {status}"
        assert field in answer["message"], f"{name}: {answer['message']}"


@case("the subnet of a pool cannot be changed")
def immutable(server, _):
    pool = {"apiVersion": "tombolo.io/v1alpha1", "kind": "IPPool", "metadata": {"name": "stays"}, "spec": {"subnet": "10.9.0.0/24"}}
    expect(*server.request("POST", POOLS, pool), 201)
    status, answer = server.request("PATCH", POOLS + "/stays", {"spec": {"subnet": "10.8.0.0/24"}}, "application/merge-patch+json")
    assert status == 422 and "never changes" in answer["message"], answer
    status, answer = server.request("PATCH", POOLS + "/stays", {"spec": {"disable": True}}, "application/merge-patch+json")
    expect(status, answer, 200)


def populate(server):
    """Two nodes, a service and kubeadm's ConfigMap, as a cluster of kubeadm has them."""
    for number in (1, 2):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"west-{number}"},
                "spec": {"podCIDR": f"10.21.{number}.0/24", "podCIDRs": [f"10.21.{number}.0/24"]}}
        expect(*server.request("POST", "/api/v1/nodes", node), 201, 409)
        status = {"status": {"capacity": {"pods": "110", "cpu": "2", "memory": "4Gi"},
                             "addresses": [{"type": "InternalIP", "address": f"10.20.0.{10 + number}"}]}}
        expect(*server.request("PATCH", f"/api/v1/nodes/west-{number}/status", status, "application/merge-patch+json"), 200)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {"ports": [{"port": 80}]}}
    expect(*server.request("POST", "/api/v1/namespaces/default/services", service), 201, 409)
    settings = "kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta4\nnetworking: {podSubnet: 10.21.0.0/16, serviceSubnet: 10.96.0.0/16}\n"
    settings_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubeadm-config"}, "data": {"ClusterConfiguration": settings}}
    expect(*server.request("POST", "/api/v1/namespaces/kube-system/configmaps", settings_map), 201, 409)


@case("plan import asks the API server")
def imported(server, programs):
    populate(server)
    answer = run(programs, "plan", "import", "--kubeconfig", server.kubeconfig(), "--context", "west=admin@west")
    assert answer.returncode == 0, answer.stderr
    for line in ('- name: "west"', "nodes: 2", "pods_per_node: 110", '"10.21.0.0/16"', f'"{api_server.SERVICES}"  # ServiceCIDR kubernetes', "10.20.0."):
        assert line in answer.stdout, f"{line} is missing in\n{answer.stdout}"


@case("plan import by a user without rights says what the server said")
def forbidden(server, programs):
    answer = run(programs, "plan", "import", "--kubeconfig", server.kubeconfig(reader=True), "--context", "admin@west")
    assert answer.returncode == 4, (answer.returncode, answer.stderr)
    assert 'User "reader" cannot list resource "nodes"' in answer.stderr, answer.stderr


@case("kubeadm takes the exported configuration")
def kubeadm(server, programs):
    for cluster in ("east", "west"):
        printed = run(programs, "plan", "export", "-f", "tests/data/plan/given.yaml", "--format", "kubeadm", "--cluster", cluster)
        assert printed.returncode == 0, printed.stderr
        path = server.write(f"{cluster}.yaml", printed.stdout)
        judged = subprocess.run([programs["kubeadm"], "config", "validate", "--config", path], capture_output=True, text=True, timeout=120)
        assert judged.returncode == 0, judged.stderr


CILIUM = "github.com/cilium/cilium@v1.18.6"
CALICO = "github.com/projectcalico/calico@v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"


def exported(programs, form, cluster="east"):
    answer = run(programs, "plan", "export", "-f", "deploy/story/fleet.yaml", "--format", form, "--cluster", cluster)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@case("Cilium's chart takes the exported values, and its agents get them")
def cilium(server, programs):
    chart = os.path.join(peers.module_folder(CILIUM), "install", "kubernetes", "cilium")
    values = server.write("cilium.yaml", exported(programs, "cilium"))
    rendered = subprocess.run([peers.helm(), "template", "cilium", chart, "--kube-version", f"v{peers.KUBERNETES}", "-f", values],
                              capture_output=True, text=True, timeout=120)
    assert rendered.returncode == 0, rendered.stderr
    settings = dict(re.findall(r'^  ([a-z0-9-]+): "?([^"\n]*)"?$', rendered.stdout, re.M))
    pods = re.findall(r"^east +\S+ +pod +IPv\d +(\S+) +\S+ +(\d+)", run(programs, "plan", "show", "-f", "deploy/story/fleet.yaml").stdout, re.M)
    for family, (prefix, length) in zip(("ipv4", "ipv6"), pods, strict=True):
        assert settings[f"cluster-pool-{family}-cidr"] == prefix, settings[f"cluster-pool-{family}-cidr"]
        assert settings[f"cluster-pool-{family}-mask-size"] == length, settings[f"cluster-pool-{family}-mask-size"]
    assert (settings["cluster-name"], settings["cluster-id"], settings["routing-mode"]) == ("east", "1", "native"), settings


@case("Calico's definitions take the exported pools, and plan import reads them back")
def calico(server, programs):
    folder = os.path.join(peers.module_folder(CALICO), "libcalico-go", "config", "crd")
    with open(os.path.join(folder, "crd.projectcalico.org_ippools.yaml")) as file:
        status, answer = server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", file.read(), YAML)
    expect(status, answer, 201)
    pools = [document for document in exported(programs, "calico").split("---\n") if "kind: IPPool" in document]
    assert len(pools) >= 3, pools
    path = "/apis/crd.projectcalico.org/v1/ippools"
    for document in pools:
        # Calico's own API server stores a pool of projectcalico.org/v3 under this name.
        stored = document.replace("apiVersion: projectcalico.org/v3", "apiVersion: crd.projectcalico.org/v1")
        for _ in range(50):
            status, answer = server.request("POST", path + "?fieldValidation=Strict", stored, YAML)
            if status != 404:
                break
            time.sleep(0.1)  # the definition is not served yet
        expect(status, answer, 201)
    populate(server)
    answer = run(programs, "plan", "import", "--kubeconfig", server.kubeconfig(), "--context", "west=admin@west")
    assert "IPPool tombolo-east-pods" in answer.stdout + answer.stderr, answer.stdout + answer.stderr


def outcomes(programs):
    """(name, state, detail) of each case."""
    with api_server.ApiServer(programs["kube-apiserver"]) as server:
        for name, function in CASES:
            try:
                function(server, programs)
                yield name, "passed", ""
            except peers.Missing as reason:
                yield name, "skipped", str(reason)
            except (AssertionError, OSError, subprocess.TimeoutExpired, KeyError) as error:
                yield name, "failed", f"{type(error).__name__}: {error}"
