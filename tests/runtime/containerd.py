"""A real containerd of its own: root, state and sockets below a folder, sandboxes of a pause image that is made here, and calls
of its container runtime interface (gRPC by curl, messages by protoc from schema/cri).
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
from world import Failed, run, wait_until  # noqa: E402

IMAGE = "tombolo.test/pause:1"
NEEDS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "curl", "protoc")
CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{binaries}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def missing():
    return [name for name in NEEDS if shutil.which(name) is None]


def pause_program():
    """An ELF program for x86-64 of a few instructions: pause(2) for ever."""
    code = b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"  # again: mov eax, 34; syscall; jmp again
    base, headers = 0x400000, 64 + 56
    size = headers + len(code)
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return elf + code


def tar_of(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def image_tar():
    """An image as OCI's image layout has it (image-spec, image-layout.md), with the one program."""
    blobs = {}

    def blob(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    layer = tar_of({"pause": pause_program()})
    config = {"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"),
                "layers": [blob(gzip.compress(layer), "layer.v1.tar+gzip")]}
    entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": IMAGE}
    return tar_of({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', **blobs,
                   "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()})


def protoc(mode, message, content):
    done = subprocess.run(["protoc", "-I", ROOT, f"--{mode}=runtime.v1.{message}", "schema/cri/runtime.proto"], cwd=ROOT,
                          input=content, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"protoc --{mode} {message}: {done.stderr.decode()}")
    return done.stdout


def processes():
    """[(pid, command line)]"""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as line:
                found.append((int(name), line.read().replace(b"\0", b" ").decode(errors="replace")))
        except OSError:
            continue
    return found


def state_of(pid):
    """[state, parent, …] of proc(5)'s stat; [] when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as line:
            return line.read().rpartition(")")[2].split()
    except OSError:
        return []


def parent_of(pid):
    state = state_of(pid)
    return int(state[1]) if state else 0


def alive(pid):
    return (state_of(pid) or ["Z"])[0] not in "ZX"


def end_process(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Containerd:
    """In the node's network namespace, with the CNI configuration that it is given."""

    def __init__(self, world, node):
        self.world, self.node, self.process = world, node, None
        self.folder = os.path.join(world.folder, f"{node.name}-containerd")
        self.binaries = os.path.join(self.folder, "bin")
        for folder in ("cni", "bin"):
            os.makedirs(os.path.join(self.folder, folder))
        self.socket = os.path.join(self.folder, "containerd.sock")
        self.config = os.path.join(self.folder, "config.toml")
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(folder=self.folder, image=IMAGE, binaries=self.binaries))

    def use(self, network, programs):
        """The CNI configuration, and the plugins that it needs: {name: path}."""
        for name, path in programs.items():
            os.symlink(path, os.path.join(self.binaries, name))
        with open(os.path.join(self.folder, "cni", "10-pods.conflist"), "w", encoding="utf-8") as out:
            json.dump(network, out)
        return self

    def start(self):
        self.process = self.world.start(self.node, f"{self.folder}/log", "containerd", "--config", self.config)
        wait_until("containerd answers", self.answers, timeout_s=30)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"containerd ended with {self.process.returncode}: {self.log()[-1500:]}")
        try:
            self.sandboxes()
        except Failed:
            return False
        return True

    def import_image(self):
        path = os.path.join(self.folder, "pause.tar")
        with open(path, "wb") as out:
            out.write(image_tar())
        run("ctr", "--address", self.socket, "--namespace", "k8s.io", "images", "import", path)
        return self

    def log(self):
        with open(f"{self.folder}/log", encoding="utf-8", errors="replace") as text:
            return text.read()

    def kill(self):
        self.world.end(self.process, signal.SIGKILL)

    def end(self):
        """Also what containerd leaves behind when it is killed."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.end_pod("")

    def end_pod(self, sandbox):
        """Ends a pod's shim and program, or everybody's; containerd does not run."""
        shims = [pid for pid, words in processes()
                 if f"{self.folder}/" in words and "containerd-shim" in words and f"-id {sandbox}" in words]
        for pid, _ in processes():
            if parent_of(pid) in shims:
                end_process(pid)
        for pid in shims:
            end_process(pid)
        wait_until("the shims are gone", lambda: not [pid for pid in shims if alive(pid)])

    def call(self, method, request, answer, text="", patience_s=60):
        """The answer as protobuf text. gRPC over HTTP/2: five bytes before the message, the status in the trailers."""
        message = protoc("encode", request, text.encode())
        place = os.path.join(self.folder, f"call-{os.getpid()}-{id(message)}")
        with open(f"{place}.in", "wb") as out:
            out.write(b"\0" + struct.pack(">I", len(message)) + message)
        done = subprocess.run(["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", self.socket,
                               "--max-time", str(patience_s), "--header", "content-type: application/grpc", "--header", "te: trailers",
                               "--data-binary", f"@{place}.in", "--dump-header", f"{place}.head", "--output", f"{place}.out",
                               f"http://localhost/runtime.v1.RuntimeService/{method}"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{method}: {done.stderr.strip()}")
        with open(f"{place}.head", encoding="utf-8", errors="replace") as text_of_head:
            head = {name: value.strip() for name, _, value in (line.partition(":") for line in text_of_head)}
        if head.get("grpc-status") != "0":
            raise Failed(f"{method}: status {head.get('grpc-status')}: {head.get('grpc-message', '')}")
        with open(f"{place}.out", "rb") as body:
            content = body.read()[5:]
        for end in ("in", "head", "out"):
            os.remove(f"{place}.{end}")
        return protoc("decode", answer, content).decode()

    def sandboxes(self):
        """{id: True when it is ready}"""
        text = self.call("ListPodSandbox", "ListPodSandboxRequest", "ListPodSandboxResponse")
        found = {}
        for item in text.split("items {")[1:]:
            found[re.search(r'\bid: "(\w+)"', item).group(1)] = "SANDBOX_NOTREADY" not in item
        return found

    def run_sandbox(self, name, patience_s=60):
        """Its id, which is the container id of CNI."""
        text = (f'config {{ metadata {{ name: "{name}" uid: "uid-{name}" namespace: "shop" }} hostname: "{name}" '
                f'log_directory: "{self.folder}/logs" }}')
        said = self.call("RunPodSandbox", "RunPodSandboxRequest", "RunPodSandboxResponse", text, patience_s)
        return re.search(r'pod_sandbox_id: "(\w+)"', said).group(1)

    def stop_sandbox(self, sandbox):
        self.call("StopPodSandbox", "StopPodSandboxRequest", "StopPodSandboxResponse", f'pod_sandbox_id: "{sandbox}"')

    def remove_sandbox(self, sandbox):
        self.call("RemovePodSandbox", "RemovePodSandboxRequest", "RemovePodSandboxResponse", f'pod_sandbox_id: "{sandbox}"')
