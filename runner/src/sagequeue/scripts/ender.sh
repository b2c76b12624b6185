# Ends one execution where it runs: TERM, at most GRACE seconds, KILL; returns when it is gone.
#
#   sh -c "$(cat ender.sh)" sagequeue-ender NAME=VALUE WRAPPER GRACE
#
# NAME=VALUE is what the execution's processes have in their environment, see wrapper.sh, and
# WRAPPER the wrapper's process id, or 0. The wrapper passes TERM on to the workload's group and
# writes the result; when it is dead or stopped, the workload is ended all the same.
variable=$1 wrapper=$2 grace=$3

solver() {
    LC_ALL=C grep -lsxzF -e "$variable" /proc/[0-9]*/environ | tr -cd '0-9\n'
}
# Its number may belong to somebody else by now; our words among its arguments do not.
wrapper() {
    [ "$wrapper" -gt 0 ] && grep -qsxzF -e "${variable#*=}" "/proc/$wrapper/cmdline" &&
        grep -qsxzF sagequeue-wrapper "/proc/$wrapper/cmdline"
}
# Seconds since boot: the wall clock may be set meanwhile.
seconds() {
    read -r now _ </proc/uptime
    now=${now%.*}
}

if wrapper; then kill -s TERM "$wrapper"; else kill -s TERM $(solver) 2>/dev/null; fi
seconds
limit=$((now + grace))
while pids=$(solver); [ -n "$pids" ] || wrapper; do
    seconds
    if [ "$now" -ge "$limit" ]; then
        kill -s KILL $pids 2>/dev/null
        # It has had the time to write the result; if it has not, it is stopped.
        [ "$now" -lt "$((limit + 2))" ] || { wrapper && kill -s KILL "$wrapper"; }
    fi
    sleep 0.05
done
exit 0
