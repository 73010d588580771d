"""Several processes that serve as one daemon: when one of them dies, and when all are told something."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from s3orchestrator.workers.pool import ASK_EVERY, MOST_UNANSWERED
from tests.integration.administering import TOKEN, AdminCase
from tests.integration.disks import BUCKET
from tests.running import PATIENCE, fetch, fsck, wait_until

WORKERS = 2
ENOUGH = 24  # connections; that one process gets all of them has a chance of one in some millions


class WorkersCase(AdminCase):
    server = f", workers: {WORKERS}"
    settings = AdminCase.settings + "telemetry: {metrics: {enabled: true}}\n"

    def processes(self) -> list[dict[str, Any]]:
        """Those that serve, as the admin API shows them."""
        found: list[dict[str, Any]] = self.document("status")["processes"]
        return found

    def pids(self) -> list[int]:
        return [process["pid"] for process in self.processes() if process["serving"]]

    def document(self, path: str) -> Any:
        """What operators are told."""
        status, document = self.ask(f"/admin/api/{path}")
        self.assertEqual(status, 200, document)
        return document

    def connections(self, number: int = ENOUGH) -> list[HTTPConnection]:
        """So many clients at a time, each of which has been answered once."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        found = []
        for _ in range(number):
            connection = HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
            found.append(stack.enter_context(closing(connection)))
            connection.request("GET", "/health")
            connection.getresponse().read()
        return found

    def series(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels."""
        page = fetch(f"{self.daemon.endpoint}/metrics").body.decode()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.partition("{")[0].partition(" ")[0] == name and all(each in line for each in wanted)
        )

    def puts(self) -> float:
        return self.series("s3o_requests_total", method="PUT", status_code="200")

    def await_replacement(self, pid: int) -> None:
        wait_until(
            lambda: pid not in (found := self.pids()) and len(found) == WORKERS,
            f"process {pid} is not replaced: {self.processes()}",
        )

    def lines(self) -> Iterator[dict[str, Any]]:
        for line in self.daemon.logged():
            if line.startswith("{"):
                yield json.loads(line)


class ServingTests(WorkersCase):
    """On SQLite, whose file only the first process writes."""

    def test_all_serve(self) -> None:
        """
        Clients are spread over the processes, each of which says in the log and to operators what it does.
        """
        held = self.connections()
        self.put("one", "two")
        shown = self.processes()
        self.assertEqual([process["worker"] for process in shown], [1, 2])
        wait_until(
            lambda: all(process["connections"] > 0 for process in self.processes()),
            f"one has no clients: {self.processes()}",
        )
        self.assertEqual(len(held), ENOUGH)
        audited = [line for line in self.lines() if line.get("event") == "s3.PutObject"]
        self.assertEqual(len(audited), 2)
        self.assertLessEqual({line["worker"] for line in audited}, {1, 2})
        self.assertIn("processes", self.document("workers"))
        told = self.told("status")
        self.assertRegex(told, rf"1 +{shown[0]['pid']} +20.* serving")

    def test_operators(self) -> None:
        """
        What operators change is changed everywhere, what they read comes from everywhere, and who they
        are is known whichever process they have met.
        """
        self.put("one")
        self.told("log-level", "debug")
        self.assertEqual(self.document("log-level"), {"level": "debug"})
        for connection in self.connections():
            connection.request("GET", f"/{BUCKET}/nothing-of-mine")
            connection.getresponse().read()
        entries = self.document("logs?component=audit&limit=1000")["entries"]
        refused = [entry for entry in entries if entry.get("event") == "s3.AuthFailure"]
        self.assertEqual(len(refused), ENOUGH)
        self.assertEqual({entry["worker"] for entry in refused}, {1, 2})
        self.told("usage-flush")
        requests = sum(backend["api_requests"] for backend in self.document("status")["backends"])
        self.assertGreater(requests, 0)
        body = {"Content-Length": "2000000", "X-Admin-Token": TOKEN}
        answer = fetch(f"{self.daemon.endpoint}/admin/api/log-level", "PUT", b"x" * 2_000_000, body)
        self.assertEqual(answer.status, 413)

    def test_guesses(self) -> None:
        """An address that guesses at the token is locked out by all processes together."""
        url = f"{self.daemon.endpoint}/admin/api/status"
        found = [fetch(url, headers={"X-Admin-Token": "wrong"}).status for _ in range(7)]
        self.assertEqual(found, [401] * 5 + [429] * 2)

    def test_metrics(self) -> None:
        """A counter is that of all processes, also of one that has died since."""
        for number in range(20):
            self.deployment.client().put_object(Bucket=BUCKET, Key=f"{number}", Body=b"x")
        self.assertEqual(self.puts(), 20)
        self.assertEqual(self.series("s3o_request_duration_seconds_count", method="PUT"), 20)
        self.assertEqual(self.series("s3o_config_generation"), 1)
        held = self.connections(10)
        wait_until(lambda: self.series("s3o_connections") >= len(held), "they are not counted")
        dying = self.pids()[0]
        os.kill(dying, signal.SIGKILL)
        self.await_replacement(dying)
        self.assertEqual(self.puts(), 20)
        self.deployment.client().put_object(Bucket=BUCKET, Key="more", Body=b"x")
        wait_until(lambda: self.puts() == 21, f"it is {self.puts()}")


class PostgresServingTests(ServingTests):
    """The same with a database that each process asks by itself."""

    driver = "postgres"


class ReloadTests(WorkersCase):
    def reload(self, old: str, new: str) -> None:
        """Change the file, and have it taken over."""
        generation = self.document("reload-status")["generation"]
        self.config.write_text(self.config.read_text().replace(old, new))
        os.kill(self.daemon.pid, signal.SIGHUP)
        wait_until(
            lambda: self.document("reload-status")["generation"] == generation + 1,
            f"it is not taken over: {self.document('reload-status')}",
        )

    def test_all_take_over(self) -> None:
        """A secret that has changed is wrong everywhere at once, and in processes that come later."""
        self.put("one")
        url = self.client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "one"})
        path = url.partition(str(self.daemon.port))[2]
        held = self.connections()
        self.assertEqual(self.statuses(held, path), {200})
        self.reload("photossecret", "rotated")
        self.assertEqual(self.statuses(held, path), {403})
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
            self.await_replacement(pid)
        self.assertEqual(self.statuses(self.connections(), path), {403})
        self.reload("rotated", "photossecret")
        self.assertEqual(self.statuses(self.connections(), path), {200})

    def statuses(self, connections: Sequence[HTTPConnection], path: str) -> set[int]:
        """What each of them is answered."""
        found = set()
        for connection in connections:
            connection.request("GET", path)
            reply = connection.getresponse()
            reply.read()
            found.add(reply.status)
        return found

    def test_refused(self) -> None:
        """A file that cannot be used changes nothing anywhere."""
        text = self.config.read_text()
        self.config.write_text(text.replace("photossecret", "rotated") + "nonsense: 1\n")
        os.kill(self.daemon.pid, signal.SIGHUP)
        wait_until(lambda: self.document("reload-status")["status"] == "failed", "it is not refused")
        for _ in range(5):
            self.deployment.client().put_object(Bucket=BUCKET, Key="k", Body=b"x")

    def test_number(self) -> None:
        """How many there are needs a restart."""
        self.reload("workers: 2", "workers: 3")
        self.assertEqual(self.document("reload-status")["ignored"], ["server.workers"])
        self.assertEqual(len(self.pids()), 2)
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual(len(self.pids()), 3)


class StartTests(WorkersCase):
    def test_one_cannot_start(self) -> None:
        """If a worker cannot be started there is no daemon; it says so, and leaves nobody behind."""
        self.daemon.stop()
        (self.directory / "sitecustomize.py").write_text(_NO_SECOND)
        path = os.pathsep.join([str(self.directory), os.environ.get("PYTHONPATH", "")])
        self.daemon.environment = {**os.environ, "PYTHONPATH": path}
        with self.assertRaisesRegex(AssertionError, "worker 2 ended with status 7 before it served"):
            self.daemon.start()
        self.daemon.environment = dict(os.environ)
        self.daemon.start()

    def test_none_can_be_replaced(self) -> None:
        """When nobody serves any more, and nobody can be started, the daemon ends, and says why."""
        self.daemon.stop()
        broken = self.directory / "broken"
        (self.directory / "sitecustomize.py").write_text(_NONE_WHILE_BROKEN.format(broken=broken))
        path = os.pathsep.join([str(self.directory), os.environ.get("PYTHONPATH", "")])
        self.daemon.environment = {**os.environ, "PYTHONPATH": path}
        self.daemon.start()
        pids = self.pids()
        broken.touch()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        with self.assertRaisesRegex(AssertionError, "stopped with 1"):
            wait_until(lambda: self.daemon.has_ended, "it goes on")
            self.daemon.stop()
        self.assertIn("none of the workers can be started any more", self.daemon.log.read_text())


# Python runs these in each process, before anything else.
_NO_SECOND = """\
import sys
if sys.orig_argv[-2:-1] == ["2"]:
    import os
    os._exit(7)
"""


_NONE_WHILE_BROKEN = """\
import os, sys
if "s3orchestrator.cli.worker" in sys.orig_argv and os.path.exists("{broken}"):
    os._exit(7)
"""


class DeathTests(WorkersCase):
    """Processes that are killed while clients write."""

    def test_child(self) -> None:
        """
        A process that is killed costs what it was doing. Nobody is refused a connection, what was
        acknowledged is there, and another one serves in its place.
        """
        writers = [Writer(self.deployment.client, f"w{number}") for number in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            dying = self.pids()[0]
            before = [len(writer.written) for writer in writers]
            os.kill(dying, signal.SIGKILL)
            self.await_replacement(dying)
            wait_until(
                lambda before=before: all(
                    len(writer.written) > had + 5 for writer, had in zip(writers, before, strict=True)
                ),
                "somebody is not served any more",
            )
        self.assertWritten(writers)
        killed = [line for line in self.lines() if "was ended by signal 9" in line["msg"]]
        self.assertEqual(len(killed), 3)

    def assertWritten(self, writers: Sequence[Writer]) -> None:
        """All that was acknowledged is there, with its bytes, and nobody was refused a connection."""
        for writer in writers:
            writer.end()
        client = self.deployment.client()
        for writer in writers:
            self.assertEqual(writer.refused, [])
            self.assertGreater(len(writer.written), 10)
            for key, digest in writer.written.items():
                body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                self.assertEqual(sha256(body).hexdigest(), digest, key)

    def test_parent(self) -> None:
        """
        When the one that started them is killed all end at once; a new daemon has the port and the
        ledger without delay.
        """
        self.put("kept")
        pids = self.pids()
        self.daemon.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "one lives on", 5)
        self.daemon.start()
        self.assertEqual(self.client.get_object(Bucket=BUCKET, Key="kept")["Body"].read(), b"kept" * 100)

    def test_left_at_start(self) -> None:
        """
        What was being written when all were killed is given back by the next start: nobody else can have it.
        """
        if self.driver != "sqlite":
            return  # others may be at work: it is the reaper's, when the lease has lapsed
        with closing(HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)) as connection:
            url = self.client.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "half"})
            connection.putrequest("PUT", url.partition(str(self.daemon.port))[2])
            connection.putheader("Content-Length", "1000000")
            connection.endheaders(b"x" * 100_000)
            pending = "SELECT count(*) FROM blobs WHERE state = 'pending' AND key = 'half'"
            wait_until(lambda: self.ledger.rows.query(pending)[0][0], "nothing is being written")
            self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.ledger.rows.query(pending)[0][0], 0)
        self.assertIn("1 unfinished writes of the last run", self.daemon.log.read_text())

    def test_parent_of_one_that_stands_still(self) -> None:
        """A worker that does nothing at all ends with the one that started it, too."""
        pids = self.pids()
        os.kill(pids[0], signal.SIGSTOP)
        self.daemon.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "one lives on", 5)
        self.daemon.start()
        self.put("one")

    def test_signals(self) -> None:
        """What is sent to all processes of a service is for the first one to act on."""
        pids = self.pids()
        for pid in pids:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                os.kill(pid, number)
        self.put("one")
        self.assertEqual(self.pids(), pids)
        os.kill(self.daemon.pid, signal.SIGTERM)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        self.daemon.stop()
        self.assertEqual(next(reversed(list(self.lines())))["msg"], "stopped")

    def test_checked(self) -> None:
        """After deaths and an orderly end the ledger and the disks agree."""
        writers = [Writer(self.deployment.client, f"w{number}") for number in range(4)]
        for writer in writers:
            writer.start()
        wait_until(lambda: all(len(writer.written) > 10 for writer in writers), "nobody is served")
        dying = self.pids()[1]
        os.kill(dying, signal.SIGKILL)
        self.await_replacement(dying)
        for writer in writers:
            writer.end()
        self.daemon.stop()
        checked = fsck(self.config)
        self.assertEqual((checked.returncode, checked.stdout), (0, "clean\n"), checked.stderr)


class StandstillTests(WorkersCase):
    def test_one_stands_still(self) -> None:
        """
        One that does nothing any more is ended in the end, and replaced. The others serve meanwhile, and what
        is reloaded then is in force in its place as well.
        """
        self.put("kept")
        path = self.client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "kept"})
        path = path.partition(str(self.daemon.port))[2]
        stuck = self.pids()[0]
        os.kill(stuck, signal.SIGSTOP)
        self.config.write_text(self.config.read_text().replace("photossecret", "rotated"))
        os.kill(self.daemon.pid, signal.SIGHUP)
        wait_until(
            lambda: stuck not in (pids := self.pids()) and len(pids) == WORKERS,
            "it is not replaced",
            3 * ASK_EVERY * MOST_UNANSWERED,
        )
        self.assertFalse(Path(f"/proc/{stuck}").exists())
        said = [line["msg"] for line in self.lines()]
        self.assertIn(f"worker 1 (process {stuck}) does not answer any more: it is ended", said)
        self.assertEqual(self.document("reload-status")["generation"], 2)
        for connection in self.connections():
            connection.request("GET", path)
            self.assertEqual(connection.getresponse().status, 403)

    def test_stopped(self) -> None:
        """
        Who had connected by the time that they are told to stop is served, and is the last.
        """
        pids = self.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        clients = [HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE) for _ in range(200)]
        for client in clients:
            self.addCleanup(client.close)
            client.request("GET", "/health")
        os.kill(self.daemon.pid, signal.SIGTERM)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        for client in clients:
            self.assertEqual(client.getresponse().status, 200)
        self.daemon.stop()


class PostgresDeathTests(DeathTests):
    """The same with a database that each process asks by itself."""

    driver = "postgres"


class Writer(threading.Thread):
    """Writes on and on, with a connection for each request; `written` has what was acknowledged."""

    def __init__(self, client: Any, name: str) -> None:
        super().__init__(name=name)
        self._client = client
        self.written: dict[str, str] = {}
        self.refused: list[str] = []
        self._end = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._end.is_set():
            key, body = f"{self.name}/{number}", os.urandom(2000)
            number += 1
            try:
                self._client().put_object(Bucket=BUCKET, Key=key, Body=body)
            except EndpointConnectionError as error:
                self.refused.append(str(error))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    self.refused.append(str(error))
            except Exception:
                continue  # its process died under it: what became of the object is not known
            else:
                self.written[key] = sha256(body).hexdigest()

    def end(self) -> None:
        self._end.set()
        self.join()
