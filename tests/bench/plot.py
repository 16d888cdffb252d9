#!/usr/bin/env python3
"""plot.py: the curve of S8 as SVG: what a message and a login cost against the number of
users, of the edges and of the floor.

    plot.py [RESULTS] [OUT]      build/bench/results.json, build/bench/cost.svg
"""
import json
import math
import os
import sys

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 96
# Distinct without colour too: each line has its own dashes.
LINES = (("message", "message, edges with NATS and Redis", "#1f5fa8", ""),
         ("floor message", "message, floor", "#1f5fa8", "2 4"),
         ("login", "login, edges", "#b3541e", "8 4"),
         ("floor login", "login, floor", "#b3541e", "1 6"))


def points(results):
    """{line: [(users, us)]} of the cases of S8."""
    found = {}
    for case in results["cases"]:
        summary = case["summary"]
        if case["scenario"] != "S8" or not summary:
            continue
        users = summary["extra"]["users"]
        for line, value in (("message", summary["all_us"]), ("floor message", summary["floor_us"]),
                            ("login", summary["extra"].get("login_us")),
                            ("floor login", summary["floor_extra"].get("login_us"))):
            if value is not None:
                found.setdefault(line, []).append((users, value))
    return {line: sorted(values) for line, values in found.items()}


def nice(top):
    """The step of a scale up to `top` with four to ten lines."""
    step = 10 ** math.floor(math.log10(top))
    while top / step < 4:
        step /= 2
    return step


def svg(lines, machine):
    users = [x for values in lines.values() for x, _ in values]
    low, high = math.log(min(users)), math.log(max(users) * 1.0001)
    top = max(y for values in lines.values() for _, y in values) * 1.1
    step = nice(top)

    def at_x(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(value) - low) / max(high - low, 1e-9)

    def at_y(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    def text(x, y, words, anchor="middle", size=12):
        return '<text x="%.0f" y="%.0f" text-anchor="%s" font-size="%d">%s</text>' % (x, y, anchor, size, words)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" '
           'font-family="sans-serif" fill="#333">' % (WIDTH, HEIGHT),
           "<title>CPU time per message and per login against the number of users</title>",
           '<rect width="%d" height="%d" fill="#fff"/>' % (WIDTH, HEIGHT),
           text(LEFT, 24, "CPU time of the servers, microseconds", "start", 14)]
    for i in range(int(top / step) + 1):
        y = at_y(i * step)
        out.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (LEFT, y, WIDTH - RIGHT, y))
        out.append(text(LEFT - 8, y + 4, "%g" % (i * step), "end"))
    for value in sorted(set(users)):
        out.append(text(at_x(value), HEIGHT - BOTTOM + 18, "{:,}".format(int(value))))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 36, "users"))
    for number, (line, label, colour, dashes) in enumerate(LINES):
        if line not in lines:
            continue
        path = " ".join("%.1f,%.1f" % (at_x(x), at_y(y)) for x, y in lines[line])
        style = 'stroke="%s" stroke-width="2" stroke-dasharray="%s" fill="none"' % (colour, dashes)
        out.append('<polyline points="%s" %s/>' % (path, style))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (at_x(x), at_y(y), colour) for x, y in lines[line]]
        x, y = LEFT + (number % 2) * 320, HEIGHT - 38 + (number // 2) * 18
        out.append('<line x1="%d" y1="%d" x2="%d" y2="%d" %s/>' % (x, y - 4, x + 28, y - 4, style))
        out.append(text(x + 34, y, label, "start"))
    out.append(text(WIDTH - RIGHT, 24, "%s, %d cores" % (machine["cpu"], machine["cores"]), "end", 11))
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bench")
    source = sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, "results.json")
    target = sys.argv[2] if len(sys.argv) > 2 else os.path.join(folder, "cost.svg")
    with open(source) as file:
        results = json.load(file)
    lines = points(results)
    if not lines:
        print("%s has no S8: sh tests/bench/run.sh S8" % source, file=sys.stderr)
        return 1
    with open(target, "w") as out:
        out.write(svg(lines, results["machine"]))
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
