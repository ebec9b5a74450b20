#!/bin/sh
# Set up a Windows CPython under Wine in the folder DIR: see rig.py.
exec python3 "$(dirname "$0")/rig.py" "$@"
