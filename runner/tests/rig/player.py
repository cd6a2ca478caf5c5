# The program under the terminal: writes as many bytes of a file as it is told to, says how many nanoseconds that took, and
# notes everything that it is typed.
import os
import select
import socket
import time
import tty

tty.setraw(0)
home = os.environ["HOME"]
control = socket.socket(socket.AF_UNIX)
control.connect(home + "/control")
stream = open(home + "/stream", "rb")
typed = open(home + "/typed", "wb", 0)
os.write(1, b"ready\n")
told = b""
while True:
    ready, _, _ = select.select([0, control], [], [])
    if 0 in ready:
        typed.write(os.read(0, 65536))
    if control in ready:
        more = control.recv(4096)
        if not more:
            break
        told += more
        *lines, told = told.split(b"\n")
        for line in lines:
            begin = time.monotonic_ns()
            burst = memoryview(stream.read(int(line)))
            while burst:
                burst = burst[os.write(1, burst) :]
            control.sendall(b"%d\n" % (time.monotonic_ns() - begin))
