"""Chapter 5: a database that only its web server may ask: a named port, labels, and a block of addresses with an exception."""

import lab
from chapter_pods import expect
from policy import Prober, in_force, in_pod, last_drop, probe_all, task
from shell import run

OFFICE, GUEST = "172.31.1.10", "172.31.2.10"
POLICY = "networkdemo-policy.yaml"


def named(pod, port, allowed):
    return [task(f"{pod}{family}", pod, port, allowed, family) for family in (4, 6)]


def networkdemo(demo):
    """networkdemo: before the policy demopod reaches mysql and interpoddemo; after it only interpoddemo reaches mysql"""
    mysql = demo.pod("east", "mysql")
    for address in (OFFICE, GUEST):
        run("ip", "-n", lab.ROUTER, "address", "add", f"{address}/32", "dev", "lo")
    demopod, web = in_pod(demo.pod("east", "demopod")), in_pod(demo.pod("east", "interpoddemo"))
    outside = Prober("nsenter", f"--net=/run/netns/{lab.ROUTER}")
    from_outside = lambda name, source, allowed: task(name, mysql.addresses()[0], 3306, allowed, source=source)
    try:
        before = demopod.ask(*named("mysql", 3306, True), *named("interpoddemo", 80, True))
        expect(all(entry["ok"] for entry in before.values()), f"before the policy: {before}")
        demo.apply("east", POLICY)
        in_force(demo, "east", {"networkdemo/mysql"})
        allowed = probe_all({web: [{**entry, "id": f"web-{entry['id']}"} for entry in named("mysql", 3306, True)],
                             demopod: named("interpoddemo", 80, True), outside: [from_outside("office", OFFICE, True)]})
        denied = probe_all({demopod: named("mysql", 3306, False), outside: [from_outside("guest", GUEST, False)]})
        expect(all(entry["ok"] for entry in allowed.values()), f"allowed: {allowed}")
        expect(not any(entry["ok"] for entry in denied.values()), f"denied: {denied}")
        lines = [f"before: demopod reaches {', '.join(entry['who'] for name, entry in before.items() if name.endswith('4'))}",
                 "after: interpoddemo reaches mysql:3306, demopod interpoddemo:80, the office mysql:3306"]
        for who, source in (("demopod", demo.pod("east", "demopod").addresses()[0]), ("the guests' subnet", GUEST)):
            last = last_drop(demo.daemons["east", mysql.node], source, mysql.addresses()[0], 3306)
            expect(last["policies"] == ["NetworkPolicy/networkdemo/mysql"], f"{who}: {last}")
            lines.append(f"denied: {who} to mysql:3306: {last['destination']['cluster']}: networkdemo/mysql: {last['rule']}")
    finally:
        for prober in (demopod, web, outside):
            prober.close()
        for address in (OFFICE, GUEST):
            run("ip", "-n", lab.ROUTER, "address", "del", f"{address}/32", "dev", "lo")
    demo.withdraw("east", POLICY)
    in_force(demo, "east", set())
    return "\n".join(lines)


CHECKS = [networkdemo]
