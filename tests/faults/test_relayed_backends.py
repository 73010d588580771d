"""
Every operation on real S3 services, with each fault of the network on the first request that it makes.

What was acknowledged is there, what was not is there as a whole or not at all, and nothing else is anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from attrs import evolve, frozen
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.faults.client import Client, NoAnswer, Reply, upload_id
from s3orchestrator.testing.faults.relay import Act, Fault, Relay, Way, lost_answer
from tests.faults.relayed import Relayed
from tests.faults.scenarios import SCENARIOS, STATE, Scenario, content
from tests.faults.site import contents, site
from tests.forked import fork_server
from tests.running import wait_until
from tests.servers import SERVERS, Server

FAULTS: Mapping[str, Fault] = {
    "reset before the server hears of it": Fault(Act.CUT),
    "closed in the head of the request": Fault(Act.CUT, after=100),
    "closed in the body of the request": Fault(Act.CUT, after=2000),
    "closed in the answer": Fault(Act.CUT, Way.TO_CLIENT, 60),
    "an answer that is lost": lost_answer(),
    "a request that arrives late": Fault(Act.STALL),
    "a body that stalls": Fault(Act.STALL, after=2000),
    "an answer that never comes": Fault(Act.STALL, Way.TO_CLIENT),
    "a server that is slow": Fault(Act.DELAY, Way.TO_CLIENT, seconds=0.5),
}
AWAY = "a server that is away"
HALF_A_REQUEST = ("closed in the head of the request", "closed in the body of the request")


@frozen
class Verb:
    """The request to a backend that meets the fault, in one of the scenarios."""

    scenario: str
    on: bytes

    @property
    def bucket(self) -> str:
        """A bucket for it alone."""
        return self.scenario.replace(" ", "-")


_LARGE_PART = content("part", 200_000)


def _with_upload(client: Client) -> str:
    for key, data in STATE.items():
        assert client.put(key, data).succeeded
    return upload_id(client.create_upload("k"))


def _put_part(client: Client, upload: str) -> Reply:
    reply = client.put_part("k", upload, 1, _LARGE_PART)
    return client.complete("k", upload, [reply.etag]) if reply.succeeded else reply


def _create(client: Client, _: object) -> Reply:
    reply = client.create_upload("k")
    if reply.succeeded:
        client.abort("k", upload_id(reply))
    return reply


MORE = (
    Scenario("part", _with_upload, _put_part, STATE, {**STATE, "k": _LARGE_PART}, must_repeat=True),
    Scenario(
        "create",
        lambda client: [client.put(key, data) for key, data in STATE.items()],
        _create,
        STATE,
        STATE,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in (*SCENARIOS, *MORE)}
VERBS = (
    Verb("put", b"PUT /"),
    Verb("put that streams", b"PUT /"),
    Verb("overwrite", b"DELETE /"),
    Verb("delete", b"DELETE /"),
    Verb("copy", b"PUT /"),
    Verb("create", b"POST /"),
    Verb("part", b"PUT /"),
    Verb("complete", b"POST /"),
    Verb("abort", b"DELETE /"),
)


class RelayedBackendTests(SynchronousTestCase):
    maxDiff = None

    def setUp(self) -> None:
        fork_server()
        self.directory = Path(self.mktemp()).absolute()

    def check(self, server: Server, verbs: Sequence[Verb], faults: Iterable[str]) -> None:
        """Verbs one after the other; faults at once, each with a deployment of its own."""
        with ThreadPoolExecutor(len(FAULTS) + 1) as threads:
            wrong = list(threads.map(partial(self.meet, server, verbs), faults))
        self.assertEqual("\n".join(line for lines in wrong for line in lines), "")

    def test_moto(self) -> None:
        """
        A server that answers everything at once.

        It takes half a request for a whole one; and of all uploads it says that they began in 2010, so one
        whose id was lost looks like a stranger's.
        """
        verbs = [verb for verb in VERBS if verb.scenario != "create"]
        faults = [name for name in (*FAULTS, AWAY) if name not in HALF_A_REQUEST]
        self.check(SERVERS["moto"](), verbs, faults)

    def test_radosgw(self) -> None:
        """One that works as large ones do."""
        self.check(SERVERS["radosgw"](), VERBS, [*FAULTS, AWAY])

    def meet(self, server: Server, verbs: Sequence[Verb], name: str) -> list[str]:
        """Let verbs meet a fault; return what is wrong afterwards."""
        relayed = Relayed.on(server)
        buckets = [verb.bucket for verb in verbs]
        made = site(
            self.directory / name, {"store": relayed.place}, buckets=buckets, quiet_ms=3000, timeout="2s"
        )
        try:
            made.daemon.start()
            wrong: list[str] = []
            for verb in verbs:
                found = self.look(made.client(verb.bucket), relayed.relay, verb, name)
                wrong += [f"{verb.scenario}: {line}" for line in found]
            whole = {
                f"{bucket}/{key}": data
                for bucket in buckets
                for key, data in contents(made.client(bucket)).items()
            }
            return [f"{name}: {line}" for line in wrong + made.whole(whole)]
        except Exception as error:
            raise AssertionError(f"{name}\n{made.daemon.tail()}") from error
        finally:
            made.daemon.kill()
            relayed.relay.stop()

    def look(self, client: Client, relay: Relay, verb: Verb, name: str) -> list[str]:
        """Let it happen, let everything be well again, and compare."""
        scenario = BY_NAME[verb.scenario]
        state = scenario.prepare(client)
        if name == AWAY:
            relay.refuse()
        else:
            relay.inject(evolve(FAULTS[name], on=verb.on))
        try:
            reply = scenario.run(client, state)
        except NoAnswer as error:
            return [f"the client got no answer: {error}"]
        if not reply.succeeded and reply.status not in (500, 502, 503):
            return [f"refused with {reply}"]
        wait_until(lambda: name == AWAY or relay.met, "nothing met the fault")
        relay.heal()
        found = contents(client)
        if found != scenario.after and (reply.succeeded or found != scenario.before):
            return [f"after {reply.status} there is {sorted(found)}"]
        if scenario.must_repeat:
            reply = scenario.run(client, state)
            if reply.status not in scenario.again and reply.code != "NoSuchUpload":
                return [f"trying again: {reply}"]
            if (found := contents(client)) != scenario.after:
                return [f"tried again, there is {sorted(found)}"]
        return []
