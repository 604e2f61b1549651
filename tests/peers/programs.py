"""Builds the peers of tests/run --lane peers from their own modules (Go), into build/peers."""

import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "peers")
KUBERNETES = "1.34.4"  # as in kubernetes/go.mod


def go_tool():
    return shutil.which("go") or next((go for go in ("/usr/local/go/bin/go", "/usr/lib/go-1.23/bin/go") if os.path.exists(go)), None)


def kubernetes():
    """({"kube-apiserver": path, "kubeadm": path}, ""), or (None, why not). Quick when nothing has changed."""
    go = go_tool()
    if go is None:
        return None, "no Go (Debian: golang-go of bookworm-backports)"
    os.makedirs(FOLDER, exist_ok=True)
    major, minor, _ = KUBERNETES.split(".")
    version = "k8s.io/component-base/version."
    flags = f"-s -w -X {version}gitVersion=v{KUBERNETES} -X {version}gitMajor={major} -X {version}gitMinor={minor}"
    built = subprocess.run([go, "build", "-trimpath", "-ldflags", flags, "-o", FOLDER + "/", "./..."], cwd=os.path.join(HERE, "kubernetes"),
                           env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True)
    if built.returncode != 0:
        return None, built.stderr.strip().splitlines()[-1]
    return {name: os.path.join(FOLDER, name) for name in ("kube-apiserver", "kubeadm")}, ""
