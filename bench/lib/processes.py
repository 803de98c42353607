"""Processes of a run: each is started here, and none is left when the run ends, however it ends."""
import ctypes
import signal
import socket
import subprocess
import sys
import time

import machine

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
WAIT_S = 15
STOP_S = 10


class Failure(Exception):
    """What is told to whoever started the run, without a traceback."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def dies_with_us():
    """In the child, before it becomes the program: should this run be killed, it is ended too."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(what, is_true, seconds=WAIT_S, step_s=0.02):
    until = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > until:
            raise Failure(f"{what} did not happen within {seconds} s")
        time.sleep(step_s)


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Processes:
    """Programs by name, each with a log in ${folder}."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}

    def start(self, name, command, environment=None):
        log = open(self.folder / f"{name}.log", "wb")
        self.running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
                                              preexec_fn=dies_with_us)
        log.close()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def wait_for_port(self, name, port):
        process = self.running[name]
        wait_until(f"{name} listening on port {port}", lambda: is_listening(port) or process.poll() is not None)
        if process.poll() is not None:
            raise Failure(f"{name} ended at once; its log:\n{self.log(name)}")

    def pid(self, name):
        return self.running[name].pid

    def cpu_us(self, names):
        return {name: machine.cpu_us(self.pid(name)) for name in names}

    def stop(self, *names):
        for name in names:
            if self.running[name].poll() is None:
                self.running[name].terminate()
        for name in names:
            process = self.running.pop(name)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all(self):
        self.stop(*reversed(list(self.running)))
