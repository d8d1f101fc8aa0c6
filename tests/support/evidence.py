"""Ed25519 and zstd for Python, pinned, from PyPI into the cache: for the second verifier and
for the generator of archives.  Importing this makes them importable."""

import fcntl
import os
import subprocess
import sys
import venv

from servers import CACHE, need

PINNED = ("cryptography==46.0.5", "zstandard==0.25.0")
VERSION = "%d.%d" % sys.version_info[:2]
FOLDER = os.path.join(CACHE, "evidence-46.0.5-0.25.0-" + VERSION)
SITE = os.path.join(FOLDER, "lib", "python" + VERSION, "site-packages")


def install():
    """Makes the folder once."""
    done = os.path.join(FOLDER, "done")
    os.makedirs(CACHE, exist_ok=True)
    with open(FOLDER + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(done):
            return
        try:
            venv.EnvBuilder(with_pip=True, clear=True).create(FOLDER)
            made = subprocess.run([os.path.join(FOLDER, "bin", "pip"), "install", "-q",
                                   "--disable-pip-version-check", *PINNED], check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=300)
            text = made.stdout if made.returncode else ""
        except (OSError, subprocess.SubprocessError) as error:
            text = str(error)
        need(not text, f"cannot install {' '.join(PINNED)} from PyPI: {text[-300:]}")
        with open(done, "w", encoding="utf-8"):
            pass


install()
if SITE not in sys.path:
    sys.path.insert(0, SITE)
