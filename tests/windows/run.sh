#!/bin/sh
# Run the test-suite on a Windows Python under Wine.
#
#   tests/windows/run.sh [DIR] [PYTEST ARGUMENTS]   all of it, or what is named
#   tests/windows/run.sh [DIR] --ci                 a bounded part: a few minutes on two cores
#
# DIR holds the rig (~/.cache/queuectl-rig, or $QUEUECTL_RIG); it is set up where it is missing and kept. Where Wine
# cannot be installed a line says so and the exit code is 0: nothing was tested, and nothing failed.
set -eu
cd "$(dirname "$0")/../.."

rig=${QUEUECTL_RIG:-${XDG_CACHE_HOME:-$HOME/.cache}/queuectl-rig}
case "${1:-}" in
    "" | -* | tests | tests/*) ;;
    *)
        rig=$1
        shift
        ;;
esac

# Minutes at most: where it takes longer, something waits for a network that is not there.
timeout 420 python3 tests/windows/rig.py "$rig" || {
    code=$?
    [ "$code" -eq 3 ] && exit 0 # the line that begins with SKIP was printed by rig.py
    [ "$code" -eq 124 ] && echo "SKIP: the rig was not there after seven minutes" && exit 0
    exit "$code"
}

if [ "${1:-}" = --ci ]; then
    shift
    # The lower layers, the Windows parts, and the ways that real pools can be killed and stopped.
    set -- tests/unit tests/windows tests/e2e/test_recovery.py tests/e2e/test_stop.py "$@"
fi
# Two at a time: most of a test's time is spent on starting processes. Output is unbuffered, because a test that takes
# too long ends the whole run there.
RIG_ENV_PYTHONUNBUFFERED=1 exec "$rig/bin/winpy" -m pytest -n 2 -p no:cacheprovider -rs "$@"
