#!/usr/bin/env python3
# The rules of the house that a compiler does not know, over every file that git tracks:
#   tests/tidy.py               checks; prints FILE:LINE: RULE: WHAT and exits 1 when something is wrong
#   tests/tidy.py --self-test   proves for each rule that it catches what it should, and passes what it should
# Rules: include direction, lengths of files and functions, the comment that a file begins with, calls that break
# virtual time or the ownership of threads and memory, words that have no place in the project, and a fuzzer with a
# saved corpus for every parser.
import os
import re
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

LONGEST_FILE = 500
LONGEST_TEST = 800
LONGEST_FUNCTION = 70

# ---- include direction -----------------------------------------------------------------------------------------------

FOLDERS = ("core", "schema", "bpf", "dns", "policy", "ipamd", "servicesync", "app", "tests")
SIBLINGS = ("bpf", "dns", "policy", "ipamd", "servicesync")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def may_include(folder, other):
    if folder in ("app", "tests") or folder == other:
        return True
    if folder in SIBLINGS:
        return other in ("core", "schema")
    return folder == "core" and other == "schema"


def check_includes(path, lines):
    folder = path.split("/")[0]
    if folder not in FOLDERS:
        return
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        other = match.group(1).split("/")[0]
        if other in FOLDERS and not may_include(folder, other):
            yield number, "includes", f"{folder}/ must not include {match.group(1)}"
        if other == "tests" and folder != "tests":
            yield number, "includes", f"nothing outside tests/ includes {match.group(1)}"


# ---- lengths ---------------------------------------------------------------------------------------------------------

def is_test(path):
    """Tests, fuzzers, and what only tests link: test_*.cpp, fakes.h."""
    name = os.path.basename(path)
    return path.startswith("tests/") or re.search(r"^(test_|fakes\.)|(_test|_fuzzer|_fuzz)\.(cpp|py)$", name) is not None


def check_file_length(path, lines):
    limit = LONGEST_TEST if is_test(path) else LONGEST_FILE
    if len(lines) > limit:
        yield limit + 1, "file length", f"{len(lines)} lines; the limit is {limit}"


def code_only(lines):
    """The lines without comments, strings and character literals (as spaces), so that braces can be counted."""
    text = "\n".join(lines)
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^(\s]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'',
        re.DOTALL)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text).split("\n")


NOT_FUNCTIONS = re.compile(r"^\s*(namespace|extern|class|struct|enum|union|using|typedef|template\b[^)]*>\s*(class|struct))\b")


def functions(code):
    """(first line, length) of each body between braces whose opening statement ends with ')' and qualifiers."""
    stack = []
    statement = ""
    start = 0
    for number, line in enumerate(code, 1):
        for character in line:
            if character == "{":
                head = statement.strip()
                inside = any(kind == "function" for kind, _ in stack)
                is_function = (not inside and head and not NOT_FUNCTIONS.match(head) and "(" in head
                               and not head.endswith(("=", ",", "(", "return")))
                stack.append(("function" if is_function else "other", start or number))
                statement, start = "", 0
            elif character == "}":
                if stack:
                    kind, begin = stack.pop()
                    if kind == "function":
                        yield begin, number - begin + 1
                statement, start = "", 0
            elif character == ";":
                statement, start = "", 0
            else:
                if not statement.strip() and not character.isspace():
                    start = number
                statement += character
        statement += " "


def check_function_length(path, lines):
    if not path.endswith((".cpp", ".h", ".c")):
        return
    code = [line if not line.lstrip().startswith("#") else "" for line in code_only(lines)]
    for begin, length in functions(code):
        if length > LONGEST_FUNCTION and not is_test(path):
            yield begin, "function length", f"{length} lines; the limit is {LONGEST_FUNCTION}"


# ---- the comment that a file begins with -----------------------------------------------------------------------------

COMMENT = {".cpp": "//", ".h": "//", ".c": "//", ".proto": "//", ".py": "#", ".sh": "#", ".cmake": "#"}


def check_header(path, lines):
    begin = COMMENT.get(os.path.splitext(path)[1])
    if begin is None:
        return
    head = [line for line in lines[:3] if line.strip() and not line.startswith("#!")]
    if not head or not head[0].startswith((begin, "/*", '"""')):
        yield 1, "header", f"the file does not begin with a comment ({begin}) that says what it is"


# ---- banned calls ----------------------------------------------------------------------------------------------------

# (name, pattern, paths where it is allowed beside tests, allowed in tests, why). Patterns are matched on code without
# comments and strings. Whoever needs another exception says so on the line (EXCUSE) or here, with the reason.
BANNED = (
    ("clock", re.compile(r"\b(system_clock|steady_clock|high_resolution_clock)::now\b|\b(gettimeofday|clock_gettime)\s*\("),
     ("core/clock.",      # the clock itself
      "core/store/",      # deadlines that gRPC compares with the system's clock
      "ipamd/plugin/"),   # a program of a few milliseconds, without a virtual time
     True, "time comes through Clock (core/clock.h)"),
    ("random", re.compile(r"\b(random_device|mt19937\w*|default_random_engine)\b|(?<![\w.:>])s?rand\s*\("),
     ("core/clock.", "core/store/database."),  # the random id of a new store must differ even under one seed
     True, "randomness comes through Rng (core/clock.h)"),
    ("sleep", re.compile(r"\bthis_thread::sleep_(for|until)\b|(?<![\w.:>])u?sleep\s*\(|\bnanosleep\s*\("),
     ("tests/e2e/", "tests/bench/"), False, "wait on a condition, or on Clock::sleep_for"),
    # new is fine where an owner takes it in the same statement (private constructors), and in classes that delete
    # themselves, as gRPC's reactors must.
    ("new", re.compile(r"(?<![\w.])new\s+[A-Za-z_:(]|\bdelete\s+(?!this\b)[A-Za-z_*(]|\bdelete\[\]|\b(malloc|calloc|realloc)\s*\("),
     (), False, "owners are values, unique_ptr or containers"),
    ("thread", re.compile(r"\bstd::(j)?thread\b(?!::)|\bpthread_create\s*\(|\bstd::async\b"),
     ("core/store/",           # the store's own thread (architecture.md, State)
      "dns/",                  # the DNS workers
      "app/netlink/socket.",   # a thread that visits another network namespace and ends
      "bpf/namespace.",        # the same
      "bpf/policy/flows."),    # the reader of the ring of flow events, which blocks in epoll
     True, "threads are Worker's, Asio's and gRPC's"),
    ("check", re.compile(r"(?<![\w.])CHECK(_\w+)?\s*\("), (), False, "REQUIRE in tests, ENSURE in code"),
    ("processes", re.compile(r"(?<![\w.])(system|popen)\s*\("), (), True, "no shell between us and a program"),
)

# A line that breaks a rule on purpose says why: "// tidy: RULE: WHY" on it or on the line above.
EXCUSE = re.compile(r"//\s*tidy:\s*(\w+):\s*\S")


def excused(lines, number, rule):
    for line in lines[max(0, number - 2):number]:
        match = EXCUSE.search(line)
        if match and match.group(1) == rule:
            return True
    return False


def owned(code, number):
    """A new whose owner stands in the statement, or a class that deletes itself."""
    statement = " ".join(code[max(0, number - 2):number])
    return re.search(r"_ptr\s*<.*\bnew\b|_ptr\s*<[^;]*\(\s*new\b|\.reset\(\s*new\b", statement) is not None or \
        ("new" in code[number - 1] and any("delete this" in line for line in code))


def polled(code, number):
    """A pause inside a loop that asks again: how a test waits on a condition."""
    return any(re.search(r"\b(for|while)\s*\(", line) for line in code[max(0, number - 12):number])


def check_banned(path, lines):
    if not path.endswith((".cpp", ".h")):
        return
    code = code_only(lines)
    for number, line in enumerate(code, 1):
        if line.lstrip().startswith("#"):
            continue
        for rule, pattern, places, in_tests, why in BANNED:
            if not pattern.search(line) or path.startswith(places) or (in_tests and is_test(path)):
                continue
            if rule == "new" and owned(code, number):
                continue
            if rule == "sleep" and is_test(path) and polled(code, number):
                continue
            if not excused(lines, number, rule):
                yield number, rule, why


# ---- words -----------------------------------------------------------------------------------------------------------

# Written in pieces, so that this file passes its own check.
WORDS = (
    (re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b"), "say it in an issue, or do it"),
    (re.compile(r"(?<![\w.])/wo" + r"rk/"), "a path of one machine only"),
    (re.compile(r"/tmp/br" + r"ief"), "a path of one machine only"),
    (re.compile(r"\b(?:deb\.deb" + r"ian\.org|registry\.npm" + r"js\.org|py" + r"pi\.org|proxy\.go" + r"lang\.org|"
                r"docker\.i" + r"o|gh" + r"cr\.io|quay\.i" + r"o|crates\.i" + r"o)\b"),
     "no registry by name: the machine's own configuration decides"),
)


def check_words(path, lines):
    if path in ("LICENSE",) or path.startswith(("tests/corpus/", "tests/data/")):
        return
    for number, line in enumerate(lines, 1):
        for pattern, why in WORDS:
            match = pattern.search(line)
            if match:
                yield number, "words", f"\"{match.group(0)}\": {why}"


# ---- parsers and their fuzzers ----------------------------------------------------------------------------------------

# A parser is what a header declares as parse…, decode… or TYPE::parse of a text, bytes, a record or a YAML document.
PARSER = re.compile(
    r"^ *(static +)?(?:\[\[nodiscard\]\] *)?((?:Result|Answer|std::optional)<[^;(]*>)\s+((?:parse|decode)\w*)"
    r"\(([^;{]*)\)(?: const)?;", re.MULTILINE)
FROM_OUTSIDE = re.compile(r"\bstd::string_view\b|\bstd::span<const|\bKeyValue\b|\bYamlDocument\b")
FUZZER = re.compile(r"_fuzz(er)?\.cpp$")
FUZZER_TARGET = re.compile(r"^\s*tombolo_fuzzer\(\s*(\w+)", re.MULTILINE)

# Parsers that need no fuzzer of their own, each with the reason.
FUZZED_THROUGH = {
    "app/daemon/plan_history.h: decode_plan": "parse_json, then plan_from_json: core_text_fuzz, ipamd_plan_fuzzer",
    "app/daemon/fleet_members.h: decode": "this controller's own words of a grant, which app_grant_fuzzer reads",
}


def parsers(text):
    """(line, name) of what a header's text declares."""
    for match in PARSER.finditer(text):
        static, result, name, parameters = match.groups()
        if FROM_OUTSIDE.search(parameters):
            if static and name == "parse":
                name = re.sub(r"^[\w:]+<(.*)>$", r"\1", result) + "::parse"
            yield text.count("\n", 0, match.start()) + 1, name


def check_fuzzers(files):
    """`files`: path -> text of every tracked file; the texts of corpora are not needed."""
    fuzzers = "\n".join(text for path, text in sorted(files.items()) if FUZZER.search(path))
    for path, text in sorted(files.items()):
        if path.endswith(".h") and os.path.basename(path) != "internal.h" and not is_test(path):
            for number, name in parsers(text):
                if f"{path}: {name}" not in FUZZED_THROUGH and not re.search(rf"\b{name}\b", fuzzers):
                    yield path, number, "fuzzers", f"no fuzzer calls {name}"
    corpora = {path.split("/")[2] for path in files if path.startswith("tests/corpus/") and path.count("/") == 3}
    targets = set()
    for path, text in sorted(files.items()):
        if os.path.basename(path) == "CMakeLists.txt":
            for match in FUZZER_TARGET.finditer(text):
                targets.add(match.group(1))
                if match.group(1) not in corpora:
                    yield (path, text.count("\n", 0, match.start(1)) + 1, "fuzzers",
                           f"tests/corpus/{match.group(1)} has no saved input")
    for name in sorted(corpora - targets):
        yield f"tests/corpus/{name}", 1, "fuzzers", "no CMakeLists.txt has a fuzzer of this name"


# ---- all of it -------------------------------------------------------------------------------------------------------

TEXT = (".cpp", ".h", ".c", ".proto", ".py", ".sh", ".cmake", ".txt", ".md", ".yaml", ".yml", ".json", ".sql", "")
SOURCE_CHECKS = (check_includes, check_file_length, check_function_length, check_header, check_banned)


def check(path, text):
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if path.startswith(("tests/corpus/", "tests/data/")) or not lines:
        return
    if os.path.splitext(path)[1] in COMMENT:
        for rule in SOURCE_CHECKS:
            yield from rule(path, lines)
    yield from check_words(path, lines)


def tracked():
    """Path -> text of every file that git tracks; that of corpora and of what is no text is empty."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {}
    for path in listed.split("\0"):
        full = os.path.join(ROOT, path)
        if not path or not os.path.isfile(full) or os.path.islink(full):
            continue
        files[path] = ""
        if os.path.splitext(path)[1] in TEXT and not path.startswith(("tests/corpus/", "tests/data/")):
            try:
                with open(full, encoding="utf-8") as file:
                    files[path] = file.read()
            except UnicodeDecodeError:
                pass
    return files


def run():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    files = tracked()
    found = [(path, *complaint) for path, text in files.items() for complaint in check(path, text)]
    found.extend(check_fuzzers(files))
    for path, number, rule, what in found:
        print(f"{path}:{number}: {rule}: {what}")
    return 1 if found else 0


# ---- the test of the test --------------------------------------------------------------------------------------------

HEAD = "// A file.\n"
CASES = (
    # (what is shown, path, text, the rule that must catch it or None, the line)
    ("a sibling", "dns/a.cpp", HEAD + '#include "ipamd/x.h"\n', "includes", 2),
    ("core looks up", "core/a.h", HEAD + '#include "app/x.h"\n', "includes", 2),
    ("a sibling that uses app", "policy/a.h", HEAD + '#include "app/x.h"\n', "includes", 2),
    ("app sees all", "app/a.cpp", HEAD + '#include "dns/x.h"\n#include "core/x.h"\n', None, 0),
    ("a sibling sees core", "bpf/a.cpp", HEAD + '#include "core/x.h"\n#include "schema/x.pb.h"\n', None, 0),
    ("a long file", "core/a.cpp", HEAD + "int a;\n" * 500, "file length", 501),
    ("a long test", "core/a_test.cpp", HEAD + "int a;\n" * 799, None, 0),
    ("a longer test", "core/a_test.cpp", HEAD + "int a;\n" * 800, "file length", 801),
    ("a long function", "core/a.cpp", HEAD + "int f() {\n" + "  g();\n" * 70 + "}\n", "function length", 2),
    ("a long member", "core/a.h", HEAD + "class A {\n  void f() const {\n" + "    g({});\n" * 70 + "  }\n};\n",
     "function length", 3),
    ("a long namespace", "core/a.cpp", HEAD + "namespace a {\n" + "void f() {\n  g();\n}\n" * 40 + "}\n", None, 0),
    ("braces in texts", "core/a.cpp", HEAD + 'void f() {\n  g("{{{");  // {{{\n  h(\'{\');\n}\n' + "int a;\n" * 80, None, 0),
    ("no header", "core/a.cpp", '#include "core/a.h"\n', "header", 1),
    ("a proto without header", "schema/a.proto", 'syntax = "proto3";\n', "header", 1),
    ("the clock", "dns/a.cpp", HEAD + "auto t = std::chrono::steady_clock::now();\n", "clock", 2),
    ("the clock itself", "core/clock.cpp", HEAD + "auto t = std::chrono::steady_clock::now();\n", None, 0),
    ("the clock in a comment", "dns/a.cpp", HEAD + "int a;  // steady_clock::now()\n", None, 0),
    ("random", "dns/a.cpp", HEAD + "std::mt19937 engine;\n", "random", 2),
    ("a sleep", "dns/a_test.cpp", HEAD + "std::this_thread::sleep_for(std::chrono::seconds(1));\n", "sleep", 2),
    ("another sleep", "dns/a.cpp", HEAD + "  usleep(100);\n", "sleep", 2),
    ("a sleep of a test", "dns/a_test.cpp", HEAD + "f();\n" * 15 + "usleep(100);\n", "sleep", 17),
    ("a poll of a test", "dns/a_test.cpp", HEAD + "while (!done())\n  usleep(100);\n", None, 0),
    ("a poll outside tests", "dns/a.cpp", HEAD + "while (!done())\n  usleep(100);\n", "sleep", 3),
    ("Clock's sleep", "dns/a.cpp", HEAD + "co_await clock.sleep_for(pause);\n", None, 0),
    ("new", "dns/a.cpp", HEAD + "auto* a = new Thing();\n", "new", 2),
    ("new for its owner", "dns/a.cpp", HEAD + "std::unique_ptr<A> a(new A());\n", None, 0),
    ("new for its owner, broken", "dns/a.cpp", HEAD + "return std::unique_ptr<A>(\n    new A());\n", None, 0),
    ("new that deletes itself", "dns/a.h", HEAD + "void OnDone() { delete this; }\nauto* a = new A();\n", None, 0),
    ("new with a reason", "dns/a.cpp", HEAD + "// tidy: new: a private constructor\nauto* a = new Thing();\n", None, 0),
    ("new with another's reason", "dns/a.cpp", HEAD + "auto* a = new Thing();  // tidy: clock: no\n", "new", 2),
    ("a deleted function", "dns/a.h", HEAD + "A(const A&) = delete;\n", None, 0),
    ("delete", "dns/a.cpp", HEAD + "delete thing;\n", "new", 2),
    ("a thread", "policy/a.cpp", HEAD + "std::thread t(f);\n", "thread", 2),
    ("a thread in a test", "dns/a_test.cpp", HEAD + "std::thread t(f);\n", None, 0),
    ("a thread's id", "dns/a.cpp", HEAD + "std::thread::id id;\n", None, 0),
    ("CHECK", "dns/a_test.cpp", HEAD + "  CHECK(a == b);\n", "check", 2),
    ("CHECK_THAT", "dns/a_test.cpp", HEAD + "  CHECK_THAT(a, b);\n", "check", 2),
    ("a shell", "app/a.cpp", HEAD + "  system(line);\n", "processes", 2),
    ("work left", "core/a.cpp", HEAD + "// TO" + "DO: more\n", "words", 2),
    ("a path", "docs/a.md", "see /wo" + "rk/main\n", "words", 1),
    ("a path that only looks like it", "docs/a.md", "see home/wo" + "rk/main\n", None, 0),
    ("a registry", "docs/a.md", "from https://py" + "pi.org/simple\n", "words", 1),
)

DECLARED = "// A.\n  static Result<Ip> parse(std::string_view text);\n"
TARGET = "tombolo_fuzzer(a_fuzz SOURCES a_fuzz.cpp)\n"
FUZZER_CASES = (
    # (what is shown, files, the places that must be complained of)
    ("a parser with its fuzzer", {"core/a.h": DECLARED, "core/a_fuzz.cpp": "Ip::parse(text)", "core/CMakeLists.txt": TARGET,
                                  "tests/corpus/a_fuzz/seed": ""}, []),
    ("a fuzzer of another", {"core/a.h": DECLARED, "core/a_fuzz.cpp": "Prefix::parse(text)"}, [("core/a.h", 2)]),
    ("a record", {"core/a.h": "Result<A> decode_a(\n    const KeyValue& kv);\n"}, [("core/a.h", 1)]),
    ("a part of a document", {"core/a.h": "Result<A> decode_a(const Cursor& at);\n"}, []),
    ("no corpus", {"core/CMakeLists.txt": "# All.\n" + TARGET}, [("core/CMakeLists.txt", 2)]),
    ("a corpus that nobody reads", {"tests/corpus/a_fuzz/seed": ""}, [("tests/corpus/a_fuzz", 1)]),
)


def self_test():
    failed = 0
    for name, files, wanted in FUZZER_CASES:
        found = [(path, number) for path, number, *_ in check_fuzzers(files)]
        if found != wanted:
            print(f"{name}: found {found}, wanted {wanted}")
            failed += 1
    for name, path, text, rule, line in CASES:
        found = [(number, which) for number, which, _ in check(path, text)]
        wanted = [] if rule is None else [(line, rule)]
        if found != wanted:
            print(f"{name}: found {found}, wanted {wanted}")
            failed += 1
    caught = {rule for _, _, _, rule, _ in CASES if rule}
    rules = {"includes", "file length", "function length", "header", "words"} | {rule for rule, *_ in BANNED}
    for rule in sorted(rules - caught):
        print(f"no case shows that the rule \"{rule}\" catches anything")
        failed += 1
    print(f"{len(CASES) + len(FUZZER_CASES)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--self-test"]):
        sys.exit("usage: tests/tidy.py [--self-test]")
    sys.exit(self_test() if sys.argv[1:] else run())
