"""Builds the peers of tests/run --lane peers from their own modules (Go), into build/peers."""

import json
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "peers")
KUBERNETES = "1.34.4"  # as in kubernetes/go.mod


def go_tool():
    return shutil.which("go") or next((go for go in ("/usr/local/go/bin/go", "/usr/lib/go-1.23/bin/go") if os.path.exists(go)), None)


class Missing(Exception):
    """Why a peer is not there."""


def go(*arguments, folder):
    tool = go_tool()
    if tool is None:
        raise Missing("no Go (Debian: golang-go of bookworm-backports)")
    done = subprocess.run([tool, *arguments], cwd=os.path.join(HERE, folder), env={**os.environ, "CGO_ENABLED": "0"},
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing((done.stderr or done.stdout).strip().splitlines()[-1])
    return done.stdout


def build(folder, flags, *packages):
    """The programs of a module of ours that pins the peer's; quick when nothing has changed."""
    os.makedirs(FOLDER, exist_ok=True)
    go("build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", FOLDER + "/", *packages, folder=folder)


def kubernetes():
    """{"kube-apiserver": path, "kubeadm": path}"""
    major, minor, _ = KUBERNETES.split(".")
    version = "k8s.io/component-base/version."
    build("kubernetes", f"-X {version}gitVersion=v{KUBERNETES} -X {version}gitMajor={major} -X {version}gitMinor={minor}", "./...")
    return {name: os.path.join(FOLDER, name) for name in ("kube-apiserver", "kubeadm")}


def helm():
    build("helm", "", "helm.sh/helm/v3/cmd/helm")
    return os.path.join(FOLDER, "helm")


WHEREABOUTS = "github.com/k8snetworkplumbingwg/whereabouts@v0.8.0"  # as in whereabouts/go.mod


def whereabouts():
    go("build", "-trimpath", "-ldflags", "-s -w", "-o", os.path.join(FOLDER, "whereabouts"),
       "github.com/k8snetworkplumbingwg/whereabouts/cmd", folder="whereabouts")
    return os.path.join(FOLDER, "whereabouts")


def module_folder(module):
    """Where the files of "PATH@VERSION" are, fetched when they are not there; nothing of it is built."""
    return json.loads(go("mod", "download", "-json", module, folder="helm"))["Dir"]
