# Ends one execution where it runs; returns when it is gone.
#
#   sh -c "$(cat ender.sh)" sagequeue-ender NAME=VALUE WRAPPER GRACE GROUP
#
# NAME=VALUE is what the execution's processes have in their environment, see wrapper.sh, and
# WRAPPER the wrapper's process id, or 0. TERM to the wrapper: it stops the workload and writes the
# result. When it is dead or stopped, the workload is ended all the same: TERM to its first process,
# TERM to the rest after PATIENCE seconds. KILL, for all that is left, after GRACE seconds more.
# GROUP, which may be empty, names the session of the execution, see session.sh.
variable=$1 wrapper=$2 grace=$3 group=$4

# As in wrapper.sh, which gives helpers so many seconds before they get TERM.
patience=5

# Sets `pids` to the processes with the mark of the execution, and those of its session. False if they cannot be known,
# as in wrapper.sh.
search() {
    set -- /proc/[0-9]*/environ
    case " $* " in *" /proc/$$/environ "*) ;; *) return 1 ;; esac
    found=$(LC_ALL=C command grep -lsxzF -e "$variable" "$@" /proc/self/cmdline)
    pids=''
    for path in $found; do
        path=${path#/proc/}
        [ "$path" = self/cmdline ] || pids="$pids ${path%/environ}"
    done
    case $found in */proc/self/cmdline) ;; *) return 1 ;; esac
    add_session "$group"
}
# Its number may belong to somebody else by now; our words among its arguments do not.
wrapper() {
    [ "$wrapper" -gt 0 ] && [ -r "/proc/$wrapper/cmdline" ] || return 1
    { while IFS= read -r line || [ -n "$line" ]; do
        case $line in *sagequeue-wrapper*"${variable#*=}"*) return 0 ;; esac
        line=''
    done <"/proc/$wrapper/cmdline"; } 2>/dev/null
    return 1
}
# Whether the wrapper can do as it is told.
obeys() {
    wrapper && look "$wrapper" && case $state in [TtZX]) return 1 ;; esac
}
# Sets `told` to the oldest process that leads a session, which is the one that the wrapper started.
first() {
    leader='' oldest=''
    for pid in $pids; do
        look "$pid" && [ "$session" = "$pid" ] || continue
        [ -n "$oldest" ] && [ "$start" -ge "$oldest" ] || leader=$pid oldest=$start
    done
    # It is gone, or not there yet.
    told=${leader:-$pids}
}

seconds
soon=$((now + patience))
limit=$((soon + grace))
! wrapper || kill -s TERM "$wrapper"
told='' unknown=''
if ! obeys; then
    search
    first
    kill -s TERM $told 2>/dev/null
fi
# What cannot be searched for may be there. The caller comes again, as long as the job's lock is held.
while ! search && unknown=1 || [ -n "$pids" ] || wrapper; do
    seconds
    [ -z "$unknown" ] || [ "$now" -lt "$limit" ] || exit 1
    unknown=''
    if [ "$now" -ge "$limit" ]; then
        kill -s KILL $pids 2>/dev/null
        # It has had the time to write the result; if it has not, it is stopped.
        [ "$now" -lt "$((limit + 2))" ] || { wrapper && kill -s KILL "$wrapper"; }
        # What waits for a dead disk, say, does not end. The caller comes again, or names it.
        [ "$now" -lt "$((limit + 5))" ] || exit 1
    elif [ "$now" -ge "$soon" ] && [ "$told" != all ] && ! obeys; then
        for pid in $pids; do
            case " $told " in *" $pid "*) ;; *) kill -s TERM "$pid" 2>/dev/null ;; esac
        done
        told=all
    fi
    sleep 0.05
done
exit 0
