"""The test runner behind tests/run: builds the presets, runs the suites, counts what passed.

A suite is a named function that yields Outcome rows; suites.py has them. The last line printed is
'N passed, M failed, K skipped', where a unit is a Catch2 test case, a fuzzer, a style rule, a check of the story or of the simulation.
"""

import argparse
import concurrent.futures
import os
import sys
import time

import build
import simulation
import suites

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--lane", choices=["all", "gcc", "fuzz", "sim"], default="all")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--seconds", type=int, default=60, help="how long each fuzzer runs in the fuzz lane")
    parser.add_argument("--seeds", type=int, default=simulation.SEEDS, help="how many the simulation runs")
    parser.add_argument("--no-build", action="store_true")
    return parser.parse_args()


def chosen_suites(arguments):
    """(suite, may run beside others) in the order in which they start."""
    if arguments.lane == "gcc":
        found = suites.unit_suites(ROOT, "gcc")
    elif arguments.lane == "fuzz":
        found = suites.fuzz_suites(ROOT, arguments.seconds)
    elif arguments.lane == "sim":
        found = simulation.sim_suites(ROOT, arguments.seeds)
    else:
        found = (suites.style_suites(ROOT) + suites.unit_suites(ROOT, "dev") + suites.fuzz_suites(ROOT, 4)
                 + simulation.sim_suites(ROOT, arguments.seeds) + suites.story_suites(ROOT))
    if arguments.only:
        found = [suite for suite in found if suite.name in arguments.only]
        if not found:
            sys.exit(f"tests/run: no suite is named {' or '.join(arguments.only)}")
    return found


def run_all(found):
    """Runs suites two at a time, then those that want the machine for themselves. Returns all outcomes."""
    outcomes = []

    def finish(suite, started, rows):
        took = time.monotonic() - started
        bad = [row for row in rows if row.state == "failed"]
        skipped = [row for row in rows if row.state == "skipped"]
        print(f"  {'FAILED' if bad else 'ok    '} {suite.name:<32} {len(rows):4} tests {took:6.1f} s"
              + (f", {len(skipped)} skipped" if skipped else ""), flush=True)
        for row in bad:
            print(f"         {row.name}\n{row.detail}", flush=True)
        for row in skipped:
            print(f"         skipped: {row.name}: {row.detail.strip()}", flush=True)
        outcomes.extend(rows)

    def run_one(suite):
        started = time.monotonic()
        try:
            rows = suite.run()
        except Exception as error:  # a broken suite is a failed test, not a broken run
            rows = [suites.Outcome(suite.name, "failed", f"{type(error).__name__}: {error}")]
        return suite, started, rows

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run_one, s) for s in found if not s.alone]):
            finish(*future.result())
    for suite in found:
        if suite.alone:
            finish(*run_one(suite))
    return outcomes


def main():
    arguments = parse_arguments()
    started = time.monotonic()
    if not arguments.no_build:
        for preset in {"all": ["release", "dev"], "gcc": ["gcc"], "fuzz": ["dev"], "sim": ["release"]}[arguments.lane]:
            build.build(ROOT, preset, simulation.TARGETS if arguments.lane == "sim" else ())
    built = time.monotonic()
    outcomes = run_all(chosen_suites(arguments))
    count = {state: sum(row.state == state for row in outcomes) for state in ("passed", "failed", "skipped")}
    print(f"build {built - started:.0f} s, tests {time.monotonic() - built:.0f} s")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped", flush=True)
    sys.exit(1 if count["failed"] or not count["passed"] else 0)


if __name__ == "__main__":
    main()
