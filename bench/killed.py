"""Kill the demo (SIGKILL) at random moments, go on each time, and compare its weights with an undisturbed run's.

python bench/killed.py [--kills 5] [--seed 0] [--out build/killed]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from expunge.files import folder_digest

COMMAND = [sys.executable, "-c", "from expunge.cli import main; main()", "demo", "--out"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/killed"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    start = time.monotonic()
    subprocess.run([*COMMAND, str(options.out / "straight")], check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - start
    print(f"undisturbed: {whole:.0f} s")
    draw = random.Random(options.seed)
    for number in range(options.kills):
        after = draw.uniform(0.1, 0.6) * whole
        process = subprocess.Popen([*COMMAND, str(options.out / "killed")], stdout=subprocess.DEVNULL)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done = sorted(p.name for p in (options.out / "killed").glob("*"))
            print(f"kill {number + 1} after {after:.1f} s; in the folder: {', '.join(done)}")
        else:
            break
    manifest = options.out / "killed/manifest.json"  # a run may have been killed on its way out
    if not manifest.exists() or json.loads(manifest.read_text())["status"] != "complete":
        subprocess.run([*COMMAND, str(options.out / "killed")], check=True, stdout=subprocess.DEVNULL)
    straight, killed = (folder_digest(options.out / name / "model", "*.safetensors") for name in ("straight", "killed"))
    print(f"undisturbed {straight[:16]}, killed {killed[:16]}: {'the same' if straight == killed else 'DIFFERENT'}")
    sys.exit(straight != killed)


if __name__ == "__main__":
    main()
