#!/usr/bin/python3
"""check.py: do the docs still tell the truth?

    check.py BIN     BIN: the directory of switchyard, switchyard-edge and switchyard-sweeper

Each rule first has to find fault with a sample that breaks it: a rule that cannot fail is
no rule. Prints a line per rule and ends with `N passed, N failed`.
"""
import glob
import os
import re
import subprocess
import sys

import generate

ROOT = generate.ROOT
TOP_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
INDEX = "docs/README.md"
LOGS = "docs/how-to/read-the-logs.md"
KEYS = "docs/reference/redis-keys.md"
SUBJECTS = "docs/reference/nats-subjects.md"
PROTOCOL = "docs/reference/protocol.md"
CLI = "docs/reference/cli.md"
PROGRAMS = ("switchyard-edge", "switchyard-sweeper", "switchyard")
COMMANDS = ("chat", "send", "listen", "nodes", "where")
SOURCES = (".c", ".h", ".proto", ".lua", ".py", ".sh", ".js", ".cmake", ".txt", ".json")
TICKS = re.compile(r"`([^`\n]+)`")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def files_of(*folders):
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(ROOT, folder, "**", "*"), recursive=True)):
            if path.endswith(SOURCES) and "/corpus/" not in path and "/vectors/" not in path and os.path.isfile(path):
                yield os.path.relpath(path, ROOT)


class Facts:
    """What the code says."""

    def __init__(self, bin_dir):
        self.generated = generate.generate(bin_dir)
        text = "\n".join(read(path) for path in
                         [*files_of("edge", "lib", "proto", "sweeper", "compose", "tests"), "CMakeLists.txt",
                          "CMakePresets.json", "edge/web/index.html"]
                         if not path.startswith("tests/docs/"))
        self.words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))
        self.events = {}
        for path in files_of("edge", "lib", "sweeper"):
            if path.startswith("lib/base/log"):
                continue
            for level, names in re.findall(r"\blog_(error|warn|info|debug)\(([^,]*),", read(path)):
                for name in re.findall(r'"([a-z_]+)"', names):
                    self.events.setdefault(name, set()).add(level)
        head = re.match(r"(?://.*\n)+", read("proto/keys.h")).group(0)
        self.keys = set(re.findall(r"sy:[\w:{}<>]*[\w}]", head))
        head = re.match(r"(?://.*\n)+", read("proto/subject.h")).group(0)
        self.subjects = set(re.findall(r"^//   ([a-z][\w.<>]*)  ", head, re.M))
        self.help = {}
        for argv in [(name, "--help") for name in PROGRAMS] + [("switchyard", name, "--help") for name in COMMANDS]:
            self.help[" ".join(argv[:-1])] = generate.run(bin_dir, *argv)
        usage = subprocess.run([os.path.join(bin_dir, "switchyard-edge"), "nonsense"], capture_output=True, text=True)
        self.help["switchyard-edge"] += usage.stderr
        for script in ("tests/run.sh", "compose/demo.sh"):
            self.help["sh " + script] = "\n".join(line for line in read(script).splitlines() if line.startswith("#"))
        tables = [self.generated["docs/reference/config-%s.md" % name] for name in ("edge", "sweeper")]
        self.settings = set(re.findall(r"^\| `([a-z0-9_.]+)` \|", "\n".join(tables), re.M))
        self.sections = {name.partition(".")[0] for name in self.settings}
        text = "\n".join(read(path) for path in files_of("edge", "lib", "sweeper", "compose"))
        self.variables = set(re.findall(r"SWITCHYARD_[A-Z0-9_]+", "\n".join(tables) + text))


# ---- rules: (pages, facts) -> faults ----

def generated_pages(pages, facts):
    """Pages that follow from the code are as the code has it."""
    return ["%s is stale: run tests/docs/generate.py BIN" % path for path, text in facts.generated.items()
            if pages.get(path) != text]


def anchor(heading):
    """As forges make it of a heading."""
    text = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower())
    return text.replace(" ", "-")


def without_code(text):
    return re.sub(r"^```.*?^```$|^ {4}.*$", "", text, flags=re.S | re.M)


def links_of(path, text):
    """(target path, anchor, as written) of each relative link."""
    for written in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if not re.match(r"[a-z]+:", written):
            target, _, fragment = written.partition("#")
            folder = os.path.dirname(path)
            yield os.path.normpath(os.path.join(folder, target)) if target else path, fragment, written


def links(pages, facts):
    """Every relative link leads to a file, and to a heading where it names one."""
    wrong = []
    for path, text in pages.items():
        for target, fragment, written in links_of(path, text):
            if target not in pages and not os.path.exists(os.path.join(ROOT, target)):
                wrong.append("%s: %s leads nowhere" % (path, written))
            elif fragment and fragment not in map(anchor, re.findall(r"^#+ (.*)$", pages.get(target, ""), re.M)):
                wrong.append("%s: %s names no heading" % (path, written))
    return wrong


def index(pages, facts):
    """The index leads to every page of docs/."""
    reached = {target for target, _, _ in links_of(INDEX, pages[INDEX])} | {INDEX}
    return ["%s is not in %s" % (path, INDEX) for path in pages if path.startswith("docs/") and path not in reached]


def redis_keys(pages, facts):
    """Every key pattern has its row, and no row is of a key that is not there."""
    named = {name for name in TICKS.findall(pages[KEYS]) if name.startswith("sy:")}
    patterns = {name for name in named if "<" in name or "{" not in name or name.startswith("sy:{")}
    return ["%s does not have %s" % (KEYS, name) for name in sorted(facts.keys - named)] + \
        ["%s has %s, proto/keys.h has not" % (KEYS, name) for name in sorted(patterns - facts.keys)]


def nats_subjects(pages, facts):
    """Every subject has its row, and no row is of a subject that is not there."""
    table = re.search(r"^\| Subject \|.*\n(?:\|.*\n?)+", pages[SUBJECTS], re.M)
    named = set(re.findall(r"^\| `([^`]+)` \|", table.group(0), re.M)) if table else set()
    return ["%s does not have %s" % (SUBJECTS, name) for name in sorted(facts.subjects - named)] + \
        ["%s has %s, proto/subject.h has not" % (SUBJECTS, name) for name in sorted(named - facts.subjects)]


def log_events(pages, facts):
    """Every event above debug is explained, and no event that is explained is gone."""
    named = {}
    for table in re.findall(r"^\| Event \|.*\n(?:\|.*\n?)+", pages[LOGS], re.M):
        for names, levels in re.findall(r"^\| (`[^|]*) \| ([a-z, ]+) \|", table, re.M):
            for name in TICKS.findall(names):
                named[name] = set(levels.split(", "))
    wrong = ["%s does not explain %s" % (LOGS, name) for name, levels in sorted(facts.events.items())
             if levels != {"debug"} and name not in named]
    for name, levels in sorted(named.items()):
        if name not in facts.events:
            wrong.append("%s explains %s, which nothing logs" % (LOGS, name))
        elif levels != facts.events[name]:
            wrong.append("%s has %s as %s, the code as %s" % (LOGS, name, sorted(levels), sorted(facts.events[name])))
    return wrong


def names(pages, facts):
    """A name with an underscore (counter, event, field, function) is a name in the code."""
    wrong = []
    for path, text in pages.items():
        # Decisions also name what was rejected.
        if path in facts.generated or path.startswith("docs/decisions/"):
            continue
        for span in TICKS.findall(without_code(text)):
            for name in re.findall(r"(?<![\w./<-])[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+(?![\w./>-])", span):
                if name not in facts.words and not name.startswith("SWITCHYARD_"):
                    wrong.append("%s: `%s` is not in the code" % (path, name))
    return wrong


def settings(pages, facts):
    """A setting or SWITCHYARD_ variable that is named exists."""
    wrong = []
    for path, text in pages.items():
        for span in TICKS.findall(without_code(text)):
            if re.fullmatch(r"[a-z]+(\.[a-z0-9_]+)+", span) and span.partition(".")[0] in facts.sections and \
                    span not in facts.settings and not os.path.splitext(span)[1] in SOURCES + (".md",):
                wrong.append("%s: there is no setting `%s`" % (path, span))
        for name in re.findall(r"\bSWITCHYARD_[A-Z0-9_]+[A-Z0-9]\b", text):
            if name not in facts.variables and re.sub("_FILE$", "", name) not in facts.variables:
                wrong.append("%s: there is no variable %s" % (path, name))
    return wrong


def paths(pages, facts):
    """A path of the tree that is named exists."""
    wrong = []
    for path, text in pages.items():
        for span in TICKS.findall(without_code(text)):
            if re.fullmatch(r"(docs|edge|lib|proto|sweeper|tests|compose|\.ci)/[\w./*-]*", span) and \
                    not glob.glob(os.path.join(ROOT, span)):
                wrong.append("%s: there is no %s" % (path, span))
    return wrong


def command_of(line):
    """(program as in Facts.help, its flags), or None."""
    line = re.sub(r"^\s*(\$ )?((\w+=\S+ +)|nohup )*", "", line).partition(" | ")[0].partition(" #")[0]
    line = re.sub(r"^(\"?\$[A-Za-z{}]+/|build/\w+/bin/|\./)", "", line)
    words = line.split()
    if not words:
        return None
    program = " ".join(words[:2]) if words[0] in ("sh", "switchyard") else words[0]
    if program.startswith("switchyard ") and words[1] not in COMMANDS:
        program = "switchyard"
    return program, [word.partition("=")[0] for word in words[1:] if re.match(r"--[a-z]", word)]


def command_lines(pages, facts):
    """Commands that are shown take the flags they are shown with."""
    wrong = []
    for path, text in pages.items():
        joined = re.sub(r"\\\n\s*", " ", text)
        shown = re.findall(r"^ {4}(\S.*)$", joined, re.M) + TICKS.findall(joined)
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```$", joined, re.S | re.M):
            shown += block.splitlines()
        for line in shown:
            found = command_of(line)
            if found is None or found[0] not in facts.help:
                continue
            program, flags = found
            if program == "switchyard" and re.match(r"switchyard [a-z]", line.strip()) and \
                    line.split()[1] not in ("version", "help"):
                wrong.append("%s: switchyard has no command '%s'" % (path, line.split()[1]))
            known = set(re.findall(r"--[a-z][a-z0-9-]*", facts.help[program]))
            wrong += ["%s: %s has no flag %s" % (path, program, flag) for flag in flags if flag not in known]
    return wrong


def cli_is_whole(pages, facts):
    """The page of the command line has every flag and command of switchyard."""
    wrong = []
    for command in COMMANDS:
        if "## switchyard %s\n" % command not in pages[CLI]:
            wrong.append("%s does not have switchyard %s" % (CLI, command))
        for flag in re.findall(r"--[a-z][a-z-]*", facts.help["switchyard " + command]):
            if "`%s" % flag not in pages[CLI]:
                wrong.append("%s does not have %s of switchyard %s" % (CLI, flag, command))
    usage = facts.help["switchyard-edge"]
    for word in re.findall(r"^(?:usage:)? +switchyard-edge ([a-z-]+)", usage, re.M):
        if "`switchyard-edge %s" % word not in pages[CLI]:
            wrong.append("%s does not have switchyard-edge %s" % (CLI, word))
    return wrong


def protocol_is_whole(pages, facts):
    """Every message, field and enumeration value of the two protocols is in its page."""
    wrong = []
    for path, page in (("proto/switchyard/v1/client.proto", PROTOCOL),
                       ("proto/switchyard/bus/v1/bus.proto", SUBJECTS)):
        text = re.sub(r"//.*", "", read(path))
        spans = " ".join(TICKS.findall(pages[page]))
        headings = " ".join(re.findall(r"^#+ (.*)$", pages[page], re.M))
        wanted = re.findall(r"^(?:message|enum) (\w+)", text, re.M)
        wanted += re.findall(r"(\w+) = \d+;", text)
        # Reasons have a page of their own.
        wrong += ["%s does not have %s of %s" % (page, name, path) for name in wanted
                  if not name.startswith("REASON_") and not name.endswith("_UNSPECIFIED")
                  and not re.search(r"\b%s\b" % name, spans + " " + headings)]
    return wrong


RULES = [
    (generated_pages, "docs/reference/counters.md", "# Counters\n"),
    (links, "docs/x.md", "[x](nowhere.md)\n"),
    (links, "docs/x.md", "[x](README.md#no-such-heading)\n"),
    (index, "docs/x.md", "# Forgotten\n"),
    (redis_keys, KEYS, "`sy:nodes`\n"),
    (redis_keys, KEYS, "`sy:mailbox:{<user>}`\n"),
    (nats_subjects, SUBJECTS, "| Subject |\n|---|\n| `event.node_down` |\n"),
    (nats_subjects, SUBJECTS, "| Subject |\n|---|\n| `room.<token>` |\n"),
    (log_events, LOGS, "| Event | Level |\n|---|---|\n| `edge_ready` | info |\n"),
    (log_events, LOGS, "| Event | Level |\n|---|---|\n| `edge_flies` | info |\n"),
    (names, "docs/x.md", "the counter `messages_eaten`\n"),
    (settings, "docs/x.md", "set `listen.prot`\n"),
    (settings, "docs/x.md", "    SWITCHYARD_LISTEN_PROT=1 switchyard-edge\n"),
    (paths, "docs/x.md", "see `edge/no_such_file.c`\n"),
    (command_lines, "docs/x.md", "    switchyard send --too bob hi\n"),
    (command_lines, "docs/x.md", "```sh\nbuild/release/bin/switchyard-edge --listen-prot 1\n```\n"),
    (command_lines, "docs/x.md", "run `switchyard sned`\n"),
    (command_lines, "docs/x.md", "    sh tests/run.sh --quick\n"),
    (cli_is_whole, CLI, "# Command line\n"),
    (protocol_is_whole, PROTOCOL, "# Protocol\n"),
]


def load():
    found = [path for path in TOP_PAGES if os.path.exists(os.path.join(ROOT, path))]
    found += [os.path.relpath(path, ROOT)
              for path in sorted(glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True))]
    return {path: read(path) for path in found}


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(__doc__)
    facts = Facts(os.path.abspath(sys.argv[1]))
    pages = load()
    passed = failed = 0
    wrong_pages = ["%s is missing" % path for path in (*TOP_PAGES, INDEX, LOGS, KEYS, SUBJECTS, PROTOCOL, CLI)
                   if path not in pages]
    for path in (INDEX, LOGS, KEYS, SUBJECTS, PROTOCOL, CLI):
        pages.setdefault(path, "")
    results = [("pages: all are there", wrong_pages)]
    for rule in dict.fromkeys(rule for rule, _, _ in RULES):
        wrong = rule(pages, facts)
        for other, path, sample in RULES:
            if other is rule and len(set(rule({**pages, path: sample}, facts)) - set(wrong)) == 0:
                wrong.append("finds no fault with %r" % sample)
        results.append(("%s: %s" % (rule.__name__, rule.__doc__), wrong))
    for title, wrong in results:
        passed += not wrong
        failed += bool(wrong)
        print("  %s %s" % ("failed" if wrong else "passed", title))
        for line in wrong:
            print("  | " + line)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
