"""The IPAM benchmark, part by part; each part is a module beside this one with a function run()."""

import importlib
import sys

PARTS = ["ipam_allocator", "ipam_cni", "ipam_recovery", "ipam_whereabouts"]


def main():
    return 1 if any([importlib.import_module(part).run() for part in PARTS]) else 0


if __name__ == "__main__":
    sys.exit(main())
