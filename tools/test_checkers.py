#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The checkers' own tests: each rule is shown a good tree and a tree that breaks it."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

TOOLS = os.path.dirname(os.path.abspath(__file__))
SPDX = "// SPDX-License-" + "Identifier: Apache-2.0\n"


def load(name):
    """A program without .py, as a module."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), os.path.join(TOOLS, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class TreeCase(unittest.TestCase):
    """A throw-away tree; `run_tool` runs a checker over it."""

    tool = None

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="hf-checkers-")
        self.addCleanup(self.directory.cleanup)
        self.write("src/base/base.h", SPDX + "#ifndef HF_BASE_H\n#define HF_BASE_H\n#endif\n")

    def write(self, path, text):
        full = os.path.join(self.directory.name, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as out:
            out.write(text)

    def run_tool(self, *arguments):
        command = [os.path.join(TOOLS, self.tool), "--root", self.directory.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def assert_clean(self):
        done = self.run_tool()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def assert_found(self, *words):
        done = self.run_tool()
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for word in words:
            self.assertIn(word, done.stdout)


class Arrows(TreeCase):
    tool = "check-arrows"

    def include(self, path, included):
        self.write(path, SPDX + "#include %s\n" % included)

    def test_an_allowed_include_passes(self):
        self.include("src/io/file.c", '"base/base.h"')
        self.assert_clean()

    def test_an_include_against_the_arrow_is_found(self):
        self.include("src/base/base.c", '"io/io.h"')
        self.assert_found("src/base/base.c:2", "base may not include io")

    def test_programs_never_include_each_other(self):
        self.include("src/agent/main.c", '"target/target.h"')
        self.assert_found("agent may not include target")

    def test_a_program_may_include_every_library(self):
        for library in ("store", "net", "capture", "conf"):
            self.include("src/agent/uses-%s.c" % library, '"%s/%s.h"' % (library, library))
        self.assert_clean()

    def test_an_internal_header_is_private(self):
        self.include("src/store/store.c", '"journal/segment-internal.h"')
        self.assert_found("is private to journal")

    def test_a_test_back_end_is_not_for_products(self):
        self.include("src/journal/journal.c", '"io/io-test.h"')
        self.assert_found("is for tests only")
        self.include("src/journal/journal.c", '"io/io.h"')
        self.include("src/journal/test-journal.c", '"io/io-test.h"')
        self.assert_clean()

    def test_libraries_do_not_log(self):
        self.include("src/store/merge.c", '"base/log.h"')
        self.assert_found("libraries do not log")
        self.include("src/store/merge.c", '"base/base.h"')
        self.include("src/agent/main.c", '"base/log.h"')
        self.assert_clean()

    def test_the_wire_knows_no_sockets(self):
        self.include("src/wire/frame.c", "<sys/socket.h>")
        self.assert_found("wire knows neither sockets nor threads")

    def test_base_uses_no_third_party_library_but_xxhash(self):
        self.include("src/base/hash.c", "<xxhash.h>")
        self.assert_clean()
        self.include("src/base/json.c", "<jansson.h>")
        self.assert_found("base may not use jansson.h")

    def test_an_unknown_folder_is_found(self):
        self.include("src/surprise/a.c", '"base/base.h"')
        self.assert_found("src/surprise: not in the table")


class TreeLint(TreeCase):
    tool = "tree-lint"

    def body(self, text):
        self.write("src/base/a.c", SPDX + text)

    def function(self, lines, name="f"):
        return "int %s(void)\n{\n%s}\n" % (name, "    g();\n" * (lines - 3))

    def test_a_good_tree_passes(self):
        self.body("int f(void)\n{\n    return 0;\n}\n")
        self.assert_clean()

    def test_a_missing_licence_line_is_found(self):
        self.write("src/base/a.c", "int x;\n")
        self.assert_found("src/base/a.c:1: the first line must be")

    def test_a_bpf_program_carries_both_licences(self):
        self.write("src/bpf/a.bpf.c", SPDX)
        self.assert_found("(GPL-2.0-only OR Apache-2.0)")

    def test_a_script_without_a_licence_line_is_found(self):
        self.write("tools/a", "#!/bin/sh\ntrue\n")
        self.assert_found("must name the licence")

    def test_tabs_and_trailing_blanks_are_found(self):
        self.body("int x;\t\nint y; \n")
        self.assert_found("a.c:2: tab", "a.c:2: trailing", "a.c:3: trailing")

    def test_a_missing_last_newline_is_found(self):
        self.body("int x;")
        self.assert_found("no newline at the end")

    def test_unfinished_marks_are_found(self):
        self.body("/* TO" + "DO */\n")
        self.assert_found("marked as unfinished")

    def test_banned_calls_are_found_but_not_in_words_or_comments(self):
        self.body('/* strcpy(a, b) */\nconst char *s = "strcpy(";\nint my_system(void);\n#define strcpy(a, b) no\n')
        self.assert_clean()
        self.body("void f(void)\n{\n    strcpy (a, b);\n}\n")
        self.assert_found("a.c:4: banned call: strcpy")

    def test_a_header_without_a_guard_is_found(self):
        self.write("src/base/b.h", SPDX + "int x;\n")
        self.assert_found("no include guard")

    def header(self, text):
        self.write("src/base/b.h", SPDX + "#ifndef HF_B_H\n#define HF_B_H\n\n" + text + "\n#endif\n")
        self.write("src/io/io.h", SPDX + '#ifndef HF_I\n#define HF_I\n#include "base/b.h"\n#endif\n')

    def test_an_undocumented_declaration_is_found(self):
        self.header("/* Opens. */\nint hf_open(void);\nint hf_close(void);\n\nint hf_read(void);\n")
        self.assert_found("b.h:9: hf_read is declared without a comment")

    def test_a_header_that_only_its_folder_uses_may_say_less(self):
        self.header("int hf_read(void);\n")
        self.write("src/io/io.h", SPDX + "#ifndef HF_I\n#define HF_I\n#endif\n")
        self.body('#include "base/b.h"\n')
        self.assert_clean()

    def test_a_comment_behind_a_declaration_documents_it(self):
        self.header("int hf_read(int a,\n            int b); /* reads */\n")
        self.assert_clean()

    def test_a_case_that_asserts_nothing_is_found(self):
        helper = "static void helper(int a)\n{\n    assert_true(a);\n}\n\n"
        case = "static void %s(void **state)\n{\n    %s;\n}\n\n"
        text = SPDX + helper + case % ("good", "helper(1)") + case % ("empty", "run() /* assert_ */")
        text += "const struct CMUnitTest t[] = {cmocka_unit_test(good), cmocka_unit_test(empty)};\n"
        self.write("src/base/test-a.c", text)
        self.assert_found("the case empty asserts nothing")
        self.assertNotIn("good", self.run_tool().stdout)

    def test_a_hard_folder_needs_a_readme(self):
        self.write("src/journal/a.c", SPDX)
        self.assert_found("src/journal: a hard folder without README.md")
        self.write("src/journal/README.md", "The idea.\n")
        self.assert_clean()

    def test_a_long_file_is_found(self):
        self.body("int x;\n" * 700)
        self.assert_found("file-lines is 701")

    def test_a_long_function_is_found(self):
        self.body(self.function(71))
        self.assert_found("src/base/a.c:f: function-lines is 71, at most 70")

    def test_a_complex_function_is_found(self):
        self.body("int f(int a)\n{\n%s    return 0;\n}\n" % ("    if (a)\n        a--;\n" * 15))
        self.assert_found("src/base/a.c:f: complexity is 16, at most 15")

    def test_a_listed_function_may_not_grow(self):
        self.body(self.function(80))
        self.write("tools/ratchet.txt", "function-lines src/base/a.c:f 80\n")
        self.assert_clean()
        self.body(self.function(81))
        self.assert_found("is 81, at most 80")

    def test_the_ratchet_only_falls(self):
        self.write("tools/ratchet.txt", "# why\nfunction-lines src/base/a.c:f 90\n")
        self.body(self.function(80))
        self.assert_found("better than tools/ratchet.txt says")
        self.assertEqual(self.run_tool("--lower").returncode, 0)
        self.assert_clean()
        self.body(self.function(85))
        self.assertEqual(self.run_tool("--lower").returncode, 1)
        self.body(self.function(70))
        self.assertEqual(self.run_tool("--lower").returncode, 0)
        with open(os.path.join(self.directory.name, "tools/ratchet.txt"), encoding="utf-8") as lines:
            self.assertEqual(lines.read(), "# why\n")


class Counting(unittest.TestCase):
    """tools/check counts what happened, no more and no less."""

    def setUp(self):
        self.check = load("check")
        self.tally = self.check.Tally(["unit/test-b:may skip", "e2e/*"])

    def count(self, suite, name, result, stdout=""):
        self.check.count_test(self.tally, suite, {"name": name, "result": result, "stdout": stdout})

    def test_a_plain_program_counts_as_one(self):
        self.count("e2e", "demo", "OK")
        self.assertEqual(self.tally.summary(), "1 passed, 0 failed, 0 skipped")
        self.assertTrue(self.tally.ok())

    def test_each_cmocka_case_counts(self):
        text = "[==========] Running 2 test(s).\n[ RUN      ] a\n[       OK ] a\n"
        text += "[ RUN      ] b\n[       OK ] b\n[==========] 2 test(s) run.\n[  PASSED  ] 2 test(s).\n"
        self.count("unit", "test-a", "OK", text)
        self.assertEqual(self.tally.summary(), "2 passed, 0 failed, 0 skipped")

    def test_a_failed_case_counts_once_though_cmocka_lists_it_twice(self):
        text = "[ RUN      ] a\n[  FAILED  ] a\n[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] a\n"
        self.count("unit", "test-a", "FAIL", text)
        self.assertEqual(self.tally.failures, ["unit/test-a:a"])

    def test_a_case_that_never_ended_is_a_failure(self):
        self.count("unit", "test-a", "FAIL", "[ RUN      ] a\n[       OK ] a\n[ RUN      ] b\n")
        self.assertEqual(self.tally.summary(), "1 passed, 1 failed, 0 skipped")

    def test_a_program_that_fails_after_its_cases_is_a_failure(self):
        self.count("unit", "test-a", "FAIL", "[ RUN      ] a\n[       OK ] a\n")
        self.assertEqual(self.tally.failures, ["unit/test-a"])

    def test_timeouts_and_errors_are_failures(self):
        for result in ("TIMEOUT", "ERROR", "INTERRUPT", "UNEXPECTEDPASS"):
            self.count("unit", result, result)
        self.assertEqual(self.tally.summary(), "0 passed, 4 failed, 0 skipped")

    def test_an_expected_skip_does_not_fail_the_run(self):
        self.count("unit", "test-b", "OK", "[ RUN      ] may skip\n[  SKIPPED ] may skip\n")
        self.count("e2e", "anything", "SKIP")
        self.assertEqual(self.tally.summary(), "0 passed, 0 failed, 2 skipped")
        self.assertTrue(self.tally.ok())

    def test_an_unexpected_skip_fails_the_run(self):
        self.count("unit", "test-b", "OK", "[ RUN      ] other\n[  SKIPPED ] other\n")
        self.assertEqual(self.tally.summary(), "0 passed, 1 failed, 0 skipped")
        self.assertFalse(self.tally.ok())


if __name__ == "__main__":
    unittest.main()
