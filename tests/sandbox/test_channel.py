"""The host's end of the channel, and the sharing of one channel by the branches of a session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading

import pytest

from palaestra.sandbox import SandboxError, SessionSpec
from palaestra.sandbox.channel import Channel, ChannelClosed
from palaestra.sandbox.guest.frames import FrameError, FrameReader, encode
from palaestra.sandbox.session import Session, SessionHub

LARGE = 4 << 20  # far more than a socket takes at once


@contextlib.contextmanager
def connected():
    """A channel and the other end of its socket."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(30)
    channel = Channel(fd := ours.detach(), fd)
    with theirs:
        yield channel, theirs
        channel.close()


def read_frames(theirs: socket.socket, count: int) -> list:
    reader, frames = FrameReader(), []
    while len(frames) < count and (data := theirs.recv(1 << 16)):
        frames += reader.feed(data)
    return frames


def test_large_frames_of_many_senders_stay_whole_and_in_order():
    async def scenario():
        with connected() as (channel, theirs):
            sending = [asyncio.create_task(channel.send({"n": n}, {"data": bytes([n]) * LARGE})) for n in range(4)]
            frames = await asyncio.wait_for(asyncio.to_thread(read_frames, theirs, 4), 60)
            await asyncio.wait_for(asyncio.gather(*sending), 60)
            assert [frame.header["n"] for frame in frames] == [0, 1, 2, 3]
            assert all(frame.parts["data"] == bytes([n]) * LARGE for n, frame in enumerate(frames))

    asyncio.run(scenario())


def test_a_sender_cancelled_halfway_leaves_no_half_frame():
    async def scenario():
        with connected() as (channel, theirs):
            sending = asyncio.create_task(channel.send({"n": 0}, {"data": b"x" * LARGE}))
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            reading = asyncio.create_task(asyncio.to_thread(read_frames, theirs, 2))
            await asyncio.wait_for(channel.send({"n": 1}), 60)
            assert [frame.header["n"] for frame in await reading] == [0, 1]

    asyncio.run(scenario())


def test_what_a_blocked_sender_reads_reaches_the_waiting_receiver():
    async def scenario():
        with connected() as (channel, theirs):
            receiving = asyncio.create_task(channel.receive())
            await asyncio.sleep(0)
            theirs.sendall(encode({"early": True}))  # is there when the sender finds no room
            sending = asyncio.create_task(channel.send({}, {"data": b"x" * LARGE}))
            assert (await asyncio.wait_for(receiving, 10)).header == {"early": True}
            await asyncio.wait_for(asyncio.to_thread(read_frames, theirs, 1), 60)
            await asyncio.wait_for(sending, 10)

    asyncio.run(scenario())


def test_garbage_closes_the_channel_for_senders_and_receivers():
    async def scenario():
        with connected() as (channel, theirs):
            theirs.sendall(b"\xff" * 64)
            with pytest.raises(FrameError):
                await asyncio.wait_for(channel.receive(), 10)
            with pytest.raises(ChannelClosed):
                await channel.send({})

    asyncio.run(scenario())


def test_closing_from_another_thread_frees_the_number_only_after_the_loop_has_forgotten_it():
    async def scenario():
        with connected() as (channel, _):
            number = channel.read_fd
            receiving = asyncio.create_task(channel.receive())
            await asyncio.sleep(0)
            thread = threading.Thread(target=channel.close)
            thread.start()
            thread.join()  # the loop has not run since
            assert os.fstat(number)
            with pytest.raises(ChannelClosed):
                await asyncio.wait_for(receiving, 10)
            with pytest.raises(OSError):
                os.fstat(number)

    asyncio.run(scenario())


class FakeSlot:
    """A slot whose fork server is the test."""

    def __init__(self, channel: Channel) -> None:
        self.channel, self.healthy = channel, True

    def complaint(self) -> str:
        return "no complaint"


def branches_of_one_hub(channel: Channel, count: int) -> list[Session]:
    hub = SessionHub(FakeSlot(channel), None, SessionSpec(), {})
    hub.branches = set(range(count))
    return [Session(hub, number) for number in range(count)]


def done(command) -> bytes:
    header = {"op": "cell", "branch": command.header["branch"], "id": command.header["id"], "guest": {}}
    return encode(header, {"guest:repr": str(command.header["branch"]).encode()})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_no_word_is_left_lying_when_several_arrive_together(order):
    """Whoever reads for all may find its own word behind another's; somebody must still read for the third."""

    async def scenario():
        with connected() as (channel, theirs):
            cells = [asyncio.create_task(one.exec("x", timeout_s=600)) for one in branches_of_one_hub(channel, 3)]
            await asyncio.sleep(0)
            commands = read_frames(theirs, 3)
            await asyncio.sleep(0.01)  # one reads, two sleep
            theirs.sendall(done(commands[order[0]]) + done(commands[order[1]]))
            await asyncio.sleep(0.05)
            theirs.sendall(done(commands[order[2]]))
            results = await asyncio.wait_for(asyncio.gather(*cells), 10)
            assert [cell.value_repr for cell in results] == ["0", "1", "2"]

    asyncio.run(scenario())


def test_a_cancelled_reader_hands_on_its_duty():
    async def scenario():
        with connected() as (channel, theirs):
            cells = [asyncio.create_task(one.exec("x", timeout_s=600)) for one in branches_of_one_hub(channel, 3)]
            await asyncio.sleep(0)
            commands = read_frames(theirs, 3)
            cells[0].cancel()
            await asyncio.wait([cells[0]])
            theirs.sendall(done(commands[2]) + done(commands[1]))
            results = await asyncio.wait_for(asyncio.gather(*cells[1:]), 10)
            assert [cell.value_repr for cell in results] == ["1", "2"]

    asyncio.run(scenario())


def test_every_command_learns_that_the_server_is_gone():
    async def scenario():
        with connected() as (channel, theirs):
            sessions = branches_of_one_hub(channel, 3)
            cells = [asyncio.create_task(one.exec("x", timeout_s=600)) for one in sessions]
            await asyncio.sleep(0.01)
            theirs.close()
            for result in await asyncio.wait_for(asyncio.gather(*cells, return_exceptions=True), 10):
                assert isinstance(result, SandboxError) and "no complaint" in str(result)
            assert not any(one.alive for one in sessions)

    asyncio.run(scenario())


def test_a_late_loop_does_not_make_a_timeout_of_a_cell_that_ended_in_time():
    async def scenario():
        with connected() as (channel, theirs):
            (session,) = branches_of_one_hub(channel, 1)
            cell = asyncio.create_task(session.exec("x", timeout_s=0.2))
            await asyncio.sleep(0.01)
            (command,) = read_frames(theirs, 1)
            theirs.sendall(done(command))
            threading.Event().wait(0.4)  # the loop is busy with something else until after the limit
            assert (await asyncio.wait_for(cell, 10)).verdict == "ok"

    asyncio.run(scenario())
