"""Tells the story: runs every check in order, prints a line for each, and ends with a table.

A check is a function in the chapter files; it returns a short text of what was seen, or raises Failed.
"""

import json
import time

import chapter_loss
import chapter_names
import chapter_networkdemo
import chapter_pods
import chapter_services
import chapter_stars
from shell import Failed

CHAPTERS = [("Plan and pods", chapter_pods.CHECKS), ("Services", chapter_services.CHECKS), ("Names", chapter_names.CHECKS),
            ("Stars", chapter_stars.CHECKS), ("Networkdemo", chapter_networkdemo.CHECKS), ("Loss and return", chapter_loss.CHECKS)]


def run_check(demo, check):
    started = time.monotonic()
    try:
        seen, good = check(demo), True
    except Failed as error:
        seen, good = str(error), False
    except Exception as error:  # a broken check is a failed check
        seen, good = f"{type(error).__name__}: {error}", False
    return {"name": check.__doc__.strip().splitlines()[0], "ok": good, "detail": seen or "",
            "seconds": round(time.monotonic() - started, 2)}


def print_table(rows):
    width = max(len(row["name"]) for row in rows)
    print(f"\n{'check':<{width}}  result  seconds")
    for row in rows:
        print(f"{row['name']:<{width}}  {'ok' if row['ok'] else 'FAILED':<6}  {row['seconds']:7.2f}")


def tell(demo, report, titles=None):
    """Tells the chapters with these titles, or all. Exit code 0 when every check passed."""
    rows = []
    for title, checks in CHAPTERS:
        if titles and title not in titles:
            continue
        print(f"\n== {title}", flush=True)
        for check in checks:
            row = run_check(demo, check)
            rows.append(row)
            print(f"  {'ok    ' if row['ok'] else 'FAILED'} {row['name']}", flush=True)
            for line in row["detail"].splitlines():
                print(f"         {line}", flush=True)
    print_table(rows)
    if report:
        with open(report, "w", encoding="utf-8") as out:
            json.dump({"checks": rows}, out, indent=2)
    failed = sum(not row["ok"] for row in rows)
    print(f"\n{len(rows) - failed} of {len(rows)} checks passed")
    return 1 if failed else 0
