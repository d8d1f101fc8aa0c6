#!/usr/bin/env python3
"""contrib/check-* can fail: each planted mistake is found, in a copy of the tree."""

import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = ("agent", "connectors", "rules", "contrib", "tests", "schemas", "README.md",
         ".clang-format")

UNTESTED = "never" + "_tested"     # in one piece it would stand in a test: this one

# (script, file, text that is added to it or stands in it, what the script must say)
PLANTED = [
    ("layers", "agent/base/zz.c", '#include "bus/event.h"\n',
     "agent/base must not include agent/bus"),
    ("layers", "rules/zz.c", '#include <librdkafka/rdkafka.h>\n',
     "belongs to connectors/sink_kafka*"),
    ("layers", "rules/zz.c", '#include "base/clock.h"\n', "must not be used in rules/"),
    ("layers", "connectors/source_zz.c", '#include "sink_kafka.h"\n',
     "must not include another one"),
    ("style", "agent/base/zz.c", "int f(char *s);\nint f(char *s)\n{\n    return atoi(s);\n}\n",
     "atoi() is banned here"),
    ("style", "rules/zz.c", "void f(void *p);\nvoid f(void *p)\n{\n    p = malloc(3);\n}\n",
     "malloc() is banned here"),
    ("style", "tests/unit/zz.c", "void f(void);\nvoid f(void)\n{\n    usleep(3);\n}\n",
     "usleep() is banned here"),
    ("style", "agent/base/zz.h", "typedef struct zz zz;\n", "no typedef of a struct"),
    ("style", "agent/zz.c", "\tint x;\n", "zz.c:1: tab"),
    ("lists", "agent/zz.c", 'int f(void)\n{\n    dgf_crash_point("never_listed");\n}\n',
     "crash point 'never_listed' is not in"),
    ("lists", "agent/zz.c", 'const char *c = "E0999";\n', "code E0999 is not in"),
    ("lists", "tests/flow/crash_points.def", 'CRASH_POINT(never_used, "x")\n',
     "'never_used' is nowhere in the code"),
    ("lists", "agent/cmd_zz.c", 'struct dgf_arg a[] = {{"never-documented", 0, NULL, "x"}};\n',
     "option '--never-documented' is not in contrib/doc"),
    ("lists", "connectors/source_zz.c",
     'struct dgf_opt o[] = {{"' + UNTESTED + '", DGF_OPT_STR, 0}};\n',
     f"option '{UNTESTED}' is in no test"),
    ("lists", "contrib/doc/TESTING.md",
     "## Faults\n| x | `tests/unit/test_err.c` | `a_test_nobody_wrote` |\n",
     "there is no test a_test_nobody_wrote"),
    ("lists", "tests/fuzz/fuzz_zz.c", "int x;\n", "fuzz_zz.c is not in FUZZ_TARGETS"),
    ("docs", "rules/zz.c",
     'const struct dgf_cel_function zz[] = {\n    {"pii.zz", "(dyn) -> bool", 1, zz},\n};\n',
     "function 'pii.zz' is not in contrib/doc/POLICIES.md"),
    ("docs", "rules/zz.c", 'struct dgf_opt o[] = {{"never_told", DGF_OPT_STR, 0}};\n',
     "key 'never_told' is not in contrib/doc/POLICIES.md"),
    ("docs", "contrib/doc/POLICIES.md", "```yaml\nversion: 1\npolicies: [{id: A}]\n```\n",
     "policy 'A': 'title' is missing"),
    ("docs", "contrib/doc/POLICIES.md", "```yaml E0428\nwhen: 'true'\n```\n",
     "E0428 is not what dgf says"),
    ("docs", "README.md", "```yaml\nmessage: '{{'\n```\n", "'{{' is not closed"),
    ("docs", "contrib/doc/KAFKA.md", '{"v":1,"kind":"gap","cause":"x"}\n',
     "a record of kind gap has no ['cause']"),
    ("docs", "contrib/doc/CONFIGURATION.md", "x\n", "CONFIGURATION.md is not what dgf prints"),
    ("docs", "schemas/dgf.schema.json", "{}\n", "dgf.schema.json is not what dgf prints"),
    ("docs", "schemas/policy.schema.json", "{}\n", "policy.schema.json is not what dgf prints"),
]


def main():
    folder = tempfile.mkdtemp(prefix="dgf-checks-")
    bad = 0
    try:
        for part in PARTS:
            source, target = os.path.join(TOP, part), os.path.join(folder, part)
            if os.path.isdir(source):
                shutil.copytree(source, target, copy_function=shutil.copyfile,
                                ignore=shutil.ignore_patterns("*.o", "__pycache__", "corpus"))
            else:
                shutil.copyfile(source, target)
        for script, name, text, wanted in PLANTED:
            path = os.path.join(folder, name)
            before = None
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    before = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(text + (before or ""))
            done = subprocess.run(
                [sys.executable, os.path.join(folder, "contrib", f"check-{script}"),
                 *(["--no-format"] if script == "style" else [])],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode != 1 or wanted not in done.stdout:
                bad += 1
                print(f"FAIL check-{script} does not say '{wanted}' about {name}")
            if before is None:
                os.remove(path)
            else:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(before)
    finally:
        shutil.rmtree(folder)
    print(f"test_checks: {len(PLANTED)} planted mistakes, {bad} not found")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
