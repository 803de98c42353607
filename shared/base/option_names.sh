#!/bin/sh
# option_names.sh OUT FILE…: writes the names of all settings, from the option tables in these files, to OUT as C. An unchanged list is left as it is.
set -eu
out=$1
shift
{
    printf '#include "option_names.h"\n\nconst char *const OPTION_NAMES[] = {\n'
    sed -n 's/^ *{"\([a-z-]*\)", OPTION_.*/    "\1",/p' "$@" | LC_ALL=C sort -u
    printf '    (const char *)0,\n};\n'
} >"$out.new"
if cmp -s "$out.new" "$out"; then
    rm "$out.new"
else
    mv "$out.new" "$out"
fi
