"""One call of a CNI plugin, as a runtime makes it: environment, standard input, what it printed and how it ended."""

import dataclasses
import json
import os
import subprocess
import time


@dataclasses.dataclass
class Answer:
    status: int  # of the process; negative: the signal that ended it
    output: str
    errors: str
    seconds: float

    @property
    def ok(self):
        return self.status == 0

    @property
    def json(self):
        """What was printed; {} for nothing or for what is no JSON object."""
        try:
            value = json.loads(self.output)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def code(self):
        """The specification's error code; 0 for success, None for a failure without one."""
        return 0 if self.ok else self.json.get("code")

    def addresses(self):
        return [entry["address"] for entry in self.json.get("ips", [])]

    def __str__(self):
        said = self.output.strip() or self.errors.strip()
        return f"exit {self.status}" + (f": {said[:300]}" if said else "")


class Plugin:
    """A plugin binary, called inside the node's network namespace."""

    def __init__(self, binary, node, path="/usr/lib/cni"):
        self.binary, self.node, self.path = binary, node, path

    def prepare(self, command, config, container=None, interface="eth0", netns=None, args=None):
        environment = {"PATH": os.environ["PATH"], "CNI_PATH": self.path, "CNI_COMMAND": command}
        for name, value in (("CNI_CONTAINERID", container), ("CNI_IFNAME", interface), ("CNI_NETNS", netns), ("CNI_ARGS", args)):
            if value is not None:
                environment[name] = value
        text = config if isinstance(config, str) else json.dumps(config)
        return environment, text

    def command(self):
        return ["nsenter", f"--net={self.node.path}", self.binary]

    def call(self, command, config, **more):
        environment, text = self.prepare(command, config, **more)
        started = time.monotonic()
        done = subprocess.run(self.command(), input=text, env=environment, capture_output=True, text=True, timeout=90,
                              check=False, errors="replace")
        return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def start(self, command, config, **more):
        """As call(), without waiting; finish() has the answer."""
        environment, text = self.prepare(command, config, **more)
        process = subprocess.Popen(self.command(), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        return process, time.monotonic()

    @staticmethod
    def finish(started):
        process, since = started
        output, errors = process.communicate(timeout=90)
        return Answer(process.returncode, output, errors, time.monotonic() - since)
