"""Configures and builds a CMake preset; prints one line, and the compiler's words only when it fails."""

import os
import subprocess
import sys
import time


def build(root, preset, targets=()):
    """No targets: all of them. Ends the program when the build fails."""
    folder = os.path.join(root, "build", preset)
    os.makedirs(folder, exist_ok=True)
    log = os.path.join(folder, "build.log")
    started = time.monotonic()
    commands = [["cmake", "--preset", preset], ["cmake", "--build", folder, *(f"--target={name}" for name in targets)]]
    with open(log, "w", encoding="utf-8") as out:
        for command in commands:
            if subprocess.run(command, cwd=root, stdout=out, stderr=subprocess.STDOUT, check=False).returncode != 0:
                out.flush()
                with open(log, encoding="utf-8", errors="replace") as text:
                    sys.stdout.writelines(text.readlines()[-60:])
                sys.exit(f"build of preset {preset} failed (whole log: {os.path.relpath(log, root)})")
    print(f"built {preset} in {time.monotonic() - started:.0f} s", flush=True)
