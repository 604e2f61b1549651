"""Running commands: every failure names the command and what it printed."""

import os
import subprocess
import time


class Failed(Exception):
    """Something did not go as it should; the text says what."""


def run(*command, timeout_s=30, check=True, text_in=None, environment=None):
    """Runs a command to its end and returns its standard output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, input=text_in, check=False,
                              errors="replace", env={**os.environ, **(environment or {})})
    except FileNotFoundError as error:
        raise Failed(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"'{' '.join(command)}' took over {timeout_s} s") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise Failed(f"'{' '.join(command)}' ended with {done.returncode}: {said}")
    return done.stdout


def code_of(*command, timeout_s=30, text_in=None, environment=None):
    """(exit code, standard output, standard error)"""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, input=text_in, check=False,
                          errors="replace", env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout, done.stderr


def wait_until(what, condition, timeout_s=20.0, every_s=0.05):
    """Waits until condition() is true and returns it; the last exception is part of the failure."""
    deadline = time.monotonic() + timeout_s
    last = ""
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except Failed as error:
            last = f" ({error})"
        time.sleep(every_s)
    raise Failed(f"{what}: not within {timeout_s:g} s{last}")
