# Ends processes that hold a job's lock, and names those that do, where it runs.
#
#   sh -c "$(cat session.sh holders.sh)" sagequeue-holders GRACE [PID:START ...] 3<LOCK
#
# Descriptor 3 is the lock's file, opened anew: the file may have no path that is seen here. A holder inherited a
# descriptor that has the lock, which its `lock:` line in fdinfo(5) shows. A process that took the lock itself is not a
# holder. It is a worker, recovery or a verb, and releases the lock soon.
#
# Those of the named holders that hold the lock still get TERM, and after GRACE seconds KILL; START is as in session.sh.
# Then the script prints each holder that is left, as PID:START NAME. The caller passes only holders that an earlier
# call printed, and reads the execution's record in between. So no process of a later execution is ended.
grace=$1
shift

# Whether the descriptor, a path of /proc/PID/fd, has the lock, and another process took it.
has_lock() {
    [ "$1" -ef "/proc/$$/fd/3" ] || return 1
    taker=''
    { while read -r word _ kind _ _ by _; do
        case $word$kind in lock:FLOCK) taker=$by ;; esac
    done <"${1%/fd/*}/fdinfo/${1##*/}"; } 2>/dev/null
    [ -n "$taker" ] && [ "$taker" != "$2" ]
}
# Whether the process holds the lock. One whose first thread has ended shows its descriptors only with its others.
holds() {
    for fd in "/proc/$1/fd"/*; do
        ! has_lock "$fd" "$1" || return 0
    done
    case $state in [ZX]) [ "$threads" -gt 1 ] || return 1 ;; *) return 1 ;; esac
    for fd in "/proc/$1/task"/*/fd/*; do
        ! has_lock "$fd" "$1" || return 0
    done
    return 1
}
# Whether PID:START lives.
lives() {
    look "${1%:*}" && [ "$start" = "${1#*:}" ] || return 1
    case $state in [ZX]) [ "$threads" -gt 1 ] ;; esac
}
# Returns when none of `told` lives, or after so many seconds.
await() {
    seconds
    limit=$((now + $1))
    while [ "$now" -lt "$limit" ]; do
        alive=''
        for one in $told; do ! lives "$one" || alive="$alive $one"; done
        told=$alive
        [ -n "$told" ] || return 0
        sleep 0.05
        seconds
    done
}

told=''
for one; do
    lives "$one" && holds "${one%:*}" || continue
    kill -s TERM "${one%:*}" 2>/dev/null
    told="$told $one"
done
[ -z "$told" ] || await "$grace"
for one in $told; do
    ! lives "$one" || kill -s KILL "${one%:*}" 2>/dev/null
done
# What the kernel cannot end now, since it waits for a disk, say, is left.
[ -z "$told" ] || await 2

for path in /proc/[0-9]*; do
    pid=${path#/proc/}
    [ "$pid" != "$$" ] && look "$pid" && holds "$pid" || continue
    name=${line#*(}
    printf '%s:%s %s\n' "$pid" "$start" "${name%)*}"
done
