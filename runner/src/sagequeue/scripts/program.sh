# Comes before wrapper.sh: says what is wrong with a program that cannot be executed.
#
# Where the kernel knows no way to execute a file, execvp(3) has a shell read it, and the status is what the shell makes
# of it: 127, 126, 2, and 0 for zeros. A workload may exit with these, too. So the file has to show that it was never
# executed. A file of zeros, or one that says less than its headers promise, does.

# Sets `lacking` to what env would execute for a script's first line, or to nothing if that cannot be told. The kernel
# gives env all that follows its name as one argument, and only -S takes that apart.
by_env() {
    argument=${1#*env}
    argument=${argument#"${argument%%[![:blank:]]*}"}
    argument=${argument%"${argument##*[![:blank:]]}"}
    lacking=$argument
    case ${argument%%[[:blank:]]*} in
    --split-string=*) argument=${argument#*=} ;;
    -[!-]*S* | -S*) argument=${argument#*S} ;;
    -* | *=*) lacking='' && return ;;
    *) return 0 ;;
    esac
    set -f
    set -- $argument
    set +f
    while case ${1-} in -* | *=*) ;; *) false ;; esac; do
        case $1 in -u | -C | --unset | --chdir) [ "$#" -eq 1 ] || shift ;; esac
        shift
    done
    case ${1-} in *[\"\'\\\$]*) lacking='' ;; *) lacking=${1-} ;; esac
}

# Whether it is empty or all zeros, as a full disk or a power cut leaves files. Sets `bytes` to its first ones.
hollow() {
    bytes=''
    [ -f "$1" ] || return 1
    lacking="$1 is empty"
    [ -s "$1" ] || return 0
    file=$1
    set -- $(LC_ALL=C command od -An -v -tu1 -N16 <"$1")
    bytes=$*
    case $bytes in '' | *[1-9]*) return 1 ;; esac
    # od has one line for lines that are equal, and so few lines for a file of zeros.
    case $(LC_ALL=C command od -An -tu1 <"$file" | head -n 3) in *[1-9]*) return 1 ;; esac
    lacking="$file is all zeros"
}

# Sets `machine` to the number of the processors that an ELF file is for, those that a kernel serves together as one.
machine_of() {
    machine=''
    set -- $(LC_ALL=C command od -An -v -tu1 -N20 <"$1")
    [ "$#" -eq 20 ] && [ "$1 $2 $3 $4" = '127 69 76 70' ] || return 1
    case $6 in 1) machine=$((${19} + 256 * ${20})) ;; *) machine=$((${20} + 256 * ${19})) ;; esac
    case $machine in 3) machine=62 ;; 40) machine=183 ;; 20) machine=21 ;; 2 | 18) machine=43 ;; esac
    machine=$6:$machine
}

# Whether an ELF file is for another machine than setsid is, which was executed, and no emulator is known here.
foreign() {
    machine_of "$(command -v setsid)" && native=$machine && machine_of "$1" && [ "$machine" != "$native" ] || return 1
    ! LC_ALL=C command grep -qs '^magic 7f454c46' /proc/sys/fs/binfmt_misc/* || return 1
    lacking="$1 is for another kind of machine"
}

# Whether an ELF file ends before what is to be loaded from it does. That is known of 64 bits.
cut_off() {
    file=$1 size=$(wc -c <"$1") short="$1 is cut off: it has $(($(wc -c <"$1"))) bytes"
    [ "$size" -ge 20 ] || { lacking=$short && return; }
    machine_of "$(command -v setsid)" && native=$machine && machine_of "$file" && [ "$machine" = "$native" ] || return 1
    case $(LC_ALL=C command od -An -v -tu1 -j4 -N1 <"$file") in *2*) ;; *) return 1 ;; esac
    [ "$size" -ge 64 ] || { lacking=$short && return; }
    set -- $(LC_ALL=C command od -An -v -tu8 -N64 <"$file")
    [ "$#" -eq 8 ] && [ "$((($7 >> 48) & 65535))" -eq 56 ] || return 1
    table=$5 bytes=$((($8 & 65535) * 56))
    [ "$size" -ge "$((table + bytes))" ] || { lacking=$short && return; }
    set -- $(LC_ALL=C command od -An -v -tu8 -j"$table" -N"$bytes" <"$file")
    while [ "$#" -ge 7 ]; do
        [ "$(($1 & 4294967295))" -ne 1 ] || [ "$(($2 + $5))" -le "$size" ] || { lacking=$short && return; }
        shift 7
    done
    return 1
}

# Whether the program of an execution that ended with that status was never executed, by what is wrong with it or with
# what its file names: the interpreter of a script, the loader or a library of a binary. `lacking` says what.
missing() {
    ended=$1 lacking=$2
    case $ended in 0 | 2 | 12[67] | 13[59]) ;; *) return 1 ;; esac
    for _ in 1 2 3 4 5; do
        case $lacking in */*) program=$lacking ;; *) program=$(command -v "$lacking") || program='' ;; esac
        if [ ! -e "$program" ] || [ -d "$program" ] || [ ! -x "$program" ]; then
            # If it was executed, it was replaced since.
            case $ended in 12[67]) ;; *) return 1 ;; esac
            unusable
            return 0
        fi
        named=$lacking
        ! hollow "$program" || return 0
        lacking=$named
        case $bytes in
        '127 69 76 70'*)
            unloadable "$program"
            return
            ;;
        esac
        line=''
        { IFS= read -r line <"$program"; } 2>/dev/null
        case $line in '#!'*) ;; *) return 1 ;; esac
        set -f
        set -- ${line#??}
        set +f
        lacking=${1-}
        case ${lacking##*/} in env) [ ! -e "$lacking" ] || by_env "$line" ;; esac
        [ -n "$lacking" ] || return 1
    done
    return 1
}
# What is wrong with the `program` that is named `lacking`, which nobody can execute.
unusable() {
    if [ -e "$program" ]; then
        lacking="$program is not an executable file"
        return
    fi
    cr=$(printf '\r')
    case $lacking in
    *"$cr") lacking="${lacking%?} followed by a carriage return" ;;
    *[[:blank:]]*) lacking="'$lacking', which env takes for one name without -S" ;;
    esac
    lacking="there is no $lacking"
}
# Whether an ELF file cannot be loaded.
unloadable() {
    [ "$ended" -ne 0 ] || return 1
    ! cut_off "$1" && ! foreign "$1" || return 0
    case $ended in 12[67]) ;; *) return 1 ;; esac
    # What stands before the path need not end with a zero byte, and may have a slash.
    loader=$(head -c 4096 <"$1" | tr '\0' '\n' |
        LC_ALL=C grep -o '/[[:alnum:]/._-]*/ld[[:alnum:]._-]*$' | head -n 1)
    [ -n "$loader" ] || return 1
    lacking="there is no $loader"
    while [ ! -e "$loader" ]; do
        case ${loader#/} in */*) loader=/${loader#/*/} ;; *) return 0 ;; esac
    done
    # It lists the libraries, and does not execute the program.
    lacking=$(LC_ALL=C command "$loader" --list "$1" 2>&1 | LC_ALL=C grep -i 'loading shared librar' | head -n 1)
    [ -n "$lacking" ]
}
