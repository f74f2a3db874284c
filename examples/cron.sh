#!/usr/bin/env bash
# A watch that goes on every ten minutes until its jobs have ended. In a crontab:
#
#   */10 * * * * USEAPI_TOKEN=... /path/to/cron.sh /path/to/folder
#
# The folder holds ids.txt, to which anybody may append ids; run.db, the journal; endings.jsonl, an event a line; and log.txt.
set -euo pipefail
cd "${1:?which folder holds ids.txt?}"
exec 9>lock
flock --nonblock 9 || exit 0 # the last one is not done yet

status=0
asyncflow watch --journal run.db --file ids.txt --timeout "${2:-9m}" --json >>endings.jsonl 2>>log.txt || status=$?
case $status in
    0 | 1 | 3 | 5) ;; # ended well or badly, still running, or not to be reached: all of it is in endings.jsonl
    *) tail -n 1 log.txt >&2 && exit $status ;; # a refused token or a broken set-up: cron sends what is printed
esac
