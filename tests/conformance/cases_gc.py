"""GC, STATUS, many at once, a daemon that is away."""

from suite import case

GC = "GC: Clean up any stale resources"
STATUS = "STATUS: Check plugin status"
ADD = "ADD: Add container to network, or apply modifications"
ERROR = "Error"


def some(t, count):
    """{(container, interface): (namespace, result)}"""
    made = {}
    for _ in range(count):
        netns, container, result = t.added()
        made[(container, "eth0")] = (netns, result)
    return made


def require_alive(t, made, alive):
    for (container, interface), (netns, result) in made.items():
        answer = t.check(netns, container, result, interface)
        wanted = (container, interface) in alive
        t.require(answer.ok == wanted, f"CHECK of {container}, which {'is' if wanted else 'is not'} valid: {answer}")


@case(GC, "GC keeps exactly what is valid and prints nothing", "1.1.0")
def gc_subset(t):
    made = some(t, 5)
    keep = sorted(made)[1:4:2]
    answer = t.gc([*keep, ("never", "eth0")])
    t.require(answer.ok and not answer.output.strip(), f"GC: {answer}")
    require_alive(t, made, keep)
    if t.subject.claims_reservations:
        t.settle_held(keep, *made)


@case(GC, "GC knows interfaces of one container apart", "1.1.0")
def gc_interfaces(t):
    netns, container, first = t.added()
    _, _, second = t.added("net1", netns=netns, container=container)
    made = {(container, "eth0"): (netns, first), (container, "net1"): (netns, second)}
    answer = t.gc([(container, "net1")])
    t.require(answer.ok, f"GC: {answer}")
    require_alive(t, made, [(container, "net1")])


@case(GC, "GC with an empty list removes all; namespaces may be gone", "1.1.0")
def gc_all(t):
    made = some(t, 3)
    next(iter(made.values()))[0].remove()
    answer = t.gc([])
    t.require(answer.ok, f"GC: {answer}")
    if t.subject.claims_reservations:
        t.settle_held([], *made)


@case(GC, "GC of another network touches nothing", "1.1.0")
def gc_other_network(t):
    made = some(t, 2)
    answer = t.gc([], network="another")
    t.require(answer.ok, f"GC: {answer}")
    require_alive(t, made, list(made))


@case(GC, "GC without a list is refused, not taken for an empty one", "1.1.0")
def gc_without_list(t):
    made = some(t, 1)
    t.refused(t.call("GC", t.subject.config("1.1.0"), interface=None), "GC", (7,))
    require_alive(t, made, list(made))


@case(GC, "several GCs at once: exact survivors", "1.1.0")
def gc_concurrent(t):
    made = some(t, 6)
    keep = sorted(made)[::2]
    valid = [{"containerID": container, "ifname": interface} for container, interface in keep]
    config = t.subject.config("1.1.0", **{"cni.dev/valid-attachments": valid})
    plugin = t.subject.plugin
    for answer in [plugin.finish(one) for one in [plugin.start("GC", config, interface=None) for _ in range(4)]]:
        t.require(answer.ok or answer.code == 11, f"GC: {answer}")
    require_alive(t, made, keep)


@case(STATUS, "STATUS succeeds and prints nothing when ADD would work", "1.1.0")
def status_fine(t):
    answer = t.status()
    t.require(answer.ok and not answer.output.strip(), f"STATUS: {answer}")


@case(STATUS, "STATUS says 50 or 51 when the addresses are used up, and 0 when one is free again", "1.1.0")
def status_exhausted(t):
    netns, last = t.netns(), None
    for number in range(200):
        container = t.container()
        answer = t.add(netns, container, f"e{number}")
        if not answer.ok:
            t.attached.pop()
            break
        last = (container, f"e{number}")
    t.require(not answer.ok, "200 ADDs did not use up the addresses")
    t.require(answer.code == 11 or answer.code >= 100, f"ADD with no address left: {answer}")
    t.refused(t.status(), "STATUS", (50, 51))
    t.delete(*last)
    again = t.status()
    t.require(again.ok, f"STATUS with a free address: {again}")


@case(ADD, "64 ADDs at once: no address twice")
def many_at_once(t):
    spaces = [t.netns() for _ in range(64)]
    plugin, config = t.subject.plugin, t.subject.config()
    started = []
    for netns in spaces:
        container = t.container()
        t.attached.append((container, "eth0"))
        started.append(plugin.start("ADD", config, container=container, netns=netns.path))
    answers = [plugin.finish(one) for one in started]
    failed = [str(answer) for answer in answers if not answer.ok]
    t.require(not failed, f"{len(failed)} of 64 fail, the first: {failed[:1]}")
    addresses = [address for answer in answers for address in answer.addresses()]
    t.require(len(set(addresses)) == len(addresses), f"{len(addresses) - len(set(addresses))} addresses twice")


@case(STATUS, "STATUS says 51 when pods that run cannot be reached any more", "1.1.0", "daemon", "interfaces")
def status_limited(t):
    t.subject.node.sysctl("net.ipv4.ip_forward", 0)
    try:
        t.refused(t.status(), "STATUS without forwarding", (51,))
    finally:
        t.subject.node.sysctl("net.ipv4.ip_forward", 1)
    answer = t.status()
    t.require(answer.ok, f"STATUS after it: {answer}")


@case(ERROR, "daemon away: ADD says 11 or 50 within a second, STATUS 50 or 51; pods stay", "daemon", "1.1.0")
def daemon_away(t):
    netns, container, result = t.added()
    t.subject.agent.kill()
    try:
        added = t.call("ADD", container=t.container(), netns=t.netns().path)
        t.refused(added, "ADD", (11, 50))
        status = t.status()
        t.refused(status, "STATUS", (50, 51))
        slow = [one.seconds for one in (added, status) if one.seconds >= 1]
        t.require(not slow, f"an answer took {max(slow, default=0):.1f} s")
    finally:
        t.subject.agent.start()
    answer = t.check(netns, container, result)
    t.require(answer.ok, f"CHECK after the daemon is back: {answer}")
