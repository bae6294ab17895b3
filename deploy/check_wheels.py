"""Can everything the daemon needs be installed without a compiler? Asks pip for wheels, for every machine we name.

Downloads some 90 MB for each into a folder that is removed again, so it is run by hand when requirements.txt changes.
Exit status: 0 all there, 1 something has no wheel.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = ("2_28", "2_27", "2_24", "2_17", "2_12", "2_5")
"""Newest first; Debian 11 and everything later has 2.31 or more. The old names of three of them are wheels' too."""
OLD_NAMES = ("manylinux2014", "manylinux2010", "manylinux1")
SECONDS = 1_200


def command(python: str, machine: str, folder: str) -> list[str]:
    """What pip is asked; it answers for another machine than this one only where it need not build anything."""
    platforms = [f"manylinux_{version}_{machine}" for version in GLIBC] + [f"{name}_{machine}" for name in OLD_NAMES]
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    asked += ["--only-binary", ":all:", "--require-hashes", "--dest", folder, "--requirement", str(REQUIREMENTS)]
    asked += ["--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
    asked += ["--abi", "abi3", "--abi", "none"]
    for platform in platforms:
        asked += ["--platform", platform]
    return asked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", choices=PYTHONS, action="append", help="only this version; may be repeated")
    parser.add_argument("--machine", choices=MACHINES, action="append", help="only this machine; may be repeated")
    arguments = parser.parse_args()
    lacking = 0
    for machine in arguments.machine or MACHINES:
        for python in arguments.python or PYTHONS:
            with tempfile.TemporaryDirectory(prefix="wheels-") as folder:
                done = subprocess.run(
                    command(python, machine, folder), capture_output=True, text=True, timeout=SECONDS, check=False
                )
                found = list(Path(folder).iterdir())
            size = f"{len(found)} wheels" if done.returncode == 0 else "NOT ALL"
            print(f"Python {python} on {machine}: {size}", flush=True)
            if done.returncode:
                lacking += 1
                print("  " + "\n  ".join(done.stderr.strip().splitlines()[-4:]), flush=True)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
