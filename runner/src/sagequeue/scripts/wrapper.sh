# Runs one workload where it runs, on the host or in the container, and says how it ended.
#
#   sh -c "$(cat wrapper.sh)" sagequeue-wrapper MARK EXECUTION DIRECTORY SCRIPT LINK GATE GRACE LEFT NICE COMMAND [ARG ...]
#
# Descriptors: 3 the job's lock, which the workload inherits and so holds; 4 the log; 5 the record
# of the execution, which gets this process's id and, last of all, the result.
# MARK is the lock's path, EXECUTION the execution's own word: in the environment of everything the
# workload starts, they tell whose it is even when descriptors were closed and process groups left.
# LINK, if not empty, says that COMMAND is Sage and what to run is LINK.py: SCRIPT under a name of
# this job's own, preparsed. Sage would do both by itself, but into one file for all jobs, and it
# would start a cleaner that inherits the lock and lives on as long as any Sage does.
# GATE is the stop gate. A workload ends for it, and it may be gone before anybody else looks.
# GRACE is how many seconds what the workload started has to end after TERM.
# LEFT is the GROUP of the job's last execution, see session.sh, or empty.
# NICE is added to the workload's nice value, if not empty.
#
# TERM stops the execution: TERM to the workload's first process, its leader; when that has ended and
# nothing writes the log any more, or after PATIENCE seconds, TERM to the rest. KILL for a leader that
# does not end comes from ender.sh. The rest, which the leader leaves, gets it here, GRACE later.
mark=$1 execution=$2 directory=$3 script=$4 link=$5 gate=$6 grace=$7 left=$8 nice=$9
shift 9
exec </dev/null >&4 2>&4

# A filter of the output, `tee` say, reads on after the leader's end. It has so many seconds to write what it read.
patience=5

# Hundredths of a second since boot, as `now`.
hundredths() {
    read -r now _ </proc/uptime
    now=${now%.*}${now#*.}
}
lives() {
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    case ${line##*) } in [ZX]*) return 1 ;; esac
}

# Sets `pids` to the processes that have the job's mark. False if they cannot be known. /proc was listed if this shell
# is in the list, and grep has to find its own arguments, which it reads last. Its exit status says nothing: it is 2
# whenever a process ends while grep reads. `command`, since bash takes functions from the environment.
search() {
    set -- /proc/[0-9]*/environ
    case " $* " in *" /proc/$$/environ "*) ;; *) return 1 ;; esac
    found=$(LC_ALL=C command grep -lsxzF -e "SAGEQUEUE_JOB=$mark" "$@" /proc/self/cmdline)
    pids=''
    for path in $found; do
        path=${path#/proc/}
        [ "$path" = self/cmdline ] || pids="$pids ${path%/environ}"
    done
    case $found in */proc/self/cmdline) ;; *) return 1 ;; esac
}
# The same, and those of the leader's group that gave their environment up.
remaining() {
    search || { cut=1 && return 1; }
    kill -0 "-$child" 2>/dev/null || return 0
    for path in $(LC_ALL=C command grep -lsE "\\) [^ZX] [0-9]+ $child " /proc/[0-9]*/stat); do
        path=${path#/proc/} path=${path%/stat}
        case "$pids " in *" $path "*) ;; *) pids="$pids $path" ;; esac
    done
}
# True if the execution lasted half a second at most and no process that was started after its leader is alive. Then no
# search is needed. The kernel gives out process ids in increasing order, so a child's id lies between the leader's and
# that of a process started now. In so short a time the ids do not start again: there are 32,768 of them or more.
alone() {
    [ -z "$link" ] || return 1
    hundredths
    [ -n "$now" ] && [ "$((now - began))" -le 50 ] || return 1
    : &
    newest=$! pid=$child
    wait "$newest"
    [ "$newest" -gt "$child" ] && [ "$((newest - child))" -lt 500 ] || return 1
    while pid=$((pid + 1)) && [ "$pid" -lt "$newest" ]; do
        [ ! -d "/proc/$pid" ] || return 1
    done
}
# Sets `writers` to those of `pids` that have the log open, and not for reading only.
writing() {
    writers=''
    for pid in $pids; do
        for fd in "/proc/$pid/fd"/*; do
            [ "$fd" -ef "/proc/$$/fd/4" ] || continue
            flags=''
            { while read -r word value; do
                [ "$word" != flags: ] || flags=$value
            done <"/proc/$pid/fdinfo/${fd##*/}"; } 2>/dev/null
            case $flags in *[04]) continue ;; esac
            writers="$writers $pid"
            break
        done
    done
}

# TERM to what is left, but not to the leader once more: it is at it. What wrote the log may have had more to write.
escalate() {
    escalated=1
    seconds
    last=$((now + grace))
    remaining || { kill -TERM "-$child" 2>/dev/null; return 0; }
    writing
    for pid in $writers; do [ "$pid" = "$child" ] || cut=1; done
    for pid in $pids; do [ "$pid" = "$child" ] || kill -s TERM "$pid" 2>/dev/null; done
}

child='' stopped='' seen='' told='' limit='' escalated='' over='' cut=''
stop() {
    # What ends by itself was not stopped. There is a limit to its end, too.
    [ -z "$over" ] || return 0
    stopped=1 seen=1
    [ -n "$limit" ] || { seconds && limit=$((now + patience)); }
    # Before it leads its own group it is one process, too. A client of podman may pass on the signal that ender.sh sends.
    [ -z "$child" ] || [ -n "$told" ] || { told=1 && kill -s TERM "$child" 2>/dev/null; }
}
trap stop TERM INT HUP

# What is wrong before the workload runs is wrong with the machine, and nothing is held against the job.
lacks() {
    trap - EXIT
    echo "sagequeue: $2"
    printf 'LACKS=%s\n' "$1" >&5
    exit
}
cd "$directory" || lacks no_directory "cannot enter $directory"
[ -r "$script" ] || lacks no_script "cannot read $script"
# Shells and Python run an empty file and exit with 0. A full disk or a power cut leaves such files.
[ -s "$script" ] || lacks no_script "$script is empty"
# A shell skips zero bytes, so that a file of zeros is an empty one for it. `read` skips them, too.
{ IFS= read -r line <"$script"; } 2>/dev/null || [ -n "$line" ] || lacks no_script "$script is all zeros"
case $1 in */*) [ ! -e "$1" ] || [ -s "$1" ] || lacks no_program "$1 is empty" ;; esac
for program in "$1" setsid sleep ${link:+ln rm} ${nice:+nice}; do
    command -v "$program" >/dev/null || { lacking=$program && unusable && lacks no_program "$lacking"; }
done

# We have the lock, so what is left of an earlier execution of this offset has lost it. A shell that cannot fork ends.
find_left() {
    search && add_session "$left"
}
trap 'lacks no_search "cannot start grep to search for processes of an earlier execution"' EXIT
seconds
last=$((now + patience))
while find_left || lacks no_search "cannot search /proc for processes of an earlier execution"; [ -n "$pids" ]; do
    kill -s KILL $pids 2>/dev/null
    seconds
    # What waits for a dead disk, say, does not end. A stop ends the wait, too.
    [ -z "$stopped" ] && [ "$now" -lt "$last" ] ||
        lacks no_search "cannot end what is left of an earlier execution: process$pids"
    sleep 0.05
done
trap 'lacks no_process "cannot start another process"' EXIT
printf 'PID=%s\n' "$$" >&5 || { trap - EXIT && exit; }

# What the kernel has killed in this control group for want of memory; nothing where it does not tell.
# By the shell alone, which is quicker, and possible when no more processes can be started.
kills() {
    group='' killed=''
    while IFS=: read -r number _ path; do [ "$number" != 0 ] || group=$path; done </proc/self/cgroup
    while read -r word count; do
        [ "$word" != oom_kill ] || killed=$count
    done <"/sys/fs/cgroup$group/memory.events"
} 2>/dev/null
kills
before=$killed

# Out of memory, the kernel ends a solver rather than the worker, or what all solvers need; to raise this is always
# permitted. The marks are not exported: what the wrapper itself starts is not of the execution.
marked() {
    { echo "$oom_score" >/proc/self/oom_score_adj; } 2>/dev/null
    SAGEQUEUE_JOB=$mark SAGEQUEUE_EXECUTION=$execution exec ${nice:+nice -n "$nice"} "$@"
}
clean() {
    [ -z "$link" ] || rm -f -- "$link" "$link.py"
}
# A stop before the workload begins: it does not begin, and the record says that it was a stop.
unless_stopped() {
    [ -n "$stopped" ] || return 0
    trap - EXIT
    clean
    printf 'STOPPED=1\n' >&5
    exit
}
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
    [ -z "$stopped" ] || stop
    wait "$child"
    status=$?
    while [ -n "$seen" ]; do
        seen=''
        wait "$child"
        again=$?
        [ "$again" -eq 127 ] || status=$again
    done
    kill -KILL "-$child" 2>/dev/null
    child='' told=''
    unless_stopped
    ! missing "$status" "$1" || lacks no_program "cannot execute $1: $lacking"
    [ "$status" -eq 0 ] || not_preparsed "$1 -preparse ended with exit status $status"
    [ -f "$link.py" ] || not_preparsed "$1 -preparse made no $link.py"
fi
unless_stopped
# The workload's first process tells of itself, so that no workload runs of which the record says nothing, whoever is
# killed. If it cannot, the workload is not started, and nobody may write a result.
# From here on what goes wrong is the workload's, unless LACKS says otherwise.
lead() {
    look self
    printf 'GROUP=%s:%s:%s\nRUN=1\n' "${line%% *}" "$start" "$place" >&5 || { kill -s KILL "$$" && exit; }
    marked setsid "$@" 4>&- 5>&-
}
find_place
hundredths
began=$now
lead "$@" &
child=$!
[ -z "$stopped" ] || stop

# The result is written even when the machine starts no more processes: with no search for what is left of the
# execution, which has to be done before the next one begins.
report() {
    trap - EXIT
    kill -KILL "-$child" 2>/dev/null
    [ "$status" -ne 137 ] || { kills && false; } || [ "$killed" = "$before" ] || printf 'OOM=1\n' >&5
    printf '%s%s%sRC=%s\n' "${stopped:+STOPPED=1
}" "${gated:+GATE=1
}" "${cut:+CUT=1
}" "$status" >&5
    clean
    exit
}
give_up() {
    while [ -z "$over" ]; do
        seen=''
        wait "$child"
        again=$?
        [ "$again" -eq 127 ] || status=$again
        [ -n "$seen" ] || over=1
    done
    cut=1
    report
}
gated='' status=127
trap give_up EXIT

wait "$child"
status=$?
# A signal ends `wait` early: wait again. 127 says that the child was waited for already.
while [ -n "$seen" ]; do
    seen=''
    if [ -z "$escalated" ]; then
        while lives "$child" && seconds && [ "$now" -lt "$limit" ]; do
            # A shell that was just forked loses signals, until it leads its own group and is the workload.
            kill -0 "-$child" 2>/dev/null || kill -s TERM "$child" 2>/dev/null
            sleep 0.05
        done
        ! lives "$child" || escalate
    fi
    wait "$child"
    again=$?
    [ "$again" -eq 127 ] || status=$again
done
over=1
{ [ ! -e "$gate" ] && [ ! -L "$gate" ]; } || gated=1

# The end of an execution is the end of all that writes its log. The rest ends with the leader, in whatever group it is:
# it may not outlive the result.
[ -n "$limit" ] || { seconds && limit=$((now + patience)); }
pids=''
while ! alone && remaining && [ -n "$pids" ] && [ -z "$cut" ] && writing && [ -n "$writers" ]; do
    while pids=$writers && writing && [ -n "$writers" ]; do
        seconds
        if [ "$now" -ge "$limit" ]; then
            cut=1
            break
        fi
        sleep 0.05
    done
done
if [ -n "$stopped" ] && [ -n "$pids" ]; then
    [ -n "$escalated" ] || escalate
    while remaining && [ -n "$pids" ] && seconds && [ "$now" -lt "$last" ]; do
        # Quicker than a search, as long as there is one of them.
        for pid in $pids; do
            while lives "$pid" && seconds && [ "$now" -lt "$last" ]; do sleep 0.05; done
        done
    done
fi
while [ -n "$pids" ]; do
    kill -KILL "-$child" 2>/dev/null
    kill -s KILL $pids 2>/dev/null
    sleep 0.05
    remaining || break
done
[ -n "$stopped" ] || ! missing "$status" "$1" || {
    clean
    lacks no_program "cannot execute $1: $lacking"
}
report
