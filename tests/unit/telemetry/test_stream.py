"""Lines on a pipe whose reader may stall."""

from __future__ import annotations

import os
import socket
import tempfile
from fcntl import F_SETPIPE_SZ, fcntl
from threading import Thread
from typing import Any

from prometheus_client import REGISTRY
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.stream import Stream


def loss(lines: int) -> str:
    return f"lost {lines}\n"


def line(number: int, length: int = 1000) -> str:
    return f"{number} ".ljust(length - 1, "x") + "\n"


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        os.set_blocking(self.reading, False)

    def tearDown(self) -> None:
        os.close(self.writing)

    def read(self) -> str:
        found = b""
        try:
            while data := os.read(self.reading, 1 << 20):
                found += data
        except BlockingIOError:
            pass
        return found.decode()

    def stalled(self, **more: Any) -> tuple[Stream, int]:
        """A stream that nobody reads, and how many lines were written to it."""
        stream = Stream(self.writing, loss, **more)
        for number in range(200):
            stream.write(line(number))
        return stream, 200

    def test_together(self) -> None:
        """
        Several lines come out whole and in order, also when a reader stalls between them.
        """
        stream = Stream(self.writing, loss)
        lines = [line(number, 900 + number) for number in range(200)]
        stream.writelines(lines[:100])
        read = self.read()
        self.assertTrue("".join(lines).startswith(read))
        stream.writelines(lines[100:])
        while len(read) < len("".join(lines)):
            read += self.read()
            stream.flush()
        self.assertEqual(read, "".join(lines))

    def test_together_in_a_file(self) -> None:
        """
        Into a file everything goes at once.
        """
        with tempfile.TemporaryFile() as file:
            lines = [line(number, 50_000) for number in range(5)]
            Stream(file.fileno(), loss).writelines(lines)
            file.seek(0)
            self.assertEqual(file.read().decode(), "".join(lines))

    def test_at_once(self) -> None:
        """
        A line is with the kernel when `write` returns: the end of the process loses nothing.
        """
        stream = Stream(self.writing, loss)
        stream.write("hello\n")
        self.assertEqual(self.read(), "hello\n")
        stream.write("ü\ud800\n")
        self.assertEqual(self.read(), "ü\\ud800\n")

    def test_long(self) -> None:
        """
        A line longer than a pipe takes at once is written whole, in its turn.
        """
        stream = Stream(self.writing, loss)
        written = [line(1), line(2, 300_000), line(3)]
        read = ""
        for each in written:
            stream.write(each)
        while len(read) < sum(map(len, written)):
            read += self.read()
            stream.flush()
        self.assertEqual(read, "".join(written))

    def test_in_one_piece(self) -> None:
        """
        A long line is written at once if there is room, or another process's could come into its midst.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        stream = Stream(ours.fileno(), loss)
        self.addCleanup(stream.close)
        stream.write(line(1, 6000))
        self.assertEqual(theirs.recv(1 << 20).decode(), line(1, 6000))
        self.assertTrue(os.get_blocking(ours.fileno()))

    def test_several_writers(self) -> None:
        """
        So lines of several come out whole, as long as somebody reads.
        """
        fcntl(self.writing, F_SETPIPE_SZ, 1 << 20)
        several = [Stream(self.writing, loss) for _ in range(3)]
        read = ""
        for _ in range(40):
            writers = [Thread(target=each.writelines, args=([line(0, 6000)] * 20,)) for each in several]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            read += self.read()
        self.assertEqual(set(read.splitlines(keepends=True)), {line(0, 6000)})
        self.assertTrue(os.get_blocking(self.writing))
        for each in several:
            each.close()

    def test_crowded(self) -> None:
        """
        Where there is no room for all of a long line it waits, and what others write does not tear it.
        """
        stream, another = Stream(self.writing, loss), Stream(self.writing, loss)
        early, long, short = [line(number, 4000) for number in range(14)], line(14, 12_000), line(15)
        stream.writelines(early)
        stream.write(long)
        another.write(short)
        read = self.read()
        stream.flush()
        read += self.read()
        self.assertEqual(read, "".join([*early, short, long]))
        for each in (stream, another):
            each.close()

    def test_crowded_at_the_end(self) -> None:
        """
        Nor is a line torn that waits when the process ends, as long as somebody reads.
        """
        stream, another = Stream(self.writing, loss), Stream(self.writing, loss)
        lines = [line(number, 6000) for number in range(60)]
        stream.writelines(lines[:30])
        another.writelines(lines[30:])
        closing = [Thread(target=each.close) for each in (stream, another)]
        for each in closing:
            each.start()
        read = self.read_until(60)
        for each in closing:
            each.join()
        self.assertEqual(sorted(read.splitlines(keepends=True)), sorted(lines))

    def test_daemon(self) -> None:
        """
        A process that has become a daemon, with other output, keeps nobody waiting for the end of the former.
        """
        stream = Stream(self.writing, loss)
        self.addCleanup(stream.close)
        former = os.readlink(f"/proc/self/fd/{self.writing}")
        child = os.fork()
        if not child:
            os.close(self.reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.writing)
            stream.writelines(["for nobody\n", line(1, 6000)])
            os._exit(former in [os.readlink(each.path) for each in os.scandir("/proc/self/fd")])
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        stream.write("one\n")
        self.assertEqual(self.read(), "one\n")

    def test_stalled(self) -> None:
        """
        A reader that stalls keeps nobody waiting, and gets everything in order when it goes on.
        """
        stream, written = self.stalled()
        read = self.read()
        while read.count("\n") < written:
            stream.flush()
            read += self.read()
        self.assertEqual(read, "".join(map(line, range(written))))

    def test_next_line(self) -> None:
        """
        What waits goes out with a later line.
        """
        stream, written = self.stalled()
        read = self.read()
        for number in range(written, written + 20):
            stream.write(line(number))
            read += self.read()
        self.assertEqual(read, "".join(map(line, range(written + 20))))

    def test_lost(self) -> None:
        """
        What is too much to wait is dropped, counted, and told once the reader goes on.
        """
        before = REGISTRY.get_sample_value("s3o_log_lines_lost_total") or 0.0
        stream, written = self.stalled(most_bytes=50_000)
        read = self.read()
        stream.flush()
        read += self.read()
        whole = read.splitlines()
        self.assertTrue(whole[-1].startswith("lost "), whole[-1])
        lost = int(whole[-1].split()[1])
        self.assertEqual(whole[:-1], [line(number).rstrip() for number in range(written - lost)])
        self.assertEqual(REGISTRY.get_sample_value("s3o_log_lines_lost_total"), before + lost)
        stream.write("again\n")
        self.assertEqual(self.read(), "again\n")

    def test_nobody_there(self) -> None:
        """
        A reader that has gone harms nobody.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.close(reading)
        stream = Stream(writing, loss)
        for number in range(100):
            stream.write(line(number))
        stream.close()

    def test_last(self) -> None:
        """
        What waits when the process ends is written if somebody reads.
        """
        stream, written = self.stalled()
        read = [""]
        reader = Thread(target=lambda: read.append(self.read_until(written)))
        reader.start()
        stream.close()
        reader.join(10)
        self.assertEqual("".join(read), "".join(map(line, range(written))))

    def read_until(self, lines: int) -> str:
        os.set_blocking(self.reading, True)
        read = b""
        while read.count(b"\n") < lines:
            read += os.read(self.reading, 1 << 20)
        return read.decode()

    def test_socket(self) -> None:
        """
        Standard output of a service is a socket of journald's: that may stall as well.
        """
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        stream = Stream(ours.fileno(), loss)
        for number in range(2000):
            stream.write(line(number))
        theirs.setblocking(False)
        read = b""
        while read.count(b"\n") < 2000:
            try:
                read += theirs.recv(1 << 20)
            except BlockingIOError:
                stream.flush()
        self.assertEqual(read.decode(), "".join(map(line, range(2000))))

    def test_file(self) -> None:
        """
        A file takes everything.
        """
        with tempfile.TemporaryFile() as file:
            stream = Stream(file.fileno(), loss)
            for number in range(100):
                stream.write(line(number, 10_000))
            file.seek(0)
            self.assertEqual(file.read().decode(), "".join(line(number, 10_000) for number in range(100)))
