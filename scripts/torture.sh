#!/bin/bash
#
# torture.sh: the crash test alone, with more orders; see test/t/090_torture.pl.
#
#   ORDERS=10000   how many; there is a kill for every 20 of them
#   SEED=1         a run like an earlier one, whose seed it printed
#   STAGE=/tmp/x   in that stage (kept) instead of a temporary one

. "$(dirname "$0")/stage.sh"

"$stage_top"/scripts/packages.sh test || exit 1

trap 'stage_close' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

stage_make "${STAGE:-}" || exit 1
stage_user rm -rf "$STAGE/tmp_check"
stage_run env ORDERS="${ORDERS:-10000}" SEED="${SEED:-}" prove -v test/t/090_torture.pl
