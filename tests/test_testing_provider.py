"""A scripted provider's switches, limits, records, bill and good sense."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from decimal import Decimal
from typing import Any

import httpx
import pytest

from failover import ConfigurationError
from failover.testing import (
    Card,
    Cut,
    Dropped,
    During,
    Fleet,
    Hang,
    Question,
    Quirk,
    Reply,
    Reset,
    ScriptedProvider,
    Slow,
    Status,
    Tokens,
    ToolUse,
    VirtualClock,
    serve,
    simulated,
)
from failover.testing.filling import Hints, arguments, fill
from failover.testing.limits import Counter, go_duration
from failover.testing.replies import count, words
from failover.testing.world import DEEPSEEK, OPENAI, is_peak

HELLO = {"role": "user", "content": "Hello"}
MODEL = {
    "openai": "gpt-4o",
    "groq": "openai/gpt-oss-20b",
    "anthropic": "claude-haiku-5-5",
    "cerebras": "gpt-oss-120b",
    "openrouter": "openai/gpt-6-luna",
    "together": "openai/gpt-oss-120b",
}
NAMED = {"authorization": "Bearer sk-test", "x-api-key": "sk-test", "anthropic-version": "2026-10-21"}


def ask(provider: ScriptedProvider, prompt: str = "Hello", **fields: Any) -> httpx.Response:
    """One request in process."""
    dialect, path = next(iter(provider.row.paths.items()))
    body = {"model": MODEL.get(provider.row.name, "m"), "messages": [{"role": "user", "content": prompt}], **fields}
    if dialect == "anthropic":
        body.setdefault("max_tokens", 100)
    with Fleet(provider).client() as client:
        return client.post(f"http://any.host{provider.row.base}{path}", json=body, headers=NAMED, timeout=1.0)


def said(response: httpx.Response) -> str:
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def made(name: str = "openai", script: Any = (), **options: Any) -> ScriptedProvider:
    return ScriptedProvider(name, script, clock=VirtualClock(), **options)


# ------------------------------------------------------------------ scripts


def test_a_script_is_used_up_and_then_the_provider_answers_by_itself() -> None:
    provider = made(script=["first", Status(500), Reply("third")])
    answers = [ask(provider) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert [said(answers[0]), said(answers[2])] == ["first", "third"]
    assert said(answers[3]) == 'Hello! You said: "Hello".'


def test_a_request_that_is_not_in_order_is_refused_and_leaves_the_answer_in_the_script() -> None:
    provider = made(script=["kept"])
    refused = ask(provider, temperature=9)
    assert refused.status_code == 400
    assert [found.rule for found in provider.requests[0].violations] == ["above"]
    assert said(ask(provider)) == "kept"


def test_errors_in_the_script_come_whatever_the_request_is() -> None:
    provider = made(script=[Status(503)])
    assert ask(provider, temperature=9).status_code == 503
    assert ask(provider, temperature=9).status_code == 400


def test_one_may_answer_by_a_function_of_the_question() -> None:
    def shout(question: Question) -> Reply:
        return Reply(question.request.messages[-1].text.upper())

    assert said(ask(made(respond=shout), "quietly")) == "QUIETLY"


def test_a_tool_call_can_be_written_as_itself() -> None:
    call = ask(made(script=[ToolUse("f", {"a": 1})])).json()["choices"][0]["message"]["tool_calls"][0]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("f", {"a": 1})


def test_faults_hold_between_two_moments_of_the_timeline() -> None:
    provider = made(timeline=[During(5, 10, Status(503)), During(8, 20, Status(500))])
    seen = []
    for _ in range(6):
        seen.append(ask(provider).status_code)
        provider.clock.sleep(4)
    assert seen == [200, 200, 503, 500, 500, 200]
    provider.restart()
    provider.clock.sleep(6)
    assert ask(provider).status_code == 503


def test_switches_work_while_it_runs() -> None:
    provider = made()
    provider.set(Status(418))
    assert ask(provider).status_code == 418
    provider.set(Slow(first=0.5))
    assert ask(provider).status_code == 200
    provider.down()
    with pytest.raises(httpx.ConnectError):
        ask(provider)
    provider.up()
    assert ask(provider).status_code == 200
    provider.down(Status(503))
    assert ask(provider).status_code == 503


def test_a_revoked_key_is_refused_until_another_is_granted() -> None:
    provider = made()
    provider.revoke()
    assert ask(provider).json()["error"]["code"] == "invalid_api_key"
    provider.grant("sk-new")
    assert ask(provider).status_code == 401
    provider.grant("sk-test")
    assert ask(provider).status_code == 200


def test_unknown_paths_and_unknown_json_have_their_own_errors() -> None:
    with Fleet(made()).client() as client:
        assert client.post("http://h/v1/nowhere", json={}, headers=NAMED).status_code == 404
        garbage = client.post("http://h/v1/chat/completions", content=b"{", headers=NAMED)
        assert (garbage.status_code, "parse" in garbage.json()["error"]["message"]) == (400, True)
        assert "gpt-4o" in [model["id"] for model in client.get("http://h/v1/models", headers=NAMED).json()["data"]]
        assert client.get("http://h/v1/models").status_code == 401


def test_a_body_over_anthropics_limit_is_413() -> None:
    assert ask(made("anthropic"), "x" * (33 << 20)).status_code == 413


def test_models_can_be_named_priced_and_restricted() -> None:
    assert ask(made("mine", models=["m"])).status_code == 200
    assert ask(made("mine", models=["other"])).status_code == 404
    provider = made(models={"gpt-x": Card(1000, 100, Decimal(1_000_000))})
    assert ask(provider, model="gpt-x").status_code == 200
    assert provider.bill == provider.requests[0].tokens.input
    assert ask(provider, "y" * 5000, model="gpt-x").json()["error"]["code"] == "context_length_exceeded"


def test_a_provider_may_play_another_one_under_a_name_of_its_own() -> None:
    provider = made("claude-eu", like="anthropic")
    assert ask(provider).json()["type"] == "message"
    target = Fleet(provider)["claude-eu"].target("claude-haiku-5-5", rpm=7)
    assert (target.name, target.provider, target.rpm) == ("claude-eu:claude-haiku-5-5", "anthropic", 7)
    assert target.base_url == "http://claude-eu.simulated"
    assert target.api_key.get_secret_value() == "sk-test"


# ------------------------------------------------------------- bill, records


def test_the_bill_is_tokens_times_price_and_errors_cost_nothing() -> None:
    provider = made(script=[Status(500), Reply("hi", usage=Tokens(1000, 100, cached=400))])
    ask(provider)
    assert provider.bill == 0
    ask(provider)
    assert provider.bill == (600 * Decimal("2.5") + 400 * Decimal("1.25") + 100 * Decimal(10)) / 1_000_000
    assert provider.requests[1].cost == provider.bill


def test_a_long_prompt_costs_what_its_tier_costs_and_deepseek_is_cheaper_at_night() -> None:
    sol = OPENAI["gpt-6-astra"]
    assert sol.cost(Tokens(272_000, 1), 0) == (272_000 * 10 + 50) / Decimal(1_000_000)
    assert sol.cost(Tokens(272_001, 1), 0) == (272_001 * 20 + 75) / Decimal(1_000_000)
    flash = DEEPSEEK["deepseek-flash"]
    monday_7_utc = 1_795_417_200.0
    assert is_peak(monday_7_utc)
    assert not is_peak(monday_7_utc + 5 * 3600)
    assert not is_peak(monday_7_utc - 24 * 3600)
    assert flash.cost(Tokens(10), monday_7_utc) == 2 * flash.cost(Tokens(10), monday_7_utc + 5 * 3600)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_cut_stream_is_billed_for_what_was_produced(after: int) -> None:
    provider = made(script=[Cut(after, answer=Reply("one two three four five"))])
    ask(provider, stream=True)
    pieces = words("one two three four five")[:after]
    assert provider.requests[0].tokens.output == sum(map(count, pieces))
    assert provider.requests[0].tokens.input > 0


def test_streamed_and_plain_answers_cost_the_same() -> None:
    plain, streamed = made(), made()
    ask(plain, "Tell me more")
    ask(streamed, "Tell me more", stream=True)
    assert plain.bill == streamed.bill > 0


def test_a_server_without_usage_sends_none_even_when_asked() -> None:
    provider = made(script=[Quirk("no_usage")])
    lines = ask(provider, stream=True, stream_options={"include_usage": True}).text.split("\n\n")
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
    assert provider.bill > 0


def test_a_client_that_leaves_a_stream_is_recorded_and_charged_for_the_part() -> None:
    provider = made(script=[Reply("one two three four five")])
    body = {"model": "gpt-4o", "messages": [HELLO], "stream": True}
    with Fleet(provider).client() as client:
        with client.stream("POST", "http://h/v1/chat/completions", json=body, headers=NAMED) as response:
            pieces = response.iter_bytes()
            for _ in range(3):  # the role, "one ", "two "
                next(pieces)
            assert provider.in_flight == 1
        assert provider.in_flight == 0
    left = provider.requests[0]
    assert (left.aborted, left.tokens.output, left.pieces) == (True, 2, 3)
    assert left.finished_at is not None


def test_requests_are_kept_as_they_came() -> None:
    provider = made()
    ask(provider, seed=3)
    got = provider.requests[0]
    assert (got.method, got.path, got.model, got.status, got.stream) == (
        "POST",
        "/v1/chat/completions",
        "gpt-4o",
        200,
        False,
    )
    assert got.body["seed"] == 3
    assert got.headers["authorization"] == "Bearer sk-test"
    assert got.question is not None
    assert got.question.request.messages[0].text == "Hello"
    assert not got.aborted


def test_no_two_answers_share_an_id() -> None:
    providers = [made(), made(), made("groq")]
    ids = [ask(provider).json()["id"] for provider in providers for _ in range(3)]
    assert len(set(ids)) == 9


@pytest.mark.parametrize(
    ("fault", "aborted"), [(Reset(), False), (Dropped(), False), (Hang(), True), (Hang("head"), True)]
)
def test_it_is_known_who_ended_an_exchange(fault: Any, aborted: bool) -> None:
    provider = made(script=[fault])
    with pytest.raises(httpx.TransportError):
        ask(provider)
    assert provider.requests[0].aborted == aborted
    assert provider.in_flight == 0


def test_a_status_is_worded_as_the_provider_usually_words_it() -> None:
    told = {name: ask(made(name, [Status(429, retry_after=2)])) for name in ("openai", "anthropic")}
    assert told["openai"].json()["error"]["code"] == "rate_limit_exceeded"
    assert told["anthropic"].json()["error"]["type"] == "rate_limit_error"
    assert told["openai"].headers["retry-after"] == "2"
    own = ask(made(script=[Status(429, "Nope.", code="mine", extra={"more": 1})])).json()["error"]
    assert (own["message"], own["code"], own["more"]) == ("Nope.", "mine", 1)
    assert ask(made(script=[Status(500, body=b"<p>", content_type="text/html")])).text == "<p>"


# -------------------------------------------------------------- rate limits


@pytest.mark.parametrize(
    ("counting", "passed"),
    [
        ("fixed", [3, 3, 0]),  # 59 s and 61 s lie in two windows: twice the limit within two seconds
        ("sliding", [3, 0, 0]),
        ("bucket", [3, 0, 0]),
    ],
)
def test_limits_are_counted_as_the_provider_counts(counting: Any, passed: list[int]) -> None:
    provider = made()
    provider.clock.sleep(59)
    provider.rate_limit(rpm=3, counted_by=counting)
    seen = []
    for _ in passed:
        seen.append(sum(ask(provider).status_code == 200 for _ in range(4)))
        provider.clock.sleep(2)
    assert seen == passed


def test_a_bucket_refills_continuously() -> None:
    counter = Counter(60, 60.0, "bucket")
    assert [counter.spend(1, 0.0) for _ in range(61)] == [True] * 60 + [False]
    assert [counter.spend(1, 2.0) for _ in range(3)] == [True, True, False]
    assert counter.reset(2.0) == pytest.approx(1.0)


def test_a_429_says_how_long_to_wait_and_waiting_that_long_helps() -> None:
    provider = made()
    provider.clock.sleep(30)
    provider.rate_limit(rpm=1)
    assert ask(provider).status_code == 200
    refused = ask(provider)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    provider.clock.sleep(30)
    assert ask(provider).status_code == 200
    provider.rate_limit()
    assert all(ask(provider).status_code == 200 for _ in range(5))


def test_tokens_are_limited_by_what_a_request_asks_for() -> None:
    provider = made()
    provider.rate_limit(tpm=1000)
    assert ask(provider, max_tokens=900).status_code == 200
    assert ask(provider, max_tokens=900).status_code == 429


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("openai", "x-ratelimit-reset-requests", "1m0s"),
        ("groq", "x-ratelimit-remaining-requests", "9"),
        ("anthropic", "anthropic-ratelimit-requests-reset", "2026-11-18T10:47:40Z"),
        ("cerebras", "x-ratelimit-reset-requests-day", "60.000"),
        ("openrouter", "x-ratelimit-reset", "1794998860000"),
        ("together", "x-ratelimit-reset", "60"),
    ],
)
def test_rate_limit_headers_are_in_the_providers_own_units(name: str, header: str, value: str) -> None:
    """Ten a minute, one of them used, on the full minute."""
    provider = ScriptedProvider(name, ["x"], clock=VirtualClock(0.0, 1_794_998_800.0))
    provider.rate_limit(rpm=10)
    assert ask(provider).headers[header] == value


def test_go_durations_read_as_go_prints_them() -> None:
    assert [go_duration(seconds) for seconds in (0.02, 1.5, 60, 360, 86.4)] == [
        "20ms",
        "1.5s",
        "1m0s",
        "6m0s",
        "1m26.4s",
    ]


def test_too_many_calls_at_once_are_refused_where_concurrency_is_limited() -> None:
    provider = ScriptedProvider("openai", [Hang(), Reply("x")])
    provider.rate_limit(concurrency=1)
    with serve(provider) as servers, httpx.Client(base_url=servers["openai"].base_url, headers=NAMED) as client:
        body = {"model": "gpt-4o", "messages": [HELLO]}

        def hang() -> None:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/chat/completions", json=body, timeout=0.3)

        hanging = threading.Thread(target=hang)
        hanging.start()
        assert provider.wait_until(lambda busy: busy.in_flight == 1)
        assert client.post("/chat/completions", json=body).status_code == 429
        hanging.join()
        assert provider.wait_until(lambda idle: idle.in_flight == 0)
    assert provider.max_in_flight == 2
    assert provider.requests[0].aborted


# -------------------------------------------------------------------- fleet


def test_a_fleet_routes_by_host_and_knows_no_other_host() -> None:
    fleet = Fleet(made("openai", ["from openai"]), made("groq", ["from groq"]))
    with fleet.client() as client:
        for name in ("openai", "groq"):
            body = {"model": MODEL[name], "messages": [HELLO]}
            answer = client.post(f"{fleet[name].base_url}/chat/completions", json=body, headers=NAMED)
            assert said(answer) == f"from {name}"
        with pytest.raises(httpx.ConnectError, match="not known"):
            client.get("http://mistral.simulated/")


async def test_a_fleet_serves_async_clients_too() -> None:
    fleet = Fleet(made(script=["async"]))
    async with fleet.async_client() as client:
        answer = await client.post(
            f"{fleet['openai'].base_url}/chat/completions", json={"model": "gpt-4o", "messages": [HELLO]}, headers=NAMED
        )
    assert said(answer) == "async"


def test_virtual_time_passes_without_waiting() -> None:
    provider = made(script=[Slow(head=0.5, first=0.4)])
    assert ask(provider).status_code == 200
    assert provider.clock.now() == pytest.approx(0.9)
    provider.script(Slow(head=5))
    with pytest.raises(httpx.ReadTimeout):
        ask(provider)
    assert provider.clock.now() == pytest.approx(1.9)


def test_a_provider_that_cannot_make_its_answer_says_so_when_the_servers_close() -> None:
    def broken(question: Question) -> Reply:
        raise RuntimeError("the test's own fault")

    servers = serve(ScriptedProvider("openai", respond=broken))
    body = {"model": "gpt-4o", "messages": [HELLO]}
    with pytest.raises(httpx.ReadError):
        httpx.post(f"{servers['openai'].base_url}/chat/completions", json=body, headers=NAMED)
    with pytest.raises(ExceptionGroup, match="could not make their answers"):
        servers.__exit__(None, None, None)


def test_a_provider_may_go_down_in_the_middle_of_its_own_answer() -> None:
    def last_words(question: Question) -> Reply:
        provider.down()
        return Reply("goodbye")

    provider = ScriptedProvider("openai", respond=last_words)
    body = {"model": "gpt-4o", "messages": [HELLO]}
    with serve(provider) as servers:
        url = f"{servers['openai'].base_url}/chat/completions"
        with pytest.raises(httpx.TransportError):  # its open connections are reset with it
            httpx.post(url, json=body, headers=NAMED)
        assert provider.wait_until(lambda idle: idle.in_flight == 0)
        with pytest.raises(httpx.ConnectError):
            httpx.post(url, json=body, headers=NAMED)


def test_a_name_where_a_scripted_provider_belongs_is_a_mistake_that_says_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match=r"write ScriptedProvider\('openai'\)"):
        simulated("openai")  # type: ignore[arg-type]  # the mistake


def test_it_runs_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "failover.testing", "openai", "groq", "--key", "sk-mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        places = dict(process.stdout.readline().split() for _ in range(2))
        body = {"model": "gpt-4o", "messages": [HELLO]}
        answer = httpx.post(
            f"{places['openai']}/chat/completions", json=body, headers={"authorization": "Bearer sk-mine"}
        )
        exports = process.stderr.readline()
        process.terminate()
    assert exports == f"export OPENAI_BASE_URL={places['openai']} OPENAI_API_KEY=sk-mine\n"
    assert answer.status_code == 200
    assert places["groq"].endswith("/openai/v1")


# --------------------------------------------------------------------- mind


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": schema}}


NUMBER, TEXT = {"type": "integer"}, {"type": "string"}
MAGIC, WEATHER, ADD = (
    tool("magic_function", input=NUMBER),
    tool("get_weather", location=TEXT),
    tool("my_adder", a=NUMBER, b=NUMBER),
)


@pytest.mark.parametrize(
    ("prompt", "choice", "expected"),
    [
        ("What is the value of magic_function(3)? Use the tool.", None, [("magic_function", {"input": 3})]),
        ("my_adder(1, 2) and my_adder(5, 6)", None, [("my_adder", {"a": 1, "b": 2}), ("my_adder", {"a": 5, "b": 6})]),
        ("What is the weather in San Francisco, CA?", None, [("get_weather", {"location": "San Francisco, CA"})]),
        ("Weather in Oslo and Rome?", None, [("get_weather", {"location": city}) for city in ("Oslo", "Rome")]),
        ("What is 3 + 4", {"type": "function", "function": {"name": "my_adder"}}, [("my_adder", {"a": 3, "b": 4})]),
        ("Hello!", "required", [("magic_function", {"input": 1})]),
        ("Hello!", None, []),
        ("What is the weather in Rome?", "none", []),
    ],
)
def test_tools_are_called_when_asked_for(prompt: str, choice: Any, expected: list[Any]) -> None:
    forced = {} if choice is None else {"tool_choice": choice}
    message = ask(made(), prompt, tools=[MAGIC, WEATHER, ADD], **forced).json()["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls", ())]
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == expected


def test_calls_are_made_one_at_a_time_where_parallel_calls_are_off() -> None:
    message = ask(made(), "Weather in Paris and Rome?", tools=[WEATHER], parallel_tool_calls=False)
    assert len(message.json()["choices"][0]["message"]["tool_calls"]) == 1


def test_a_tool_is_not_called_again_once_its_result_is_there() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]
    turn = {"role": "assistant", "content": None, "tool_calls": calls}
    history = [
        {"role": "user", "content": "The weather in Rome?"},
        turn,
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]
    assert said(ask(made(), messages=history, tools=[WEATHER])) == "The result is: sunny"


def test_json_mode_takes_the_keys_from_the_prompt() -> None:
    answer = said(
        ask(made(), "A joke as JSON with 'setup' and 'punchline' keys", response_format={"type": "json_object"})
    )
    assert set(json.loads(answer)) == {"setup", "punchline"}


def test_pictures_are_counted_in_the_answer() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "What is this?"}, picture, picture]
    assert said(ask(made(), messages=[{"role": "user", "content": content}])).endswith("I can see 2 images.")


def test_an_unfinished_turn_is_continued_where_it_stopped() -> None:
    history = [HELLO, {"role": "assistant", "content": "Hello! You"}]
    answer = ask(made("anthropic"), messages=history, model="claude-haiku-4-5").json()
    assert answer["content"][0]["text"] == ' said: "Hello".'


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"enum": ["red", "blue"]}, "blue"),
        ({"const": 7}, 7),
        ({"type": ["null", "integer"]}, 5),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "sky"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["sky", "a value"]),
        ({"type": "number", "maximum": 2}, 1.5),
        ({"type": "integer", "minimum": 10, "multipleOf": 4}, 12),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 5),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]},
            {"a": 5},
        ),
        ({"allOf": [{"type": "object"}, {"properties": {"a": {"type": "integer"}}, "required": ["a"]}]}, {"a": 5}),
    ],
)
def test_values_fit_their_schema_and_come_from_the_prompt(schema: dict[str, Any], expected: Any) -> None:
    assert fill(schema, Hints("the 'sky' is blue, 5 or 1.5 times"), schema) == expected


def test_arguments_need_no_schema() -> None:
    assert arguments({}, Hints("x")) == {}
