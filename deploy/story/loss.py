"""What the chapter on loss and its benchmark share: watchers in pods, cutting a cluster off, and what they measured."""

import json
import os
import sys
import time

import lab
from chapter_pods import expect
from chapter_services import service_address
from daemons import DNS4
from pods import HERE
from shell import Failed, run, wait_until

BASES = "rebel-bases.default.svc.clusterset.local"
HOME = "rebel-home.default.svc.cluster.local"


class Watch:
    """watch.py in a pod."""

    def __init__(self, pod, *words):
        self.what = f"{pod.id}: {' '.join(words)}"
        self.process = pod.open(sys.executable, os.path.join(HERE, "watch.py"), *words)

    def end(self):
        """[(when, outcome), …]"""
        out, _ = self.process.communicate("", timeout=30)
        if self.process.returncode != 0 or not out:
            raise Failed(f"{self.what}: the watch ended with {self.process.returncode}")
        return [(when, outcome) for when, outcome in json.loads(out)]

    def abandon(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def watch_service(pod, host, port=80, keep=False):
    return Watch(pod, "connect", host, str(port), *(["--keep"] if keep else []))


def watch_name(demo, pod, name):
    prefixes = [f"{row['cluster']}={row['prefix']}" for row in demo.plan["ranges"] if row["use"] in ("pod", "service")
                and ":" not in row["prefix"]]
    return Watch(pod, "name", DNS4, name, *prefixes)


class Watches:
    """Several watches under names; ended together, also when a check fails in between."""

    def __init__(self, **watches):
        self.watches, self.seen = watches, {}

    def __enter__(self):
        time.sleep(0.5)  # so that each has seen how it was before
        return self

    def __exit__(self, kind, *_):
        for name, watch in self.watches.items():
            if kind is None:
                self.seen[name] = watch.end()
            else:
                watch.abandon()

    def failures(self, name):
        return [outcome for _, outcome in self.seen[name] if outcome.startswith("failed")]

    def unbroken(self, *names):
        """Each of these saw something, and no failure. Returns how often they asked in all."""
        for name in names:
            expect(self.seen[name], f"{name} saw nothing")
            failed = self.failures(name)
            expect(not failed, f"{name}: {len(failed)} of {len(self.seen[name])} failed: {sorted(set(failed))[:3]}")
        return sum(len(self.seen[name]) for name in names)

    def first(self, name, after, wanted):
        times = [when - after for when, outcome in self.seen[name] if when >= after and wanted(outcome)]
        expect(times, f"{name} never saw it")
        return min(times)


def links_of_west(state):
    """Takes the links of west's nodes down or up, at the router's side; returns when (CLOCK_MONOTONIC)."""
    now = time.monotonic()
    for node in lab.NODES:
        run("ip", "-n", lab.ROUTER, "link", "set", f"west-{node}", state)
    return now


def state_of(demo, other="west", cluster="east"):
    for entry in demo.controller(cluster).ask("cluster", "list")["clusters"]:
        if entry["name"] == other:
            return entry["state"]
    raise Failed(f"{cluster} does not know {other}")


def wait_state(demo, wanted, timeout_s=20.0, other="west", cluster="east"):
    wait_until(f"{other} is '{wanted}' for {cluster}", lambda: state_of(demo, other, cluster) == wanted, timeout_s)


def used_clusters(demo, name="rebel-base"):
    found = demo.controller("east").ask("service", "explain", f"default/{name}")["backends"]
    return {entry["cluster"] for entry in found if entry.get("used")}


def wait_applied(demo, clusters):
    """Until east balances over exactly these clusters, in the kernel of each of its nodes."""
    wait_until(f"rebel-base in east is served by {sorted(clusters)}", lambda: used_clusters(demo) == set(clusters))
    for node in lab.NODES:
        demo.daemons["east", node].tombolo("wait", "--for", "10")


def cut_and_return(demo, quiet_s=1.5):
    """West is cut off until it is judged lost, then restored. Returns seconds, all measured in east's pods."""
    pod = demo.pod("east", "x-wing")
    with Watches(names=watch_name(demo, pod, BASES), service=watch_service(pod, service_address(demo)),
                 home=watch_service(pod, service_address(demo, name="rebel-home")),
                 home_names=watch_name(demo, pod, HOME)) as seen:
        cut_at = links_of_west("down")
        try:
            wait_state(demo, "lost")
            wait_applied(demo, {"east"})
            time.sleep(quiet_s)
        finally:
            back_at = links_of_west("up")
        wait_state(demo, "ready")
        wait_applied(demo, lab.CLUSTERS)
        time.sleep(0.5)
    failed = lambda outcome: outcome.startswith("failed")
    cut = [(when, outcome) for when, outcome in seen.seen["service"] if cut_at <= when < back_at]
    expect(any(failed(outcome) for _, outcome in cut), "cutting west off changed nothing: the measurement is wrong")
    west = [when for when, outcome in seen.seen["names"] if cut_at <= when < back_at and "west" in outcome]
    return {
        "names_clean_s": max(west, default=cut_at) - cut_at,
        "maps_clean_s": max(when for when, outcome in cut if failed(outcome)) - cut_at,
        "names_back_s": seen.first("names", back_at, lambda outcome: "west" in outcome),
        "maps_back_s": seen.first("service", back_at, lambda outcome: outcome == "west"),
        "local_asked": seen.unbroken("home", "home_names"),
        "failed_after_return": sum(failed(outcome) for when, outcome in seen.seen["service"] if when >= back_at),
        "names_failed": len(seen.failures("names")),
    }


def restart(demo, cluster, node, pod, crash=False):
    """Restarts one daemon while a pod of its node asks. Returns how long names were away, and how many requests failed."""
    daemon = demo.daemons[cluster, node]
    vip = service_address(demo, cluster)
    with Watches(kept=watch_service(pod, vip, keep=True), fresh=watch_service(pod, vip),
                 names=watch_name(demo, pod, BASES)) as seen:
        if crash:
            daemon.kill()
        else:
            daemon.stop()
        daemon.start()
        daemon.wait_ready()
        time.sleep(0.5)
    broken = [outcome for name in ("kept", "fresh") for outcome in seen.failures(name)]
    good = [when for when, outcome in seen.seen["names"] if not outcome.startswith("failed")]
    gaps = [later - earlier for earlier, later in zip(good, good[1:])]
    expect(gaps, "no name was answered")
    return {"names_away_ms": max(gaps) * 1000, "asked": len(seen.seen["kept"]) + len(seen.seen["fresh"]), "broken": broken}
