"""What Google Flow says about a job: records, and the answers to creation (API.md 3.2 and 4).

Pure: no clock, no I/O, no asyncio. Values are `dict`, as JSON has them; times are unix seconds.
"""

import base64
from random import Random

from asyncflow.simulator.identity import Fate, JobIdentity, asset_id, iso, mask, media_name
from asyncflow.simulator.samples import mp4, png
from asyncflow.simulator.signed_links import SignedLinks

__all__ = ["captcha", "created_answer", "failure_body", "is_inline", "media_states", "record", "sync_answer"]

Body = dict[str, object]

_PROVIDERS = ("CapSolver", "AntiCaptcha", "YesCaptcha", "CapMonster", "SolveCaptcha", "2Captcha", "EzCaptcha")
_REASONS = (
    "PUBLIC_ERROR_UNSAFE_GENERATION",
    "PUBLIC_ERROR_IP_INPUT_IMAGE",
    "PUBLIC_ERROR_AUDIO_FILTERED",
    "PUBLIC_ERROR_PROMINENT_PEOPLE_FILTER_FAILED",
)
_IMAGE_MODELS = {"nano-banana-2": "NARWHAL", "nano-banana-2-lite": "GEM_PIX_2", "nano-banana-pro": "HARBOR_SEAL"}


def record(facts: JobIdentity, status: str, *, created: float, updated: float | None, links: SignedLinks) -> Body:
    """Return the job's record while it has *status*; *updated* is when the status came, None for the first one."""
    body: Body = {"jobid": facts.job_id, "type": facts.kind, "status": status, "created": iso(created), "request": _echo(facts)}
    if updated is None:
        return body
    body["updated"] = iso(updated)
    if status == "completed":
        body["response"] = _response(facts, updated, links)
    elif status == "failed":
        body |= _failed(facts, updated, links)
    return body


def created_answer(facts: JobIdentity, created: float) -> Body:
    """Return the body of a 201: pending operations still in the deprecated form, and for videos only."""
    response: Body = {"captcha": captcha(facts)}
    if facts.operation == "videos":
        response = {
            "operations": [
                {"operation": {"name": media_name(facts, i)}, "sceneId": "", "status": "MEDIA_GENERATION_STATUS_PENDING"}
                for i in range(facts.media)
            ]
        } | response
    else:
        response["captcha"] = {key: value for key, value in captcha(facts).items() if key != "attempts"}
    created_at = iso(created)
    return {
        "jobid": facts.job_id,
        "type": facts.kind,
        "status": "created",
        "created": created_at,
        "request": _echo(facts),
        "response": response,
    }


def sync_answer(facts: JobIdentity, ended: float, links: SignedLinks) -> Body:
    """Return the body of a 200 that waited for the end of a job: no status, and the id spelled `jobId`."""
    return {"jobId": facts.job_id} | _response(facts, ended, links)


def failure_body(facts: JobIdentity) -> Body:
    """Return the job-like body with which a synchronous creation fails."""
    return {"jobId": facts.job_id, "error": _upstream_error(facts), "code": 400}


def captcha(facts: JobIdentity) -> Body:
    """Return the attempts that the job's captcha took, the last one successful."""
    random = Random(facts.seed ^ 0xCA)
    attempts: list[Body] = []
    while True:
        success = random.random() < 0.4 or len(attempts) == 7
        attempt: Body = {
            "service": random.choice(_PROVIDERS),
            "taskId": f"tsk-{random.getrandbits(24):06x}",
            "durationMs": random.randrange(900, 9000),
            "success": success,
        }
        attempts.append(attempt)
        if success:
            last = {key: attempt[key] for key in ("service", "taskId", "durationMs")}
            return last | {"attempts": attempts}
        attempt["error"] = "token refused"


def media_states(facts: JobIdentity) -> list[str]:
    """Return the state of each media of the ended job: ok, failed, refused or unlinked."""
    count = max(facts.media, 2) if facts.fate is Fate.PARTIAL else facts.media
    match facts.fate:
        case Fate.PARTIAL:
            return ["ok"] * (count - count // 2) + ["failed" if facts.kind == "video" else "refused"] * (count // 2)
        case Fate.NO_MEDIA:
            return ["failed" if facts.kind == "video" else "refused"] * count
        case Fate.REFUSED:
            return [] if facts.kind == "video" else ["refused"] * count
        case Fate.UNLINKED:
            return ["unlinked"] * count
        case Fate.FAILED:
            return ["failed"] if facts.kind == "video" and facts.seed % 5 == 3 else []
        case _:
            return ["ok"] * count


def _echo(facts: JobIdentity) -> Body:
    echo = dict(facts.request)
    if facts.operation not in {"upscale", "concatenate"}:
        echo = {"prompt": "A paper kite over the harbour", "model": facts.model, "count": facts.media} | echo
    return {"email": mask(facts.email)} | {key: value for key, value in echo.items() if key != "email"}


def _response(facts: JobIdentity, ended: float, links: SignedLinks) -> Body:
    if facts.operation == "concatenate":
        answer: Body = {"status": "MEDIA_GENERATION_STATUS_SUCCESSFUL", "inputsCount": facts.inputs}
        return answer | {"encodedVideo": base64.b64encode(mp4(media_name(facts, 0))).decode()}
    make = _video if facts.kind == "video" else _image
    response: Body = {"media": [make(facts, i, state, ended, links) for i, state in enumerate(media_states(facts))]}
    if facts.kind == "video":
        response["remainingCredits"] = facts.credits_left
    return response | {"captcha": captcha(facts)}


def _reason(facts: JobIdentity, index: int = 0) -> str:
    return _REASONS[(facts.seed + index) % len(_REASONS)]


def _prompt(facts: JobIdentity) -> str:
    return str(facts.request.get("prompt", "A paper kite over the harbour"))


def _video(facts: JobIdentity, index: int, state: str, ended: float, links: SignedLinks) -> Body:
    name = media_name(facts, index)
    upscaled = facts.operation == "upscale"
    failed = state == "failed"
    status: Body = {"mediaGenerationStatus": f"MEDIA_GENERATION_STATUS_{'FAILED' if failed else 'SUCCESSFUL'}"}
    if failed:
        status["error"] = {"code": 3, "message": _reason(facts, index)}
        status["failureReasons"] = ["IP_PROHIBITED"] if "IP_" in _reason(facts, index) else ["SAFETY"]
    media: Body = {
        "name": name,
        "projectId": f"5d0c1f7e-2233-4c11-9a0b-{facts.seed % 2**48:012x}",
        "workflowId": f"9b8a7c6d-0000-4e5f-8a9b-{facts.seed % 2**48:012x}",
        "workflowStepId": "CAE",
        "mediaMetadata": {
            "createTime": iso(ended)[:-1] + "417Z",
            "mediaTitle": _prompt(facts)[:40],
            "requestData": {
                "videoGenerationRequestData": {"videoModelControlInput": {}},
                "clientPlatform": "CLIENT_PLATFORM_WEB",
            },
            "mediaStatus": status,
            "visibility": "FILTERED" if failed else "PRIVATE",
        },
        "video": {
            "generatedVideo": {
                "seed": facts.seed % 10**6 + index,
                "prompt": _prompt(facts),
                "model": "veo_3_1_upsampler_1080p" if upscaled else facts.model.replace("-", "_").replace(".", "_"),
                "isLooped": False,
                "aspectRatio": f"VIDEO_ASPECT_RATIO_{str(facts.request.get('aspectRatio', 'landscape')).upper()}",
            },
            "dimensions": {"length": "0s" if upscaled else "8s"},
            "operation": {"name": name},
        },
        "mediaGenerationId": asset_id(facts, "video", name + ("_upsampled" if upscaled else "")),
    }
    if state == "ok":
        media["videoUrl"] = links.signed(f"/content/video/{name}", ended)
        media["thumbnailUrl"] = links.signed(f"/content/image/{name}", ended)
    return media


def is_inline(facts: JobIdentity, index: int) -> bool:
    """Return whether the picture comes as base64 in the record; the other way is a link, never both."""
    return Random(facts.seed + index).random() < facts.inline


def _image(facts: JobIdentity, index: int, state: str, ended: float, links: SignedLinks) -> Body:
    name = media_name(facts, index)
    seed = facts.seed % 10**6 + index
    workflow = f"1f2e3d4c-aaaa-4bbb-8ccc-{facts.seed % 2**48:012x}"
    image: Body = {"seed": seed, "mediaVisibility": "PRIVATE", "prompt": _prompt(facts)}
    if state == "refused":
        return {"name": name, "workflowId": workflow, "image": {"generatedImage": image}}
    image |= {
        "mediaGenerationId": asset_id(facts, "image", name),
        "modelNameType": _IMAGE_MODELS.get(facts.model, "NARWHAL"),
        "workflowId": workflow,
        "aspectRatio": f"IMAGE_ASPECT_RATIO_{str(facts.request.get('aspectRatio', 'landscape')).upper()}",
    }
    if state == "ok" and is_inline(facts, index):
        image["encodedImage"] = base64.b64encode(png(name)).decode()
    elif state == "ok":
        image["fifeUrl"] = links.signed(f"/content/image/{name}", ended)
    return {"name": name, "workflowId": workflow, "image": {"generatedImage": image}}


def _upstream_error(facts: JobIdentity) -> Body:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": _reason(facts)}
    return {"code": 400, "message": "The request was not accepted.", "status": "INVALID_ARGUMENT", "details": [detail]}


def _failed(facts: JobIdentity, ended: float, links: SignedLinks) -> Body:
    """Return the members of a failed record, with the error in one of the five places where it has been seen."""
    match facts.seed % 5:
        case 0:
            error = {"code": 500, "message": "Backend hiccup.", "status": "INTERNAL"}
            return {"response": {"error": error}, "error": "API error: 500", "code": 500}
        case 1:
            return {"error": _upstream_error(facts), "code": 400}
        case 2:
            return {"response": {"error": _upstream_error(facts)}}
        case 3:
            make = _video if facts.kind == "video" else _image
            media = [make(facts, i, state, ended, links) for i, state in enumerate(media_states(facts))]
            told: Body = {"error": "Generation failed", "code": 400}
            return told | {"response": {"media": media}} if media else told
        case _:
            return {"error": "API error: 403", "errorDetails": f"reCAPTCHA evaluation failed: {_reason(facts)}", "code": 403}
