"""The lane of real peers (tests/peers): built from their own modules, asked about our definitions, exports and imports."""

import os
import shutil
import sys

from suites import Outcome, Suite


def run_peers(root):
    sys.path.insert(0, os.path.join(root, "tests", "peers"))
    import programs as built
    import cases
    if shutil.which("etcd") is None:
        return [Outcome("peers", "skipped", "no etcd (Debian: etcd-server)")]
    try:
        programs = built.kubernetes()
    except built.Missing as reason:
        return [Outcome("peers", "skipped", f"Kubernetes cannot be built: {reason}")]
    programs["tombolo"] = os.path.join(root, "build", "release", "bin", "tombolo")
    return [Outcome(f"peers: {name}", state, detail) for name, state, detail in cases.outcomes(programs)]


def peers_suites(root):
    return [Suite("peers", lambda: run_peers(root), alone=True)]
