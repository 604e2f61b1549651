"""The simulation of whole fleets (tests/sim): seeds from the commit on, one seed twice, and builds that are wrong on
purpose, each of which has to be caught.

    tests/run                          500 seeds, the first of which is the commit hash's first 16 digits
    tests/run --lane sim --seeds N     as many as wanted
    TOMBOLO_SIM_SEED=0x…               another first one
"""

import os
import re
import subprocess

import suites

SEEDS = 500
LIMIT_S = 600           # for SEEDS of them, on a machine that does other things too; alone it takes a tenth
SEEDS_TO_CATCH = 100
TARGETS = ("tombolo-sim",)
BINARY = os.path.join("build", "release", "tests", "tombolo-sim")


def first_seed(root):
    """(number, where it is from)."""
    given = os.environ.get("TOMBOLO_SIM_SEED")
    if given:
        return int(given, 0), "TOMBOLO_SIM_SEED"
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    commit = done.stdout.strip()
    if done.returncode != 0 or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return 1, "no commit"
    return int(commit[:16], 16), f"commit {commit[:16]}"


def run_seeds(root, first, seeds):
    limit_s = max(LIMIT_S, LIMIT_S * seeds // SEEDS)
    code, output = suites.run_command(root, [BINARY, "--first", hex(first), "--seeds", str(seeds)], limit_s)
    last = output.strip().splitlines()[-1:] or ["it said nothing"]
    print(f"  sim: {last[0]}", flush=True)
    name = f"{seeds} seeds from {first:#018x}"
    return suites.Outcome(name, "passed" if code == 0 else "failed", suites.tail(output, 80))


def run_twice(root, seed):
    """A seed gives the same run in every process: same events, same trace."""
    said = [suites.run_command(root, [BINARY, "--seed", hex(seed)], 60)[1].strip().splitlines()[-1:] for _ in range(2)]
    same = said[0] == said[1] and bool(said[0]) and "digest" in said[0][0]
    return suites.Outcome(f"seed {seed:#018x} twice is the same run", "passed" if same else "failed",
                          "         | " + "\n         | ".join(map(str, said)))


def mistakes(root):
    _, output = suites.run_command(root, [BINARY, "--list-mistakes"], 10)
    return output.split()


def run_mistake(root, mistake):
    """Fixed seeds: how soon it is caught is a property of the checks, not of the day."""
    command = [BINARY, "--first", "1", "--seeds", str(SEEDS_TO_CATCH), "--break", mistake]
    code, output = suites.run_command(root, command, LIMIT_S)
    caught = re.search(r"^seed \d+: (?!its process ended)(.*)$", output, re.MULTILINE)
    if code == 1 and caught:
        return suites.Outcome(f"the mistake {mistake} is caught", "passed")
    return suites.Outcome(f"the mistake {mistake} is caught", "failed",
                          f"not within {SEEDS_TO_CATCH} seeds\n" + suites.tail(output))


def run(root, seeds):
    first, origin = first_seed(root)
    print(f"  sim: first seed {first:#018x} ({origin})", flush=True)
    rows = [run_seeds(root, first, seeds), run_twice(root, first)]
    known = mistakes(root)
    rows += [run_mistake(root, mistake) for mistake in known]
    if not known:
        rows.append(suites.Outcome("mistakes are caught", "failed", "the simulation knows no mistake"))
    return rows


def sim_suites(root, seeds=SEEDS):
    return [suites.Suite("sim", lambda: run(root, seeds), alone=True)]
