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
    # What touches the system, the Windows parts, and the ways that real pools can be killed and stopped. Left out is what
    # only computes or is for Linux, what writes hundreds of files for a claim that no system changes, and of the ways to
    # stop and to be killed those that tests/windows has as well.
    unit="system spool jobs inbox worker pool flows maintenance cli"
    stops="test_stop_lets_a_running_job_end_and_records_it test_a_second_stop_can_be_harder
        test_a_detached_pool_has_the_grace_that_it_was_started_with test_ways_to_stop_exclude_each_other"
    # Parents, desks, rates, circuit breakers and inboxes of files; tests/windows has the rest of flows, which is marked
    # slow elsewhere or for Linux.
    flows="test_dependencies.py test_desk.py::test_a_job_gets_its_standard_input
        test_rates.py::test_rate_holds_over_two_pools test_rates.py::test_resumed_queue_lets_one_job_try
        test_file_inboxes.py::test_files_run_and_go_where_they_belong
        test_desk.py::test_progress_is_seen_while_a_job_runs test_desk.py::test_a_job_gets_the_results_of_its_parents"
    left_out="unit/maintenance/test_check.py::test_torn_records_are_cut_back_and_kept
        e2e/test_recovery.py::test_a_killed_worker_s_job_runs_again_after_its_command_has_ended
        e2e/test_recovery.py::test_a_job_that_kills_its_worker_every_time_ends_dead
        unit/flows/test_rates.py::test_few_starts_ahead_of_the_clock_count_too
        unit/flows/test_rates.py::test_room_says_how_many_may_start_and_when_the_next
        unit/flows/test_rates.py::test_no_window_at_random_times_holds_more
        unit/jobs/test_ticker.py::test_many_schedules_of_one_time_share_their_steps
        unit/pool/test_schedule_watch.py::test_a_pool_and_a_command_import_no_time_zones_without_schedules
        unit/cli/test_columns.py"
    for name in $unit; do set -- "$@" "tests/unit/$name"; done
    for name in $stops; do set -- "$@" "tests/e2e/test_stop.py::$name"; done
    for name in $flows; do set -- "$@" "tests/e2e/$name"; done
    for name in $left_out; do set -- "$@" "--deselect=tests/$name"; done
    set -- tests/unit/test_*.py tests/windows tests/e2e/test_recovery.py "$@"
fi
# Two at a time: most of a test's time is spent on starting processes. Output is unbuffered, because a test that takes
# too long ends the whole run there. What failed is known in the rig, for `--lf`.
RIG_ENV_PYTHONUNBUFFERED=1 exec "$rig/bin/winpy" -m pytest -n 2 -o cache_dir="$rig/pytest" -rs "$@"
