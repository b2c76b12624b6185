# Runs before wrapper.sh in a container, where no file of the host is seen: keeps a copy of
# sitecustomize.py in a directory of this user's in the container's /tmp. It is given the text, its
# hash, and the places to try. The name has the hash: a file under it has the right content.
#
# Sage leaves PYTHONPATH as it is: neither `sage` nor the sage-env that it sources touches it, in
# SageMath and in passagemath alike, and `sage -python` just executes python3. What the image has in
# PYTHONPATH comes after this directory.
#
# In the usual case no process is started. The names of the variables are such that no image has
# them in its environment: they would be the solver's, too.
while read -r sq_key sq_uid _; do [ "$sq_key" != Uid: ] || break; done </proc/self/status
sq_mine() {
    [ -d "$sq_lines" ] && [ ! -L "$sq_lines" ] && [ -O "$sq_lines" ]
}
for sq_place in $sq_places; do
    sq_lines=$sq_place/sagequeue-$sq_uid-$sq_hash
    sq_file=$sq_lines/sitecustomize.py
    # A cleaner may have removed it. A directory of another user's is not used: it may hold anything.
    sq_mine || mkdir -m 700 "$sq_lines" 2>/dev/null
    sq_mine || continue
    if [ ! -r "$sq_file" ]; then
        # Several solvers may be at it at once: each renames a complete file of its own into place.
        if ! { printf '%s' "$sq_text" >"$sq_lines/.$2" && mv -f "$sq_lines/.$2" "$sq_file"; } 2>/dev/null; then
            rm -f "$sq_lines/.$2"
            continue
        fi
    fi
    PYTHONPATH=$sq_lines${PYTHONPATH:+:$PYTHONPATH}
    export PYTHONPATH
    sq_text=''
    break
done
[ -z "$sq_text" ] || echo "sagequeue: cannot write to $sq_places: Python keeps lines back until it ends" >&4
