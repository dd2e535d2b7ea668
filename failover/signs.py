"""By what a failure is recognised, as one table.

``SIGNS`` is read from the top; the first sign that fits decides.  A sign knows an error by its names (codes and types),
by a phrase of the provider's own sentence, or by a status together with one of these; everything that a sign states has
to hold.  What no sign knows is decided by the status alone (``BY_STATUS``).

- Names come before statuses, because statuses lie: money that ran out is a 429 at OpenAI, a 400 at Anthropic.
- Names that only repeat a status (``invalid_request_error``, ``RESOURCE_EXHAUSTED``) are no evidence beside another
  status; they stand in for one where there is none, in streams and under HTTP 200 (``NAMES``).
- Phrases count only in the sentence of the provider, without what it quotes, only with the statuses that they come
  with, and ask for the numbers that belong to them: errors echo prompts, and prompts talk about rate limits, too.

Figures and wordings: the providers' error references and SDKs, and issue trackers where bodies were pasted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from failover.error_body import Said, unquoted
from failover.refusals import refine
from failover.types import Kind

NO_STATUS = None
"""In a list of statuses: an error in a stream or under HTTP 200 that names none."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What an error of ``kind`` looks like.

    codes: it goes by one of these names.  phrase: its sentence says this.  statuses: it comes with one of these.
    like: the phrase as a person would quote it.  page: it is HTML.  silent: it says nothing at all.
    """

    kind: Kind
    codes: frozenset[str] = frozenset()
    phrase: re.Pattern[str] | None = None
    statuses: frozenset[int | None] = frozenset()
    like: str = ""
    page: bool = False
    silent: bool = False

    def fits(self, said: Said, words: str, status: int | None) -> bool:
        return (
            (not self.statuses or status in self.statuses)
            and (not self.codes or not self.codes.isdisjoint(said.codes))
            and (not self.page or said.html)
            and (not self.silent or not (words or said.codes))
            and (self.phrase is None or self.phrase.search(words) is not None)
        )


def named(kind: Kind, codes: str, only: Iterable[int | None] = ()) -> Sign:
    """``codes``: names with spaces between them."""
    return Sign(kind, frozenset(codes.split()), statuses=frozenset(only))


def says(kind: Kind, statuses: Iterable[int | None], like: str, *phrases: str) -> Sign:
    """``phrases``: regular expressions, any of which may be found."""
    return Sign(kind, phrase=re.compile("|".join(phrases), re.I), statuses=frozenset(statuses), like=like)


def unspoken(kind: Kind, *statuses: int, page: bool = False) -> Sign:
    """No API's error: an HTML page, or nothing at all."""
    return Sign(kind, statuses=frozenset(statuses), page=page, silent=not page)


ASKED = (400, 404, 422, 501, NO_STATUS)
"""Statuses of a request that was read and refused."""

SIGNS: tuple[Sign, ...] = (
    # ----------------------------------------------------------- money: for now, for this request, for good
    named(Kind.IN_FLIGHT_BUDGET, "openrouter_in_flight_budget in_flight_budget_exhausted"),
    named(Kind.REQUEST_TOO_EXPENSIVE, "weight_exceeds_budget token_limit_exceeded"),
    says(
        Kind.REQUEST_TOO_EXPENSIVE,
        (402,),
        "requires more credits, or fewer max_tokens ... can only afford 3919",
        r"can only afford (?!0\b)[0-9]",
        r"^prompt tokens limit exceeded: [0-9]+ > (?!0\b)[0-9]",
    ),
    named(
        Kind.SPEND_LIMIT,
        "openrouter_guardrail_budget openrouter_workspace_budget openrouter_key_limit "
        "enforced_spend_limit_reached contract_spend_limit_reached linked_organization_spend_limit_reached "
        "linked_organization_billing_unavailable organization_spend_limit_exceeded "
        "project_spend_limit_exceeded organization_usage_limit_exceeded billing_hard_limit_reached "
        "blocked_api_access",
    ),
    says(
        Kind.SPEND_LIMIT,
        (400, 403, 429, NO_STATUS),
        "You have reached your specified API usage limits",
        r"^you have reached your specified (?:\w+ )?api usage limits",
    ),
    named(
        Kind.CREDIT,
        "insufficient_quota credit_balance_exhausted billing_not_active billing_error billing_disabled "
        "insufficient_balance insufficient_credits payment_required exceeded_current_quota_error arrearage "
        "user_profile_not_billable user_profile_billing_not_authorized",
    ),
    named(Kind.CREDIT, "resource_exhausted", only=(402,)),
    says(
        Kind.CREDIT,
        (400, 402, 403, 429, NO_STATUS),
        "Your credit balance is too low",
        r"^your credit balance is too low\b",
        r"^your (?:\w+ )?credits? (?:are|is|have been) (?:depleted|exhausted)\b",
        r"^your (?:team|account|organization)\b.{0,80}\bused all available credits\b",
        r"^you(?:r account)? (?:have|has) (?:no|run out of|insufficient|not enough) (?:\w+ )?(?:credits?|balance)\b",
        r"^(?:usage is blocked due to )?insufficient (?:\w+ )?(?:credits?|balance|funds)\b",
    ),
    # ----------------------------------------------------------- who we are
    named(
        Kind.AUTH,
        "invalid_api_key incorrect_api_key api_key_invalid missing_api_key invalid_authentication "
        "authentication_error authentication access_token_expired unrecognizedclientexception "
        "invalidsignatureexception invalidclienttokenid expiredtokenexception "
        "no_db_connection",  # LiteLLM: not the master key, and no database of others
    ),
    says(
        Kind.AUTH,
        (400, 401, 403, NO_STATUS),
        "Incorrect API key provided",
        r"^(?:incorrect|invalid|missing) (?:x-)?api[ -]key\b",
        r"^(?:your )?api key (?:not valid|is invalid|not found|expired|was reported as leaked)\b",
        r"\bunregistered callers\b",
        r"^no (?:api key|auth credentials)\b",
    ),
    named(
        Kind.FORBIDDEN,
        "unsupported_country_region_territory account_deactivated account_suspended organization_on_hold "
        "organization_deactivated access_terminated consumer_suspended service_disabled ip_not_authorized "
        "sandbox_egress_restricted",
    ),
    says(
        Kind.FORBIDDEN,
        (400, 401, 403, 412, NO_STATUS),
        "Country, region, or territory not supported",
        r"^(?:user |your )?(?:country|region|territory|location)\b.{0,30}\bnot supported\b",
        r"^(?:this|your|the) (?:\w+ )?(?:account|organization|project)\b.{0,40}"
        r"\b(?:is|has been|was) (?:suspended|deactivated|disabled|banned)\b",
        r"^access denied due to virtual network",
    ),
    # ----------------------------------------------------------- how busy they are
    named(Kind.CAPACITY, "capacity_exceeded insufficient_system_resource"),
    named(Kind.CAPACITY, "resource_unavailable", only=(429,)),
    named(
        Kind.OVERLOADED,
        "overloaded_error overloaded server_is_overloaded provider_overloaded engine_overloaded "
        "engine_overloaded_error modelnotreadyexception",
    ),
    says(
        Kind.OVERLOADED,
        (500, 502, 503, 529, NO_STATUS),
        "The model is overloaded",
        r"\boverloaded\b",
        r"\bcapacity exceeded\b",
        r"\b(?:at|no|insufficient) (?:available )?capacity\b",
        r"\bhigh demand\b",
    ),
    named(Kind.SLOW_DOWN, "slow_down ramp_limit_exceeded"),
    named(Kind.OVER_RATE, "rate_limit_exceeded", only=(413,)),
    says(
        Kind.OVER_RATE,
        (413, 429, NO_STATUS),
        "Request too large for model ... on tokens per minute (TPM): Limit 6000, Requested 14368",
        r"^request too large for\b",
        r"^extra usage is required for long context requests",
    ),
    named(
        Kind.RATE_LIMITED,
        "quota_per_day openrouter_free_tier_daily rate_limit_exceeded rate_limit_error rate_limited "
        "ratelimitreached too_many_requests resource_exhausted throttlingexception "
        "servicequotaexceededexception",
    ),
    # ----------------------------------------------------------- what was asked: too much, not allowed
    named(
        Kind.CONTEXT_OVERFLOW,
        "context_length_exceeded context_window_exceeded exceed_context_size_error "
        "model_max_prompt_tokens_exceeded contextwindowexceedederror contextoverflowerror",
    ),
    says(
        Kind.CONTEXT_OVERFLOW,
        (400, 403, 413, 422, 500, NO_STATUS),
        "prompt is too long: 216868 tokens > 200000 maximum",
        r"\bprompt is too long: ?[0-9]",
        r"^litellm\.contextwindowexceedederror\b",
        r"^(?:the |your )?(?:prompt|input) is too long\b",
        r"\bmaximum (?:context|prompt) length (?:is|of) [0-9]",
        r"\bcontext length is only [0-9]",
        r"\bexceed context limit: ?[0-9]",
        r"^(?:the |your )?(?:input|request|prompt)(?: \([0-9]+ tokens\)| length)? exceeds the (?:available |maximum )?"
        r"context (?:window|size|length)\b",
        r"\brequested tokens \([0-9]+\) exceed context window of [0-9]",
        r"\bexceeds the maximum number of tokens\b.{0,20}[0-9]",
        r"\btoo large for model with [0-9]+ maximum context length",
        r"\bcurrent length is [0-9]+ while limit is [0-9]",
        r"^input tokens exceed\b",
        r"^too many tokens\b",
        r"^please reduce the length of the (?:messages|input|prompt)",
        r"\btokens`? \+ `?max_(?:new_)?tokens`? must be <= [0-9]",
        r"^max_tokens must be at least 1, got -[0-9]",
        r"^range of input length should be \[",
        r"\bwhen context the overflows\b",
    ),
    named(
        Kind.CONTENT_FILTER,
        "flagged_input content_filter_result content_filter responsibleaipolicyviolation "
        "content_policy_violation data_inspection_failed datainspectionfailed invalid_prompt refusal "
        "bio_policy misalignment_policy_violation image_content_policy_violation moderation_blocked "
        "contentfilterfinishreasonerror contentpolicyviolationerror openairefusalerror",
    ),
    says(
        Kind.CONTENT_FILTER,
        (400, 403, 422, NO_STATUS),
        "Output blocked by content filtering policy",
        r"\bcontent (?:filtering|management|moderation) policy\b",
        r"^content exists risk\b",
        r"\bviolat\w+ (?:our |the )?(?:usage|content) (?:policy|policies|guidelines)\b",
        r"\bblocked (?:by|due to) (?:the )?(?:safety|prohibited_content)\b",
        r"\binput was flagged\b",
    ),
    named(Kind.TOO_LARGE, "request_too_large payload_too_large request_body_too_large_after_decoding"),
    # ----------------------------------------------------------- what was asked: wrong everywhere
    named(Kind.BAD_REQUEST, "invalid_function_parameters invalid_json_schema empty_array", only=ASKED),
    says(
        Kind.BAD_REQUEST,
        ASKED,
        "Invalid schema for function",
        r"^invalid schema\b",
        r"\bschema is invalid\b",
        r"\bat least one message is required\b",
    ),
    # ----------------------------------------------------------- what was asked: the model failed at it
    named(Kind.MODEL_FAULT, "tool_use_failed json_validate_failed output_parse_failed"),
    says(
        Kind.MODEL_FAULT,
        (400, NO_STATUS),
        "Failed to call a function",
        r"^failed to call a function\b",
        r"^failed to generate json\b",
        r"^tool call validation failed\b",
    ),
    # ----------------------------------------------------------- what was asked: a history, as we put it
    named(
        Kind.TRANSLATION,
        "3230 3280 invalid_request_message_order invalid_encrypted_content compaction_signature_invalid "
        "compaction_content_mismatch compaction_block_misplaced compaction_block_ambiguous "
        "compaction_tool_changes_mismatch tool_reference_unresolved",
        only=ASKED,
    ),
    says(
        Kind.TRANSLATION,
        ASKED,
        "`tool_use` ids were found without `tool_result` blocks",
        r"\bmust be passed back to the api\b",
        r"\binvalid `signature`",
        r"\binvalid `data` in `redacted_thinking`",
        r"\bthought_signature\b",
        r"\bthinking`? blocks? .{0,60}cannot be modified",
        r"\bexpected `thinking` or `redacted_thinking`",
        r"`tool_use` ids (?:were found without|must be unique)",
        r"`tool_use_id` found in `tool_result`",
        r"\beach `?tool_use`? must have a single result",
        r"\bmust be a response to a prece+ding message with '?tool_calls",
        r"\bmust be followed by tool messages\b",
        r"\bduplicate value for 'tool_call_id'",
        r"^tool call id was\b",
        r"\bnumber of function calls and responses\b",
        r"\bfunction call turn comes immediately after\b",
        r"\bno tool (?:output found for function call|call found for function call output)\b",
        r"\bunexpected role\b",
        r"\bexpected last role\b",
        r"\broles must alternate\b",
        r"^invalid '(?:messages|input)\[[0-9]+\]\.(?:tool_call|call_id|id)",
        r"\bfirst message must use the \"?user",
        r"\bdoes not support assistant message prefill",
        r"\bcannot end with trailing whitespace",
        r"\bblocks can only be in `\w+` messages",
        r"\bof type 'reasoning' was provided without\b",
        r"\bwithout its required '?reasoning",
        r"^item with id \S{1,80} not found",
    ),
    # ----------------------------------------------------------- what was asked: not of this model, not at this place
    says(
        Kind.UNSUPPORTED,
        ASKED,
        "No endpoints found that support tool use",
        r"^no endpoints found that (?:support|can handle)\b",
    ),
    named(
        Kind.UNSUPPORTED,
        "string_too_long image_too_large image_file_too_large image_dimensions_too_large unsupported_image_format "
        "unsupported_image_media_type failed_to_download_image image_download_failed data_residency_mismatch",
    ),
    named(
        Kind.BAD_REQUEST,
        "invalid_image invalid_image_format invalid_base64_image invalid_image_url invalid_image_mode "
        "image_parse_error image_too_small empty_image_file image_file_not_found image_not_found",
    ),
    named(
        Kind.MODEL_NOT_FOUND,
        "model_not_found model_not_available model_decommissioned deploymentnotfound unknown_model "
        "invalid_model resourcenotfoundexception",
    ),
    says(
        Kind.MODEL_NOT_FOUND,
        (400, 403, 404, 410, 422, NO_STATUS),
        "model 'x' not found",
        r"^(?:the )?models?\b.{0,120}\b(?:not found|not exist|decommissioned|deprecated|retired|no longer available)\b",
        r"^model: ",
        r"^\S{1,100} is not a valid model id\b",
        r"^(?:[/\w]+: )?(?:invalid|unknown) model\b",
        r"^the provided model identifier is invalid",
        r"^no endpoints found\b",
        r"^(?:the )?(?:api )?deployment\b.{0,60}\b(?:not exist|not found)\b",
        r"^unable to access (?:\S+ )?model\b",
    ),
    named(Kind.WRONG_URL, "unknown_url", only=(404,)),
    says(
        Kind.WRONG_URL,
        (404,),
        "Not Found",
        r"^(?:404:? ?)?(?:page |path |route |url |resource |endpoint )?(?:was )?not found\b[^a-z]*$",
        r"^invalid url\b",
        r"^unknown request url\b",
        r"^the requested url\b",
    ),
    unspoken(Kind.WRONG_URL, 404, page=True),
    unspoken(Kind.WRONG_URL, 404),
    named(Kind.WRONG_URL, "failure", only=(400,)),  # a gateway's word about its own configuration
    # ----------------------------------------------------------- what was asked: with a parameter it does not take
    says(
        Kind.UNSUPPORTED_PARAMETER,
        ASKED,
        "Function tools with reasoning_effort are not supported",
        r"^function tools with reasoning_effort\b",
    ),
    named(
        Kind.UNSUPPORTED_PARAMETER,
        "unsupported_parameter unsupported_value unknown_parameter extra_forbidden invalid_parameter_combination",
        only=ASKED,
    ),
    says(
        Kind.UNSUPPORTED_PARAMETER,
        ASKED,
        "temperature: Extra inputs are not permitted",
        r"\bextra (?:inputs|fields) (?:are )?not (?:permitted|allowed)\b",
        r"^unexpected fields? in the request\b",
        r"^(?:unsupported|unrecognized|unknown) (?:parameter|value|request argument|argument|field)\b",
        r"\bunknown name \"?\w+",
        r"\bproperty '[\w.\[\]-]+' is unsupported",
        r"^argument not supported\b",
        r"\b(?:is|are) deprecated for this model\b",
        r"\bmay (?:only be set to|not be enabled when)\b",
        r"\bcannot both be (?:specified|set)\b",
        r"^[a-z_]+: (?:range:|input should be (?:less|greater) than)",
    ),
    says(
        Kind.UNSUPPORTED,
        ASKED,
        "does not support image input",
        r"\b(?:does not|doesn't|do not|cannot) support\b",
        r"\b(?:is|are) not (?:yet |currently )?supported\b",
        r"\bis only supported (?:by|for|with)\b",
        r"^`?max(?:_completion|_output|_new)?_tokens\b.{0,60}(?:too large|at most|maximum|less than or equal to)",
        r"\bsupported range is from [0-9]",
        r"^messages\[[0-9]+\]\.content must be a string",
        r"\bunknown variant `(?:image_url|input_audio|file|video_url)`",
        r"\bmust contain the word 'json'",
        r"\brequires --enable-auto-tool-choice\b",
        r"\bcannot be combined with\b",
    ),
    # ----------------------------------------------------------- finer than the status
    unspoken(Kind.BLOCKED, 400, 403, page=True),
    unspoken(Kind.UNSUPPORTED, 400, 422),
    named(Kind.PERMISSION, "accessdeniedexception", only=(403,)),
    says(Kind.PERMISSION, (403,), "no access to this model", r"\b(?:model|deployment|engine)s?\b"),
)

BY_STATUS: Mapping[int, Kind] = {
    400: Kind.BAD_REQUEST,
    401: Kind.AUTH,
    402: Kind.CREDIT,
    403: Kind.FORBIDDEN,
    404: Kind.UNSUPPORTED,  # something that the request names is not there; models and paths were told apart above
    **dict.fromkeys((405, 406, 407, 411, 414, 415, 426, 431), Kind.WRONG_URL),
    **dict.fromkeys((408, 421, 425), Kind.REQUEST_TIMEOUT),
    **dict.fromkeys((409, 423), Kind.CONFLICT),
    410: Kind.MODEL_NOT_FOUND,
    412: Kind.FORBIDDEN,
    413: Kind.TOO_LARGE,
    422: Kind.BAD_REQUEST,
    424: Kind.MODEL_FAULT,
    428: Kind.BAD_REQUEST,
    429: Kind.RATE_LIMITED,
    451: Kind.PERMISSION,
    498: Kind.CAPACITY,
    499: Kind.CANCELLED,
    501: Kind.UNSUPPORTED,
    504: Kind.TIMEOUT,
    524: Kind.TIMEOUT,
    525: Kind.UNAVAILABLE_TLS,
    526: Kind.UNAVAILABLE_TLS,
    529: Kind.OVERLOADED,
}
RANGES: tuple[tuple[range, Kind], ...] = (
    (range(200, 300), Kind.MALFORMED),
    (range(300, 400), Kind.REDIRECT),
    (range(500, 600), Kind.SERVER_ERROR),
)
"""Statuses that are not in ``BY_STATUS``; whatever is left is ``UNKNOWN``."""

NAMES: Mapping[str, int] = {
    **dict.fromkeys(("unauthenticated", "unauthorized", "modelauthenticationerror"), 401),
    **dict.fromkeys(("permission_error", "permission_denied", "modelpermissiondeniederror"), 403),
    **dict.fromkeys(("not_found_error", "not_found", "notfounderror", "modelnotfounderror"), 404),
    **dict.fromkeys(("conflict_error", "aborted", "already_exists"), 409),
    "precondition_failed": 412,
    "unprocessable": 422,
    **dict.fromkeys(("modelerrorexception", "modelstreamerrorexception"), 424),
    "modelratelimiterror": 429,
    "cancelled": 499,
    "unimplemented": 501,
    **dict.fromkeys(("unavailable", "service_unavailable", "service_unavailable_error"), 503),
    **dict.fromkeys(("provider_unavailable", "serviceunavailableexception"), 503),
    **dict.fromkeys(("timeout_error", "timeout", "deadline_exceeded", "modeltimeoutexception"), 504),
    **dict.fromkeys(("vector_store_timeout", "gateway_timeout"), 504),
    **dict.fromkeys(("server_error", "api_error", "internal_error", "internal_server_error"), 500),
    **dict.fromkeys(("internal", "server", "internalserverexception", "modelapierror"), 500),
    **dict.fromkeys(("invalid_request_error", "invalid_request", "invalid_message", "bad_request"), 400),
    **dict.fromkeys(("invalid_argument", "failed_precondition", "out_of_range", "badrequesterror"), 400),
    **dict.fromkeys(("validationexception", "modelinvalidrequesterror", "bad_request_error"), 400),
}
"""Names that say no more than a status does, the more telling first."""


# -------------------------------------------------------------- recognition


def recognise(said: Said) -> tuple[Kind, str | None]:
    """What failed, and the refused parameter, where one is named."""
    words = unquoted(said.message)
    status = said.status if said.status is not None else _implied(said)
    kind = next((sign.kind for sign in SIGNS if sign.fits(said, words, status)), None)
    return refine(kind or by_status(status), said.parameter, words)


def by_status(status: int | None) -> Kind:
    """What a status means by itself; an error that names none is the provider's."""
    if status is None:
        return Kind.SERVER_ERROR
    return BY_STATUS.get(status) or next((kind for span, kind in RANGES if status in span), Kind.UNKNOWN)


def _implied(said: Said) -> int | None:
    return next((status for name, status in NAMES.items() if name in said.codes), None)
