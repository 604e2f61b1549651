"""The suites that tests/run knows: style rules, unit test binaries, fuzzers, the story of deploy/demo.

Each returns Outcome rows. A suite that needs the machine for itself (namespaces with fixed names, timing) is `alone`.
"""

import base64
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import typing
import xml.etree.ElementTree as ElementTree


@dataclasses.dataclass
class Outcome:
    name: str
    state: str  # passed, failed, skipped
    detail: str = ""


@dataclasses.dataclass
class Suite:
    name: str
    run: typing.Callable[[], list]
    alone: bool = False


SANITIZERS = {
    # Debian's libraries are built without ASan, so containers that cross the border must not be judged.
    "ASAN_OPTIONS": "detect_container_overflow=0:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "LSAN_OPTIONS": "print_suppressions=0",
    "TSAN_OPTIONS": "suppressions=" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "tsan.suppressions"),
}


def run_command(root, command, timeout_s, environment=None):
    """(exit code, output); a timeout kills the process group and gives code 124."""
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", start_new_session=True, stdin=subprocess.DEVNULL,
                               env={**os.environ, **SANITIZERS, **(environment or {})})
    try:
        output, _ = process.communicate(timeout=timeout_s)
        return process.returncode, output
    except BaseException as error:
        # Kindly first: what a test made is its own to take away.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return 124, output + f"\nended after {timeout_s} s"


def tail(text, lines=40):
    return "\n".join("         | " + line for line in text.splitlines()[-lines:])


# ---- unit tests ------------------------------------------------------------------------------------------------------

def read_junit(path):
    rows = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = case.get("name", "?")
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        if problem is not None:
            rows.append(Outcome(name, "failed", tail(problem.text or problem.get("message") or "")))
        elif case.find("skipped") is not None:
            skipped = case.find("skipped")
            rows.append(Outcome(name, "skipped", (skipped.text or skipped.get("message") or "").strip()))
        else:
            rows.append(Outcome(name, "passed"))
    return rows


def run_unit(root, preset, name, timeout_s):
    with tempfile.TemporaryDirectory(prefix="tombolo-tests-") as folder:
        report = os.path.join(folder, "report.xml")
        binary = os.path.join(root, "build", preset, "tests", name)
        code, output = run_command(root, [binary, "--reporter", f"junit::out={report}", "--reporter", "console"],
                                   timeout_s)
        try:
            rows = read_junit(report)
        except (OSError, ElementTree.ParseError):
            rows = []
    if code not in (0, 4) and not any(row.state == "failed" for row in rows):
        rows.append(Outcome(f"{name} ended with {code}", "failed", tail(output)))
    elif not rows:
        rows.append(Outcome(f"{name} ran no test", "failed", tail(output)))
    return rows


def unit_suites(root, preset):
    found = []
    with open(os.path.join(root, "build", preset, "tests.txt"), encoding="utf-8") as lines:
        for line in lines:
            if not line.strip():
                continue
            name, timeout_s = line.split()
            found.append(Suite(name, lambda n=name, t=int(timeout_s): run_unit(root, preset, n, t)))
    return found


# ---- fuzzers ---------------------------------------------------------------------------------------------------------

def run_fuzzer(root, name, seconds):
    corpus = os.path.join(root, "tests", "corpus", name)
    with tempfile.TemporaryDirectory(prefix="tombolo-fuzz-") as found:
        command = [os.path.join(root, "build", "dev", "fuzz", name), f"-max_total_time={seconds}", "-timeout=5",
                   "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={found}/", found]
        if os.path.isdir(corpus):
            command.append(corpus)
        code, output = run_command(root, command, seconds + 60)
        # What it found goes with the folder: the text of it must do.
        for crash in sorted(os.listdir(found)):
            if code != 0 and crash.startswith(("crash-", "leak-", "oom-", "timeout-")):
                with open(os.path.join(found, crash), "rb") as file:
                    output += f"\n{crash} in base64: {base64.b64encode(file.read(4096)).decode()}"
    return [Outcome(name, "passed" if code == 0 else "failed", "" if code == 0 else tail(output))]


def fuzz_suites(root, seconds):
    path = os.path.join(root, "build", "dev", "fuzzers.txt")
    with open(path, encoding="utf-8") as lines:
        names = [line.strip() for line in lines if line.strip()]
    return [Suite(name, lambda n=name: run_fuzzer(root, n, seconds)) for name in names]


# ---- style -----------------------------------------------------------------------------------------------------------

def tracked(root, endings):
    output = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [line for line in output.splitlines() if line.endswith(endings) and os.path.exists(os.path.join(root, line))]


def run_style(root):
    rows = []
    code, output = run_command(root, ["clang-format-19", "--dry-run", "--Werror", *tracked(root, (".h", ".cpp"))], 120)
    rows.append(Outcome("clang-format", "passed" if code == 0 else "failed", tail(output)))
    tidy = os.path.join(root, "tests", "tidy.py")
    for name, command in (("tidy", ["python3", tidy]), ("tidy catches what it should", ["python3", tidy, "--self-test"])):
        code, output = run_command(root, command, 120)
        rows.append(Outcome(name, "passed" if code == 0 else "failed", tail(output)))
    return rows


def style_suites(root):
    return [Suite("style", lambda: run_style(root))]


# ---- CNI -------------------------------------------------------------------------------------------------------------

def run_conformance(root, subject):
    if os.geteuid() != 0:
        return [Outcome(f"conformance of {subject}", "skipped", "needs root: it makes network namespaces")]
    with tempfile.TemporaryDirectory(prefix="tombolo-conformance-") as folder:
        report = os.path.join(folder, "report.json")
        code, output = run_command(root, ["python3", "tests/conformance/main.py", subject, "--report", report], 300)
        try:
            with open(report, encoding="utf-8") as text:
                found = json.load(text)
        except (OSError, ValueError):
            found = []
    # What a subject has no use for (an IPAM plugin makes no interface) is no test of it.
    rows = [Outcome(f"{subject}: {one['name']}", one["state"], one["detail"]) for one in found if one["state"] != "without"]
    if not rows or code not in (0, 1):
        rows.append(Outcome(f"conformance of {subject} ended with {code}", "failed", tail(output)))
    return rows


def conformance_suites(root):
    subjects = ("tombolo-cni", "tombolo-ipam", "together", "chained", "recovery", "crash", "devices")
    return [Suite(f"conformance {subject}", lambda s=subject: run_conformance(root, s)) for subject in subjects]


# ---- services for clients outside ------------------------------------------------------------------------------------

def run_with_namespaces(root, title, short, folder, timeout_s):
    """The script tests/FOLDER/main.py, which ends with 1 when one of the rows that it reports failed."""
    if os.geteuid() != 0:
        return [Outcome(title, "skipped", "needs root: it makes network namespaces")]
    with tempfile.TemporaryDirectory(prefix=f"tombolo-{folder}-") as place:
        report = os.path.join(place, "report.json")
        code, output = run_command(root, ["python3", f"tests/{folder}/main.py", "--report", report], timeout_s)
        try:
            with open(report, encoding="utf-8") as text:
                rows = [Outcome(f"{short}: {one['name']}", one["state"], one["detail"]) for one in json.load(text)]
        except (OSError, ValueError):
            rows = []
    if not rows or (code != 0 and not any(row.state == "failed" for row in rows)):
        rows.append(Outcome(f"{title} ended with {code}", "failed", tail(output)))
    return rows


def exposed_suites(root):
    return [Suite("services outside",
                  lambda: run_with_namespaces(root, "services outside", "services outside", "exposed", 240))]


# ---- address pools ---------------------------------------------------------------------------------------------------

def pools_suites(root):
    return [Suite("address pools", lambda: run_with_namespaces(root, "address pools", "pools", "pools", 500))]


# ---- pods of a real container runtime --------------------------------------------------------------------------------

def runtime_suites(root):
    return [Suite("pods of containerd",
                  lambda: run_with_namespaces(root, "pods of containerd", "containerd", "runtime", 300))]


# ---- the story -------------------------------------------------------------------------------------------------------

def run_story(root):
    if os.geteuid() != 0:
        return [Outcome("deploy/demo run", "skipped", "needs root: it makes network namespaces")]
    with tempfile.TemporaryDirectory(prefix="tombolo-story-") as folder:
        report = os.path.join(folder, "report.json")
        command = ["deploy/demo", "run", "--no-build", "--report", report]
        code, output = run_command(root, command, 600)
        try:
            with open(report, encoding="utf-8") as text:
                checks = json.load(text)["checks"]
        except (OSError, ValueError, KeyError):
            checks = []
    rows = [Outcome(f"story: {check['name']}", "passed" if check["ok"] else "failed", check.get("detail", ""))
            for check in checks]
    if code != 0 and not any(row.state == "failed" for row in rows):
        rows.append(Outcome(f"deploy/demo run ended with {code}", "failed", tail(output, 60)))
    return rows or [Outcome("deploy/demo run", "failed", "it made no check\n" + tail(output, 60))]


def story_suites(root):
    return [Suite("story", lambda: run_story(root), alone=True)]
