"""deploy/demo: two clusters on this machine. See deploy/demo for the commands."""

import argparse
import os
import signal
import sys

import demo
import lab
import pods
import story
from shell import Failed


def parse(words):
    parser = argparse.ArgumentParser(prog="deploy/demo")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "up"):
        command = commands.add_parser(name)
        command.add_argument("--no-build", action="store_true")
        command.add_argument("--report", metavar="FILE", help="the checks as JSON")
        if name == "run":
            command.add_argument("--chapter", action="append", metavar="TITLE", choices=[title for title, _ in story.CHAPTERS],
                                 help="this one only; may be given several times")
    commands.add_parser("down")
    commands.add_parser("status")
    commands.add_parser("env").add_argument("cluster", choices=lab.CLUSTERS)
    execute = commands.add_parser("exec")
    execute.add_argument("pod", metavar="CLUSTER/NAMESPACE/POD")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser.parse_args(words)


def tell_story(report, titles):
    """Builds the clusters, runs every check, and takes all away again, whatever happens."""
    lab.require_machine()
    if lab.is_up():
        raise Failed("the demo is up: end it first (deploy/demo down)")
    lab.remove_everything()
    try:
        return story.tell(demo.build(), report, titles)
    finally:
        remove_undisturbed()


def remove_undisturbed():
    """Takes all away; who interrupts twice does not stop that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lab.remove_everything()
    lab.unlock()


def main():
    arguments = parse(sys.argv[1:])
    # So that an interrupted run cleans up too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    try:
        if arguments.command in ("run", "up", "down"):
            lab.lock()
        if arguments.command == "run":
            return tell_story(arguments.report, arguments.chapter)
        if arguments.command == "up":
            lab.require_machine()
            lab.remove_everything()
            try:
                demo.build()
            except BaseException:
                remove_undisturbed()
                raise
            return demo.show_status()
        if arguments.command == "down":
            return remove_undisturbed()
        if not lab.is_up():
            raise Failed("the demo is not up (deploy/demo up)")
        if arguments.command == "status":
            return demo.show_status()
        if arguments.command == "env":
            return demo.show_environment(arguments.cluster)
        pod = pods.find(arguments.pod)
        command = pod.command(*(arguments.words or ["sh"]))
        os.execvp(command[0], command)
    except Failed as error:
        print(f"deploy/demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
