"""Chapter 6: a cluster is lost and comes back; daemons die; nothing local stops, and what was known stays known."""

import datetime
import time

import lab
from chapter_pods import expect
from chapter_services import service_address
from daemons import DNS4, environment
from loss import (BASES, HOME, Watches, cut_and_return, links_of_west, restart, wait_applied, wait_state, watch_name,
                  watch_service)
from shell import Failed, run, wait_until

# The goal of 200 ms is measured by tests/bench/run loss; here the machine may be busy with other tests.
LIMIT_S, NAMES_AWAY_MS = 5.0, 2000.0
AWAY = "control_plane_away"
MEASURED = []  # (case, what went on, noticed, back), filled by the checks and printed by the last one


def west_is_cut_off(demo):
    """west is cut off: out of east's names and maps within 5 s; restored: back within 5 s; local requests never stop"""
    seen = cut_and_return(demo)
    for name in ("names_clean_s", "maps_clean_s", "names_back_s", "maps_back_s"):
        expect(seen[name] < LIMIT_S, f"{name}: {seen}")
    expect(seen["failed_after_return"] == 0 and seen["names_failed"] == 0, f"{seen}")
    MEASURED.append(("west is cut off", "all in east", f"{max(seen['names_clean_s'], seen['maps_clean_s']):.2f} s",
                     f"{max(seen['names_back_s'], seen['maps_back_s']):.2f} s"))
    return (f"cut off:  gone from names after {seen['names_clean_s']:.2f} s, from the maps after {seen['maps_clean_s']:.2f} s\n"
            f"restored: back in names after {seen['names_back_s']:.2f} s, in the maps after {seen['maps_back_s']:.2f} s\n"
            f"local:    {seen['local_asked']} requests and questions in east meanwhile, 0 failed")


def west_in_status(demo):
    """What east's status says of west: its state and for how long it has not been heard, in seconds."""
    for entry in demo.controller("east").ask("status")["clusters"]:
        if entry["name"] == "west":
            heard = datetime.datetime.fromisoformat(entry["last_heard"])
            return entry["state"], (datetime.datetime.now(datetime.timezone.utc) - heard).total_seconds()
    raise Failed("the status of east does not know west")


def line_of_west(demo):
    for line in demo.controller("east").tombolo("status").splitlines():
        if "west" in line:
            return " ".join(line.split())
    raise Failed("the status of east has no line of west")


def watch_both(demo):
    """Requests to the service of both clusters, from a pod of each: on one connection, and on new ones."""
    east, west = demo.pod("east", "x-wing"), demo.pod("west", "x-wing")
    return Watches(east_kept=watch_service(east, demo.pod("west", "rebel-base-1").addresses()[0], 8080, keep=True),
                   east_new=watch_service(east, service_address(demo)),
                   west_kept=watch_service(west, service_address(demo, "west"), keep=True),
                   west_new=watch_service(west, service_address(demo, "west")),
                   names=watch_name(demo, east, BASES))


def bring_back(demo):
    """Starts the daemons of west that do not run; returns how long it took until east had west back."""
    started_at = time.monotonic()
    west = [demo.daemons["west", node] for node in lab.NODES]
    for daemon in west:
        if daemon.pid() is None:
            daemon.start()
    for daemon in west:
        daemon.wait_ready()
    wait_state(demo, "ready")
    return time.monotonic() - started_at


def controller_of_west_dies(demo):
    """west's controller is killed: status says so, with its age; the pods of west keep being served"""
    try:
        with watch_both(demo) as seen:
            killed_at = time.monotonic()
            demo.controller("west").kill()
            wait_state(demo, AWAY)
            noticed_s = time.monotonic() - killed_at
            time.sleep(3.0)
            state, age_s = west_in_status(demo)
            line = line_of_west(demo)
            expect(state == AWAY and 2.0 < age_s < 30.0, f"{state}, heard {age_s} s ago")
    finally:
        back_s = bring_back(demo)
    asked = seen.unbroken("east_kept", "east_new", "west_kept", "west_new")
    expect(any(outcome == "west" for when, outcome in seen.seen["east_new"] if when > killed_at + noticed_s),
           "west was not served")
    expect(all("west" in outcome for _, outcome in seen.seen["names"]), "names of west went away")
    MEASURED.append(("west's controller is killed", "all in both clusters", f"{noticed_s:.2f} s", f"{back_s:.2f} s"))
    return (f"noticed after {noticed_s:.2f} s; status: {line}\n{asked} requests from both clusters to both, 0 failed; "
            f"started again: ready after {back_s:.2f} s")


def agents_of_west_die(demo):
    """west's controller and agents are killed: established and new connections go on; started again, all is as before"""
    killed_at = time.monotonic()
    try:
        with watch_both(demo) as seen:
            killed_at = time.monotonic()
            for node in lab.NODES:
                demo.daemons["west", node].kill()
            time.sleep(4.0)
            state, age_s = west_in_status(demo)
            expect(state == AWAY, f"with no daemon, but living nodes, west is '{state}' after {age_s:.0f} s")
        asked = seen.unbroken("east_kept", "east_new", "west_kept", "west_new")
        expect(any(outcome == "west" for when, outcome in seen.seen["east_new"] if when > killed_at + 2),
               "west was not served")
    finally:
        dead_s = time.monotonic() - killed_at
        back_s = bring_back(demo)
    MEASURED.append(("every daemon of west is killed", "connections, old and new", "-", f"{back_s:.2f} s"))
    return (f"no daemon in west for {dead_s:.1f} s: {asked} requests from both clusters to both, 0 failed; "
            f"started again: ready after {back_s:.2f} s")


def keys_of(cluster, demo):
    """How many keys the store of a cluster holds below each prefix that others' records and its own state live in."""
    keys = environment(cluster, demo.controller(cluster).folder)
    counts = {}
    for prefix in ("cilium/cache/", "cilium/state/", "tombolo/v1/"):
        counts[prefix] = len(run("etcdctl", "get", "--prefix", "--keys-only", prefix, environment=keys).split())
    return counts


def names_from_what_was_known(demo):
    """A name and a new connection in a pod of east/n2, whose daemon was started while its store is away."""
    pod = demo.pod("east", "rebel-base-2")
    started_at = time.monotonic()

    def named():
        return pod.run("dig", "+short", "+time=1", "+tries=1", f"@{DNS4}", HOME).split()
    ips = wait_until("east/n2 answers names without its store", named, 10)
    took_s = time.monotonic() - started_at
    answer = pod.ask(f"http://{ips[0]}/", count=5)
    expect(answer["failed"] == 0, f"{answer}")
    bases = sorted(pod.run("dig", "+short", "+time=1", "+tries=1", f"@{DNS4}", BASES).split())
    return took_s, bases


def everything_restarts_while_west_is_away(demo):
    """every daemon of east restarts while west is lost: last-known-good is used, nothing is pruned; west comes back"""
    pod = demo.pod("east", "x-wing")
    east = [demo.daemons["east", node] for node in lab.NODES]
    before = keys_of("east", demo)
    expect(before["cilium/cache/"] > 0, f"east has nothing of west: {before}")
    with Watches(kept=watch_service(pod, demo.pod("east", "rebel-base-2").addresses()[0], 8080, keep=True),
                 fresh=watch_service(pod, service_address(demo, name="rebel-home"))) as seen:
        links_of_west("down")
        try:
            wait_state(demo, "lost")
            wait_applied(demo, {"east"})
            for daemon in east:
                daemon.kill()
            east[1].start()
            names_s, bases = names_from_what_was_known(demo)
            east[0].start()
            for daemon in east:
                daemon.wait_ready()
            wait_applied(demo, {"east"})
            after = keys_of("east", demo)
            answer = pod.ask(f"http://{service_address(demo)}/", count=20)
            expect(answer["failed"] == 0 and set(answer["clusters"]) == {"east"}, f"{answer}")
        finally:
            back_at = links_of_west("up")
            for daemon in east:
                if daemon.pid() is None:
                    daemon.start()
        wait_state(demo, "ready")
        wait_applied(demo, lab.CLUSTERS)
        back_s = time.monotonic() - back_at
    asked = seen.unbroken("kept", "fresh")
    expect(after == before, f"keys before {before}, after {after}")
    MEASURED.append(("every daemon of east restarts, west away", "all in east but new names", f"{names_s:.2f} s", f"{back_s:.2f} s"))
    return (f"east/n2 started without any store: names after {names_s:.2f} s, new connections work\n"
            f"{BASES} was {' '.join(bases)}\n"
            f"keys of east's store before and after: {', '.join(f'{prefix} {count}' for prefix, count in after.items())}\n"
            f"{asked} local requests meanwhile, 0 failed; west back after {back_s:.2f} s")


def agent_restarts(demo):
    """an agent restarts, and crashes: no connection breaks, and how long names are away"""
    lines = []
    for node, pod, crash in (("n2", "rebel-base-2", False), ("n2", "rebel-base-2", True), ("n1", "x-wing", False)):
        seen = restart(demo, "east", node, demo.pod("east", pod), crash)
        expect(not seen["broken"], f"{node}: {seen['broken']}")
        expect(seen["names_away_ms"] < NAMES_AWAY_MS, f"{node}: names were away for {seen['names_away_ms']:.0f} ms")
        what = "kill -9" if crash else "restart"
        lines.append(f"{what} of east/{node}{' (controller and agent)' if node == 'n1' else ''}: names away for "
                     f"{seen['names_away_ms']:.0f} ms; {seen['asked']} requests on kept and new connections, 0 failed")
        MEASURED.append((f"{what} of east/{node}", "connections, old and new", "-", f"{seen['names_away_ms'] / 1000:.2f} s"))
    return "\n".join([*lines, *measured_table()])


def measured_table():
    """Every case with its times. `noticed`: until names and maps, or the status, say so; without any store: until names."""
    rows = [("case", "goes on", "noticed", "back"), *MEASURED]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]


CHECKS = [west_is_cut_off, controller_of_west_dies, agents_of_west_die, everything_restarts_while_west_is_away, agent_restarts]
