#!/usr/bin/env python3
"""What the manual page, the completion and the documents say is what the program does.

Usage: docs.py PROGRAM [unittest options]; PENUMBRA_BUILD is not needed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.abspath(sys.argv.pop(1))
ARGP_ITSELF = {"--help", "--usage"}


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def run(*args, cwd=TOP):
    return subprocess.run(args, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)


def commands():
    """Names of the commands, from the program."""
    return re.findall(r"^  (\w+) ", run(PROGRAM, "--help").stdout, re.MULTILINE)


def options(command):
    """Options of a command, from the program: name -> must it have a value?"""
    found = re.findall(r"^ +(?:-.,? )? *--([\w-]+)(=?)", run(PROGRAM, command, "--help").stdout, re.MULTILINE)
    return {f"--{name}": bool(value) for name, value in found}


def manual_sections():
    """Section or subsection title -> its source lines."""
    sections, current = {}, []
    for line in read("man", "penumbra.1").splitlines():
        if line.startswith((".Sh ", ".Ss ")):
            current = sections.setdefault(line[4:], [])
        current.append(line)
    return sections


def manual_of(command):
    return next(lines for title, lines in manual_sections().items() if title.startswith(f"penumbra {command} "))


def complete(line):
    """What bash completes for this command line, through the real function."""
    script = """. completions/penumbra
        COMP_LINE=$1 COMP_POINT=${#1}
        _penumbra
        printf '%s\\n' "${COMPREPLY[@]}" """
    answer = run("bash", "-c", script, "bash", line)
    if answer.stderr:
        raise AssertionError(f"{line}: {answer.stderr}")
    return {word for word in answer.stdout.splitlines() if word}


def documents():
    for folder, names, files in os.walk(TOP):
        names[:] = [n for n in names if not n.startswith((".", "build"))]
        yield from (os.path.relpath(os.path.join(folder, f), TOP) for f in files if f.endswith(".md"))


def kvm_works():
    return run(PROGRAM, "doctor").returncode == 0


class Manual(unittest.TestCase):
    def test_has_the_commands(self):
        self.assertTrue(commands())
        titles = [t.split()[1] for t in manual_sections() if t.startswith("penumbra ")]
        self.assertEqual(titles, commands())

    def test_has_the_options(self):
        for command in commands():
            lines = [line for line in manual_of(command) if line.startswith(".It Fl -")]
            said = {}
            for line in lines:
                word = line.split()
                said["-" + word[2]] = word[3:6] == ["Ns", "=", "Ns"]
            real = {n: v for n, v in options(command).items() if n not in ARGP_ITSELF}
            self.assertEqual(said, real, command)

    def test_lists_options_in_order(self):
        for command in ("run", "compare"):
            names = re.findall(r"^\.It Fl -(\S+)", "\n".join(manual_of(command)), re.MULTILINE)
            self.assertEqual(names, sorted(names))

    def test_has_the_exit_statuses(self):
        text = "\n".join(manual_sections()["EXIT STATUS"])
        numbers = set(re.findall(r"= (\d+)[,} ]", re.search(r"enum \{ EXIT_.*", read("vmm", "program.h"))[0]))
        numbers |= set(re.findall(r'"\w*", (\d{3})\}', read("vmm", "vm.c")))
        self.assertTrue({"125", "126", "127", "130"} <= numbers)
        for number in numbers:
            self.assertIn(f".It {number}\n", text + "\n")

    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_is_good_mdoc(self):
        lint = run("mandoc", "-Tlint", "-Wwarning", "man/penumbra.1")
        self.assertEqual((lint.stdout + lint.stderr, lint.returncode), ("", 0))


class Completion(unittest.TestCase):
    def test_has_the_commands(self):
        self.assertEqual(complete("penumbra "), set(commands()))
        self.assertEqual(complete("penumbra -"), {"--help", "--version"})

    def test_has_the_options(self):
        for command in commands():
            real = {name + ("=" if value else "") for name, value in options(command).items()}
            self.assertEqual(complete(f"penumbra {command} -"), real, command)

    def test_offers_values_that_are_taken(self):
        for name, takes_value in options("run").items():
            if not takes_value or name in ("--initrd", "--stats"):
                continue
            for value in complete(f"penumbra run {name}="):
                answer = run(PROGRAM, "run", f"{name}={value}x" if value == "file:" else f"{name}={value}")
                self.assertIn("no image named", answer.stderr, f"{name}={value}")

    def test_offers_options_of_the_scavenger_that_are_taken(self):
        words = complete("penumbra run --scavenge=")
        self.assertLess({"stages=zero", "off", "idle=1000"}, words)
        for word in words:
            self.assertIn("no image named", run(PROGRAM, "run", f"--scavenge={word}").stderr, word)
        self.assertEqual(complete("penumbra clone --scavenge=off,st"), {f"off,stages={s}" for s in ("zero", "same", "delta", "compress")})
        self.assertEqual(complete("penumbra clone --scavenge=off,stages=d"), {"delta"})

    def test_offers_all_words_of_the_help(self):
        self.assertEqual(complete("penumbra run --log="), {"error", "warn", "info", "debug"})
        self.assertEqual(complete("penumbra run --log "), {"error", "warn", "info", "debug"})
        self.assertEqual(complete("penumbra run --cpu=v"), {"v2"})
        self.assertEqual(complete("penumbra run --console="), {"stdio", "none", "file:"})

    def test_completes_lists_of_a_comparison(self):
        self.assertEqual(complete("penumbra compare --mmu="), {"ept", "shadow"})
        self.assertEqual(complete("penumbra compare --mmu=shadow,"), {"shadow,ept", "shadow,shadow"})
        names = complete(f"{PROGRAM} compare --only=")
        self.assertLess({"page-fault", "nanobenchmarks"}, names)
        for name in names:
            answer = run(PROGRAM, "compare", f"--only={name}", "--rounds=0")
            self.assertIn("--rounds=0", answer.stderr, name)
        self.assertEqual(complete(f"{PROGRAM} compare --only=page-fault,divide-"), {"page-fault,divide-fault"})
        self.assertEqual(complete("penumbra compare --html=LICE"), {"LICENSE"})
        self.assertEqual(complete("penumbra compare --join LICE"), {"LICENSE"})

    def test_refusals_are_real(self):
        for option in ("--mmu", "--cpu", "--log", "--hugepages", "--console", "--mem"):
            self.assertIn(option, run(PROGRAM, "run", f"{option}=nonsense").stderr)

    def test_completes_files(self):
        self.assertEqual(complete("penumbra run LICE"), {"LICENSE"})
        self.assertEqual(complete("penumbra inspect LICE"), {"LICENSE"})
        self.assertEqual(complete("penumbra run --initrd=LICE"), {"LICENSE"})
        self.assertEqual(complete("penumbra run --console=file:LICE"), {"LICENSE"})
        self.assertEqual(complete("penumbra run --console file:LICE"), {"LICENSE"})
        self.assertEqual(complete("penumbra run --mem 64M LICE"), {"LICENSE"})
        self.assertEqual(complete("penumbra doctor LICE"), set())

    def test_leaves_the_guests_arguments_alone(self):
        self.assertEqual(complete("penumbra run image -- -"), set())


class Stats(unittest.TestCase):
    def tables(self):
        """Heading of docs/stats.md -> fields of its table."""
        result, heading = {}, ""
        for line in read("docs", "stats.md").splitlines():
            if line.startswith("#"):
                heading = line.strip("# `")
            elif line.startswith("| `"):
                result.setdefault(heading, set()).update(re.findall(r"`(\w+)`", line.split("|")[1]))
        return result

    def test_names_what_the_source_writes(self):
        source = read("vmm", "stats.c")
        written = set(re.findall(r'"([a-z_]+)"[,)]', source)) - {"we", "_ns"}
        tables = self.tables()
        self.assertTrue({"positions", "image", "reason"} <= written)
        objects = ("Of a run", "Of a guest", "ended", "disks", "balloon", "userfaults", "saves")
        documented = set().union(*(tables[name] for name in objects)) | {"interrupted"}
        self.assertEqual(written, documented)

    def test_names_what_the_scavenger_counts(self):
        source = os.path.join("dedup", "ward_stats.c")
        table = self.tables()["scavenger"]
        self.assertTrue({"saved_kib", "refaults", "p99_ns"} <= table)
        if os.path.exists(os.path.join(TOP, source)):
            written = set(re.findall(r'"([a-z_0-9]+)"[,)]', read(source)))
            self.assertEqual(written - {"on", "off", "refused"}, table)

    def test_names_what_the_recorder_counts(self):
        written = set(re.findall(r'"([a-z_]+)",\s+(?:r->|\(json_int_t\))', read("replay", "recorder.c")))
        self.assertTrue({"failed", "point_bytes"} <= written)
        self.assertEqual(self.tables()["recording"], written)

    def test_names_what_the_shadow_counts(self):
        written = set(re.findall(r'(?:\] = |add\(stats, )"(\w+)"', read("shadow", "counters.c")))
        self.assertTrue({"hidden_faults", "msrs", "fills", "unsynced"} <= written)
        self.assertEqual(self.tables()["shadow"], written)

    def test_names_all_exits(self):
        names = set(re.findall(r'^\t\[KVM_EXIT_\w+\] = \{"(\w+)"', read("vmm", "exit.c"), re.MULTILINE))
        self.assertTrue(names)
        self.assertEqual(self.tables()["exits"], names | {"interrupted"})

    def test_names_all_ends(self):
        row = next(l for l in read("docs", "stats.md").splitlines() if l.startswith("| `how`"))
        names = set(re.findall(r'\[VM_\w+\] = \{"([^"]+)", "\w+"', read("vmm", "vm.c")))
        self.assertEqual(set(re.findall(r"`([^`]+)`", row.split("|")[2])), names)


class Machine(unittest.TestCase):
    def test_has_the_numbers_of_the_contract(self):
        text = read("docs", "machine.md")
        numbers = re.findall(r"^#define ABI_(?:PORT_\w+|MMIO_SCRATCH|HOLE_\w+|LOAD_MIN) (0x[0-9a-f]+)",
                             read("guest", "abi.h"), re.MULTILINE)
        self.assertGreaterEqual(len(numbers), 9)
        for number in numbers:
            self.assertIn(number, text)

    def test_has_the_addresses_of_the_boot(self):
        text = read("docs", "machine.md")
        for name in ("INFO", "PML4", "CMDLINE"):
            self.assertIn(re.search(rf"#define BOOT_{name}_GPA (0x[0-9a-f]+)", read("vmm", "boot_parts.h"))[1], text)


class Documents(unittest.TestCase):
    def test_links_lead_somewhere(self):
        count = 0
        for document in documents():
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read(document)):
                if "://" not in target:
                    count += 1
                    path = os.path.join(TOP, os.path.dirname(document), target)
                    self.assertTrue(os.path.exists(path), f"{document}: {target}")
        self.assertGreater(count, 4)

    def test_options_exist(self):
        """Every --option that a document gives to a command of the program."""
        known = set().union(*(options(command) for command in commands())) | {"--version"}
        for document in ["README.md"] + [d for d in documents() if d.startswith("docs/")]:
            for line in read(document).splitlines():
                if re.search("penumbra (run|compare|inspect|doctor)", line):
                    part = line[line.index("penumbra ") :].split(" -- ")[0]
                    for option in re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", part):
                        self.assertIn(option, known, f"{document}: {line}")

    def test_the_readmes_demo_is_the_demo(self):
        """Titles, and the last line, of what README.md shows of ./demo."""
        shown = re.search(r"^\$ \./demo\n(.*?)^```", read("README.md"), re.MULTILINE | re.DOTALL)[1]
        script = read("demo").replace("$page", "build/compare.html")
        titles = re.findall(r"^\* (.*)$", shown, re.MULTILINE)
        self.assertTrue(titles)
        for title in titles:
            self.assertIn(f"| {title}\n", script)
        self.assertIn(f'say "{shown.splitlines()[-1].removeprefix("demo: ")}"', script)

    def test_the_readmes_image_runs(self):
        """The small image of README.md, built by the command beside it."""
        text = read("README.md")
        source = re.search(r"```asm\n(.*?)```", text, re.DOTALL)[1]
        command = re.search(r"^\$ (gcc -nostdlib .*mine\.S.*)$", text, re.MULTILINE)[1]
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "mine.S"), "w", encoding="utf-8") as file:
                file.write(source)
            built = run("sh", "-c", command, cwd=folder)
            self.assertEqual((built.stderr, built.returncode), ("", 0))
            verdict = run(PROGRAM, "inspect", "--json", "mine", cwd=folder)
            self.assertTrue(json.loads(verdict.stdout)["bootable"])
            # It has symbols, but none of a function.
            self.assertIn("\nfunctions 0\n", run(PROGRAM, "inspect", "mine", cwd=folder).stdout)
            if kvm_works():
                ran = run(PROGRAM, "run", "mine", cwd=folder)
                self.assertEqual((ran.stdout, ran.returncode), ("hello from my own image\n", 7))


if __name__ == "__main__":
    unittest.main(verbosity=2)
