"""The BMC in band, through the kernel's driver: include/uapi/linux/ipmi.h, Documentation/driver-api/ipmi.rst.

A question costs two ioctls. Programs for IPMI would cost a start each, and FreeIPMI's ask for root.
"""

import ctypes
import fcntl
import os
import select
from pathlib import Path

from joulebook.agent.meters.bmc import AskError
from joulebook.agent.patience import Patience

DEVICES = ("ipmi0", "ipmi/0", "ipmidev/0")
FIX_DEVICE = (
    "give the agent's group the device: a udev rule "
    '`KERNEL=="ipmi*", GROUP="joulebook", MODE="0660"`, then `udevadm trigger`'
)
FIX_MODULE = "modprobe ipmi_si ipmi_devintf (and name both in /etc/modules-load.d/ipmi.conf)"

_SYSTEM_INTERFACE = 0x0C
_BMC_CHANNEL = 0x0F
_MOST_BYTES = 272


class Address(ctypes.Structure):
    """struct ipmi_system_interface_addr."""

    _fields_ = (("addr_type", ctypes.c_int), ("channel", ctypes.c_short), ("lun", ctypes.c_ubyte))


class Message(ctypes.Structure):
    """struct ipmi_msg."""

    _fields_ = (
        ("netfn", ctypes.c_ubyte),
        ("cmd", ctypes.c_ubyte),
        ("data_len", ctypes.c_ushort),
        ("data", ctypes.c_void_p),
    )


class Request(ctypes.Structure):
    """struct ipmi_req."""

    _fields_ = (
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", Message),
    )


class Received(ctypes.Structure):
    """struct ipmi_recv."""

    _fields_ = (
        ("recv_type", ctypes.c_int),
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", Message),
    )


def _ioctl(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("i") << 8 | number


# _IOR and _IOWR of the header, on all architectures but PowerPC, MIPS and SPARC.
SEND_COMMAND = _ioctl(2, 13, ctypes.sizeof(Request))
RECEIVE_MSG_TRUNC = _ioctl(3, 11, ctypes.sizeof(Received))


class IpmiDevice:
    """/dev/ipmi0, opened with the first question."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._fd = -1
        self._number = 0

    def ask(self, netfn: int, command: int, data: bytes) -> bytes:
        """Send the BMC a command; return its answer from the completion code on. AskError: none came."""
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            return self._ask(netfn, command, data)
        except PermissionError as error:
            raise AskError(f"{self._path}: {error.strerror}", FIX_DEVICE) from error
        except OSError as error:
            # The driver may have been unloaded or its device made anew.
            self.close()
            if isinstance(error, AskError):
                raise
            raise AskError(f"{self._path}: {error.strerror or error}", FIX_MODULE) from error

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ask(self, netfn: int, command: int, data: bytes) -> bytes:
        self._number += 1
        payload = ctypes.create_string_buffer(data, len(data))
        address = Address(_SYSTEM_INTERFACE, _BMC_CHANNEL, 0)
        request = Request(
            ctypes.addressof(address),
            ctypes.sizeof(address),
            self._number,
            Message(netfn, command, len(data), ctypes.addressof(payload)),
        )
        fcntl.ioctl(self._fd, SEND_COMMAND, request)
        patience = Patience(self._timeout_s)
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while poll.poll(patience.left_s * 1000):
            number, answer = self._receive()
            # An answer to a question that was given up may still come.
            if number == self._number:
                return answer
        raise AskError(f"the BMC has not answered for {self._timeout_s:g} s", "restart the BMC")

    def _receive(self) -> tuple[int, bytes]:
        buffer = ctypes.create_string_buffer(_MOST_BYTES)
        address = Address()
        received = Received(
            0,
            ctypes.addressof(address),
            ctypes.sizeof(address),
            0,
            Message(0, 0, _MOST_BYTES, ctypes.addressof(buffer)),
        )
        fcntl.ioctl(self._fd, RECEIVE_MSG_TRUNC, received)
        return received.msgid, buffer.raw[: received.msg.data_len]
