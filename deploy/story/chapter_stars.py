"""Chapter 4: the stars example over two clusters. Client and management-ui are in east, frontend and backend in west; the
policies know them by their labels alone, wherever they are.

    east    C client (9000)    U management-ui (9001)          west    F frontend (80)    B backend (6379)
"""

import lab
from chapter_pods import expect
from policy import Prober, in_force, in_pod, last_drop, probe_all, task
from shell import wait_until

# letter: cluster, namespace, name, port of the pod, port of its service
PODS = {"C": ("east", "client", "client", 9000, 9000), "U": ("east", "management-ui", "management-ui", 9001, 80),
        "F": ("west", "stars", "frontend", 80, 80), "B": ("west", "stars", "backend", 6379, 6379)}
# Everyone to everyone, and somebody outside (the router between the clusters) to U.
CELLS = ["UC", "UF", "UB", "CF", "FB", "CB", "BF", "FC", "BC", "CU", "FU", "BU", "xU"]
TO_U = {"CU", "FU", "BU", "xU"}
# The step, its files by cluster, and which cells it leaves open.
STEPS = [
    ("0 none", {}, set(CELLS)),
    ("1 default-deny", {"west": "stars-1-default-deny.yaml", "east": "stars-1-default-deny.yaml"}, TO_U),
    ("2 backend-policy", {"west": "stars-2-backend-policy.yaml"}, TO_U | {"FB"}),
    ("3 allow-ui in client", {"east": "stars-3-allow-ui.yaml"}, TO_U | {"FB", "UC"}),
    ("4 allow-ui in stars", {"west": "stars-4-allow-ui.yaml"}, TO_U | {"FB", "UC", "UF", "UB"}),
    ("5 frontend-policy", {"west": "stars-5-frontend-policy.yaml"}, TO_U | {"FB", "UC", "UF", "UB", "CF"}),
]
POLICIES = {"1": {"west": "stars/default-deny", "east": "client/default-deny"}, "2": {"west": "stars/backend-policy"},
            "3": {"east": "client/allow-ui"}, "4": {"west": "stars/allow-ui"}, "5": {"west": "stars/frontend-policy"}}


def pod_of(demo, letter):
    return demo.pod(PODS[letter][0], PODS[letter][2])


def tasks_of(demo, cell, allowed):
    """A cell is probed by IPv4 and by IPv6: pods ask by the name of the service, who is outside asks the pod's address."""
    _, namespace, name, port, service_port = PODS[cell[1]]
    if cell[0] == "x":
        return [task(f"{cell}{family}", ip, port, allowed, family)
                for family, ip in zip((4, 6), pod_of(demo, cell[1]).addresses())]
    return [task(f"{cell}{family}", f"{name}.{namespace}", service_port, allowed, family) for family in (4, 6)]


def probe_cells(demo, probers, open_cells):
    plan = {}
    for cell in CELLS:
        plan.setdefault(probers[cell[0]], []).extend(tasks_of(demo, cell, cell in open_cells))
    answers = probe_all(plan)
    rows = {}
    for cell in CELLS:
        cluster, _, name, _, _ = PODS[cell[1]]
        both = [answers[f"{cell}{family}"] for family in (4, 6)]
        expect(all(entry["who"] == f"{cluster}/{name}" for entry in both if entry["ok"]), f"{cell}: {both}")
        rows[cell] = "Y" if all(entry["ok"] for entry in both) else "N" if not any(entry["ok"] for entry in both) else "?"
        expect(rows[cell] == ("Y" if cell in open_cells else "N"),
               f"{cell[0]} to {cell[1]} should be {'open' if cell in open_cells else 'denied'}: {both}")
    return rows


def named_denials(demo, open_cells):
    """For every denied cell, by both families, the drop as the daemon of the destination's node tells it."""
    seen = {}
    for cell in [cell for cell in CELLS if cell not in open_cells]:
        source, destination = pod_of(demo, cell[0]), pod_of(demo, cell[1])
        daemon = demo.daemons[destination.cluster, destination.node]
        for from_ip, to_ip in zip(source.addresses(), destination.addresses()):
            last = last_drop(daemon, from_ip, to_ip, PODS[cell[1]][3])
            expect(last["destination"]["cluster"] == destination.cluster and last["policies"] and last["rule"], f"{cell}: {last}")
            place = f"NetworkPolicy/{destination.namespace}/"
            expect(all(name.startswith(place) for name in last["policies"]), f"{cell}: {last}")
            policies = ", ".join(name.split("/", 1)[1] for name in last["policies"])
            seen[cell] = f"{cell[0]} to {cell[1]}: {last['destination']['cluster']}: {policies}: {last['rule']}"
    return seen


def stars_by_labels(demo):
    """stars: who reaches whom after each step, by label alone, by IPv4 and IPv6; every denial is named"""
    probers = {letter: in_pod(pod_of(demo, letter)) for letter in PODS}
    probers["x"] = Prober("nsenter", f"--net=/run/netns/{lab.ROUTER}")
    lines = [f"{'step':<22}" + " ".join(f"{cell[0]}>{cell[1]}" for cell in CELLS)]
    named, known = {}, {"east": set(), "west": set()}
    try:
        names_are_known(probers)
        kept = {**tasks_of(demo, "CB", True)[0], "id": "kept", "keep": "CB"}
        expect(probers["C"].ask(kept)["kept"]["ok"], "no connection from client to backend before any policy")
        for step, files, open_cells in STEPS:
            for cluster, name in files.items():
                demo.apply(cluster, name)
                known[cluster].add(POLICIES[step[0]][cluster])
            for cluster in files:
                in_force(demo, cluster, known[cluster])
            if step[0] in "01":
                again = probers["C"].ask({"id": "kept", "on": "CB", "timeout": 1.0})["kept"]
                expect(again["ok"] == (step[0] == "0"), f"the open connection from client to backend, step {step}: {again}")
            rows = probe_cells(demo, probers, open_cells)
            lines.append(f"{step:<22}" + " ".join(f" {rows[cell]} " for cell in CELLS))
            named = named_denials(demo, open_cells)
    finally:
        for prober in probers.values():
            prober.close()
    lines.append("a connection from C to B, open since before step 1, died with step 1")
    return "\n".join(lines + list(named.values()))


def names_are_known(probers):
    """The services of the other cluster are imported with their namespaces: waits until each client can name them all."""
    for letter, prober in probers.items():
        if letter == "x":
            continue

        def good():
            tasks = [task(f"{name}{family}", f"{name}.{namespace}", port, True, family)
                     for _, namespace, name, _, port in PODS.values() for family in (4, 6)]
            return all(entry["ok"] for entry in prober.ask(*tasks).values())
        wait_until(f"{letter} reaches all services by name", good)


def a_replaced_pod_keeps_its_rights(demo):
    """stars: client comes back on another node with another address: the same verdicts, and nothing was edited"""
    before = pod_of(demo, "C").addresses()
    pod_of(demo, "C").stop()
    demo.start_pod("east", "n2", "client", served=True, namespace="client", port=9000)
    after = pod_of(demo, "C").addresses()
    expect(not set(before) & set(after), f"client has its old address: {after}")
    prober, other = in_pod(pod_of(demo, "C")), in_pod(demo.pod("east", "x-wing"))
    try:
        def admitted():
            return all(entry["ok"] for entry in prober.ask(*tasks_of(demo, "CF", True)).values())
        wait_until("client at its new address reaches frontend", admitted)
        refused = {**prober.ask(*tasks_of(demo, "CB", False)),
                   **{f"x-wing{name}": entry for name, entry in other.ask(*tasks_of(demo, "CF", False)).items()}}
        expect(not any(entry["ok"] for entry in refused.values()), f"{refused}")
    finally:
        prober.close()
        other.close()
    return f"C was {' '.join(before)}, is {' '.join(after)}: C to F open, C to B denied; x-wing to F denied"


def stars_end(demo):
    """stars: the policies are withdrawn, and everything is open again"""
    for _, files, _ in STEPS:
        for cluster, name in files.items():
            demo.withdraw(cluster, name)
    for cluster in lab.CLUSTERS:
        in_force(demo, cluster, set())
    prober = in_pod(pod_of(demo, "C"))
    try:
        answers = prober.ask(*tasks_of(demo, "CB", True))
        expect(all(entry["ok"] for entry in answers.values()), f"{answers}")
    finally:
        prober.close()
    return "C to B open"


CHECKS = [stars_by_labels, a_replaced_pod_keeps_its_rights, stars_end]
