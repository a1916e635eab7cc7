#!/usr/bin/env python3
"""What `penumbra compare` shows, read back by other parsers: the page as XML and as HTML, the table as text, both against the
numbers they were made from; and docs/shadow-vs-nested.md against the workloads that there are.

Usage: compare.py PROGRAM COMPARE_SHOW [unittest options]
"""

import html.parser
import json
import math
import os
import re
import statistics
import subprocess
import sys
import unicodedata
import unittest
import xml.etree.ElementTree as xml

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.abspath(sys.argv.pop(1))
SHOW = os.path.abspath(sys.argv.pop(1))
INTERPRETED, LAB, PARTIAL, HOSTILE, EIGHT, ONE, EMPTY, NOTHING = SAMPLES = range(8)
WIDTH = 120
UNITS = {"ns": 1e-3, "us": 1, "\u00b5s": 1, "ms": 1e3, "s": 1e6}
H = "{http://www.w3.org/1999/xhtml}"
S = "{http://www.w3.org/2000/svg}"
TAGS = set("html head meta title style body header h1 p nav a main h2 h3 div section dl dt dd ul ol li span figure figcaption "
           "table thead tbody tr th td small abbr strong footer".split())
SVG_TAGS = set("svg title desc line text circle polygon rect".split())


def show(way, sample):
    done = subprocess.run([SHOW, way, str(sample)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, (way, sample, done)
    return done.stdout.decode("utf-8")


def text_of(element):
    return "".join(element.itertext())


def microseconds(text):
    """Of "12.3 us" or the like."""
    number, unit = text.split()
    return float(number) * UNITS[unit]


def samples_of(cell):
    return cell["us"] if isinstance(cell["us"], list) else cell["us"]["samples"]


def close(got, value, tolerance=0.051):
    return math.isclose(got, value, rel_tol=tolerance)


class Page(unittest.TestCase):
    def pages(self):
        for sample in SAMPLES:
            page = show("html", sample)
            with self.subTest(sample=sample):
                yield sample, page, xml.fromstring(page)

    def test_is_a_document(self):
        for _, page, tree in self.pages():
            self.assertTrue(page.startswith("<!DOCTYPE html>\n<html"))
            self.assertEqual(tree.get("lang"), "en")
            self.assertEqual([child.tag for child in tree], [H + "head", H + "body"])
            self.assertTrue(text_of(tree.find(f"{H}head/{H}title")))
            self.assertEqual(len(tree.findall(f".//{H}h1")), 1)

    def test_is_the_same_for_a_parser_of_html(self):
        """Tags are closed in order, as no browser must guess."""
        for _, page, tree in self.pages():
            checker, stack, count = html.parser.HTMLParser(), [], [0]
            checker.handle_starttag = lambda tag, attrs: (stack.append(tag), count.__setitem__(0, count[0] + 1))
            checker.handle_startendtag = lambda tag, attrs: count.__setitem__(0, count[0] + 1)
            checker.handle_endtag = lambda tag: self.assertEqual(stack.pop(), tag)
            checker.feed(page)
            checker.close()
            self.assertEqual(stack, [])
            self.assertEqual(count[0], sum(1 for _ in tree.iter()))

    def test_needs_nothing_else(self):
        for _, page, tree in self.pages():
            style = text_of(tree.find(f"{H}head/{H}style"))
            self.assertNotIn("url(", style)
            self.assertNotIn("@import", style)
            self.assertFalse(set("<&") & set(style))
            for element in tree.iter():
                if element.tag.startswith(S):
                    self.assertIn(element.tag[len(S):], SVG_TAGS)
                else:
                    self.assertIn(element.tag[len(H):], TAGS)
                for name, value in element.attrib.items():
                    self.assertFalse(name.startswith("on"), name)
                    self.assertNotIn(name, ("src", "style", "action"))
                    self.assertTrue(name != "href" or value.startswith("#"), value)

    def test_names_within_it(self):
        for _, page, tree in self.pages():
            ids = [element.get("id") for element in tree.iter() if element.get("id")]
            self.assertEqual(len(ids), len(set(ids)))
            wanted = [element.get("href")[1:] for element in tree.iter() if element.get("href")]
            for element in tree.iter():
                wanted += element.get("aria-labelledby", "").split()
            if tree.find(f".//{H}h2[@id='hosts']") is not None:
                self.assertFalse(set(wanted) - set(ids))

    def test_colours_are_there_for_light_and_dark(self):
        style = text_of(xml.fromstring(show("html", LAB)).find(f"{H}head/{H}style"))
        dark = re.search(r"prefers-color-scheme:dark\)\{:root\{([^}]*)\}", style)[1]
        light = re.search(r"(?m)^:root\{([^}]*)\}", style)[1]
        defined = set(re.findall(r"(--[\w-]+):", light))
        self.assertEqual(defined, set(re.findall(r"(--[\w-]+):", dark)))
        self.assertEqual(defined, set(re.findall(r"var\((--[\w-]+)\)", style)))

    def test_text_can_be_read(self):
        """Contrast of text to what it is on, by WCAG 2.1's formula: at least 4.5; of signs and bars at least 1.7 and 3 for columns."""
        style = text_of(xml.fromstring(show("html", LAB)).find(f"{H}head/{H}style"))
        schemes = re.search(r"(?m)^:root\{([^}]*)\}", style)[1], re.search(r"dark\)\{:root\{([^}]*)\}", style)[1]

        def luminance(colour):
            parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
            parts = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

        for scheme in schemes:
            colours = {name: luminance(value) for name, value in re.findall(r"--([\w-]+):(#\w{6})", scheme)}

            def contrast(one, other, colours=colours):
                high, low = sorted((colours[one], colours[other]), reverse=True)
                return (high + 0.05) / (low + 0.05)

            for text, back in [(t, b) for t in ("text", "quiet", "accent") for b in ("back", "card")] + [
                    ("dear", "card"), ("cheap", "card"), ("text", "warn-back")]:
                self.assertGreaterEqual(contrast(text, back), 4.5, (text, back))
            for i in range(8):
                self.assertGreaterEqual(contrast(f"c{i}", "card"), 3, i)
                self.assertGreaterEqual(contrast(f"k{i}", "card"), 1.7, i)

    def test_plots_have_words_and_stay_inside(self):
        for _, page, tree in self.pages():
            for svg in tree.iter(S + "svg"):
                if svg.get("aria-hidden") == "true":
                    continue
                self.assertEqual(svg.get("role"), "img")
                self.assertTrue(text_of(svg.find(S + "title")) and text_of(svg.find(S + "desc")))
                _, _, width, height = map(float, svg.get("viewBox").split())
                for element in svg.iter():
                    for name, value in element.attrib.items():
                        if name in ("x", "x1", "x2", "cx"):
                            self.assertTrue(0 <= float(value) <= width, (name, value))
                        elif name in ("y", "y1", "y2", "cy"):
                            self.assertTrue(0 <= float(value) <= height, (name, value))
                        elif name in ("width", "height", "r"):
                            self.assertTrue(0 <= float(value) <= width)
                        elif name == "points":
                            for point in value.split():
                                x, y = map(float, point.split(","))
                                self.assertTrue(0 <= x <= width and 0 <= y <= height)

    def test_bars_share_out_all_exits(self):
        """Each bar's parts are as wide as its causes are frequent, and all bars are as long as each other."""
        tree, data = xml.fromstring(show("html", LAB)), json.loads(show("json", LAB))
        bars = {}
        for number, svg in enumerate(tree.iter(S + "svg")):
            for rect in svg.iter(S + "rect"):
                if rect.find(S + "title") is not None:
                    bars.setdefault((number, float(rect.get("y"))), []).append(float(rect.get("width")))
        wanted = []
        for cell in (cell for row in data["rows"] for cell in row["cells"] if cell["exits"]):
            causes = [n for name, n in cell["causes"].items() if name != "fills" and not name.startswith("exit:")]
            wanted.append(sorted(n / cell["exits"] for n in causes) or [1])
        length = sum(next(iter(bars.values())))
        self.assertEqual(len(bars), len(wanted))
        for bar, shares in zip((bars[key] for key in sorted(bars)), wanted):
            self.assertEqual(len(bar), len(shares))
            for width, share in zip(sorted(bar), shares):
                self.assertAlmostEqual(width / length, share, delta=0.002)

    def test_hostile_text_stays_text(self):
        tree = xml.fromstring(show("html", HOSTILE))
        self.assertIn("<script>alert(1)</script>", text_of(tree.find(H + "body")))
        self.assertFalse(re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text_of(tree.find(H + "body")).replace("\n", "")))

    def cells_of_table(self, tree):
        """Rows of the table of numbers: name and the text of the cells."""
        table = tree.find(f".//{H}div[@aria-label='All numbers']/{H}table")
        for row in table.iter(H + "tr"):
            head = row.find(f"{H}th[@scope='row']")
            if head is not None:
                yield head.text, row.findall(H + "td")

    def test_has_the_numbers(self):
        for sample in (INTERPRETED, LAB, PARTIAL, EIGHT, ONE):
            data = json.loads(show("json", sample))
            rows = list(self.cells_of_table(xml.fromstring(show("html", sample))))
            self.assertEqual([name for name, _ in rows], [r["name"] for r in data["rows"]])
            for (_, cells), row in zip(rows, data["rows"]):
                self.check_row([c for c in cells if c.get("class") == "first"], row, sample)
                exits = [cells[i + 1] for i, c in enumerate(cells) if c.get("class") == "first"]
                for cell, shown in zip(row["cells"], exits):
                    if cell and cell.get("exits"):
                        self.assertTrue(close(float(text_of(shown)), cell["exits"]), (row["name"], text_of(shown)))

    def check_row(self, times, row, sample):
        self.assertEqual(len(times), len(row["cells"]), sample)
        for shown, cell in zip(times, row["cells"]):
            if not cell:
                self.assertEqual(text_of(shown), "not measured")
            elif "\u00b5s" in text_of(shown) or re.match(r"[\d.]+ (ns|ms|s)", text_of(shown)):
                self.assertTrue(close(microseconds(shown.text), statistics.median(samples_of(cell))), row["name"])
            else:
                self.assertRegex(text_of(shown), r"^(cannot \[\d+\]|not measured|counts only)$")

    def test_says_what_is_missing(self):
        partial = text_of(xml.fromstring(show("html", PARTIAL)))
        self.assertIn("Partial.", partial)
        self.assertIn("POPF at 0x1002a4", partial)
        self.assertNotIn("Partial.", text_of(xml.fromstring(show("html", LAB))))
        self.assertIn("Nothing was measured.", text_of(xml.fromstring(show("html", EMPTY))))


class Table(unittest.TestCase):
    def test_fits(self):
        for sample in SAMPLES:
            for line in show("table", sample).splitlines():
                self.assertLessEqual(len(line), WIDTH, line)
                self.assertFalse([c for c in line if unicodedata.category(c).startswith("C")], line)

    def test_has_the_numbers(self):
        time = r"(?:([\d.]+ (?:ns|us|ms|s)) \(([\d.]+)-([\d.]+)\)|(counts only|cannot \[\d\]|-))"
        for sample in (INTERPRETED, LAB, PARTIAL):
            data = json.loads(show("json", sample))
            lines = show("table", sample).splitlines()
            for row in data["rows"]:
                line = next(l for l in lines if re.match(rf"  {row['name']}\*? ", l))
                found = re.findall(time + r" +([\d.]+(?:e[+-]\d+)?)?", line.split(None, 1)[1])
                self.assertGreaterEqual(len(found), len(row["cells"]), line)
                for cell, (median, low, high, _, exits) in zip(row["cells"], found):
                    if median:
                        values, unit = samples_of(cell), UNITS[median.split()[1]]
                        self.assertTrue(close(microseconds(median), statistics.median(values)), line)
                        self.assertTrue(close(float(low) * unit, min(values)) and close(float(high) * unit, max(values)), line)
                        self.assertTrue(close(float(exits or 0), cell["exits"]), line)

    def test_says_what_is_missing(self):
        partial = show("table", PARTIAL)
        self.assertRegex(partial, r"(?m)^  cr-write .* cannot \[1\]")
        self.assertRegex(partial, r"(?m)^\[1\] the image uses POPF")
        self.assertRegex(partial, r"(?m)^  ad-fault\* ")
        self.assertIn("*: fewer rounds than were asked for.", partial)
        self.assertIn("This comparison is partial", partial)
        self.assertNotIn("*", show("table", LAB))
        self.assertIn("counts only", show("table", LAB))
        self.assertEqual(show("table", NOTHING), "Nothing was measured.\n")

    def test_is_plain_where_nobody_looks(self):
        self.assertNotIn("\x1b", show("table", LAB))

    def test_has_colour_on_a_terminal(self):
        for colour, environment in ((True, {}), (False, {"NO_COLOR": "1"})):
            master, slave = os.openpty()
            with subprocess.Popen([SHOW, "table", str(ONE)], stdout=slave, env=environment) as child:
                os.close(slave)
                text = b""
                while True:
                    try:
                        piece = os.read(master, 1 << 16)
                    except OSError:
                        break
                    if not piece:
                        break
                    text += piece
                child.wait(timeout=60)
            os.close(master)
            self.assertEqual(b"\x1b[" in text, colour)


class Document(unittest.TestCase):
    """docs/shadow-vs-nested.md."""

    def setUp(self):
        with open(os.path.join(TOP, "docs", "shadow-vs-nested.md"), encoding="utf-8") as file:
            self.text = file.read()

    def section(self, title):
        return re.split(r"(?m)^## ", self.text.split(f"\n## {title}\n", 1)[1])[0]

    def test_has_the_workloads(self):
        """Groups, names and what each isolates, as the program lists them."""
        listed, names = [], []
        done = subprocess.run([PROGRAM, "compare", "--list"], capture_output=True, text=True, timeout=60, check=True)
        for line in filter(None, done.stdout.splitlines()):
            if not line.startswith(" "):
                listed.append((line, []))
            elif not line.startswith("   "):
                listed[-1][1].append([line.split()[0], ""])
            elif line.startswith(" " * 26):
                listed[-1][1][-1][1] = f"{listed[-1][1][-1][1]} {line.strip()}".strip()
        for group in re.split(r"(?m)^### ", self.section("What each benchmark isolates"))[1:]:
            title, body = group.split("\n", 1)
            names.append((title, []))
            for row in re.findall(r"(?m)^\| (`.*) \|$", body):
                cells = row.split(" | ")
                names[-1][1].extend([name, cells[2]] for name in re.findall(r"`([^`]+)`", cells[0]))
        self.assertTrue(listed)
        self.assertEqual(names, listed)

    def test_has_the_fields_of_json(self):
        written = set()

        def collect(value):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    written.update(item)
                    for name, part in item.items():
                        if name != "causes":
                            collect(part)

        for sample in (LAB, PARTIAL):
            collect(json.loads(show("json", sample)))
        rows = re.findall(r"(?m)^\| (`.*?) \|(.*)", self.section("JSON"))
        said = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in rows)))
        everywhere = set(re.findall(r"`(\w+)`", " ".join(" ".join(row) for row in rows)))
        self.assertFalse(written - everywhere, "not documented")
        self.assertFalse(said - written, "not written")


if __name__ == "__main__":
    unittest.main(verbosity=2)
