#!/usr/bin/python3
"""generate.py: writes the reference pages that follow from the code.

    generate.py BIN     BIN: the directory of switchyard-edge and switchyard-sweeper

Settings come from `config doc` of the programs, close codes and reasons from
proto/tables.h, counters from edge/core.h and edge/health.c. tests/docs/check.py fails
when a page in the tree differs from what this writes.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
NOTE = "<!-- Written by tests/docs/generate.py. Do not edit: change the code and run it again. -->\n\n"


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def run(bin_dir, *argv):
    """What a program of ours prints; it must end well, and sees no settings of this shell."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")}
    done = subprocess.run([os.path.join(bin_dir, argv[0]), *argv[1:]], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise SystemExit("%s ended with %d: %s" % (" ".join(argv), done.returncode, done.stderr))
    return done.stdout


# ---- settings ----

ABOUT_SETTINGS = """A setting is taken from its flag, else its environment variable, else the settings file, else its
default. The flag of `section.name` is `--section-name`; any setting can also be given as
`--set section.name=value`. The file is YAML, named by `--config`, `-c` or `SWITCHYARD_CONFIG`; unknown
and repeated keys are refused. An empty environment variable counts as not set.

Durations need a unit (`250ms`, `10s`, `5m`, `2h`; only `0` may stand alone). Sizes are bytes or have
a unit (`512`, `64KiB`, `1MiB`). A secret may also be given as a file: `<VARIABLE>_FILE` holds the path, and
the last newline of the file is dropped. Secrets are never printed.

No setting is taken anew while the program runs. %s
"""
EDGE_RELOAD = "SIGHUP makes an edge read its TLS certificate and key again\n([how](../how-to/tls.md))."
SWEEPER_RELOAD = "Restart a sweeper to change it; another one takes over."
# Beside the table: what `check-config` holds against a set of settings.
EDGE_RULES = """
## Rules between settings

`switchyard-edge check-config` and the start refuse, with exit code 78:

- `nats.url` without `redis.url`, or the reverse: both make a cluster, neither an edge that runs alone;
- more than one worker without `nats.url` and `redis.url`, or with a `private.port` that leaves no room for theirs;
- `listen.tls_cert_file` without `listen.tls_key_file`, or the reverse;
- `auth.mode` `token` without `auth.hs256_secret`;
- a key shorter than 32 bytes, or two keys with the same key id;
- a `listen.host` that is not loopback (`127.*`, `::1`, `localhost`) without tokens, or without `origins.allowed`;
- an entry of `origins.allowed` that is neither `*` nor `scheme://host[:port]`.
"""


def settings_page(bin_dir, program, reload, rules=""):
    table = run(bin_dir, program, "config", "doc")
    if re.search(r"\| yes \|", table):
        raise SystemExit("%s has a reloadable setting: ABOUT_SETTINGS says that there is none" % program)
    return "# Settings of %s\n\n%s%s\n%s%s" % (program, NOTE, ABOUT_SETTINGS % reload, table, rules)


# ---- close codes and reasons ----

def rows(name, text):
    """The rows of an X macro: lists of their arguments."""
    found = re.findall(r"^\s*%s\(([A-Z_]+),\s*(\d+),\s*(.*)\)\s*\\?$" % name, text, re.M)
    if not found:
        raise SystemExit("no rows of %s in proto/tables.h" % name)
    return [(word, int(number), rest) for word, number, rest in found]


def strings(rest):
    return re.findall(r'"([^"]*)"', rest)


CODES = """# Close codes and reasons

%sBoth lists are rows of `proto/tables.h`, which makes the enumerations, the names in logs and counters, and
the texts from them.

## Close codes

Why an edge closed a WebSocket. The text travels in the close frame. *Come back* is what a client should do by
itself: **no** means that the same login would end the same way, **yes** that it should connect again, with a
growing and random pause, perhaps to another edge. `close_is_terminal` of `proto/tables.c` is the rule: 4000 to
4099 and 1002, 1003, 1007, 1009, 1010 are terminal.

| Code | Name | Text | Come back |
|---|---|---|---|
%s
`lost` (4111) is never sent: it is how an edge counts a connection that broke without a close frame. When a
client breaks the framing rules of RFC 6455, libwebsockets sends 1002 (or 1007, 1009) itself; the edge counts
that as `malformed`. Each code has a counter, `closed_<name>`
([counters](counters.md)).

## Reasons

Why a command was refused or a message not delivered: `Outcome.reason`, `Unreached.reason` and
`Failure.reason` of the [protocol](protocol.md). In JSON they are written as `REASON_OFFLINE` and so on.
*Retryable* says whether the same command may succeed if it is repeated soon.

| Number | Name | Text | Retryable |
|---|---|---|---|
%s
Only `timeout` leaves open whether the message arrived. Every other reason means: not delivered.
"""


def codes_page(_):
    text = read("proto/tables.h")
    listed = re.search(r"case (1002):.*?return true", read("proto/tables.c"), re.S).group(0)
    terminal = {int(code) for code in re.findall(r"case (\d+):", listed)}
    closes = ""
    for _, code, rest in rows("CLOSE", text):
        name, words = strings(rest)
        stay = code in terminal or 4000 <= code <= 4099
        back = "not sent" if name == "lost" else "as it likes" if name == "normal" else "no" if stay else "yes"
        closes += "| %d | `%s` | %s | %s |\n" % (code, name, words, back)
    reasons = ""
    for _, number, rest in rows("REASON", text):
        name, words = strings(rest)
        if number != 0:
            reasons += "| %d | `%s` | %s | %s |\n" % (number, name, words, "yes" if re.search(r",\s*true\s*,", rest) else "no")
    return CODES % (NOTE, closes, reasons)


# ---- counters ----

# Those of edge/health.c that are no row of EDGE_COUNTERS.
OTHER_COUNTERS = [
    ("node", "the node id"),
    ("live_sessions", "now: clients logged in or logging in"),
    ("links", "now: links this edge keeps in the directory, those being removed included"),
    ("pending_sends", "now: sends that wait for Redis or for another edge"),
    ("pending_bytes", "now: what they hold, bounded by `limits.pending_bytes`"),
    ("loop_max_ms", "longest turn of the loop since the start, milliseconds"),
    ("nats_published", "messages published to NATS; only in a cluster"),
    ("nats_received", "messages received from NATS; only in a cluster"),
    ("nats_losses", "NATS connections lost; only in a cluster"),
    ("connections", "now: WebSockets open"),
    ("accepted", "sockets accepted, both ports"),
    ("accept_waits", "times sockets waited since `connections.accept_rate` was used up"),
    ("refused_address", "sockets closed at accept: too many from their address"),
    ("refused_half_open", "sockets closed at accept: too many were no WebSocket yet"),
    ("refused_descriptors", "sockets closed at accept: no descriptor was left"),
    ("upgrades", "WebSockets opened"),
    ("upgrade_refusals", "requests for a WebSocket that were refused"),
    ("bytes_in", "payload bytes of WebSocket messages read"),
    ("bytes_out", "bytes of WebSocket frames written, before TLS"),
    ("messages_in", "whole WebSocket messages read"),
    ("frames_out", "WebSocket frames written"),
    ("writes", "calls that wrote them; frames_out / writes is how well they were joined"),
]
COUNTERS = """# Counters

%s`GET /v0/counters` on the private port answers one flat JSON object. It is for tests and for a look, not a
stable interface: names may change with any version. Counters start at 0 with the process and never go down;
those marked *now* are values of this moment.

    curl -s http://127.0.0.1:8001/v0/counters

| Name | What it counts |
|---|---|
%s
"""


def counters_page(_):
    core = dict(re.findall(r'^\s*COUNTER\((\w+),\s*"([^"]+)"\)', read("edge/core.h"), re.M))
    health = read("edge/health.c")
    health = health[health.index("put_server("):]
    named = set(re.findall(r'\\"(\w+)\\":', health))
    known = {name for name, _ in OTHER_COUNTERS}
    if not core or named != known:
        raise SystemExit("edge/health.c and OTHER_COUNTERS differ: %s" % sorted(named ^ known))
    table = OTHER_COUNTERS[:6] + list(core.items()) + OTHER_COUNTERS[6:]
    for _, code, rest in rows("CLOSE", read("proto/tables.h")):
        table.append(("closed_" + strings(rest)[0], "connections that ended with %d" % code))
    return COUNTERS % (NOTE, "\n".join("| `%s` | %s |" % row for row in table))


PAGES = {
    "docs/reference/config-edge.md":
        lambda bin_dir: settings_page(bin_dir, "switchyard-edge", EDGE_RELOAD, EDGE_RULES),
    "docs/reference/config-sweeper.md":
        lambda bin_dir: settings_page(bin_dir, "switchyard-sweeper", SWEEPER_RELOAD),
    "docs/reference/close-codes-and-reasons.md": codes_page,
    "docs/reference/counters.md": counters_page,
}


def generate(bin_dir):
    """{path: text} of every generated page."""
    return {path: make(bin_dir).rstrip("\n") + "\n" for path, make in PAGES.items()}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path, text in generate(sys.argv[1]).items():
        full = os.path.join(ROOT, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        print("wrote " + path)


if __name__ == "__main__":
    main()
