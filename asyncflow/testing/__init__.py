"""Virtual time: tests of hours that take milliseconds, exactly the same every time.

`VirtualTimeLoop` is an event loop whose clock stands still while something is ready to run and jumps to the next timer when
nothing is. It starts at 0.0 seconds. With pytest a test asks for it with `@pytest.mark.virtual_time`; elsewhere `run(main())`
takes the place of `asyncio.run(main())`.

A loop has a network of its own, without sockets: what listens in it can be called in it, so that an `AsyncClient` and the
`asyncflow.simulator.Simulator` talk to each other as they do elsewhere, and the hours that jobs take pass in no time. There is
nothing else that it could wait for: the world outside, threads and processes are refused. Only the event loop's clock is
virtual; `time.monotonic()` and `datetime.now()` are not.
"""

from asyncflow.testing.loop import DeadlockError, VirtualTimeError, VirtualTimeLoop, call_later, loop_factories, now, run

__all__ = ["DeadlockError", "VirtualTimeError", "VirtualTimeLoop", "call_later", "loop_factories", "now", "run"]
