"""Chapter 3: the names of services, asked for from inside a pod as any program would."""

import os
import sys
import time

import lab
from chapter_pods import expect
from chapter_services import asked, service_address
from daemons import DNS4
from pods import HERE, totals
from shell import run

MUSL_SOURCE = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
  struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
  int error = getaddrinfo(argv[argc - 1], 0, &hints, &found);
  if (error) { printf("%s\n", gai_strerror(error)); return 1; }
  for (; found; found = found->ai_next) {
    char text[64];
    getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
    puts(text);
  }
  return 0;
}
"""


def names_resolve_everywhere(demo):
    """dig and getent resolve rebel-base, rebel-base.default and rebel-base.default.svc.clusterset.local"""
    pod = demo.pod("east", "x-wing")
    seen = []
    for name in ("rebel-base", "rebel-base.default", "rebel-base.default.svc.clusterset.local"):
        dug = [sorted(pod.run("dig", "+search", "+short", name, kind).split()) for kind in ("A", "AAAA")]
        got = sorted({line.split()[0] for line in pod.run("getent", "ahosts", name).splitlines()})
        expect(dug[0] and dug[1] and got == sorted(dug[0] + dug[1]), f"{name}: dig {dug}, getent {got}")
        seen.append(f"{name}: {' '.join(got)}")
    return "\n".join(seen)


def musl_resolves(demo):
    """a program linked with musl resolves the same names"""
    source, program = os.path.join(lab.STATE, "resolve.c"), os.path.join(lab.STATE, "resolve")
    with open(source, "w", encoding="utf-8") as out:
        out.write(MUSL_SOURCE)
    run("musl-gcc", "-static", "-O1", "-o", program, source)
    pod = demo.pod("east", "x-wing")
    for name in ("rebel-base", "rebel-base.default", "rebel-base.default.svc.clusterset.local"):
        expect(len(pod.run(program, name).split()) == 2, f"{name} has not two addresses")
    return "rebel-base: " + " ".join(pod.run(program, "rebel-base").split())


def names_work_as_urls(demo):
    """requests by name are answered by both clusters"""
    return f"http://rebel-base/: {asked(demo, 'http://rebel-base/')}"


def imported_name_resolves(demo):
    """the imported service has a name in east"""
    return f"http://echo-base/: {asked(demo, 'http://echo-base/', count=5)}"


def other_records(demo):
    """SRV, PTR and TXT records; a name that is not there is NXDOMAIN with the zone's SOA"""
    pod = demo.pod("east", "x-wing")
    srv = pod.run("dig", "+short", "_http._tcp.rebel-base.default.svc.cluster.local", "SRV").strip()
    expect(srv.endswith("80 rebel-base.default.svc.cluster.local."), f"SRV: {srv}")
    ptr = pod.run("dig", "+short", "-x", service_address(demo)).strip()
    expect(ptr == "rebel-base.default.svc.cluster.local.", f"PTR: {ptr}")
    versions = [pod.run("dig", "+short", f"dns-version.{zone}", "TXT").strip() for zone in ("cluster.local", "clusterset.local")]
    expect(versions == ['"1.1.0"', '"1.0.0"'], f"dns-version: {versions}")
    missing = pod.run("dig", "no-such.default.svc.clusterset.local")
    expect("status: NXDOMAIN" in missing and "SOA" in missing, missing)
    return f"SRV {srv}\nPTR {ptr}\ndns-version {' '.join(versions)}"


def names_during_a_restart(demo):
    """how long names are away while the daemon of a node restarts"""
    daemon = demo.daemons["east", "n1"]
    asker = demo.pod("east", "x-wing").open(sys.executable, os.path.join(HERE, "names.py"), DNS4,
                                            "rebel-base.default.svc.cluster.local")
    try:
        time.sleep(0.3)
        daemon.stop()
        daemon.start()
        daemon.wait_ready()
        time.sleep(0.3)
    finally:
        seen = totals(asker)
    expect(seen["answered"] > 0 and seen["longest_gap_ms"] < 10_000, f"{seen}")
    return f"away for {seen['longest_gap_ms']} ms ({seen['answered']} of {seen['asked']} questions answered)"


CHECKS = [names_resolve_everywhere, musl_resolves, names_work_as_urls, imported_name_resolves, other_records,
          names_during_a_restart]
