"""Buckets at the wire: whose they are, how they are made, weights put into them, all of it removed."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest

from relight.cloud import upload as uploading
from relight.cloud.buckets import buckets_of, create_bucket, delete_bucket, found_buckets, upload_weights
from relight.cloud.google import Google
from relight.cloud.work import Silent
from relight.deploy.names import labels
from relight.deploy.observed import BucketState
from relight.deploy.steps import CreateBucket, UploadWeights
from relight.errors import CloudError, CloudLost, UsageError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Killed, Refused
from tests.cloud.fake.storage import Bucket

BUCKET = "my-project-assistant-relight"
REGION = "europe-west4"
QUANTUM = 256 << 10
OURS = dict(labels("assistant"))


@pytest.fixture(autouse=True)
def enabled(cloud: Cloud) -> None:
    cloud.usage.enable()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that Google takes, so that a small file is several."""
    monkeypatch.setattr(uploading, "CHUNK", QUANTUM)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Four pieces, the last of them not full."""
    file = tmp_path / "smol.gguf"
    file.write_bytes(b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(QUANTUM * 7 // 2 // 32)))
    return file


class Told(Silent):
    """Remembers how far it was."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int]] = []
        self.waits: list[str] = []

    def sent(self, name: str, done: int, total: int) -> None:
        self.done.append((name, done, total))

    def doing(self, what: str) -> None:
        self.waits.append(what)


def creating(name: str = BUCKET) -> CreateBucket:
    return CreateBucket(name=name, region=REGION, labels=OURS, reason="", cost="", undo="")


def uploading_of(file: Path, *, sha256: str | None = None, size: int | None = None) -> UploadWeights:
    data = file.read_bytes()
    return UploadWeights(
        name=f"weights/{file.name}",
        bucket=BUCKET,
        model="smol",
        size=len(data) if size is None else size,
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
        reason="",
        cost="",
        undo="",
    )


def make(cloud: Cloud, name: str = BUCKET, **settings: object) -> Bucket:
    found = cloud.storage.buckets[name] = Bucket({"name": name, "location": REGION, **settings})
    return found


# --- looking


def test_bucket_that_nobody_has_is_not_found(google: Google) -> None:
    assert found_buckets(google, [BUCKET], {}) == {}


def test_bucket_of_the_project_is_found_with_the_objects_that_were_asked_for(cloud: Cloud, google: Google) -> None:
    make(cloud, labels=OURS)
    for name in ("weights/a", "weights/b", "weights/a/b c"):
        cloud.storage.put(BUCKET, name, name.encode())

    found = found_buckets(google, [BUCKET], {BUCKET: ["weights/a", "weights/a/b c", "weights/none"]})

    assert found == {BUCKET: BucketState(region=REGION, objects={"weights/a": 9, "weights/a/b c": 13}, labels=OURS)}
    assert not any(call.endswith("/o") for call in cloud.calls), "listed a whole bucket"


def test_bucket_of_the_same_beginning_is_another(cloud: Cloud, google: Google) -> None:
    make(cloud, f"{BUCKET}-2")
    assert found_buckets(google, [BUCKET], {}) == {}


def test_bucket_that_refuses_is_somebody_elses(cloud: Cloud, google: Google) -> None:
    cloud.storage.strangers.add(BUCKET)
    assert not found_buckets(google, [BUCKET], {BUCKET: ["weights/a"]})[BUCKET].is_mine


def test_bucket_that_anybody_may_read_is_somebody_elses_all_the_same(cloud: Cloud, google: Google) -> None:
    make(cloud, labels=OURS)
    cloud.storage.put(BUCKET, "weights/a", b"theirs")
    cloud.storage.strangers_read.add(BUCKET)

    found = found_buckets(google, [BUCKET], {BUCKET: ["weights/a"]})

    assert found == {BUCKET: BucketState(region="", is_mine=False)}


def test_bucket_is_known_by_the_number_of_the_project_to_who_may_not_list(cloud: Cloud, google: Google) -> None:
    cloud.storage.may_list = False
    make(cloud, labels=OURS)
    make(cloud, "theirs")
    cloud.storage.strangers_read.add("theirs")
    cloud.storage.strangers.add("closed")

    found = found_buckets(google, [BUCKET, "theirs", "closed", "none"], {})

    assert {name: state.is_mine for name, state in found.items()} == {BUCKET: True, "theirs": False, "closed": False}


def test_disabled_api_means_that_there_are_none(cloud: Cloud, google: Google) -> None:
    make(cloud, labels=OURS)
    cloud.usage.enabled.discard("storage.googleapis.com")
    assert found_buckets(google, [BUCKET], {}) == {}
    assert buckets_of(google, "assistant") == ()


def test_lost_connection_while_looking_is_asked_again(cloud: Cloud, google: Google) -> None:
    make(cloud)
    cloud.storage.put(BUCKET, "weights/a", b"one")
    cloud.fail("GET", times=3)
    assert found_buckets(google, [BUCKET], {BUCKET: ["weights/a"]})[BUCKET].objects == {"weights/a": 3}


# --- making


def test_bucket_is_made_private_in_its_region(cloud: Cloud, google: Google) -> None:
    create_bucket(google, creating())

    made = cloud.storage.buckets[BUCKET].settings
    assert made["location"] == REGION
    assert made["labels"] == OURS
    assert made["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] is True
    assert made["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert made["softDeletePolicy"]["retentionDurationSeconds"] == 0
    prefixes = [rule["condition"]["matchesPrefix"] for rule in made["lifecycle"]["rule"]]
    assert prefixes == [["builds/"], ["build-logs/"]], "weights and snapshots stay"


def test_bucket_that_is_there_is_left_as_it_is(cloud: Cloud, google: Google) -> None:
    there = make(cloud, labels={"theirs": "yes"})
    create_bucket(google, creating())
    assert cloud.storage.buckets[BUCKET] is there
    assert there.labels == {"theirs": "yes"}


@pytest.mark.parametrize("after", [False, True])
def test_bucket_is_made_once_when_the_connection_is_lost(cloud: Cloud, google: Google, after: bool) -> None:
    cloud.fail("POST /storage/v1/b", after=after)
    create_bucket(google, creating())
    assert list(cloud.storage.buckets) == [BUCKET]


def test_name_of_somebody_elses_bucket_is_refused_with_what_to_set(cloud: Cloud, google: Google) -> None:
    cloud.storage.strangers.add(BUCKET)
    with pytest.raises(CloudError, match="somebody else has one of that name") as refused:
        create_bucket(google, creating())
    assert "deploy.cloudrun.bucket" in str(refused.value.hint)


def test_bucket_waits_for_the_api_that_was_just_enabled(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled.discard("storage.googleapis.com")
    cloud.later(4, cloud.usage.enable)
    create_bucket(google, creating())
    assert BUCKET in cloud.storage.buckets
    assert sum(cloud.slept) > 0


# --- uploading


def test_weights_are_uploaded_in_pieces_with_progress(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    told, step, size = Told(), uploading_of(weights), weights.stat().st_size

    upload_weights(google, step, weights, told)

    there = cloud.storage.buckets[BUCKET].objects[step.name]
    assert there.data == weights.read_bytes()
    assert there.metadata == {"sha256": step.sha256}
    assert told.done == [("smol", done, size) for done in (0, QUANTUM, 2 * QUANTUM, 3 * QUANTUM, size)]


def test_weights_that_are_there_are_not_sent_again(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    step = uploading_of(weights)
    there = cloud.storage.put(BUCKET, step.name, weights.read_bytes(), {"sha256": step.sha256})

    upload_weights(google, step, weights, Silent())

    assert cloud.storage.buckets[BUCKET].objects[step.name] is there
    assert not any(call.startswith("PUT") for call in cloud.calls)


def test_other_content_under_the_name_is_not_replaced(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    step = uploading_of(weights)
    cloud.storage.put(BUCKET, step.name, b"else")
    with pytest.raises(CloudError, match="holds something else"):
        upload_weights(google, step, weights, Silent())
    assert cloud.storage.buckets[BUCKET].objects[step.name].data == b"else"


def test_file_with_another_digest_never_becomes_an_object(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    with pytest.raises(CloudError, match="its SHA-256 should be 0000"):
        upload_weights(google, uploading_of(weights, sha256="0" * 64), weights, Silent())
    assert cloud.storage.buckets[BUCKET].objects == {}


def test_file_of_another_size_is_not_sent(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    with pytest.raises(CloudError, match="and should have 17"):
        upload_weights(google, uploading_of(weights, size=17), weights, Silent())
    assert cloud.calls == []


def test_file_that_shrinks_while_it_is_read_never_becomes_an_object(cloud: Cloud, google: Google, weights: Path) -> None:
    class Shrinks(Silent):
        def sent(self, name: str, done: int, total: int) -> None:
            if done == QUANTUM:
                with weights.open("r+b") as file:
                    file.truncate(QUANTUM + 5)

    make(cloud)
    with pytest.raises(CloudError, match="it became shorter"):
        upload_weights(google, uploading_of(weights), weights, Shrinks())
    assert cloud.storage.buckets[BUCKET].objects == {}


def test_file_that_is_gone_is_said_so(google: Google, weights: Path) -> None:
    step = uploading_of(weights)
    weights.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        upload_weights(google, step, weights, Silent())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(5))
def test_upload_goes_on_wherever_the_connection_breaks(
    cloud: Cloud,
    google: Google,
    weights: Path,
    call: int,
    after: bool,
) -> None:
    """One call begins the session, four send pieces."""
    make(cloud)
    step, seen = uploading_of(weights), itertools.count()
    cloud.fail("upload", after=after)
    cloud.faults[0].when = lambda _: next(seen) == call

    upload_weights(google, step, weights, Silent())

    assert next(seen) > call, "nothing broke"
    assert cloud.storage.buckets[BUCKET].objects[step.name].data == weights.read_bytes()
    assert sum(one.startswith("POST /upload") for one in cloud.calls) == (2 if call == 0 else 1), "began anew"


def test_weights_that_another_run_has_put_there_meanwhile_count_as_uploaded(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    step = uploading_of(weights)

    class Other(Silent):
        def sent(self, name: str, done: int, total: int) -> None:
            if done == 2 * QUANTUM:
                cloud.storage.put(BUCKET, step.name, weights.read_bytes(), {"sha256": step.sha256})

    upload_weights(google, step, weights, Other())

    assert cloud.storage.buckets[BUCKET].objects[step.name].generation == 1, "replaced"


def test_upload_goes_on_after_what_arrived_of_a_piece(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    cloud.storage.keeps_of_a_piece = QUANTUM // 2
    step = uploading_of(weights)
    upload_weights(google, step, weights, Silent())
    assert cloud.storage.buckets[BUCKET].objects[step.name].data == weights.read_bytes()


def test_upload_ends_when_nothing_arrives(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    cloud.storage.keeps_nothing = True
    with pytest.raises(CloudLost, match="it stays at 0"):
        upload_weights(google, uploading_of(weights), weights, Silent())


def test_upload_is_given_up_while_the_connection_stays_broken_and_the_next_run_begins_anew(
    cloud: Cloud, google: Google, weights: Path
) -> None:
    make(cloud)
    step = uploading_of(weights)
    cloud.fail("PUT /upload", times=99)
    with pytest.raises(CloudLost, match="upload the weights of smol"):
        upload_weights(google, step, weights, Silent())
    assert cloud.storage.buckets[BUCKET].objects == {}

    cloud.faults.clear()
    upload_weights(google, step, weights, Silent())
    assert cloud.storage.buckets[BUCKET].objects[step.name].data == weights.read_bytes()


def test_server_that_is_busy_is_asked_again(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    cloud.fail("upload", Refused(503, "UNAVAILABLE", "busy"), times=2)
    step = uploading_of(weights)
    upload_weights(google, step, weights, Silent())
    assert step.name in cloud.storage.buckets[BUCKET].objects


def test_what_is_damaged_on_its_way_never_becomes_an_object(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    cloud.storage.damages = True
    with pytest.raises(CloudError, match="CRC32C"):
        upload_weights(google, uploading_of(weights), weights, Silent())
    assert cloud.storage.buckets[BUCKET].objects == {}


def test_what_was_damaged_and_became_an_object_is_removed(cloud: Cloud, google: Google, weights: Path) -> None:
    make(cloud)
    cloud.storage.damages = cloud.storage.trusts = True
    with pytest.raises(CloudError, match="what arrived is not what was sent"):
        upload_weights(google, uploading_of(weights), weights, Silent())
    assert cloud.storage.buckets[BUCKET].objects == {}


def test_upload_that_is_killed_leaves_nothing(cloud: Cloud, google: Google, weights: Path) -> None:
    class Kills(Silent):
        def sent(self, name: str, done: int, total: int) -> None:
            if done == 2 * QUANTUM:
                raise Killed

    make(cloud)
    step = uploading_of(weights)
    with pytest.raises(Killed):
        upload_weights(google, step, weights, Kills())
    assert found_buckets(google, [BUCKET], {BUCKET: [step.name]})[BUCKET].objects == {}


# --- removing


def test_buckets_of_a_service_are_those_with_all_of_its_labels(cloud: Cloud, google: Google) -> None:
    make(cloud, "b", labels=OURS | {"more": "yes"})
    make(cloud, "a", labels=OURS)
    make(cloud, "other", labels=dict(labels("other")))
    make(cloud, "plain")
    assert buckets_of(google, "assistant") == ("a", "b")


def test_bucket_is_removed_with_all_that_is_in_it(cloud: Cloud, google: Google) -> None:
    make(cloud)
    make(cloud, "other")
    for number in range(250):
        cloud.storage.put(BUCKET, f"prefixes/{number} ä", b"x")
    told = Told()

    delete_bucket(google, BUCKET, told)

    assert list(cloud.storage.buckets) == ["other"]
    assert [wait.partition(": ")[2] for wait in told.waits] == [f"{n} objects are gone" for n in (0, 100, 200)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("when", ["POST /batch", "DELETE /storage", "GET /storage"])
def test_bucket_is_removed_although_the_connection_breaks(cloud: Cloud, google: Google, when: str, after: bool) -> None:
    make(cloud)
    for number in range(3):
        cloud.storage.put(BUCKET, f"{number}", b"x")
    cloud.fail(when, after=after)
    delete_bucket(google, BUCKET, Silent())
    assert cloud.storage.buckets == {}


def test_bucket_that_is_gone_counts_as_removed(google: Google) -> None:
    delete_bucket(google, BUCKET, Silent())


def test_refused_removal_of_an_object_is_told(cloud: Cloud, google: Google) -> None:
    make(cloud)
    cloud.storage.put(BUCKET, "held", b"x")
    cloud.storage.held.add("held")
    with pytest.raises(CloudError, match="is under active Temporary hold"):
        delete_bucket(google, BUCKET, Silent())
    assert BUCKET in cloud.storage.buckets
