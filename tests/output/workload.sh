# Prints one solution through a helper, counts its case, and ends. Arguments: HOME --stride S --offset K
#
# HOME has `round`, a number, `mode` (plain or reports) and `pids`, where this process and its helper
# leave their numbers for whoever is to kill them. Of a FIFO `before` and a FIFO `after`, if they are there, a line is
# read before the solution is printed, and after it.
home=$1 offset=$5
round=$(cat "$home/round")
report=$(cat "$home/mode")
exec > >(exec tee -a "$home/second.log") 2>&1
echo "$$ $!" >"$home/pids/$offset.$$"
if [ "$report" = reports ]; then echo "[now] START gidx=$offset local=0 off=$offset stride=$3"; fi
[ ! -p "$home/before" ] || read -r go <"$home/before"
echo "FOUND round=$round offset=$offset"
[ ! -p "$home/after" ] || read -r go <"$home/after"
if [ "$report" = reports ]; then echo "[now] DONE  gidx=$offset local=0 off=$offset stride=$3 sat=True dt=0.1s"; fi
echo "$offset" >"$home/state_$offset.tmp"
mv "$home/state_$offset.tmp" "$home/state_$offset"
exit 0
