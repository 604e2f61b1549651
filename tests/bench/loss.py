"""The loss benchmark: the two clusters of deploy/demo with their pods. West is cut off and restored several times, an agent
restarts several times; every time is what a client in a pod of east saw."""

import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "deploy", "story"))
import demo  # noqa: E402
import lab  # noqa: E402
import loss  # noqa: E402
from shell import Failed  # noqa: E402

CUTS, RESTARTS = 5, 10


def goal(name, value, unit, bound, op="<"):
    good = value < bound if op == "<" else value <= bound
    print(f"goal: {name} = {value:.2f} {unit} (bound {op} {bound:g}) {'ok' if good else 'short'}", flush=True)


def figures(name, values, unit):
    print(f"{name}: p50 {statistics.median(values):.2f} {unit}, max {max(values):.2f} {unit} of {len(values)}", flush=True)


def measure_loss(made):
    rounds = [loss.cut_and_return(made) for _ in range(CUTS)]
    for key, name in (("names_clean_s", "loss_to_clean_names"), ("maps_clean_s", "loss_to_clean_maps"),
                      ("names_back_s", "return_to_names"), ("maps_back_s", "return_to_maps")):
        values = [one[key] for one in rounds]
        figures(name, values, "s")
        goal(f"{name}_max", max(values), "s", 5.0)
    print(f"{sum(one['local_asked'] for one in rounds)} local requests and questions meanwhile, 0 failed")


def measure_restarts(made):
    pod = made.pod("east", "rebel-base-2")
    for crash, name in ((False, "agent_restart"), (True, "agent_crash")):
        rounds = [loss.restart(made, "east", "n2", pod, crash) for _ in range(RESTARTS)]
        away = [one["names_away_ms"] for one in rounds]
        figures(f"{name}_names_away", away, "ms")
        goal(f"{name}_names_away_max", max(away), "ms", 200)
        print(f"{name}: {sum(one['asked'] for one in rounds)} requests on kept and new connections")
        goal(f"{name}_requests_broken", sum(len(one["broken"]) for one in rounds), "requests", 0, "<=")


def main():
    lab.require_machine()
    lab.lock()
    lab.remove_everything()
    try:
        made = demo.build()
        loss.wait_applied(made, lab.CLUSTERS)
        measure_loss(made)
        measure_restarts(made)
        return 0
    except Failed as error:
        print(f"loss: {error}", file=sys.stderr)
        return 1
    finally:
        lab.remove_everything()
        lab.unlock()


if __name__ == "__main__":
    sys.exit(main())
