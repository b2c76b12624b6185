# Runs one workload where it runs, on the host or in the container, and says how it ended.
#
#   sh -c "$(cat wrapper.sh)" sagequeue-wrapper MARK EXECUTION DIRECTORY SCRIPT LINK GATE COMMAND [ARG ...]
#
# Descriptors: 3 the job's lock, which the workload inherits and so holds; 4 the log; 5 the record
# of the execution, which gets this process's id and, last of all, the result.
# MARK is the lock's path, EXECUTION the execution's own word: in the environment of everything the
# workload starts, they tell whose it is even when descriptors were closed and process groups left.
# LINK, if not empty, says that COMMAND is Sage and what to run is LINK.py: SCRIPT under a name of
# this job's own, preparsed. Sage would do both by itself, but into one file for all jobs, and it
# would start a cleaner that inherits the lock and lives on as long as any Sage does.
# GATE is the stop gate. A workload ends for it, and it may be gone before anybody else looks.
mark=$1 execution=$2 directory=$3 script=$4 link=$5 gate=$6
shift 6
exec </dev/null >&4 2>&4

strays() {
    LC_ALL=C grep -lsxzF -e "SAGEQUEUE_JOB=$mark" /proc/[0-9]*/environ | tr -cd '0-9\n'
}

child='' stopped='' seen=''
end() {
    stopped=1 seen=1
    # Before it leads its own group it is still one process. Without a child see `unless_stopped`.
    [ -z "$child" ] || kill -s TERM -- "-$child" 2>/dev/null || kill -s TERM "$child" 2>/dev/null
}
trap end TERM INT HUP

# What is wrong before the workload starts, RUN=1 in the record, is wrong with the machine: nothing
# is held against the job.
lacks() {
    echo "sagequeue: $2"
    printf 'LACKS=%s\n' "$1" >&5
    exit
}
cd "$directory" || lacks no_directory "cannot enter $directory"
[ -r "$script" ] || lacks no_script "cannot read $script"
command -v "$1" >/dev/null || lacks no_program "there is no $1"
printf 'PID=%s\n' "$$" >&5 || exit

# We have the lock, so whatever is left of an earlier execution of this offset has lost it.
while pids=$(strays) && [ -n "$pids" ]; do
    kill -s KILL $pids 2>/dev/null
    sleep 0.05
done

# What the kernel has killed in this control group for want of memory; nothing where it does not tell.
kills() {
    sed -n 's/^oom_kill //p' "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/memory.events" 2>/dev/null
}
before=$(kills)

# Out of memory, the kernel ends a solver rather than the worker, or what all solvers need; to raise this is always
# permitted. The marks are not exported: `strays` would find its own grep.
marked() {
    { echo 800 >/proc/self/oom_score_adj; } 2>/dev/null
    SAGEQUEUE_JOB=$mark SAGEQUEUE_EXECUTION=$execution exec "$@"
}
# Wait for the child; its exit status is `status` then.
reap() {
    [ -z "$stopped" ] || end # the signal came before there was a child
    wait "$child"
    status=$?
    # A signal ends `wait` early: wait again. 127 says that the child was waited for already.
    while [ -n "$seen" ]; do
        seen=''
        wait "$child"
        again=$?
        [ "$again" -eq 127 ] || status=$again
    done
}
clean() {
    [ -z "$link" ] || rm -f -- "$link" "$link.py"
}
# A stop before the workload begins: it does not begin, and the record says that it was a stop.
unless_stopped() {
    [ -n "$stopped" ] || return 0
    clean
    printf 'STOPPED=1\n' >&5
    exit
}
# What fails before the workload starts is the machine's fault, or every job's: nothing is counted.
not_preparsed() {
    clean
    lacks not_preparsed "$1"
}
if [ -n "$link" ]; then
    unless_stopped
    rm -f -- "$link.py"
    ln -sfn -- "$script" "$link" || not_preparsed "cannot link $link"
    marked setsid "$1" -preparse "$link" 3>&- 4>&- 5>&- &
    child=$!
    reap
    kill -s KILL -- "-$child" 2>/dev/null
    child=''
    unless_stopped
    [ "$status" -eq 0 ] || not_preparsed "$1 -preparse ended with exit status $status"
    [ -f "$link.py" ] || not_preparsed "$1 -preparse made no $link.py"
fi
unless_stopped
# From here on what goes wrong is the workload's.
printf 'RUN=1\n' >&5 || exit
marked setsid "$@" 4>&- 5>&- &
child=$!
reap
gated=''
{ [ ! -e "$gate" ] && [ ! -L "$gate" ]; } || gated=1

# The group ends with its leader, and so does what left the group: neither may outlive the result.
while
    kill -s KILL -- "-$child" 2>/dev/null
    pids=$(strays)
    [ -n "$pids" ]
do
    kill -s KILL $pids 2>/dev/null
    sleep 0.05
done
clean
[ "$status" -ne 137 ] || [ "$(kills)" = "$before" ] || printf 'OOM=1\n' >&5
printf '%s%sRC=%s\n' "${stopped:+STOPPED=1
}" "${gated:+GATE=1
}" "$status" >&5
