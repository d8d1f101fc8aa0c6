"""What tests install into the cache: made once, whole or not at all, whoever is first.

    folder = pip_folder("thing-1.2.3", "thing==1.2.3")
    make_importable(folder)"""

import contextlib
import fcntl
import os
import subprocess
import sys
import venv

from servers import CACHE, need

VERSION = "%d.%d" % sys.version_info[:2]


@contextlib.contextmanager
def once(folder):
    """Yields True in the one process that must make the folder; `done` ends it."""
    os.makedirs(CACHE, exist_ok=True)
    with open(folder + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = os.path.join(folder, "done")
        if os.path.exists(done):
            yield False
            return
        yield True
        with open(done, "w", encoding="utf-8"):
            pass


def run(what, command, env=None):
    try:
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=600, check=False, env=env)
        text = made.stdout if made.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        text = str(error)
    need(not text, f"cannot install {what}: {text[-300:]}")


def pip_folder(name, *packages):
    """A folder made by venv with these packages of PyPI; answers it."""
    folder = os.path.join(CACHE, f"{name}-{VERSION}")
    with once(folder) as mine:
        if mine:
            try:
                venv.EnvBuilder(with_pip=True, clear=True).create(folder)
            except (OSError, subprocess.SubprocessError) as error:
                need(False, f"cannot install {' '.join(packages)}: {error}")
            run(" ".join(packages), [os.path.join(folder, "bin", "pip"), "install", "-q",
                                     "--disable-pip-version-check", *packages])
    return folder


def site_packages(folder):
    return os.path.join(folder, "lib", "python" + VERSION, "site-packages")


def make_importable(folder, first=False):
    """first: before what the system has of the same names."""
    site = site_packages(folder)
    if site not in sys.path:
        sys.path.insert(0 if first else len(sys.path), site)


__all__ = ["make_importable", "once", "pip_folder", "run", "site_packages"]
