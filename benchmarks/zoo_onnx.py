"""The zoo's ONNX models: out of packages, and torch networks that are trained and exported. Runs nothing."""

from zoo_animal import LINEAR, UNIT, Animal

RAPID, RAPID3 = "rapidocr-onnxruntime==1.4.4", "rapidocr==3.10.0"
SILERO, PITCH = "silero-vad==6.2.3", "basic-pitch==0.4.0"
PADDLE = {"resize": "letterbox", "color": "bgr", **LINEAR}
MEANS = {"resize": "letterbox", "color": "bgr", **UNIT, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
MAP = {"min_score": 0.3}
STATE = '\n[inputs.state]\nfeedback = "stateN"\n'


def _text(name: str, package: str, file: str, task: str, inputs: str, size: list[int], **more: object) -> Animal:
    shapes = {"x": [1, 3, *size]}
    return Animal(name, package, file, task, inputs, shapes, **{"preprocess": PADDLE, **more})  # type: ignore[arg-type]


def _recogniser(name: str, package: str, file: str) -> Animal:
    return _text(name, package, file, "sequence", "lines", [48, 320], labels="metadata character")


def _detector(name: str, package: str, file: str) -> Animal:
    return _text(name, package, file, "segmentation", "pages", [160, 160], preprocess=MEANS, postprocess=MAP)


ONNX: tuple[Animal, ...] = (
    _text(
        "text-direction",
        RAPID,
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "classification",
        "lines-turned",
        [48, 192],
    ),
    _detector("text-detector-v4", RAPID, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
    _recogniser("text-recogniser-v4", RAPID, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
    _detector("text-detector-v6", RAPID3, "rapidocr/models/PP-OCRv6_det_small.onnx"),
    _recogniser("text-recogniser-v6", RAPID3, "rapidocr/models/PP-OCRv6_rec_small.onnx"),
    Animal(
        "nudenet",
        "nudenet==3.4.2",
        "nudenet/320n.onnx",
        "detection",
        "faces",
        {"images": [1, 3, 320, 320]},
        {**UNIT, "resize": "letterbox", "align": "start"},
        {"decoder": "yolo", "units": "pixels", "min_score": 0.2, "max_iou": 0.45},
        labels="metadata names",
    ),
    Animal(
        "magika",
        "magika==1.0.3",
        "magika/models/standard_v3_3/model.onnx",
        "classification",
        "files",
        labels="magika/models/standard_v3_3/config.min.json target_labels_space",
    ),
    Animal(
        "basic-pitch",
        PITCH,
        "basic_pitch/saved_models/icassp_2022/nmp.tflite",
        "events",
        "notes",
        postprocess={"output": 1, "min_score": 0.3},
    ),
    Animal(
        "basic-pitch-onnx",
        PITCH,
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        "events",
        "notes",
        postprocess={"output": 1, "min_score": 0.3},
    ),
    Animal(
        "silero-vad",
        SILERO,
        "silero_vad/data/silero_vad_openvino_16k.onnx",
        "events",
        "speech",
        {"input": [1, 576], "state": [2, 1, 128]},
        more=STATE,
    ),
    Animal(
        "silero-vad-op15",
        SILERO,
        "silero_vad/data/silero_vad_16k_op15.onnx",
        "events",
        "speech",
        {"input": [1, 576], "state": [2, 1, 128]},
        more="\n[source.constants]\nsr = 16000\n" + STATE,
    ),
    *(
        Animal(name, "", f"{name}.onnx", "classification", "clothes", preprocess=UNIT)
        for name in ("torch-residual", "torch-mobile", "torch-convnext", "torch-transformer", "torch-lstm", "torch-gru")
    ),
)
