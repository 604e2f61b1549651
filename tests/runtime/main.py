"""A real containerd runs and removes pods whose addresses are Tombolo's: what it gets, what it gives back, and what it forgets
when it is killed. One line for each case.

    tests/runtime/run [--only TEXT] [--report FILE]        (root; Debian's containerd and runc; TOMBOLO_BIN: another build's programs)
"""

import argparse
import json
import sys
import time

from containerd import Failed, missing, wait_until
from pods import RuntimeNode
from world import World

CASES = []


def case(body):
    CASES.append(body)
    return body


def expect(condition, what):
    if not condition:
        raise Failed(what)


@case
def whole_life(node):
    """a pod that containerd runs has its address, and gives it back when it is removed"""
    name = node.name()
    sandbox = node.runtime.run_sandbox(name)
    wait_until(f"{name} has an address of each family", lambda: len(node.held().get(name, [])) == 2)
    node.runtime.stop_sandbox(sandbox)
    wait_until(f"{name} is free", lambda: name not in node.held())
    node.runtime.remove_sandbox(sandbox)


@case
def in_the_making(node):
    """a pod that takes long to start keeps its address, though it is in no list and nobody is in its namespace"""
    name = node.name()
    made = node.begin(name)
    node.stays(name, 3.0)
    node.proceed(made)
    expect("id" in made, f"{name}: {made.get('error')}")
    node.stays(name, 1.5)
    node.runtime.stop_sandbox(made["id"])
    node.runtime.remove_sandbox(made["id"])
    wait_until(f"{name} is free", lambda: name not in node.held())


@case
def killed_and_back(node):
    """containerd is killed and comes back: pods that run keep their addresses all the time"""
    name = node.name()
    sandbox = node.runtime.run_sandbox(name)
    node.runtime.kill()
    node.stays(name, 2.0)
    node.runtime.start()
    node.stays(name, 2.0)
    node.runtime.stop_sandbox(sandbox)
    node.runtime.remove_sandbox(sandbox)
    wait_until(f"{name} is free", lambda: name not in node.held())


@case
def killed_while_starting(node):
    """containerd is killed in the middle of a start: the address stays while it means to undo that, and comes back with it"""
    living, lost = node.name(), node.name()
    sandbox = node.runtime.run_sandbox(living)
    node.kill_while_starting(lost)
    node.stays(lost, 2.0)
    node.runtime.start()
    known = node.runtime.sandboxes()
    expect(len(known) == 2 and known.pop(sandbox), f"containerd has {known}")
    node.stays(lost, 1.5)
    unfinished = next(iter(known))
    node.runtime.stop_sandbox(unfinished)
    node.until_free(lost, [living])
    node.runtime.remove_sandbox(unfinished)
    node.runtime.stop_sandbox(sandbox)
    node.runtime.remove_sandbox(sandbox)


@case
def forgotten(node):
    """containerd loses its folder, so that nobody ever calls DEL or GC: what ended is free soon after it is back, what runs stays"""
    living, lost, new = node.name(), node.name(), node.name()
    node.runtime.run_sandbox(living)
    node.forget(node.runtime.run_sandbox(lost))
    node.stays(lost, 2.0)
    node.return_with(new)
    took = node.until_free(lost, [living, new])
    expect(took < 5, f"free after {took:.1f} s")
    node.stays(living, 1.0)


@case
def nothing_listed(node):
    """the same, and it has no pods at all, as a runtime might say that is not ready yet: waited for"""
    lost = node.name()
    node.forget(node.runtime.run_sandbox(lost))
    node.runtime.start()
    node.stays(lost, 5.0)
    node.until_free(lost)
    node.runtime.import_image()


@case
def agent_was_away(node):
    """the same while the agent was killed too: free when both are back"""
    lost, new = node.name(), node.name()
    node.forget(node.runtime.run_sandbox(lost))
    node.agent.kill()
    node.agent.start()
    node.stays(lost, 1.0)
    node.return_with(new)
    node.until_free(lost, [new])


def report(outcomes, arguments):
    if arguments.report:
        with open(arguments.report, "w", encoding="utf-8") as out:
            json.dump(outcomes, out)


def main():
    parser = argparse.ArgumentParser(prog="tests/runtime/run", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose text has this")
    parser.add_argument("--report", metavar="FILE", help="the outcomes as JSON")
    arguments = parser.parse_args()
    if absent := missing():
        text = f"{', '.join(absent)} not installed (deploy/deps test)"
        print(f"skipped: {text}")
        report([{"name": "pods of containerd", "state": "skipped", "detail": text}], arguments)
        return 0
    outcomes = []
    with World("/var/tmp") as world:
        node = RuntimeNode(world)
        try:
            for body in CASES:
                if arguments.only not in body.__doc__:
                    continue
                began = time.monotonic()
                try:
                    body(node)
                    expect(not node.freed_alive, f"lost their addresses alive: {sorted(node.freed_alive)}")
                    outcomes.append({"name": body.__doc__, "state": "passed", "detail": ""})
                except Failed as failure:
                    outcomes.append({"name": body.__doc__, "state": "failed", "detail": str(failure)})
                print(f"{outcomes[-1]['state']}: {body.__doc__} ({time.monotonic() - began:.0f} s)"
                      + (f"\n    {outcomes[-1]['detail']}" if outcomes[-1]["detail"] else ""), flush=True)
                if outcomes[-1]["state"] == "failed":
                    break  # its pods would be in the way of the next ones
            if any(one["state"] == "failed" for one in outcomes):
                print(f"--- the end of containerd's log\n{node.runtime.log()[-3000:]}\n--- and of tombolod's\n{node.agent.log()[-3000:]}")
        finally:
            node.stop()
    report(outcomes, arguments)
    return 1 if any(one["state"] == "failed" for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
