"""Checks a plan's certificate without any of Tombolo's code: check_certificate.py PLAN.json

In order of address each range must end before the next begins; the list must have all ranges of the plan; the summaries must
cover every underlay and pod range of their region, touch nothing of another, and be as many as the certificate says."""

import ipaddress
import json
import sys


def check(plan):
    certificate = plan["certificate"]
    ranges = [(ipaddress.ip_network(entry["cidr"]), entry["cluster"], entry["use"]) for entry in certificate["ranges"]]
    for version in (4, 6):
        taken = [entry for entry in ranges if entry[0].version == version]
        end, reserved_end = -1, -1
        for network, cluster, use in sorted(taken, key=lambda entry: (int(entry[0][0]), entry[2] == "reserved")):
            first, last = int(network[0]), int(network[-1])
            if first <= end or (first <= reserved_end and use != "reserved"):
                yield f"{network} ({cluster} {use}) begins inside another range"
            if use == "reserved":
                reserved_end = max(reserved_end, last)
            else:
                end = max(end, last)
    wanted = [(entry["cidr"], "", "reserved") for entry in plan["reserved"]]
    wanted += [(entry["cidr"], "", "clusterset") for entry in plan["clusterset"]]
    wanted += [(entry["cidr"], cluster["name"], entry["use"]) for cluster in plan["clusters"] for entry in cluster["ranges"]]
    if sorted(wanted) != sorted((str(network), cluster, use) for network, cluster, use in ranges):
        yield "the list of ranges is not the plan's"
    region_of = {cluster["name"]: cluster["region"] for cluster in plan["clusters"]}
    summaries = [(ipaddress.ip_network(entry["cidr"]), entry["region"]) for entry in certificate["summaries"]]
    for network, cluster, use in ranges:
        around = [summary for summary in summaries if summary[0].version == network.version and summary[0].overlaps(network)]
        if any(region != region_of.get(cluster) for _, region in around):
            yield f"{network} ({cluster} {use}) is touched by a summary of another region"
        if use in ("underlay", "pod") and not any(network.subnet_of(summary) for summary, _ in around):
            yield f"{network} ({cluster} {use}) is in no summary of its region"
    for family in certificate["families"]:
        routes = sum(1 for network, _ in summaries if f"IPv{network.version}" == family["family"])
        if not routes == family["routes"] >= family["bound"]:
            yield f"{family['family']}: {routes} summaries, {family['routes']} claimed, bound {family['bound']}"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        errors = list(check(json.load(source)))
    for error in errors[:20]:
        print(error)
    sys.exit(1 if errors else 0)
