# Comes before wrapper.sh and ender.sh: finds what is left of an execution by its session.
#
# A process can close the lock's descriptor, and it can write over its environment, as programs do that change their
# title. Its session it can leave only by starting another one. The workload's first process, the leader, begins a
# session, and the record of the execution has that as GROUP, which is PID:START:FIRST:BOOT: the leader's process id,
# which is the number of its group and of its session, too; its start; the start of the first process of its PID
# namespace; the id of the boot. Starts are in clock ticks since boot.

# bash takes options from SHELLOPTS in the environment. With `monitor` a child leads a group already, and setsid forks.
set +efCm

# What the leader gets in oom_score_adj, and all that it starts inherit.
oom_score=800

# Sets `now` to the seconds since boot: the wall clock may be set meanwhile.
seconds() {
    read -r now _ </proc/uptime
    now=${now%.*}
}

# Sets what /proc says of a process: `line`, all of it; `state`, `session`, how many `threads`, its `start`.
look() {
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${line##*) }
    state=$1 session=$4 threads=${18} start=${20}
}

# Sets `place` to what tells this PID namespace, in this boot, from all others.
find_place() {
    start='' boot=''
    look 1
    { read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
    place=$start:$boot
}

# Adds the processes of the session that GROUP names to `pids`, which has those with our mark. False if that cannot be
# done.
#
# The number of a session is not given to another one as long as one of its processes lives, and all processes of a
# session are of one execution. So one process identifies the whole session: the leader, by its start; a process with
# our mark; or one with the mark of another job. If there is none of these, the number may belong to another session by
# now, whose leader has ended: then those processes are taken that have the leader's oom_score_adj, which other programs
# do not set. A process with the mark of another job is never taken.
add_session() {
    [ -n "$1" ] || return 0
    find_place
    [ "${1#*:*:}" = "$place" ] || return 0
    number=${1%%:*} began=${1#*:}
    began=${began%%:*} members='' files='' ours='' self=''
    for path in /proc/[0-9]*/stat; do
        pid=${path#/proc/} pid=${pid%/stat}
        [ "$pid" != "$$" ] || self=1
        look "$pid" && [ "$session" = "$number" ] || continue
        [ "$start" -ge "$began" ] || return 0
        if [ "$pid" = "$number" ]; then
            [ "$start" = "$began" ] || return 0
            ours=1
        fi
        # A process whose first thread has ended looks like a zombie.
        case $state in [ZX]) [ "$threads" -gt 1 ] || continue ;; esac
        case "$pids " in
        *" $pid "*) ours=1 ;;
        *) members="$members $pid" files="$files /proc/$pid/environ" ;;
        esac
    done
    [ -n "$self" ] || return 1
    [ -n "$members" ] || return 0
    # It has to find its own last argument, as in `search`.
    others=$(LC_ALL=C command grep -lsz -e '^SAGEQUEUE_JOB=' $files /proc/self/cmdline SAGEQUEUE_JOB=)
    case $others in */proc/self/cmdline) ;; *) return 1 ;; esac
    mine=''
    for pid in $members; do
        case $others in
        *"/proc/$pid/environ"*)
            [ -n "$ours" ] || return 0
            continue
            ;;
        esac
        score=0
        { read -r score <"/proc/$pid/oom_score_adj"; } 2>/dev/null
        [ -z "$ours" ] && [ "$score" -ne "$oom_score" ] || mine="$mine $pid"
    done
    pids=$pids$mine
}
