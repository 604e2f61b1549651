"""The test runner behind tests/run: builds the presets, runs the suites, counts what passed.

A suite is a named function that yields Outcome rows; suites.py has them. The last line printed is
'N passed, M failed, K skipped', where a unit is a Catch2 test case, a fuzzer, a style rule, a check of the story or of the simulation.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import sys
import time
import typing

import build
import lint
import peers
import simulation
import suites

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@dataclasses.dataclass
class Lane:
    what: str
    builds: tuple  # (preset, targets) that are built before; no targets: all
    suites: typing.Callable[[argparse.Namespace], list]


def plain(arguments):
    """Style first, then the longest that may run beside others."""
    return (suites.style_suites(ROOT) + lint.lint_suites(ROOT, False) + suites.unit_suites(ROOT, "dev")
            + suites.conformance_suites(ROOT) + suites.exposed_suites(ROOT) + suites.pools_suites(ROOT)
            + suites.runtime_suites(ROOT) + suites.fuzz_suites(ROOT, 2)
            + simulation.sim_suites(ROOT, arguments.seeds) + suites.story_suites(ROOT))


LANES = {
    "all": Lane("the plain run: style (tests/tidy.py, clang-format, clang-tidy of the changed files and a share of the "
                "rest), unit tests with ASan and UBSan, two seconds of each fuzzer on its saved corpus, the simulation, the "
                "story",
                (("release", ()), ("dev", ())), plain),
    "gcc": Lane("everything built by g++ 12, and its unit tests with ASan", (("gcc", ()),),
                lambda arguments: suites.unit_suites(ROOT, "gcc")),
    "tsan": Lane("the unit tests with TSan, but those that run gRPC (its library is built without TSan)",
                 (("tsan", ("every_test",)),),
                 lambda arguments: suites.unit_suites(ROOT, "tsan")),
    "fuzz": Lane("every fuzzer: its saved corpus, then --seconds of search each",
                 (("dev", ("every_fuzzer",)),),
                 lambda arguments: suites.fuzz_suites(ROOT, arguments.seconds)),
    "sim": Lane("the simulation of whole fleets with --seeds N (tests/sim/README.md)",
                (("release", simulation.TARGETS),),
                lambda arguments: simulation.sim_suites(ROOT, arguments.seeds)),
    "peers": Lane("real Kubernetes judges definitions and exports, and is imported from (tests/peers)", (("release", ("tombolo",)),),
                  lambda arguments: peers.peers_suites(ROOT)),
    "tidy": Lane("style and clang-tidy of every file", (("dev", ()),),
                 lambda arguments: suites.style_suites(ROOT) + lint.lint_suites(ROOT, True)),
}


def parse_arguments():
    width = max(len(name) for name in LANES)
    lanes = "\n".join(f"  {name:<{width}}  {lane.what}" for name, lane in LANES.items())
    parser = argparse.ArgumentParser(
        prog="tests/run", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Installs what is missing, builds, runs the tests; ends with 'N passed, M failed, K skipped'.",
        epilog=f"lanes:\n{lanes}")
    parser.add_argument("--lane", choices=list(LANES), default="all", metavar="NAME", help="what to run; see below")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="one suite of the lane (a unit binary, a fuzzer, style, clang-tidy, sim, story); may be given again")
    parser.add_argument("--seconds", type=int, default=10, help="of each fuzzer in the lane fuzz (default 10)")
    parser.add_argument("--seeds", type=int, default=simulation.SEEDS,
                        help=f"of the simulation (default {simulation.SEEDS})")
    parser.add_argument("--no-build", action="store_true", help="take what is built already")
    return parser.parse_args()


def chosen_suites(arguments):
    """In the order in which they start."""
    found = LANES[arguments.lane].suites(arguments)
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
        for preset, targets in LANES[arguments.lane].builds:
            build.build(ROOT, preset, targets)
    built = time.monotonic()
    outcomes = run_all(chosen_suites(arguments))
    count = {state: sum(row.state == state for row in outcomes) for state in ("passed", "failed", "skipped")}
    print(f"build {built - started:.0f} s, tests {time.monotonic() - built:.0f} s")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped", flush=True)
    sys.exit(1 if count["failed"] or not count["passed"] else 0)


if __name__ == "__main__":
    main()
