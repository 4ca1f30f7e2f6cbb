"""The kernel's IPMI device: our structures against its header, and what it may do."""

import ctypes
import errno
import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.meters.bmc import AskError
from joulebook.agent.meters.ipmi_device import (
    FIX_DEVICE,
    FIX_MODULE,
    RECEIVE_MSG_TRUNC,
    SEND_COMMAND,
    Address,
    IpmiDevice,
    Message,
    Received,
    Request,
)
from tests.agent.meters.test_rapl import unprivileged
from tests.servers.programs import program

_PROGRAM = """
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <linux/ipmi.h>
#define SIZE(type) printf("%zu ", sizeof(struct type))
#define AT(type, field) printf("%zu ", offsetof(struct type, field))
int main(void) {
  printf("%lu %lu ", (unsigned long)IPMICTL_SEND_COMMAND, (unsigned long)IPMICTL_RECEIVE_MSG_TRUNC);
  SIZE(ipmi_system_interface_addr); AT(ipmi_system_interface_addr, lun);
  SIZE(ipmi_msg); AT(ipmi_msg, data);
  SIZE(ipmi_req); AT(ipmi_req, msgid); AT(ipmi_req, msg);
  SIZE(ipmi_recv); AT(ipmi_recv, msgid); AT(ipmi_recv, msg);
  printf("%d %d\\n", IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL);
}
"""


def test_structures_and_numbers_are_the_headers(tmp_path: Path) -> None:
    """Sizes, offsets and ioctl numbers are what a C compiler makes of linux/ipmi.h."""
    compiler = program("gcc", package="gcc")
    (tmp_path / "told.c").write_text(_PROGRAM)
    subprocess.run([compiler, "-o", tmp_path / "told", tmp_path / "told.c"], check=True)
    told = subprocess.run([tmp_path / "told"], check=True, capture_output=True, text=True).stdout
    ours = (
        *(SEND_COMMAND, RECEIVE_MSG_TRUNC),
        *(ctypes.sizeof(Address), Address.lun.offset),
        *(ctypes.sizeof(Message), Message.data.offset),
        *(ctypes.sizeof(Request), Request.msgid.offset, Request.msg.offset),
        *(ctypes.sizeof(Received), Received.msgid.offset, Received.msg.offset),
        *(0x0C, 0x0F),
    )
    assert told.split() == [str(number) for number in ours]


class Driver:
    """Stands in for the kernel's driver behind a pipe: takes requests, and hands out messages."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, bytes]] = []
        self.messages: list[tuple[int, bytes]] = []
        self.answers: Callable[[int], list[tuple[int, bytes]]] = lambda number: [(number, b"\x00\xdc")]
        self.read_fd, self.write_fd = os.pipe()

    def ioctl(self, fd: int, number: int, argument: Request | Received) -> int:
        """Do what the driver does."""
        if isinstance(argument, Request):
            assert number == SEND_COMMAND
            address = Address.from_address(argument.addr)
            assert (address.addr_type, address.channel, address.lun) == (0x0C, 0x0F, 0)
            data = ctypes.string_at(argument.msg.data, argument.msg.data_len)
            self.asked.append((argument.msg.netfn, argument.msg.cmd, data))
            for message in self.answers(argument.msgid):
                self.messages.append(message)
                os.write(self.write_fd, b"x")
            return 0
        assert number == RECEIVE_MSG_TRUNC
        os.read(fd, 1)
        msgid, data = self.messages.pop(0)
        ctypes.memmove(argument.msg.data, data, len(data))
        argument.msgid, argument.msg.data_len = msgid, len(data)
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Have ioctls reach a stand-in, and the device be its pipe."""
    driver = Driver()
    monkeypatch.setattr(fcntl, "ioctl", driver.ioctl)
    monkeypatch.setattr(os, "open", lambda *_: os.dup(driver.read_fd))
    return driver


def test_a_question_gets_its_own_answer(driver: Driver) -> None:
    """The BMC is asked as the system interface, and a late answer to an earlier question is passed over."""
    driver.answers = lambda number: [(number - 1, b"late"), (number, b"\x00\xdc\x01")]
    device = IpmiDevice(Path("/dev/ipmi0"), timeout_s=60)
    assert device.ask(0x2C, 0x02, b"\xdc\x01\x00\x00") == b"\x00\xdc\x01"
    assert driver.asked == [(0x2C, 0x02, b"\xdc\x01\x00\x00")]
    device.close()


def test_a_bmc_that_does_not_answer_is_left_after_a_while(driver: Driver) -> None:
    """No answer is an error with a bound, and the device may be asked again."""
    driver.answers = lambda _: []
    device = IpmiDevice(Path("/dev/ipmi0"), timeout_s=0.05)
    with pytest.raises(AskError, match=r"has not answered for 0.05 s"):
        device.ask(0x2C, 0x02, b"")
    driver.answers = lambda number: [(number, b"\x00")]
    assert device.ask(0x2C, 0x02, b"") == b"\x00"
    device.close()


def test_a_driver_that_fails_is_told(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel says is the reason, whatever it is."""

    def fails(*_: object) -> int:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(fcntl, "ioctl", fails)
    device = IpmiDevice(Path("/dev/ipmi0"))
    with pytest.raises(AskError, match="No such device") as caught:
        device.ask(0x2C, 0x02, b"")
    assert caught.value.fix == FIX_MODULE
    os.close(driver.write_fd)


def test_a_device_that_may_not_be_opened_names_the_rule(tmp_path: Path) -> None:
    """Without rights the fix is the udev rule; without a device it is the modules."""
    path = tmp_path / "ipmi0"
    with pytest.raises(AskError, match="No such file") as missing:
        IpmiDevice(path).ask(0x2C, 0x02, b"")
    assert missing.value.fix == FIX_MODULE
    path.touch(0o600)
    with unprivileged(), pytest.raises(AskError, match="Permission denied") as refused:
        IpmiDevice(path).ask(0x2C, 0x02, b"")
    assert refused.value.fix == FIX_DEVICE
