"""One message of each kind, as the golden files have them. No tests here."""

from msgspec.structs import replace

from skerry_agent.wire.admission import Accelerator, DeviceFacts, Needs
from skerry_agent.wire.asking import Ask
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.drift import DriftBaseline, Histogram
from skerry_agent.wire.enrolment import Attest, EnrolmentAnswer, EnrolmentRequest, Offer, RenewalAnswer, RenewalRequest
from skerry_agent.wire.envelope import Envelope, Signature
from skerry_agent.wire.manifest import (
    Artifact,
    Baseline,
    Bundle,
    ChannelSignal,
    Figure,
    Join,
    PatchRef,
    Preprocess,
    Probation,
    Provenance,
    Quality,
    Release,
    TensorSpec,
)
from skerry_agent.wire.postprocess import Postprocess
from skerry_agent.wire.refusals import RefusedOrder
from skerry_agent.wire.runtimes import RuntimeManifest, Wheelhouse
from skerry_agent.wire.settings import Difference, SettingsOrder, SettingsReport
from skerry_agent.wire.sketch import Sketch
from skerry_agent.wire.telemetry import ModelStats, Receipt, Report, Sample, Stored
from skerry_agent.wire.twin import (
    Assignment,
    Command,
    CommandResult,
    DeploymentReport,
    Desired,
    DeviceState,
    ModelReport,
    Reported,
    RuntimeReport,
    SlotReport,
    TransferPolicy,
)
from skerry_agent.wire.upgrades import AgentOrder, UpgradeReport

BLOB = describe(bytes(200_000))


SLOT = SlotReport("fashion@1.0.0", "cpu", "a" * 64, "b" * 64)


BUNDLE = Bundle(
    target="cpu",
    artifacts=(Artifact("model.tflite", "model", BLOB),),
    inputs=(TensorSpec("image", "int8", (1, 28, 28, 1), 0.0039, -128),),
    outputs=(TensorSpec("probabilities", "int8", (1, 10), 0.00390625, -128),),
    task="classification",
    preprocess=Preprocess(scale=0.00392156862745098),
    probation=Probation(latency_p95_us=5000.0),
)


NEEDS = Needs(
    target="cpu",
    machines=("aarch64", "x86_64"),
    pythons=("cp311", "cp312"),
    glibc="2.28",
    agent="0.2.0",
    runtimes={"ai-edge-litert": "1.0", "tflite-runtime": "2.9"},
    edgetpu_runtime=14,
    ram_bytes=64_000_000,
    disk_bytes=5_000_000,
)

OPEN_MAPS = {
    *("models", "outputs", "sqnr_db", "tools", "data_sha256", "buckets", "feedback"),
    *("runtimes", "engines", "distributions", "values"),
}
"""Fields whose keys are names and no fields: nothing is added to them."""

MESSAGES = {
    "receipt": Receipt((Stored("0123456789abcdef", ((0, 41), (43, 57))), Stored("fedcba9876543210", ((0, 0),)))),
    "receipt_reads": Receipt((Stored("0123456789abcdef", ((0, 41),)),), reads=(1, 2)),
    "desired": Desired(
        "shelf-01",
        7,
        1_700_000_000.5,
        (Assignment("fashion", "fashion@1.1.0", "cpu", BLOB, "d-1", TransferPolicy("never", 100_000, 60.0)),),
        1_800_000_000.0,
    ),
    "reported": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=3,
        generation=7,
        agent="0.1.0",
        board="raspberry-pi-4",
        targets=("edgetpu", "cpu"),
        models={
            "fashion": ModelReport(
                "probation",
                serving=True,
                current=SLOT,
                candidate=SLOT,
                deployment=DeploymentReport("d-1", "fashion@1.1.0", "probation", transfer="patch", bytes_received=8345),
            )
        },
        issues=("journal of fashion: No space left on device",),
    ),
    "reported_patch_format": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=5,
        generation=8,
        agent="0.2.0",
        board="raspberry-pi-4",
        targets=("cpu",),
        patch_format=2,
    ),
    "reported_schema": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=5,
        generation=8,
        agent="0.4.0",
        board="raspberry-pi-4",
        targets=("cpu",),
        manifest_schema=2,
    ),
    "reported_beside": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=5,
        generation=8,
        agent="0.5.0",
        board="raspberry-pi-4-coral-usb",
        targets=("edgetpu", "cpu"),
        models={"fashion": ModelReport("idle", serving=True, current=replace(SLOT, beside="edgetpu"))},
    ),
    "reported_facts": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=5,
        generation=8,
        agent="0.5.0",
        board="raspberry-pi-4-coral-usb",
        targets=("edgetpu", "cpu"),
        facts=DeviceFacts(
            machine="aarch64",
            python="cp311",
            glibc="2.36",
            agent="0.5.0",
            runtimes={"ai-edge-litert": "2.3.0"},
            engines={"edgetpu": "ai-edge-litert", "cpu": "ai-edge-litert"},
            accelerator=Accelerator("libedgetpu1-std 16.0", 14, "1.2", "", "6.6.31", "driver_crashes"),
            ram_bytes=4_000_000_000,
            disk_free_bytes=12_000_000_000,
        ),
    ),
    "reported_refused": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=6,
        generation=22,
        agent="0.3.0",
        board="raspberry-pi-4",
        targets=("cpu",),
        refused=(
            RefusedOrder(
                "desired",
                "stale_generation",
                "a" * 64,
                1_700_000_000.5,
                "desired generation 2 was ignored: 22 is accepted",
                2,
                ("d-1",),
            ),
            RefusedOrder("command", "untrusted", "b" * 64, 1_700_000_001.5),
        ),
    ),
    "command_result_code": CommandResult(
        "shelf-01", "c-2", ok=False, detail="this agent does not know the command 'x'", code="unknown_command"
    ),
    "ask": Ask("shelf-01", "a" * 64, (None, 0, 4095)),
    "ask_session": Ask("shelf-01", "a" * 64, (None, 0, 4095), "0123456789abcdef"),
    "desired_runtime": Desired(
        "shelf-01", 8, 1_700_000_000.5, (Assignment("fashion", "fashion@1.1.0", "cpu", BLOB, "d-1", runtime=BLOB),)
    ),
    "reported_slot_runtime": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=4,
        generation=8,
        agent="0.1.0",
        board="raspberry-pi-4",
        targets=("cpu",),
        models={
            "fashion": ModelReport(
                "idle",
                True,
                SlotReport("fashion@1.1.0", "cpu", "a" * 64, "b" * 64, runtime="litert@2.4.0", runtime_sha256="e" * 64),
                SlotReport("fashion@1.0.0", "cpu", "c" * 64, "d" * 64, runtime="litert@2.3.0", runtime_gone=True),
            )
        },
    ),
    "runtime": RuntimeManifest(
        "runtime",
        "litert",
        "2.4.0",
        "2026-11-30T10:00:00Z",
        (
            Wheelhouse(
                "aarch64",
                "cp311",
                BLOB,
                {"ai-edge-litert": "2.4.0", "numpy": "2.4.6"},
                "2.27",
                ("ai_edge_litert",),
                120_000_000,
            ),
        ),
        "for XNNPACK",
    ),
    "desired_agent": Desired(
        "shelf-01",
        9,
        1_700_000_000.5,
        agent=AgentOrder(
            "agent@0.9.0", BLOB, "d-2", 120.0, TransferPolicy(byte_budget=4096), "http://10.0.0.1:8080/blobs", True
        ),
    ),
    "reported_upgrade": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=5,
        generation=9,
        agent="0.8.0",
        board="raspberry-pi-4",
        targets=("cpu",),
        upgrade=UpgradeReport(
            "d-2",
            "agent@0.9.0",
            "idle",
            "rolled_back",
            "agent_not_healthy",
            "not healthy within 120 s: no connection to the broker",
            "agent@0.8.0",
            1_400_000,
            1_400_000,
            ("retained",),
        ),
    ),
    "desired_asked": Desired(
        "shelf-01", 8, 1_700_000_000.5, (Assignment("fashion", "fashion@1.1.0", "cpu", BLOB, "d-1", asked=True),)
    ),
    "desired_incarnation": Desired("shelf-01", 9, 1_700_000_000.5, incarnation="0123456789abcdef" * 2),
    "reported_ways": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=4,
        generation=8,
        agent="0.1.0",
        board="raspberry-pi-4",
        targets=("cpu",),
        models={
            "fashion": ModelReport(
                "fetching",
                serving=True,
                deployment=DeploymentReport("d-1", "fashion@1.1.0", "fetching", transports=("retained", "asked")),
            )
        },
    ),
    "reported_runtime": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=4,
        generation=7,
        agent="0.1.0",
        board="raspberry-pi-4",
        targets=("edgetpu", "cpu"),
        models={
            "fashion": ModelReport("idle", serving=True, runtime=RuntimeReport("ai-edge-litert", "2.3.0", "XNNPACK"))
        },
    ),
    "desired_removed": Desired("shelf-01", 9, 1_700_000_000.5, removed=("fashion",)),
    "desired_offer": Desired(
        "shelf-01",
        9,
        1_700_000_000.5,
        offer=Offer("mqtts://host.example:8883", "mqtts://host.example:8884", "-----BEGIN CERTIFICATE-----\n"),
    ),
    "desired_settings": Desired(
        "shelf-01",
        10,
        1_700_000_000.5,
        settings=SettingsOrder("set-1", {"telemetry_interval_s": 30, "models.fashion.camera": "/dev/video1"}, 60.0),
    ),
    "reported_settings": Reported(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=6,
        generation=10,
        agent="0.5.0",
        board="raspberry-pi-4",
        targets=("cpu",),
        settings=SettingsReport(
            "set-2",
            "rolled_back",
            "no_connection",
            "no connection to the broker: nothing answers there",
            (
                Difference("broker_url", "mqtts://nowhere:8883", "mqtts://host:8883"),
                Difference("metered", "true", "false", "kept_here"),
            ),
            ("metered",),
            1,
            "set-1",
        ),
    ),
    "state": DeviceState("shelf-01", "0123456789abcdef", 2, online=True, agent="0.1.0"),
    "command": Command("shelf-01", "c-1", "rollback", 1_700_000_000.0, "fashion"),
    "command_sequenced": Command(
        "shelf-01",
        "c-2",
        "rollback",
        1_700_000_000.0,
        "fashion",
        sequence=1_700_000_000_000,
        expires=1_700_086_400.0,
        incarnation="0123456789abcdef" * 2,
    ),
    "command_watch": Command(
        "shelf-01", "c-3", "watch", 1_700_000_000.0, sequence=1_700_000_000_001, expires=1_700_000_600.0, seconds=600.0
    ),
    "command_result": CommandResult("shelf-01", "c-1", ok=False, detail="fashion has no previous release"),
    "telemetry": Report(
        device="shelf-01",
        boot="0123456789abcdef",
        sequence=12,
        started=1_700_000_000.0,
        uptime_s=130.0,
        duration_s=10.0,
        models=(
            ModelStats(
                "fashion",
                "fashion@1.1.0",
                500,
                1,
                latency=Sketch({"233": 400, "240": 100}, 0, 51_000.0),
                energy_uj=120.5,
                energy_source="modelled",
                energy_method="cpu time x 1.1 W per core, +-30 %",
                outputs={"Sandal": 50},
            ),
        ),
        samples=(Sample("temperature", 51.5, "C", "measured", "thermal_zone0"),),
    ),
    "release": Release(
        schema=1,
        model="fashion",
        version="1.1.0",
        counter=2,
        bundles=(BUNDLE,),
        quality=Quality(
            "top1", 2500, 0.9276, 0.9268, (0.916, 0.938), (0.915, 0.937), {"probabilities": 33.6}, 560, 196
        ),
        provenance=Provenance("c" * 64, "d" * 64, {"litert-quantizer": "0.11.0"}, "2026-11-22T06:00:00+00:00"),
        patches=(PatchRef("e" * 64, BLOB.sha256, "model", describe(b"patch")),),
    ),
    "release_newer_patches": Release(
        schema=1,
        model="fashion",
        version="1.3.0",
        counter=4,
        bundles=(BUNDLE,),
        quality=Quality("top1", 2500, None, 0.9268, None, (0.915, 0.937), {}, None, 196),
        provenance=Provenance("c" * 64, "d" * 64, {}, "2026-11-22T06:00:00+00:00"),
        patches=(PatchRef("e" * 64, BLOB.sha256, "bsdiff", describe(b"patch of all agents")),),
        newer_patches=(PatchRef("e" * 64, BLOB.sha256, "typed", describe(b"patch"), 2),),
    ),
    "release_edgetpu": Release(
        schema=1,
        model="fashion",
        version="1.2.0",
        counter=3,
        bundles=(replace(BUNDLE, target="edgetpu", min_edgetpu_runtime=13), BUNDLE),
        quality=Quality(
            "top1", 2500, 0.9276, 0.9268, (0.916, 0.938), (0.915, 0.937), {"probabilities": 33.6}, 560, 196
        ),
        provenance=Provenance("c" * 64, "d" * 64, {}, "2026-11-22T06:00:00+00:00"),
    ),
    "release_needs": Release(
        schema=1,
        model="fashion",
        version="1.5.0",
        counter=6,
        bundles=(replace(BUNDLE, needs=NEEDS),),
        quality=Quality("top1", 2500, None, 0.9268, None, (0.915, 0.937), {}, None, 196),
        provenance=Provenance("c" * 64, "d" * 64, {}, "2026-11-30T06:00:00+00:00"),
    ),
    "release_baseline": Release(
        schema=1,
        model="fashion",
        version="1.4.0",
        counter=5,
        bundles=(replace(BUNDLE, baseline=Baseline(0.875, 2500, negative=5)),),
        quality=Quality("top1", 2500, None, 0.9268, None, (0.915, 0.937), {}, None, 196),
        provenance=Provenance("c" * 64, "d" * 64, {}, "2026-11-22T06:00:00+00:00"),
    ),
    "release_tasks": Release(
        schema=1,
        model="detector",
        version="1.1.0",
        counter=2,
        bundles=(
            replace(
                BUNDLE,
                task="detection",
                postprocess=Postprocess(
                    decoder="anchors",
                    scores=1,
                    activation="sigmoid",
                    strides=(16,),
                    format="cycxhw",
                    anchors=(((30.0, 60.0), (60.5, 30.0)),),
                    variances=(0.1, 0.1, 0.2, 0.2),
                    spread="grid",
                    background=0,
                    nms="agnostic",
                ),
                drift=DriftBaseline(
                    300,
                    (
                        Histogram("class", (0.0, 2.0), (200, 90, 10), "classes"),
                        Histogram("input mean", (96.5, 128.25), (100, 100, 100)),
                    ),
                ),
            ),
            replace(
                BUNDLE,
                target="edgetpu",
                task="keypoints",
                postprocess=Postprocess(
                    output=1, columns="xy-s", units="pixels", presence=2, presence_activation="sigmoid"
                ),
            ),
        ),
        quality=Quality("mAP@.5:.95", 300, None, 0.4, None, (0.38, 0.42), {}, None, 196),
        provenance=Provenance("c" * 64, "d" * 64, {}, "2026-11-22T06:00:00+00:00"),
    ),
    "release_inputs": Release(
        schema=1,
        model="wake-word",
        version="2.0.0",
        counter=2,
        bundles=(
            replace(
                BUNDLE,
                inputs=(TensorSpec("sound", "int8", (1, 512), 0.1), TensorSpec("before", "int8", (2, 1, 128), 0.2)),
                outputs=(TensorSpec("score", "int8", (1, 1), 0.1), TensorSpec("after", "int8", (2, 1, 128), 0.2)),
                preprocesses=(Preprocess(scale=0.5),),
                feedback={"before": "after"},
            ),
        ),
        quality=Quality("top1", 2500, None, 0.9268, None, (0.915, 0.937), {}, None, 196),
        provenance=Provenance("c" * 64, "d" * 64, {}, "2026-11-22T06:00:00+00:00"),
    ),
    "release_figures": Release(
        schema=1,
        model="detector",
        version="1.0.0",
        counter=1,
        bundles=(replace(BUNDLE, joins=(Join("boxes and scores", (0, 1), 1),)),),
        quality=Quality(
            metric="mAP@.5:.95",
            samples=500,
            float_value=0.41,
            int8_value=0.402,
            float_interval=(0.38, 0.44),
            int8_interval=(0.37, 0.43),
            sqnr_db={"boxes and scores": 31.5},
            float_bytes=560,
            int8_bytes=196,
            figures=(Figure("mAP@.5", 0.62, 0.61), Figure("error of corners", 3.5, 3.75, "lower", "px")),
            channels=(ChannelSignal("boxes and scores", 0, 3, 31.5, 251.0),),
        ),
        provenance=Provenance("c" * 64, "d" * 64, {}, "2026-11-22T06:00:00+00:00"),
    ),
    "release_data": Release(
        schema=1,
        model="wake-word",
        version="1.0.0",
        counter=1,
        bundles=(BUNDLE,),
        quality=Quality("top1", 1000, None, 0.9268, None, (0.915, 0.937), {}, None, 196),
        provenance=Provenance(
            "c" * 64, "d" * 64, {}, "2026-11-22T06:00:00+00:00", {"calibration": "e" * 64, "evaluation": "f" * 64}
        ),
    ),
    "envelope": Envelope(
        "application/vnd.skerry.desired.v1+json", b'{"device":"shelf-01"}', (Signature("f" * 64, b"sig"),)
    ),
    "enrolment_request": EnrolmentRequest(
        csr=b"\x30\x82csr of the device key",
        nonce="00112233445566778899aabbccddeeff",
        incarnation="0123456789abcdef0123456789abcdef",
        birth_csr=b"\x30\x82csr of the birth key",
        serial="10000000a1b2c3d4",
        board="raspberry-pi-4",
        agent="0.3.0",
    ),
    "enrolment_return": EnrolmentRequest(
        csr=b"\x30\x82csr of the device key",
        nonce="00112233445566778899aabbccddeeff",
        incarnation="0123456789abcdef0123456789abcdef",
        proof=b"\x30\x44signature by the birth key",
    ),
    "enrolment_answer": EnrolmentAnswer(
        "approved",
        device="shelf-01",
        certificate=b"-----BEGIN CERTIFICATE-----\n",
        birth_certificate=b"-----BEGIN CERTIFICATE-----\n",
        attest=b'{"payload":"..."}',
    ),
    "enrolment_refused": EnrolmentAnswer("refused", code="claim_closed", detail="claim 7 was closed on 2026-11-29"),
    "renewal_request": RenewalRequest("00112233445566778899aabbccddeeff", csr=b"\x30\x82csr of the device key"),
    "renewal_proof": RenewalRequest(
        "00112233445566778899aabbccddeeff", csr=b"\x30\x82csr of the device key", proof=b"\x30\x45by the key in use"
    ),
    "renewal_move": RenewalRequest(
        "00112233445566778899aabbccddeeff",
        enrol=EnrolmentRequest(
            b"\x30\x82csr of the device key",
            "00112233445566778899aabbccddeeff",
            "0123456789abcdef0123456789abcdef",
            b"\x30\x82csr of the birth key",
        ),
    ),
    "renewal_moved": RenewalAnswer(
        "00112233445566778899aabbccddeeff", enrol=EnrolmentAnswer("pending", attest=b'{"payload":"..."}')
    ),
    "renewal_answer": RenewalAnswer(
        "00112233445566778899aabbccddeeff", certificate=b"-----BEGIN CERTIFICATE-----\n", attest=b'{"payload":"..."}'
    ),
    "renewal_refused": RenewalAnswer("00112233445566778899aabbccddeeff", code="csr", detail="not a CSR"),
    "attest": Attest("shelf-01", "00112233445566778899aabbccddeeff", 1_800_000_000.5),
}
