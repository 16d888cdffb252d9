#!/usr/bin/python3
"""run.py: the chat page in headless Chromium, on a cluster of its own.

Starts nats-server, redis-server, three edges and a sweeper, serves the page once more from an
ordinary HTTP server, and leaves the clicking to chat.js. Ends with `N passed, N failed`.
BUILD_DIR names the build to test; CHROMIUM the browser, if it is not on the PATH.
"""
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
import cluster  # noqa: E402  (its directory has just become known)

WEB = os.path.join(cluster.ROOT, "edge", "web")
MODULES = os.path.join(cluster.ROOT, "build", "browser")
LIMIT_S = 240


class Quiet(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory=WEB)

    def log_message(self, *_):
        pass


def install():
    """playwright-core at the version of package-lock.json, below build/."""
    os.makedirs(MODULES, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), MODULES)
    if not os.path.isdir(os.path.join(MODULES, "node_modules", "playwright-core")):
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=MODULES, check=True,
                       env=dict(os.environ, PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD="1"))
    shutil.copy(os.path.join(HERE, "chat.js"), MODULES)


def main():
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("no chromium here: set CHROMIUM\n0 passed, 1 failed")
        return 1
    install()
    elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    origin = "http://127.0.0.1:%d" % elsewhere.server_address[1]
    ours = cluster.Cluster()
    status = 1
    try:
        # Allowed by name, since one page comes from elsewhere and one edge is used by the other's page.
        ports = [cluster.free_port() for _ in range(3)]
        pages = ["http://127.0.0.1:%d" % port for port in ports]
        ours.start_nats()
        ours.start_redis()
        for name, port in zip(("edge-a", "edge-b", "edge-c"), ports):
            ours.start_edge(name, listen__port=port, web__root=WEB, origins__allowed=" ".join([origin] + pages))
        ours.start_sweeper()
        for edge in ours.edges.values():
            edge.wait_ready()
        doomed = ours["edge-a"]
        doomed.expected_exit = -signal.SIGKILL  # chat.js kills it near its end
        leaving = ours["edge-c"]
        leaving.expected_exit = 0  # chat.js tells it to leave
        done = subprocess.run(["node", "chat.js", browser, ours.directory, origin, *pages[:2], str(doomed.pid),
                               pages[2], str(leaving.pid)], cwd=MODULES, timeout=LIMIT_S)
        status = done.returncode
    finally:
        complaints = ours.stop()
        elsewhere.shutdown()
    if complaints:
        print("\n".join(complaints))
        print("0 passed, 1 failed")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
