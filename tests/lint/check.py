#!/usr/bin/python3
"""check.py: rules of the tree that no compiler knows. Each rule first has to find fault
with a sample that breaks it: a rule that cannot fail is no rule.

Prints a line per rule and ends with `N passed, N failed`.
"""
import ast
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SKIPPED = {".git", "build", "node_modules", "__pycache__"}
TEXT = {".c", ".h", ".py", ".sh", ".md", ".txt", ".proto", ".lua", ".html", ".css", ".js", ".cmake", ".json",
        ".yaml", ".yml", ".supp", ""}

# From design: the only permitted directions. "system" stands for libc and POSIX.
ARROWS = {
    "lib/base": {"lib/base", "libuv", "yaml", "uthash"},
    "proto": {"proto", "protobuf-c"},
    "lib/store": {"lib/store", "lib/base", "proto", "libuv", "hiredis"},
    "lib/bus": {"lib/bus", "lib/base", "proto", "libuv", "nats"},
    "lib/client-c": {"lib/client-c", "proto", "protobuf-c", "libwebsockets", "libuv"},
    "lib/cli": {"lib/cli", "lib/client-c", "lib/base", "lib/store", "lib/bus", "proto", "protobuf-c", "libuv", "jansson"},
    "edge": {"edge", "lib/base", "proto", "lib/store", "lib/bus", "protobuf-c", "libuv", "libwebsockets",
             "jansson", "openssl", "uthash"},
    "sweeper": {"sweeper", "lib/base", "proto", "lib/store", "lib/bus", "protobuf-c", "libuv", "uthash"},
}
# Which header belongs to which third party.
PARTIES = [(r"uv\.h|uv/", "libuv"), (r"yaml\.h|cyaml/", "yaml"), (r"protobuf-c/|.*\.pb-c\.h", "protobuf-c"),
           (r"hiredis/|hiredis\.h|async\.h", "hiredis"), (r"nats/|nats\.h", "nats"),
           (r"libwebsockets", "libwebsockets"), (r"jansson\.h", "jansson"), (r"openssl/", "openssl"),
           (r"uthash\.h|utlist\.h|utarray\.h", "uthash"), (r"event2/|ev\.h|glib", "another event loop"),
           (r"cmocka\.h", "cmocka")]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)

# Third-party headers stand in as few files as can be.
NARROW = {"libwebsockets": 6, "hiredis": 3, "nats": 6}

TOO_LONG = 700  # lines of C: over 600 it is two ideas, and the margin is for reasons
FORBIDDEN_CALLS = re.compile(r"(?<![\w.>])(strcat|vsprintf|gets|strtok|tmpnam|mktemp|rand|"
                             r"srand|alloca|localtime|gmtime|asctime|ctime)\s*\(")
# Time is an argument; these are the files that ask a clock.
CLOCKS = re.compile(r"(?<![\w.>])(time|clock_gettime|gettimeofday|uv_hrtime|uv_now)\s*\(")
SUBJECTS = re.compile(r'"(?:node|heartbeat|unheard|event)\.(?:%|\*)|"sy:')


def module_of(path):
    """The directory an arrow starts from, or None."""
    for module in sorted(ARROWS, key=len, reverse=True):
        if path.startswith(module + "/"):
            return module
    return None


def party_of(header):
    for pattern, party in PARTIES:
        if re.match(pattern, header):
            return party
    return None


def arrows(path, text):
    """An include goes where the design has an arrow."""
    module = module_of(path)
    if module is None or not path.endswith((".c", ".h")):
        return []
    wrong = []
    for quote, header in INCLUDE.findall(text):
        target = party_of(header)
        if target is None and quote == '"':
            target = module_of(header)
            if target is None and header.startswith("switchyard/"):
                target = "lib/client-c"
            elif target is None and os.path.exists(os.path.join(ROOT, os.path.dirname(path), header)):
                target = module
            elif target is None:
                wrong.append("%s includes \"%s\": name files from the root of the tree" % (path, header))
                continue
        if target is not None and target not in ARROWS[module]:
            wrong.append("%s includes %s: %s must not depend on %s" % (path, header, module, target))
    return wrong


def short_files(path, text):
    """A C file over 600 lines is two ideas; tests may list more."""
    lines = text.count("\n")
    if path.endswith((".c", ".h")) and not path.startswith("tests/") and lines > TOO_LONG:
        return ["%s has %d lines" % (path, lines)]
    return []


def safe_calls(path, text):
    """No call that cannot be bounded, and no global state in disguise."""
    if not path.endswith((".c", ".h")) or path.startswith("tests/"):
        return []
    return ["%s calls %s()" % (path, call) for call in FORBIDDEN_CALLS.findall(without_comments(text))]


def time_is_an_argument(path, text):
    """Only the hosts and the clock ask what time it is."""
    allowed = re.match(r"lib/base/clock\.c|edge/(host|main|server|listener|ws|flush)|sweeper/(host|main)|lib/cli/|"
                       r"lib/client-c/|lib/bus/|lib/store/|tests/|lib/base/(log|rand)", path)
    if allowed or not path.endswith(".c"):
        return []
    return ["%s calls %s()" % (path, call) for call in CLOCKS.findall(without_comments(text))]


def one_place_for_names(path, text):
    """Subjects and Redis keys are built in proto/ and nowhere else."""
    if not path.endswith((".c", ".h")) or path.startswith(("proto/", "tests/", "lib/cli/")):
        return []
    return ["%s writes the name %s itself" % (path, found) for found in SUBJECTS.findall(without_comments(text))]


def once_only_headers(path, text):
    """A header is read once."""
    if path.endswith(".h") and "#pragma once" not in text and "#ifndef" not in text:
        return ["%s has no #pragma once" % path]
    return []


def purpose_first(path, text):
    """The first line of a C file tells what it is for."""
    if path.endswith((".c", ".h")) and not path.startswith("tests/") and not text.startswith(("//", "/*")):
        return ["%s does not begin with its purpose" % path]
    return []


def clean_text(path, text):
    """Unix lines, no trailing blanks, a newline at the end, tabs only where they must be."""
    wrong = []
    if "\r" in text:
        wrong.append("%s has carriage returns" % path)
    if text and not text.endswith("\n"):
        wrong.append("%s does not end with a newline" % path)
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith((" ", "\t")) and not path.endswith(".md"):
            wrong.append("%s:%d has blanks at its end" % (path, number))
        if "\t" in line and path.endswith((".c", ".h", ".py", ".js", ".lua", ".proto")):
            wrong.append("%s:%d has a tab" % (path, number))
    return wrong


def no_private_places(path, text):
    """No path of anybody's machine, and no secret that looks like one."""
    found = re.findall(r"(?<![\w.])/(?:home|root|Users|work)/[\w./-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----", text)
    return ["%s names %s" % (path, place) for place in found if not path.startswith("tests/unit/")]


def no_leftovers(path, text):
    """No conflict marks, no notes to self."""
    found = re.findall(r"^(?:<{7}|>{7}|={7}$)|\b(?:FIX[M]E|XX[X]|HAC[K])\b", text, re.M)
    return ["%s has %s" % (path, mark) for mark in found]


def python_parses(path, text):
    """Python of the tree is Python, with the standard library alone."""
    if not path.endswith(".py"):
        return []
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return ["%s: %s" % (path, error)]
    own = {name[:-3] for folder in (os.path.dirname(path), "tests/system")
           for name in os.listdir(os.path.join(ROOT, folder)) if name.endswith(".py")}
    wrong = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
            [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top not in own:
                wrong.append("%s imports %s" % (path, name))
    return wrong


RULES = [
    (arrows, "edge/x.c", '#include "sweeper/y.h"\n'),
    (arrows, "lib/base/x.c", "#include <hiredis/hiredis.h>\n"),
    (arrows, "lib/client-c/x.c", '#include "lib/base/log.h"\n'),
    (arrows, "proto/x.c", "#include <uv.h>\n"),
    (arrows, "edge/x.c", '#include "../proto/codec.h.in"\n'),
    (short_files, "edge/x.c", "\n" * (TOO_LONG + 1)),
    (safe_calls, "edge/x.c", "    strcat(a, b);\n"),
    (time_is_an_argument, "edge/router.c", "    now = time(NULL);\n"),
    (one_place_for_names, "edge/x.c", '    snprintf(s, n, "node.%s", id);\n'),
    (one_place_for_names, "edge/x.c", '    snprintf(s, n, "sy:user:{%s}", id);\n'),
    (once_only_headers, "edge/x.h", "int x;\n"),
    (purpose_first, "edge/x.c", "#include <stdio.h>\n"),
    (clean_text, "a.c", "int a;\r\n"),
    (clean_text, "a.c", "int a;"),
    (clean_text, "a.c", "int a; \n"),
    (no_private_places, "a.md", "see " + "/ho" + "me/somebody/notes\n"),
    (no_leftovers, "a.md", "<" * 7 + " mine\n"),
    (python_parses, "tests/system/x.py", "import numpy\n"),
    (python_parses, "tests/system/x.py", "def f(:\n"),
]


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


def tree():
    """(path, text) of every text file of ours."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("build-"))
        for name in sorted(names):
            full = os.path.join(folder, name)
            path = os.path.relpath(full, ROOT)
            extension = os.path.splitext(name)[1]
            if "corpus/" in path or "vectors/" in path or extension not in TEXT or os.path.islink(full):
                continue
            with open(full, "rb") as file:
                data = file.read()
            if b"\0" in data:
                continue
            yield path, data.decode("utf-8", "replace")


def check_narrow(files):
    """Third-party headers are included by few .c files, so that an upgrade touches few."""
    wrong = []
    for party, most in NARROW.items():
        users = [path for path, text in files if module_of(path) and path.endswith((".c", ".h"))
                 and any(party_of(header) == party for _, header in INCLUDE.findall(text))]
        if len(users) > most:
            wrong.append("%s is included by %d files, %d is the most: %s" % (party, len(users), most, " ".join(users)))
    return wrong


def git_files(*options):
    """What git lists; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", *options], capture_output=True)
    except FileNotFoundError:
        return []
    return [path.decode() for path in done.stdout.split(b"\0") if path]


def check_ignored(_):
    """Nothing that is built or installed is committed."""
    return ["%s is committed and ignored" % path for path in git_files("-ci", "--exclude-standard")]


def check_size(_):
    """No large file in the tree; it would stay in its history for good."""
    wrong = []
    for path in git_files("-co", "--exclude-standard"):
        full = os.path.join(ROOT, path)
        if os.path.isfile(full) and os.path.getsize(full) > 400000:
            wrong.append("%s has %d bytes" % (path, os.path.getsize(full)))
    return wrong


def check_executable(files):
    """What is started by name can be."""
    wrong = []
    for path, text in files:
        starts = text.startswith("#!")
        if starts and not os.access(os.path.join(ROOT, path), os.X_OK):
            wrong.append("%s has #! and is not executable" % path)
    return wrong


def main():
    files = list(tree())
    passed = failed = 0
    checks = []
    for rule in dict.fromkeys(rule for rule, _, _ in RULES):
        blind = [sample for other, path, sample in RULES if other is rule and not rule(path, sample)]
        wrong = ["finds no fault with %r" % sample for sample in blind]
        for path, text in files:
            wrong += rule(path, text)
        checks.append((rule, wrong))
    for check in (check_narrow, check_ignored, check_size, check_executable):
        checks.append((check, check(files)))
    for rule, wrong in checks:
        passed += not wrong
        failed += bool(wrong)
        print("  %s %s: %s" % ("failed" if wrong else "passed", rule.__name__, rule.__doc__.split("\n")[0]))
        for line in wrong:
            print("  | " + line)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
