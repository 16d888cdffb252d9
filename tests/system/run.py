#!/usr/bin/python3
"""run.py: the system tests, several classes at a time; they wait more than they work.

    run.py [-j N] [--only PATTERN] [--list]

Prints a line per test and ends with `N passed, N failed, N skipped`. Exit status 0
only if something ran and nothing failed. BUILD_DIR and SY_TIME_SCALE: see cluster.py.
"""
import argparse
import concurrent.futures
import glob
import importlib
import os
import re
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
# A class that has not ended after this many seconds (times the scale) is stuck.
CLASS_LIMIT_S = 240
RESULT = re.compile(r"^RESULT (passed|failed|skipped) ([0-9.]+) (\S+) ?(.*)$")


class Reporter(unittest.TestResult):
    """Prints RESULT lines for the parent process."""

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()
        self.verdict = "passed"
        self.note = ""

    def _bad(self, test, error):
        self.verdict = "failed"
        print("%s\n%s" % (test.id(), self._exc_info_to_string(error, test)), flush=True)
        if not hasattr(self, "begin") or not isinstance(test, unittest.TestCase):
            # From setUpClass or tearDownClass: counts as one test.
            print("RESULT failed 0.0 %s" % test.id().replace(" ", ""), flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        self._bad(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._bad(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.verdict = "failed"
            print("%s\n%s" % (subtest.id(), self._exc_info_to_string(err, test)), flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if isinstance(test, unittest.TestCase):
            self.verdict, self.note = "skipped", reason
        else:
            print("RESULT skipped 0.0 %s %s" % (test.id().replace(" ", ""), reason), flush=True)

    def stopTest(self, test):
        super().stopTest(test)
        print("RESULT %s %.1f %s %s" % (self.verdict, time.monotonic() - self.begin, test.id(), self.note),
              flush=True)


def classes(here=HERE, pattern="test_*.py"):
    sys.path.insert(0, here)
    for path in sorted(glob.glob(os.path.join(here, pattern))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, value in sorted(vars(module).items()):
            if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
                names = unittest.defaultTestLoader.getTestCaseNames(value)
                if names:
                    yield "%s.%s" % (module.__name__, name), names


def run_class(name, wanted):
    """In a child: one class."""
    sys.path.insert(0, HERE)
    tests = unittest.defaultTestLoader.loadTestsFromNames(["%s.%s" % (name, test) for test in wanted])
    result = Reporter()
    tests.run(result)
    return 0 if result.wasSuccessful() else 1


groups = set()  # process groups of the classes that run, each with its servers


def end_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def end_all(number, _):
    for group in list(groups):
        end_group(group)
    os._exit(128 + number)


def supervise(name, wanted, limit, program=os.path.abspath(__file__)):
    begin = time.monotonic()
    child = subprocess.Popen([sys.executable, program, "--class", name, *wanted],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                             start_new_session=True)
    groups.add(child.pid)
    try:
        output, status = child.communicate(timeout=limit)[0], child.returncode
    except subprocess.TimeoutExpired:
        end_group(child.pid)
        output, status = child.communicate()[0], -1
        output += "\n%s: not done after %.0f s\n" % (name, time.monotonic() - begin)
    end_group(child.pid)  # nothing of it stays, whatever became of it
    groups.discard(child.pid)
    results = [RESULT.match(line).groups() for line in output.splitlines() if RESULT.match(line)]
    rest = "\n".join(line for line in output.splitlines() if not RESULT.match(line))
    failed = any(result[0] == "failed" for result in results)
    skipped_all = any(result[0] == "skipped" for result in results) and status == 0
    if (status != 0 and not failed) or (len(results) < len(wanted) and not failed and not skipped_all):
        results.append(("failed", "0.0", name, "ended with status %d" % status))
        failed = True
    return results, rest if failed else ""


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("-j", type=int, default=4)
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--class", dest="one")
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()
    if options.one:
        return run_class(options.one, options.tests)

    chosen = []
    for name, tests in classes():
        wanted = [test for test in tests if re.search(options.only, "%s.%s" % (name, test))]
        if wanted:
            chosen.append((name, wanted))
    if options.list:
        for name, tests in chosen:
            print("\n".join("%s.%s" % (name, test) for test in tests))
        return 0
    scale = float(os.environ.get("SY_TIME_SCALE", "1"))
    # What wants the machine for itself goes last and alone.
    heavy = {name for name, _ in chosen if name.startswith(("test_swarm", "test_start_order"))}
    signal.signal(signal.SIGINT, end_all)
    signal.signal(signal.SIGTERM, end_all)
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def report(outcome):
        results, rest = outcome
        for verdict, seconds, test, note in results:
            counts[verdict] += 1
            print("  %-7s %6ss  %s %s" % (verdict, seconds, test, note), flush=True)
        if rest.strip():
            print("  | " + "\n  | ".join(rest.strip().splitlines()), flush=True)

    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        waiting = [pool.submit(supervise, name, tests, CLASS_LIMIT_S * scale)
                   for name, tests in chosen if name not in heavy]
        for done in concurrent.futures.as_completed(waiting):
            report(done.result())
    for name, tests in chosen:
        if name in heavy:
            report(supervise(name, tests, CLASS_LIMIT_S * scale))
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % counts)
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
