"""clang-tidy over the files of build/dev/compile_commands.json, with the checks of .clang-tidy.

A file takes about five seconds of a processor, so the plain run takes a few in the folders that are clean: of those
that changed since the branch left main, and of the rest, as the commit chooses. The lane `tidy` takes every file. What passed is remembered in
build/dev/tidy by the contents of the file, of all of our headers that it includes, and of .clang-tidy.
"""

import concurrent.futures
import hashlib
import json
import os
import subprocess

import suites

CLANG_TIDY = "clang-tidy-19"
CHANGED, OTHERS = 8, 4  # files at most in the plain run: about a minute of one processor
# Folders in which every file has passed: of these the plain run chooses. One is added when the lane finds nothing in it.
CLEAN = ("core", "core/records", "core/sqlite")
LIMIT_S = 600           # of one file
# REQUIRE is a loop that ends after its first round, which the check does not see.
IN_TESTS = "--checks=-bugprone-use-after-move"


def git(root, *arguments):
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def compiled(root):
    """Our own translation units: path from the root -> command line."""
    with open(os.path.join(root, "build", "dev", "compile_commands.json"), encoding="utf-8") as text:
        entries = json.load(text)
    found = {}
    for entry in entries:
        path = os.path.relpath(os.path.realpath(entry["file"]), os.path.realpath(root))
        if not path.startswith(("build/", "..")) and path.endswith(".cpp"):
            found[path] = entry["command"]
    return found


def included(root):
    """Path -> the files of ours that it was compiled from, as ninja remembers them."""
    output = subprocess.run(["ninja", "-C", os.path.join("build", "dev"), "-t", "deps"], cwd=root, capture_output=True,
                            text=True, check=False).stdout
    base = os.path.realpath(root)
    found, block = {}, []
    for line in output.splitlines() + [""]:
        if line.startswith("    "):
            path = os.path.relpath(os.path.realpath(os.path.join(root, "build", "dev", line.strip())), base)
            if not path.startswith(".."):
                block.append(path)
        elif not line.strip():
            for path in block[:1]:
                found[path] = block
            block = []
    return found


def changed(root):
    """Files that differ from where the branch left main; on main itself, from the commit before."""
    head = git(root, "rev-parse", "HEAD")
    base = next((found for name in ("origin/main", "main") if (found := git(root, "merge-base", "HEAD", name))), "")
    if not base or base == head:
        base = git(root, "rev-parse", "HEAD~1")
    names = git(root, "diff", "--name-only", base) if base else ""
    return set(names.splitlines())


def chosen(root, every):
    units = sorted(compiled(root))
    if every:
        return units
    units = [path for path in units if os.path.dirname(path) in CLEAN]
    commit = git(root, "rev-parse", "HEAD")
    order = sorted(units, key=lambda path: hashlib.sha256((commit + path).encode()).hexdigest())
    touched = changed(root)
    rest = [path for path in order if path not in touched]
    return [path for path in order if path in touched][:CHANGED] + rest[:OTHERS]


class Remembered:
    """What passed before, by content."""

    def __init__(self, root):
        self.root = root
        self.folder = os.path.join(root, "build", "dev", "tidy")
        os.makedirs(self.folder, exist_ok=True)
        self.commands = compiled(root)
        self.included = included(root)
        version = subprocess.run([CLANG_TIDY, "--version"], capture_output=True, text=True, check=True).stdout
        self.base = version + self.content(".clang-tidy")

    def content(self, path):
        try:
            with open(os.path.join(self.root, path), "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
        except OSError:
            return "absent"

    def place(self, path):
        """Nothing for a file that has not been built: nobody knows what it includes."""
        files = self.included.get(path)
        if files is None:
            return None
        whole = self.base + self.commands[path].replace(self.root, "") + "".join(f"{name}{self.content(name)}" for name in sorted(files))
        return os.path.join(self.folder, hashlib.sha256(whole.encode()).hexdigest())


def lint_one(root, path, remembered):
    place = remembered.place(path)
    if place and os.path.exists(place):
        return suites.Outcome(f"clang-tidy {path}", "passed")
    command = [CLANG_TIDY, "-p", os.path.join("build", "dev"), "--quiet", *([IN_TESTS] if path.endswith("_test.cpp") else []), path]
    code, output = suites.run_command(root, command, LIMIT_S)
    if code != 0:
        wanted = [line for line in output.splitlines() if not line.endswith(("warnings generated.", "warning generated."))]
        return suites.Outcome(f"clang-tidy {path}", "failed", suites.tail("\n".join(wanted)))
    if place:
        with open(place, "w", encoding="utf-8"):
            pass
    return suites.Outcome(f"clang-tidy {path}", "passed")


def run(root, every):
    remembered = Remembered(root)
    with concurrent.futures.ThreadPoolExecutor(max_workers=2 if every else 1) as pool:
        return list(pool.map(lambda path: lint_one(root, path, remembered), chosen(root, every)))


def lint_suites(root, every):
    return [suites.Suite("clang-tidy", lambda: run(root, every))]
