"""Runs the conformance cases on plugins and prints one table: a line for each case, a column for each plugin."""

import argparse
import json
import sys

import cases_add  # noqa: F401  (cases register themselves)
import cases_del  # noqa: F401
import cases_chained  # noqa: F401
import cases_crash  # noqa: F401
import cases_devices  # noqa: F401
import cases_gc  # noqa: F401
import cases_recovery  # noqa: F401
import cases_together  # noqa: F401
import suite
from subjects import COMPARED, SUBJECTS, Given
from world import Failed, World

MARKS = {"passed": "yes", "failed": "NO", "without": "–"}


def run_subject(world, name, make, only):
    """Outcomes; the subject's daemon, if it has one, runs as long."""
    subject = make(name, world)
    try:
        return suite.run_all(subject, only)
    finally:
        subject.stop()


def table(columns, markdown):
    """columns: {subject: outcomes}"""
    names = list(columns)
    rows = list(zip(*columns.values()))
    width = max((len(row[0].case.name) for row in rows), default=0)
    head = ["case".ljust(width), *names]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"] if markdown else ["  ".join(head)]
    for row in rows:
        cells = [row[0].case.name.ljust(width), *(MARKS[one.state].ljust(len(name)) for one, name in zip(row, names))]
        lines.append("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells))
    return lines


def differences(columns):
    for name, outcomes in columns.items():
        for one in outcomes:
            if one.state == "failed":
                yield f"{name}: {one.case.name} [{one.case.section}]\n    {one.detail}"


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests/conformance/run", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; {', '.join(COMPARED)} when none is named")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this text")
    parser.add_argument("--table", action="store_true", help="the table in Markdown, with the section of each case")
    parser.add_argument("--report", metavar="FILE", help="the outcomes as JSON")
    parser.add_argument("--plugin", metavar="FILE", help="the binary of another plugin")
    parser.add_argument("--config", metavar="FILE", help="its configuration")
    parser.add_argument("--ipam", action="store_true", help="it is an IPAM plugin")
    arguments = parser.parse_args()
    if bool(arguments.plugin) != bool(arguments.config):
        parser.error("--plugin and --config belong together")
    if unknown := [name for name in arguments.subjects if name not in SUBJECTS]:
        parser.error(f"no subject is named {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    return arguments


def main():
    arguments = parse_arguments()
    chosen = {name: SUBJECTS[name] for name in arguments.subjects or ([] if arguments.plugin else COMPARED)}
    if arguments.plugin:
        chosen["plugin"] = lambda name, world: Given(name, world, arguments.plugin, arguments.config, arguments.ipam)
    columns = {}
    try:
        for name, make in chosen.items():
            with World() as world:
                columns[name] = run_subject(world, name, make, arguments.only)
    except Failed as failure:
        sys.exit(f"tests/conformance/run: {failure}")
    if arguments.report:
        with open(arguments.report, "w", encoding="utf-8") as out:
            json.dump([{"subject": name, "name": one.case.name, "state": one.state, "detail": one.detail}
                       for name, outcomes in columns.items() for one in outcomes], out)
    for group in sorted({SUBJECTS[name].group if name in SUBJECTS else "plugin" for name in columns}):
        part = {name: outcomes for name, outcomes in columns.items()
                if (SUBJECTS[name].group if name in SUBJECTS else "plugin") == group}
        print("\n".join(table(part, arguments.table)))
    for line in differences(columns):
        print(line)
    return 1 if any(one.state == "failed" for outcomes in columns.values() for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
