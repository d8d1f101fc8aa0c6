"""Ed25519 and zstd for Python, pinned, from PyPI into the cache: for the second verifier and
for the generator of archives.  Importing this makes them importable."""

from pinned import make_importable, pip_folder

make_importable(pip_folder("evidence-46.0.5-0.25.0", "cryptography==46.0.5",
                           "zstandard==0.25.0"), first=True)
