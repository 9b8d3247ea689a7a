"""Which labels of a user's data are wrong: of features, of pictures embedded, fine-tuned on or learnt from scratch."""

import torch

from dlt.cleaning import clean_vectors as of_vectors
from dlt.cleaning import from_scratch
from dlt.cleaning.backbones import AUTO, Backbone, load_backbone
from dlt.cleaning.clean_vectors import clean_vectors
from dlt.cleaning.embedding import embedded_request
from dlt.cleaning.finetuning import clean_finetuned
from dlt.cleaning.from_scratch import clean_from_scratch
from dlt.cleaning.pictures import side_of
from dlt.cleaning.request import Request, mark_output, output_of
from dlt.cleaning.tables import LISTS, PICTURES
from dlt.cleaning.truth import true_labels
from dlt.cleaning.vectors import is_vectors, read_vectors
from dlt.harness.config import make_config
from dlt.harness.devices import resolve_device
from dlt.harness.errors import InputError
from dlt.harness.settings import first_dataset

MOST_VIEWS = 32  # of a picture: they are all in memory
LEAST_SIDE = 32  # pixels, of an image that a pretrained network can make something of


def clean(request: Request, say=print) -> dict:
    """Train, judge and write everything below `request.output`; the summary, as in summary.json.

    The same request again trains nothing that is finished, and goes on with what was stopped. Raises InputError, and
    RunFailed when a run has failed; what needs only the others is written nevertheless.
    """
    if not request.path.exists():
        raise InputError(f"path: there is no file or folder {request.path}")
    if request.picture_column is None and is_vectors(request.path):
        return _clean_vectors(request, say)
    device = resolve_device(request.device)
    if backbone := _backbone(request, device, say):
        if request.finetune:
            return clean_finetuned(request, backbone, device, say)
        return _clean_embedded(request, backbone, say)
    return clean_from_scratch(request, device, say)


def _backbone(request: Request, device: torch.device, say) -> Backbone | None:
    """What makes features of the pictures; None where networks are to be trained on them from scratch.

    "auto" is a small DINOv2 where its weights are at hand or can be fetched; but from scratch where a profile or folds
    are asked for, which mean that, and for images too small to be pictures.
    """
    if not 0 <= request.views <= MOST_VIEWS:
        raise InputError(f"views: {request.views} is not in 0..{MOST_VIEWS}")
    if request.backbone == "none" and (request.weights or request.views):
        raise InputError("backbone: none takes no --weights and no --views")
    if request.finetune and (request.backbone == "none" or request.views):
        raise InputError("finetune: it trains a backbone on the pictures as they are: no --backbone none, no --views")
    if request.backbone == "none":
        return None
    if request.backbone != "auto" or request.weights or request.views or request.finetune:
        if request.folds or request.profile not in ("auto", "features"):
            raise InputError("backbone: --profile and --folds are for training from scratch, with --backbone none")
        return load_backbone(AUTO if request.backbone == "auto" else request.backbone, request.weights, device)
    if (
        request.folds
        or request.profile not in ("auto", "features")
        or (side_of(request.path) or LEAST_SIDE) < LEAST_SIDE
    ):
        return None
    try:
        return load_backbone(AUTO, None, device)
    except InputError as error:
        say(f"{error}. Without it networks are trained from scratch on small pictures: slower, and many errors missed")
        return None


def _clean_embedded(request: Request, backbone: Backbone, say) -> dict:
    settings = request.settings or {}
    make_config("features", first_dataset("features"), "dlt-auto", "none", seed=request.seed, **settings)
    vectors, known = embedded_request(request, backbone, say, f"embedded by {backbone.name}")
    return clean_vectors(vectors, request.output, request.device, request.seed, settings, say, known)


def _clean_vectors(request: Request, say) -> dict:
    if request.finetune:
        raise InputError(f"finetune: it is for pictures; {request.path} has features")
    if request.backbone != "auto" or request.weights or request.views:
        hint = f", or no column {', '.join(PICTURES)}: name that of the pictures by --path"
        lists = request.path.suffix in LISTS
        raise InputError(f"backbone: it is for pictures; {request.path} has features{hint * lists}")
    if request.profile not in ("auto", "features"):
        raise InputError(f"profile: {request.profile!r} is for pictures; {request.path} has features")
    if request.folds:
        raise InputError("folds: they are for pictures; judgement.npy has every sample's probabilities")
    settings = request.settings or {}
    make_config("features", first_dataset("features"), "dlt-auto", "none", seed=request.seed, **settings)
    known = true_labels(request.path, request.clean_label, request.id_column)
    with output_of(request):
        vectors = read_vectors(request.path, request.label, request.id_column, request.clean_label)
    mark_output(request)
    return clean_vectors(vectors, request.output, request.device, request.seed, settings, say, known)


def in_words(summary: dict) -> str:
    """The summary as a few lines of text."""
    return of_vectors.in_words(summary) if "samples" in summary else from_scratch.in_words(summary)
