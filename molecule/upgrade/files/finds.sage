"""Each case has a solution, and takes a second until there is a file `fast` in the notebooks directory."""
import argparse
import os
import time

parser = argparse.ArgumentParser()
for name in ("--total", "--stride", "--offset", "--stop_file"):
    parser.add_argument(name, type=str if name == "--stop_file" else int)
options = parser.parse_args()
notebooks = "/home/sage/notebooks"
state = f"{notebooks}/state_finds_stride{options.stride}_off{options.offset}.txt"
last = int(open(state).read()) if os.path.exists(state) else options.offset - options.stride
for gidx in range(last + options.stride, options.total, options.stride):
    if os.path.exists(options.stop_file):
        break
    print(f"START gidx={gidx}", flush=True)
    print(f"FOUND g={gidx}", flush=True)
    if not os.path.exists(f"{notebooks}/fast"):
        time.sleep(int(1))
    print(f"DONE  gidx={gidx} sat=True dt=1.0s", flush=True)
    with open(f"{state}.tmp", "w") as file:
        file.write(f"{gidx}\n")
    os.replace(f"{state}.tmp", state)
