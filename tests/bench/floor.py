"""What no quantizer on this machine can be faster than, measured."""

import concurrent.futures
import hashlib
import os
import threading
import time

THREADS = 2
PIECE = 1 << 20
ROUNDS = 3


def each_piece(size, work):
    """Seconds of work(offset, bytes) on all pieces of a file by two threads."""
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda at: work(at, min(PIECE, size - at)),
                      range(0, size, PIECE)))
    return time.monotonic() - begin


def hash_rate(size=256 << 20):
    """Seconds per byte of SHA-256 (OpenSSL's) by one thread, from memory."""
    piece = bytes(PIECE)
    seconds = []
    for _ in range(ROUNDS):
        digest = hashlib.sha256()
        begin = time.monotonic()
        for _ in range(size // PIECE):
            digest.update(piece)
        seconds.append(time.monotonic() - begin)
    return min(seconds) / size


class Floor:
    """Of work that reads `source` and writes to the directory `work`."""

    def __init__(self, source, work):
        size, buffers = os.path.getsize(source), threading.local()

        def buffer(count):
            if not hasattr(buffers, "data"):
                buffers.data = memoryview(bytearray(PIECE))
            return buffers.data[:count]

        path = os.path.join(work, "floor")
        read, write = [], []
        with open(source, "rb") as file, open(path, "wb+") as out:
            for _ in range(ROUNDS):
                read.append(each_piece(
                    size, lambda at, n: os.preadv(file.fileno(), [buffer(n)],
                                                  at)) / size)
                os.ftruncate(out.fileno(), 0)
                os.posix_fallocate(out.fileno(), 0, size // 2)
                write.append(each_piece(
                    size // 2, lambda at, n: os.pwrite(out.fileno(), buffer(n),
                                                       at)) / (size // 2))
        os.remove(path)
        self.size = size
        self.read_rate, self.write_rate = min(read), min(write)
        self.hash_rate = hash_rate()

    def copying(self, written):
        """Seconds of reading the source and writing that many bytes."""
        return self.read_rate * self.size + self.write_rate * written

    def hashing(self, file_bytes):
        """Seconds of SHA-256 of a file: a chain, which two threads can't share."""
        return self.hash_rate * file_bytes

    def copying_and_hashing(self, file_sizes):
        """Seconds of both, for outputs of these sizes, on two cores."""
        written = sum(file_sizes)
        return max(self.hashing(max(file_sizes)),
                   self.copying(written) + self.hashing(written) / THREADS)
