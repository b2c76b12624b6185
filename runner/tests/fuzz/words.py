"""What the formats are made of, and what breaks parsers."""

_TEXTS = [
    *("OFFSET=7", "ATTEMPTS=", "INTERRUPTS=3", "COLOUR=blue", "STRIDE=8", "JOBSET=demo", "PID=7"),
    *("EXECUTION=ab", "LOG_START=", "GIDX=3", "RC=137", "RC=", "OWNER_PID=1", "OWNER_START=5", "="),
    *("EXECUTION=ab\nLOG_START=-1\n", "EXECUTION=ab\nLOG_START=0\nPID=7\nRC=0\n"),
    *("SCRIPT=", "SAGE_BASE_ARGS=", "LOG_PREFIX=", "STATE_DIR=/", "WORKERS=", "TOTAL_CASES="),
    *(
        "[now] START gidx=3 off=3",
        "[now] DONE gidx=3 dt=4.5s",
        "[now] DONE gidx=8 tally=a:1:2,",
        "SAT found for J = [0]",
    ),
    *("FOUND x=1", "Found perm: [1,0]", "Verified rank: ", "Found lines: 1", "FOUND "),
    *('{"offset": 1, "lines":', "7}", "null}", "[1]}", "../", "/../../etc", "$(id)", " " * 40),
    *('"', "\\", "'", "#", "\r\n", "\n", "\n\n", "\t", "`"),
    *('{"State": {}, "Mounts": []}', "[", "]", "{", "}", "null", "1e999", "NaN", ":", ",", "0 0 1"),
    *("Id=sagequeue@1.service", "MainPID=", "ActiveState=active", "recover  RUNNING  pid 7,"),
    *("9" * 50, "-1", "11", "0" * 18, "\x00", "\x1b[31m", "\x9b2J", "\u202e", "\u2028", "\ufeff"),
]
WORDS = [*(text.encode() for text in _TEXTS), b"\xff", b"\xed\xa0\x80", b"\xc3"]
