"""What the C library keeps of memory that was given back to it, and what of the libraries stays mapped."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

# A buffer comes and goes, which is what moves the C library's thresholds. Then another one goes that has something
# smaller behind it, and the question is whether the system has it back.
_PROGRAM = """
import ctypes
from telemetry_collector.app.memory import bound_freed_memory

bound_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 16 * 1024 * 1024
libc.free(libc.malloc(size))

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

before = resident()
large = libc.malloc(size)
ctypes.memset(large, 1, size)
small = libc.malloc(500_000)
libc.free(large)
print((resident() - before) // 1024)
"""


def _kept_kib(environment: dict[str, str]) -> int:
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return int(found.stdout)


def test_a_large_buffer_goes_back_to_the_system() -> None:
    assert _kept_kib({}) < 1024


def test_what_the_operator_has_set_holds() -> None:
    assert _kept_kib({"MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024)}) > 8 * 1024


# A library of certificates is read by making one, and read again by making another.
_LETTING_GO = """
from cryptography.hazmat.primitives.asymmetric import ec
from telemetry_collector.app.memory import unmap_unused_code

def mapped():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[2]) * 4096

def signed():
    key = ec.generate_private_key(ec.SECP256R1())
    key.public_key().verify(key.sign(b"data", algorithm), b"data", algorithm)

from cryptography.hazmat.primitives import hashes
algorithm = ec.ECDSA(hashes.SHA256())
signed()
before = mapped()
unmap_unused_code()
after = mapped()
signed()
print((before - after) // 1024)
"""


def test_code_that_only_the_start_needed_is_let_go_and_comes_back_when_it_is_needed() -> None:
    ended = subprocess.run([sys.executable, "-c", _LETTING_GO], check=True, capture_output=True, text=True, timeout=60)
    assert int(ended.stdout) > 4 * 1024


# A page of code is written to as debuggers do it: made writable, changed, and made executable again.
_WRITTEN_CODE = """
import ctypes, mmap, sys
from telemetry_collector.app.memory import unmap_unused_code

size = mmap.PAGESIZE
with open(sys.argv[1], "rb") as file:
    place = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
place[0] = 0xCC
address = ctypes.addressof(ctypes.c_char.from_buffer(place))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC) == 0
unmap_unused_code()
print(place[0])
"""


def test_what_was_written_into_code_stays(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.write_bytes(bytes(mmap.PAGESIZE))
    command = [sys.executable, "-c", _WRITTEN_CODE, str(code)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(ended.stdout) == 0xCC
