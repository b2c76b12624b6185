# Ends one job's solver where it runs: TERM, at most GRACE seconds, KILL; returns when it is gone.
#
#   sh -c "$(cat ender.sh)" sagequeue-ender MARK WRAPPER GRACE
#
# MARK as in wrapper.sh; WRAPPER is the wrapper's process id, or 0. The wrapper passes TERM on to
# the workload's group and writes the result; when it is dead or stopped, the workload is ended
# all the same.
mark=$1 wrapper=$2 grace=$3

solver() {
    grep -lsxzF -e "SAGEQUEUE_JOB=$mark" /proc/[0-9]*/environ | tr -cd '0-9\n'
}
# Its number may belong to somebody else by now; the mark among its arguments does not.
wrapper() {
    [ "$wrapper" -gt 0 ] && grep -qsxzF -e "$mark" "/proc/$wrapper/cmdline"
}

if wrapper; then kill -s TERM "$wrapper"; else kill -s TERM $(solver) 2>/dev/null; fi
ticks=0
while pids=$(solver); [ -n "$pids" ] || wrapper; do
    if [ "$ticks" -ge "$((grace * 20))" ]; then
        kill -s KILL $pids 2>/dev/null
        # It has had the time to write the result; if it has not, it is stopped.
        [ "$ticks" -lt "$((grace * 20 + 40))" ] || kill -s KILL "$wrapper" 2>/dev/null
    fi
    ticks=$((ticks + 1))
    sleep 0.05
done
exit 0
