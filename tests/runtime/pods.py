"""A node of tombolod and a real containerd beside each other, whose pods get their addresses from Tombolo."""

import os
import shutil
import threading
import time

from containerd import Containerd, Failed, wait_until
from agent import BIN, Agent  # found by containerd's path

# Comes after tombolo-cni and holds the start of a pod up while there is a file: its address is given, it is in no list.
HOLD = """#!/usr/bin/python3
import json, os, sys, time
config = json.load(sys.stdin)
if os.environ["CNI_COMMAND"] == "ADD":
    while os.path.exists(config["while"]):
        time.sleep(0.02)
    print(json.dumps(config["prevResult"]))
"""

class RuntimeNode:
    """tombolod and containerd beside each other, in one network namespace."""

    def __init__(self, world):
        self.world, self.netns = world, world.node()
        self.runtime = Containerd(world, self.netns)
        self.hold = os.path.join(self.runtime.folder, "hold")
        holder = os.path.join(self.runtime.folder, "holder")
        with open(holder, "w", encoding="utf-8") as out:
            out.write(HOLD)
        os.chmod(holder, 0o755)
        self.agent = Agent(world, self.netns, agent={"runtime_socket": self.runtime.socket}).start().give_blocks()
        self.runtime.use({"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {"type": "tombolo-cni", "socket": self.agent.socket}, {"type": "holder", "while": self.hold}]},
            {"tombolo-cni": os.path.join(BIN, "tombolo-cni"), "holder": holder, "loopback": "/usr/lib/cni/loopback"})
        self.runtime.start().import_image()
        self.count, self.looks, self.freed_alive = 0, 0, set()

    def name(self):
        self.count += 1
        return f"web-{self.count}"

    def held(self):
        """{pod: addresses}"""
        found = {}
        for row in self.agent.ask("ip", "list").get("ips", []):
            if row.get("pod"):
                found.setdefault(row["pod"], set()).add(row["ip"])
        return found

    def until_free(self, pod, living=(), patience_s=20.0):
        """Seconds; the living must have their addresses all the time (freed_alive)."""
        began = time.monotonic()
        while True:
            held = self.held()
            self.looks += 1
            self.freed_alive |= set(living) - set(held)
            if pod not in held:
                return time.monotonic() - began
            if time.monotonic() - began > patience_s:
                raise Failed(f"{pod} still has its address after {patience_s:g} s")

    def stays(self, pod, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if pod not in self.held():
                raise Failed(f"{pod} lost its address")

    def begin(self, name):
        """A pod whose start is held up after its address is there."""
        open(self.hold, "w", encoding="utf-8").close()
        made = {}

        def start():
            try:
                made["id"] = self.runtime.run_sandbox(name)
            except Failed as failure:
                made["error"] = str(failure)
        made["thread"] = threading.Thread(target=start)
        made["thread"].start()
        wait_until(f"{name} has its address", lambda: name in self.held(), timeout_s=20)
        return made

    def proceed(self, made):
        if os.path.exists(self.hold):
            os.remove(self.hold)
        made["thread"].join()
        return made

    def kill_while_starting(self, name):
        """containerd is killed while it starts a pod, whose address is there. It is not back yet."""
        made = self.begin(name)
        self.runtime.kill()
        self.proceed(made)
        if "error" not in made:
            raise Failed(f"{name} started though its containerd was killed")

    def forget(self, sandbox):
        """containerd is killed and loses its folder, and with it every pod that it had; one pod ends meanwhile. Nobody will
        ever call DEL or GC for that; its namespace stays, as containerd leaves it. It is not back yet.
        """
        self.runtime.kill()
        self.runtime.end_pod(sandbox)
        shutil.rmtree(os.path.join(self.runtime.folder, "root"))

    def return_with(self, name):
        """containerd is back, with an empty folder, and starts a pod as kubelet would have it."""
        self.runtime.start().import_image()
        return self.runtime.run_sandbox(name)

    def stop(self):
        if os.path.exists(self.hold):
            os.remove(self.hold)
        self.runtime.end()
        self.agent.stop()
