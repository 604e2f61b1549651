"""The client of the story: asks an URL again and again and counts who answered and what failed.

python3 client.py URL [--count N | --until-closed] [--timeout S] [--keep]     prints {"answers", "failed", "errors", …}
Each request has a connection of its own, but with --keep, where all share one and a break is a failure.
"""

import argparse
import collections
import http.client
import json
import select
import sys
import time
import urllib.parse


def one(connection, path):
    connection.request("GET", path)
    answer = json.loads(connection.getresponse().read())
    return f"{answer['cluster']}/{answer['pod']}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--until-closed", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--timeout", type=float, default=2.0)
    arguments = parser.parse_args()
    url = urllib.parse.urlsplit(arguments.url)

    def connect():
        return http.client.HTTPConnection(url.hostname, url.port or 80, timeout=arguments.timeout)

    answers, errors, failed, asked, longest_ms = collections.Counter(), collections.Counter(), 0, 0, 0.0
    kept = connect() if arguments.keep else None
    while asked < arguments.count or arguments.until_closed:
        if arguments.until_closed and select.select([sys.stdin], [], [], 0)[0]:
            break
        started = time.monotonic()
        asked += 1
        connection = kept or connect()
        try:
            answers[one(connection, url.path or "/")] += 1
        except (OSError, http.client.HTTPException, ValueError) as error:
            failed += 1
            errors[f"{type(error).__name__}: {error}"] += 1
            time.sleep(0.01)
        finally:
            if kept is None:
                connection.close()
        longest_ms = max(longest_ms, (time.monotonic() - started) * 1000)
    clusters = collections.Counter()
    for name, count in answers.items():
        clusters[name.split("/")[0]] += count
    print(json.dumps({"asked": asked, "answers": answers, "clusters": clusters, "failed": failed, "errors": errors,
                      "longest_ms": round(longest_ms, 1)}))


main()
