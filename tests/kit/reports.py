"""Reports as devices make them: one model, a spread of latencies, the samples that the meters of a board give."""

import random

from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Report, Sample

MODELLED = "1.1 W x busy cores, +-35%"


def typical_report(inferences: int = 100, sequence: int = 4711, seed: int = 1, device: str = "shelf-01") -> Report:
    """One interval of 60 s of a Raspberry Pi with an Edge TPU that serves a classifier of 10 classes."""
    source = random.Random(seed)
    recorder, outputs = Recorder(), dict[str, int]()
    for _ in range(inferences):
        recorder.add(source.lognormvariate(5.5, 0.25))
        answer = str(source.randrange(10))
        outputs[answer] = outputs.get(answer, 0) + 1
    stats = ModelStats(
        "fashion",
        "fashion@1.1.0",
        inferences,
        0,
        latency=recorder.take(),
        load_us=12_345.678,
        rss_bytes=61 * 2**20,
        energy_uj=123.45678 if inferences else None,
        energy_source="modelled" if inferences else None,
        energy_method=MODELLED if inferences else "",
        outputs=outputs,
    )
    samples = (
        Sample("power", 3.0 + source.random(), "W", "modelled", f"3.06 W + {MODELLED}"),
        Sample("power_active", source.random(), "W", "modelled", MODELLED),
        Sample("temperature", 50 + 5 * source.random(), "degC", "measured", "cpu-thermal"),
        Sample("temperature_edgetpu", 45 + source.random(), "degC", "measured", "apex_0"),
        Sample("throttled", 0.0, "1", "measured", "firmware get_throttled"),
        Sample("cpu", source.random(), "cores", "measured", "proc stat, agent and children"),
        Sample("memory", float(source.randrange(20_000, 22_000) * 4096), "bytes", "measured", "pss, agent and runners"),
    )
    uptime_s = 60.000 * (sequence + 1)
    return Report(device, "0123456789abcdef", sequence, 1_700_000_000.0 + uptime_s, uptime_s, 60.0, (stats,), samples)
