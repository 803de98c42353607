"""What the checks share: the tree, its files, and how a check ends."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def read(path):
    return (ROOT / path).read_text()


def files(*patterns):
    """Paths below the root, as text, sorted."""
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


def own_files():
    """What belongs to the repository: tracked, or new and not ignored. In a copy without git: everything but builds."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True)
    if listed.returncode == 0:
        return [path for path in listed.stdout.split("\n") if path and (ROOT / path).is_file()]
    return [path for path in files("**/*", ".*/**/*") if not path.startswith(("build/", ".souk/", ".git/"))]


def without_comments(text):
    """C without its comments; line breaks stay."""
    return re.sub(r"/\*.*?\*/", lambda found: "\n" * found.group().count("\n"), text, flags=re.S)


def end(complaints, summary):
    """Prints every complaint, or the summary, and ends the check."""
    for complaint in complaints:
        print(complaint)
    if complaints:
        sys.exit(1)
    print(summary)
