#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tools/setup against a make-believe dpkg and apt: what it installs, and when it does not."""

import os
import shutil
import subprocess
import tempfile
import unittest

TOOLS = os.path.dirname(os.path.abspath(__file__))

DPKG_QUERY = """#!/bin/sh
cat "$FAKE/installed" | sed 's/^/installed /'
echo "config-files half-there"
echo "dpkg-query: no packages found" >&2
exit 1
"""
APT_GET = """#!/bin/sh
echo "$*" >>"$FAKE/calls"
case "$*" in
update*) touch "$FAKE/updated"; exit 0 ;;
esac
[ ! -e "$FAKE/lists-are-old" ] || [ -e "$FAKE/updated" ]
"""


class Setup(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="hf-setup-")
        self.addCleanup(temporary.cleanup)
        self.fake = temporary.name
        shutil.copy(os.path.join(TOOLS, "setup"), self.fake)
        self.write("packages.txt", "# why\nalpha\nbeta # what for\n\n")
        self.write("installed", "alpha\nbeta\n")
        self.command("dpkg-query", DPKG_QUERY)
        self.command("apt-get", APT_GET)
        self.command("id", "#!/bin/sh\necho 0\n")

    def write(self, name, text):
        with open(os.path.join(self.fake, name), "w", encoding="utf-8") as out:
            out.write(text)

    def command(self, name, text):
        self.write(name, text)
        os.chmod(os.path.join(self.fake, name), 0o755)

    def run_setup(self):
        env = dict(os.environ, FAKE=self.fake, PATH=self.fake + ":" + os.environ["PATH"])
        return subprocess.run(
            [os.path.join(self.fake, "setup")], env=env, capture_output=True, text=True, check=False
        )

    def calls(self):
        try:
            with open(os.path.join(self.fake, "calls"), encoding="utf-8") as lines:
                return lines.read().splitlines()
        except FileNotFoundError:
            return []

    def test_nothing_is_done_or_said_when_all_is_there(self):
        self.command("id", "#!/bin/sh\necho 1000\n")
        done = self.run_setup()
        self.assertEqual((done.returncode, done.stdout, done.stderr, self.calls()), (0, "", "", []))

    def test_only_what_is_missing_is_installed(self):
        self.write("installed", "alpha\n")
        self.assertEqual(self.run_setup().returncode, 0)
        (call,) = self.calls()
        self.assertTrue(call.startswith("install ") and call.endswith(" beta"), call)

    def test_a_removed_package_with_left_over_files_counts_as_missing(self):
        self.write("packages.txt", "alpha\nhalf-there\n")
        self.assertEqual(self.run_setup().returncode, 0)
        self.assertTrue(self.calls()[0].endswith(" half-there"))

    def test_the_lists_are_fetched_only_when_they_do_not_suffice(self):
        self.write("installed", "")
        self.write("lists-are-old", "")
        self.assertEqual(self.run_setup().returncode, 0)
        self.assertEqual([call.split()[0] for call in self.calls()], ["install", "update", "install"])

    def test_without_root_it_says_what_to_run(self):
        self.write("installed", "beta\n")
        self.command("id", "#!/bin/sh\necho 1000\n")
        done = self.run_setup()
        self.assertEqual((done.returncode, self.calls()), (1, []))
        self.assertIn("apt-get install --no-install-recommends alpha", done.stderr)


if __name__ == "__main__":
    unittest.main()
