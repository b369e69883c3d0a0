#!/usr/bin/python3
"""Tells what of a server can be seen from here: open ports, what HTTPS gives without sign-in, which TLS it speaks.

Reads a question as JSON on standard input (zone, address, domain, open, shut) and writes results in the form of
pacs-verify as JSON. Nothing but Python's standard library: it runs on any machine.
"""

import http.client
import json
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

TIMEOUT_SECONDS = 3
# Shorter than the second until TCP knocks again: who knocks too often where only peers may is banned, we as well.
ONE_KNOCK_SECONDS = 0.9
HTTPS = 443
NOTHING_ANSWERS = (
    "\nNothing answers: the server is down, or it has banned this probe (see `sudo fail2ban-client banned` there)."
)
# What must not be had without a sign-in: a page, a file, DICOMweb, Orthanc's REST API.
CLOSED_PATHS = (
    "/pacs/",
    "/ohif/index.html",
    "/dicom-web/studies",
    "/patients",
    "/app/explorer.html",
    "/instances",
    "/system",
)


def answers(address, port, seconds):
    """Return whether somebody takes connections."""
    try:
        with socket.create_connection((address, port), seconds):
            return True
    except OSError:
        return False


def status_of(question, path):
    """Return the status of a request and the length of what came with it; no status where nothing came."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(question["address"], HTTPS, timeout=TIMEOUT_SECONDS, context=context)
    try:
        connection.request("GET", path, headers={"Host": question["domain"]})
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})", 0
    finally:
        connection.close()


def old_tls(address):
    """Return the old versions of TLS that the server agrees to."""
    agreed = []
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        try:
            with socket.create_connection((address, 443), TIMEOUT_SECONDS) as plain, context.wrap_socket(plain):
                agreed.append(version.name)
        except OSError:
            continue
    return agreed


def ports_that_answer(question):
    """Return those of the ports in question that take connections."""
    waits = dict.fromkeys(question["shut"], ONE_KNOCK_SECONDS) | dict.fromkeys(question["open"], TIMEOUT_SECONDS)
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(lambda port: answers(question["address"], port, waits[port]), waits)
        return {port for port, yes in zip(waits, found, strict=True) if yes}


def results(question):
    """Yield what was seen."""
    zone = question["zone"]
    if HTTPS in question["open"]:
        seen = {path: status_of(question, path) for path in CLOSED_PATHS}
        yield (
            f"From the {zone}, nothing can be had without signing in",
            all(status in {301, 302, 303, 307, 308, 401, 403} for status, _ in seen.values()),
            "\n".join(f"{path}: {status}, {length} bytes" for path, (status, length) in seen.items())
            + ("" if any(isinstance(status, int) for status, _ in seen.values()) else NOTHING_ANSWERS),
        )
        agreed = old_tls(question["address"])
        yield f"From the {zone}, TLS 1.0 and 1.1 are refused", not agreed, ", ".join(agreed) or "both refused"
    reached = ports_that_answer(question)
    yield (
        f"From the {zone}, the ports that must answer do, and no other of those tried",
        reached == set(question["open"]),
        ", ".join(
            f"{port} {'open' if port in reached else 'shut'}" for port in sorted({*question["open"], *question["shut"]})
        ),
    )


def main():
    """Answer the question."""
    question = json.load(sys.stdin)
    part = f"seen from the {question['zone']}"
    json.dump(
        [
            {"part": part, "promise": promise, "passed": passed, "evidence": evidence}
            for promise, passed, evidence in results(question)
        ],
        sys.stdout,
    )


if __name__ == "__main__":
    main()
