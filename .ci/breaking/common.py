"""What .ci/guards and .ci/mutants share: a copy of the crate that is broken in many places, each behind a question that the
environment answers, so that all of it is built once; and its tests, run while one of them is broken."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "RINGTOSS_BROKEN"

BROKEN = """//! Whether a place is broken: written by the tools that try what the tests notice.

use std::sync::atomic::{AtomicU32, Ordering};

static WHICH: AtomicU32 = AtomicU32::new(u32::MAX);

#[inline]
pub(crate) fn is(number: u32) -> bool {
    match WHICH.load(Ordering::Relaxed) {
        u32::MAX => look() == number,
        which => which == number,
    }
}

#[cold]
fn look() -> u32 {
    let which = std::env::var("%s").ok().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX - 1);
    WHICH.store(which, Ordering::Relaxed);
    which
}
""" % NAME


def tracked():
    """The files of the repository, as they are in the work tree."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name and (ROOT / name).is_file()]


def make_copy(where, change):
    """Copies the crate; `change` makes a text of a text by its name. What stays the same keeps its time, so that little is
    built anew."""
    wanted = {}
    for name in tracked():
        if name.endswith(".rs") and name.startswith("src/"):
            text = (ROOT / name).read_text()
            if name == "src/lib.rs":
                text += "\nmod broken;\n"
            wanted[name] = change(name, text).encode()
        else:
            wanted[name] = None
    wanted["src/broken.rs"] = BROKEN.encode()
    for path in [path for path in where.rglob("*") if path.is_file() or path.is_symlink()]:
        name = str(path.relative_to(where))
        if name not in wanted and not name.startswith("target/"):
            path.unlink()
    for name, content in wanted.items():
        target = where / name
        if content is None:
            content = (ROOT / name).read_bytes()
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if name != "src/broken.rs" and (ROOT / name).is_file():
            shutil.copymode(ROOT / name, target)


def environment(**more):
    return {
        "CARGO_INCREMENTAL": "1",
        "CARGO_PROFILE_DEV_DEBUG": "line-tables-only",
        **os.environ,
        **more,
    }


def build(where, arguments, **more):
    """Builds tests without running them; gives the binaries by the names of their targets, and the compiler's errors. Each copy
    has a target directory of its own: to cargo they are one package, and it would build one over the other."""
    more.setdefault("CARGO_TARGET_DIR", f"{where}-target")
    command = ["cargo", "test", "--quiet", "--no-run", "--message-format=json", "-p", "ringtoss", *arguments]
    run = subprocess.run(command, cwd=where, env=environment(**more), capture_output=True, text=True)
    binaries, errors = {}, []
    for line in run.stdout.splitlines():
        if not line.startswith("{"):
            continue
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            kind = message["target"]["kind"][0]
            binaries["lib" if kind in ("lib", "rlib") else message["target"]["name"]] = message["executable"]
        if message.get("reason") == "compiler-message" and message["message"]["level"] == "error":
            errors.append(message["message"])
    if run.returncode != 0 and not errors:
        sys.exit(run.stderr[-4000:])
    return binaries, errors


def tests_of(where, binary):
    listing = subprocess.run([binary, "--list"], cwd=where, capture_output=True, text=True, check=True).stdout
    return [line.removesuffix(": test") for line in listing.splitlines() if line.endswith(": test")]


def run(where, binary, arguments, number=None, limit=60, **more):
    """Runs tests: "passed", "failed" or "hung"; and how long they took and what they said."""
    env = environment(**more)
    env.pop(NAME, None)
    if number is not None:
        env[NAME] = str(number)
    begun = time.monotonic()
    # A session of its own, so that what it has started ends with it.
    child = subprocess.Popen(
        [binary, *arguments], cwd=where, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )
    try:
        said = child.communicate(timeout=limit)[0]
        outcome = "passed" if child.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        said, outcome = b"", "hung"
    try:
        os.killpg(child.pid, 9)
    except ProcessLookupError:
        pass
    if outcome == "hung":
        said = child.communicate()[0]
    return outcome, time.monotonic() - begun, said.decode(errors="replace")
