"""A real kube-apiserver on a real etcd, on loopback, for one test; nothing of it is left afterwards."""

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

READY_TIMEOUT_S = 120
SERVICES = "10.96.0.0/16"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ApiServer:
    """`with ApiServer(program) as server:`; the user of kubeconfig() has a certificate and every right, that of
    kubeconfig(reader=True) a token and none."""

    def __init__(self, program):
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="tombolo-peers-")
        self.processes = []
        self.port = free_port()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name, mode="r"):
        with open(self.path(name), mode) as file:
            return file.read()

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def make_keys(self):
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self.openssl("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=peers", "-keyout", "ca.key", "-out", "ca.crt")
        for name, subject, extension in (("server", "/CN=kube-apiserver", "subjectAltName=IP:127.0.0.1"),
                                         ("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth")):
            self.openssl("req", *new_key, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
            self.write(f"{name}.ext", extension + "\n")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                         "-extfile", f"{name}.ext", "-out", f"{name}.crt")
        self.openssl("genrsa", "-out", "sa.key", "2048")

    def start(self):
        self.make_keys()
        self.write("tokens.csv", "reader-token,reader,reader\n")
        etcd, peer = free_port(), free_port()
        self.spawn("etcd", ["etcd", "--data-dir", self.path("etcd"), "--listen-client-urls", f"http://127.0.0.1:{etcd}",
                            "--advertise-client-urls", f"http://127.0.0.1:{etcd}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                            "--initial-cluster", f"default=http://127.0.0.1:{peer}"])
        self.spawn("apiserver", [
            self.program, f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
            "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", f"--service-cluster-ip-range={SERVICES}",
            f"--tls-cert-file={self.path('server.crt')}", f"--tls-private-key-file={self.path('server.key')}",
            f"--client-ca-file={self.path('ca.crt')}", f"--token-auth-file={self.path('tokens.csv')}", "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.path('sa.key')}", f"--service-account-signing-key-file={self.path('sa.key')}"])
        self.context = ssl.create_default_context(cafile=self.path("ca.crt"))
        self.context.load_cert_chain(self.path("admin.crt"), self.path("admin.key"))
        end = time.monotonic() + READY_TIMEOUT_S
        while self.ready() is not None:
            if time.monotonic() > end or any(process.poll() is not None for process in self.processes):
                raise RuntimeError(f"no API server: {self.ready()}; it says\n{self.read('apiserver.log')[-2000:]}\n{self.read('etcd.log')[-1000:]}")
            time.sleep(0.2)

    def spawn(self, name, command):
        with open(self.path(name + ".log"), "w") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder))

    def ready(self):
        """None when it is, else what is in the way."""
        try:
            status, body = self.request("GET", "/readyz")
            return None if status == 200 else body
        except (OSError, urllib.error.URLError) as error:
            return str(error)

    def request(self, method, path, body=None, kind="application/json"):
        """(status, answer); JSON is decoded."""
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def kubeconfig(self, reader=False):
        coded = {name: base64.b64encode(self.read(name, "rb")).decode() for name in ("ca.crt", "admin.crt", "admin.key")}
        user = {"token": "reader-token"} if reader else {"client-certificate-data": coded["admin.crt"], "client-key-data": coded["admin.key"]}
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": coded["ca.crt"]}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "admin@west",
                  "clusters": [{"name": "west", "cluster": cluster}], "users": [{"name": "admin", "user": user}],
                  "contexts": [{"name": "admin@west", "context": {"cluster": "west", "user": "admin"}}]}
        return self.write("reader.kubeconfig" if reader else "kubeconfig", json.dumps(config))
