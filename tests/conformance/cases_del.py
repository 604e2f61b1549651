"""DEL and CHECK."""

from suite import case

DEL = "DEL: Remove container from network, or un-apply modifications"
CHECK = "CHECK: Check container's networking is as expected"


def gone(t, answer, container, interface="eth0"):
    t.require(answer.ok, f"DEL: {answer}")
    t.require(not answer.output.strip(), f"DEL prints: {answer}")
    if t.subject.claims_reservations:
        t.settle_held([], (container, interface))


@case(DEL, "DEL three times succeeds and frees")
def del_thrice(t):
    netns, container, result = t.added()
    for _ in range(3):
        gone(t, t.delete(container, netns=netns, previous=result), container)
    t.require(t.subject.ipam or netns.link("eth0") is None, "eth0 is still there")


@case(DEL, "DEL without CNI_NETNS succeeds and frees")
def del_without_netns(t):
    _, container, result = t.added()
    gone(t, t.delete(container, previous=result), container)


@case(DEL, "DEL without prevResult succeeds and frees")
def del_without_result(t):
    netns, container, _ = t.added()
    gone(t, t.delete(container, netns=netns), container)


@case(DEL, "DEL with an empty prevResult succeeds and frees")
def del_with_empty_result(t):
    netns, container, _ = t.added()
    gone(t, t.delete(container, netns=netns, previous={"cniVersion": t.subject.newest}), container)


@case(DEL, "DEL after the namespace is gone succeeds and frees")
def del_after_netns(t):
    netns, container, result = t.added()
    netns.remove()
    gone(t, t.delete(container, netns=netns, previous=result), container)


@case(DEL, "DEL after the interface is gone succeeds and frees", "interfaces")
def del_after_interface(t):
    netns, container, result = t.added()
    netns.ip("link", "del", "eth0")
    gone(t, t.delete(container, netns=netns, previous=result), container)


@case(DEL, "DEL of what was never added succeeds")
def del_never_added(t):
    container = t.container()
    gone(t, t.delete(container, netns=t.netns()), container)


@case(DEL, "what DEL freed can be added again")
def add_again(t):
    netns, container, result = t.added()
    gone(t, t.delete(container, netns=netns, previous=result), container)
    t.added(netns=netns, container=container)


for release in ("0.4.0", "1.0.0", "1.1.0"):
    @case(CHECK, f"CHECK right after ADD succeeds ({release})")
    def check_fresh(t, release=release):
        t.require(release in t.subject.versions, f"does not speak {release}")
        netns, container, result = t.added(version=release)
        answer = t.check(netns, container, result, version=release)
        t.require(answer.ok and not answer.output.strip(), f"CHECK: {answer}")


def differs(t, change, what):
    """ADD, CHECK, the change, CHECK."""
    netns, container, result = t.added()
    before = t.check(netns, container, result)
    t.require(before.ok, f"CHECK before: {before}")
    change(netns, container, result)
    t.refused(t.check(netns, container, result), f"CHECK {what}")


@case(CHECK, "CHECK fails when an address is gone", "interfaces")
def check_address(t):
    def change(netns, _, result):
        netns.ip("address", "del", result["ips"][0]["address"], "dev", "eth0")
    differs(t, change, "without the address")


@case(CHECK, "CHECK fails when a route is gone", "interfaces")
def check_route(t):
    def change(netns, _, result):
        t.require(result.get("routes"), "the result has no route")
        route = result["routes"][0]["dst"]
        netns.ip("-6" if ":" in route else "-4", "route", "del", "default" if route.endswith("/0") else route)
    differs(t, change, "without the route")


@case(CHECK, "CHECK fails when the interface is gone", "interfaces")
def check_interface(t):
    differs(t, lambda netns, *_: netns.ip("link", "del", "eth0"), "without the interface")


@case(CHECK, "CHECK fails when the interface is down", "interfaces")
def check_down(t):
    differs(t, lambda netns, *_: netns.ip("link", "set", "eth0", "down"), "with the interface down")


@case(CHECK, "CHECK fails when the reservation is gone", "reservations")
def check_reservation(t):
    differs(t, lambda _, container, __: t.subject.forget(container, "eth0"), "without the reservation")


@case(CHECK, "CHECK of another's address fails")
def check_foreign(t):
    netns, container, _ = t.added()
    _, _, other = t.added()
    t.refused(t.check(netns, container, other), "CHECK with another's prevResult")


@case(CHECK, "CHECK of what was never added fails")
def check_never_added(t):
    netns, _, result = t.added()
    t.refused(t.check(netns, t.container(), result), "CHECK")


@case(CHECK, "CHECK without prevResult is an error")
def check_without_result(t):
    netns, container, _ = t.added()
    answer = t.call("CHECK", container=container, netns=netns.path)
    t.refused(answer, "CHECK")
