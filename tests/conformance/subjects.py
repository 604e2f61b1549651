"""The plugins that the suite knows. A subject says how to configure its plugin, and how to look at and take away what the
plugin keeps; what it cannot say (None) leaves out the cases that need it.
"""

import json
import os

from agent import BIN, Agent
from calls import Plugin
from world import Failed

DEBIAN = "/usr/lib/cni"
VERSIONS = ("0.4.0", "1.0.0", "1.1.0")
ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


class Subject:
    group = "plugin"  # of cases
    ipam = False  # an IPAM plugin: its result has no interfaces
    delegates = False  # runs another plugin for addresses
    agent = None  # the daemon behind it, if any
    claims_reservations = False

    def __init__(self, name, world, binary):
        if not os.access(binary, os.X_OK):
            raise Failed(f"{binary} is not there")
        self.name, self.world = name, world
        self.node = world.node()
        self.plugin = Plugin(binary, self.node)
        self.versions = ()

    def learn_versions(self):
        said = self.plugin.call("VERSION", {"cniVersion": "1.0.0"}, interface=None).json.get("supportedVersions", [])
        self.versions = tuple(version for version in VERSIONS if version in said)

    @property
    def newest(self):
        return self.versions[-1] if self.versions else "1.0.0"

    def config(self, version=None, network="conformance", **more):
        return {"cniVersion": version or self.newest, "name": network, **self.body(), **more}

    def body(self):
        raise NotImplementedError

    def reserved(self):
        """{(container, interface): addresses} of everything that is held."""
        return None

    def forget(self, container, interface):
        """Takes the reservation away behind the plugin's back."""
        raise NotImplementedError

    def stop(self):
        pass


class Tombolo(Subject):
    claims_reservations = True

    subsystems = {}
    environment = {}

    def __init__(self, name, world):
        super().__init__(name, world, os.path.join(BIN, "tombolo-cni"))
        self.agent = Agent(world, self.node, environment=self.environment, **self.subsystems).start().give_blocks()

    def body(self):
        return {"type": "tombolo-cni", "socket": self.agent.socket}

    def reserved(self):
        held = {}
        for row in self.agent.ask("ip", "list").get("ips", []):
            held.setdefault((row["container_id"], row["interface_name"]), set()).add(row["ip"])
        return held

    def forget(self, container, interface):
        self.plugin.call("DEL", self.config(), container=container, interface=interface)

    def stop(self):
        self.agent.stop()


class TomboloAddresses(Tombolo):
    """Called for addresses only, by a plugin that makes the interface."""
    ipam = True

    def body(self):
        return {"type": "conformance", "ipam": {"type": "tombolo-cni", "socket": self.agent.socket, "routes": ROUTES}}


class Together(Tombolo):
    """Tombolo for addresses under Debian's plugins."""
    group = "together"


class Recovery(Tombolo):
    group = "recovery"


class Crash(Tombolo):
    group = "crash"


class Chained(Tombolo):
    """Tombolo after Debian's plugins, with the real datapath."""
    group = "chained"
    subsystems = {"policy": True, "lb": True}


class Devices(Tombolo):
    """Tombolo with devices of the node, whose sysfs is a folder, and policy at them."""
    group = "devices"
    subsystems = {"policy": True}

    def __init__(self, name, world):
        self.sysfs = os.path.join(world.folder, "sysfs")
        self.environment = {"TOMBOLO_SYSFS": self.sysfs}
        super().__init__(name, world)


def local_ranges(folder, small=False):
    """host-local's configuration, and its files below `folder`."""
    v4 = {"subnet": "10.30.0.0/24", "rangeEnd": "10.30.0.126"} if not small else {"subnet": "10.31.0.0/30"}
    return {"type": "host-local", "dataDir": folder, "ranges": [[v4], [{"subnet": "fd30::/64"}]], "routes": ROUTES}


class LocalFiles(Subject):
    """Whose addresses host-local keeps, a file for each."""
    claims_reservations = True

    def __init__(self, name, world, binary):
        super().__init__(name, world, binary)
        self.folder = os.path.join(world.folder, f"{self.node.name}-host-local")

    def files(self):
        for place, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(place, name)
                if not name.startswith("last_reserved") and name != "lock":
                    with open(path, encoding="utf-8") as text:
                        yield path, name, tuple(text.read().split())

    def reserved(self):
        held = {}
        for _, name, owner in self.files():
            held.setdefault(owner, set()).add(name)
        return held

    def forget(self, container, interface):
        for path, _, owner in list(self.files()):
            if owner == (container, interface):
                os.remove(path)


class HostLocal(LocalFiles):
    ipam = True

    def __init__(self, name, world):
        super().__init__(name, world, f"{DEBIAN}/host-local")

    def body(self):
        return {"type": "conformance", "ipam": local_ranges(self.folder)}


class Bridge(LocalFiles):
    delegates = True

    def __init__(self, name, world):
        super().__init__(name, world, f"{DEBIAN}/bridge")

    def body(self):
        return {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": local_ranges(self.folder)}


class Given(Subject):
    """Any other plugin, by its binary and a configuration without cniVersion."""

    def __init__(self, name, world, binary, config, ipam):
        super().__init__(name, world, binary)
        with open(config, encoding="utf-8") as text:
            self.given = json.load(text)
        self.ipam = ipam

    def body(self):
        return {key: value for key, value in self.given.items() if key not in ("cniVersion", "name")}


SUBJECTS = {"tombolo-cni": Tombolo, "tombolo-ipam": TomboloAddresses, "host-local": HostLocal, "bridge": Bridge,
            "together": Together, "chained": Chained, "recovery": Recovery, "crash": Crash, "devices": Devices}
# What the table of differences compares; the others have cases of their own.
COMPARED = [name for name, subject in SUBJECTS.items() if subject.group == "plugin"]
