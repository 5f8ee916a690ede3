import math

import pytest

from turbov2.settings import SETTINGS, SettingsError, load_settings
from turbov2.units import parse_bytes, parse_duration_s


def test_defaults_need_no_environment():
    settings = load_settings({})
    assert (settings.host, settings.port) == ("0.0.0.0", 11435)
    assert settings.default_embed_model == "wordllama-256d"
    assert set(settings.sources.values()) == {"default"}


def test_flags_win_over_environment_and_say_so():
    settings = load_settings({"PORT": "1000", "HOST": "::1"}, {"port": "2000", "host": None})
    assert (settings.port, settings.host) == (2000, "::1")
    assert (settings.sources["port"], settings.sources["host"]) == ("flag", "environment")


def test_an_empty_variable_is_not_set():
    assert load_settings({"PORT": ""}).port == 11435
    assert load_settings({"TURBOV2_PRELOAD": ""}).preload == ("wordllama-256d",)


def test_a_list_may_be_none():
    assert load_settings({"TURBOV2_PRELOAD": "none"}).preload == ()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "99999", "PORT: '99999' is not a whole number from 0 to 65535"),
        ("PORT", "http", "PORT: 'http'"),
        ("TURBOV2_AUTO_PULL", "maybe", "TURBOV2_AUTO_PULL: 'maybe' is not one of true, false"),
        ("TURBOV2_KEEP_ALIVE", "5", "TURBOV2_KEEP_ALIVE: '5' is not a duration"),
        ("TURBOV2_MEDIA_TIMEOUT", "-1s", "'-1s' is not a duration from 0.1 to 3600 seconds"),
        ("TURBOV2_MAX_BODY", "lots", "TURBOV2_MAX_BODY: 'lots' is not a size"),
        ("HF_QUANTIZATION", "gptq", "HF_QUANTIZATION: 'gptq' is not one of none, bitsandbytes"),
        ("TURBOV2_LOG_LEVEL", "loud", "not one of debug, info, warning, error"),
        ("TURBOV2_KEEPALIVE", "5m", "TURBOV2_KEEPALIVE: no such setting; did you mean TURBOV2_KEEP_ALIVE?"),
    ],
)
def test_what_cannot_be_used_is_named(variable, value, said):
    with pytest.raises(SettingsError) as caught:
        load_settings({variable: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, {}),
        ({"HF_QUANTIZATION": "bitsandbytes"}, {"quantization": "nf4"}),
        ({"HF_LOAD_4BIT": "true"}, {"quantization": "nf4"}),
        ({"HF_QUANTIZATION": "bitsandbytes", "HF_LOAD_4BIT": "true"}, {"quantization": "nf4"}),
        ({"HF_QUANTIZATION": "none", "HF_LOAD_4BIT": "false"}, {}),
        ({"HF_FLASH_ATTENTION": "true"}, {"attention": "flash_attention_2"}),
    ],
)
def test_variables_of_the_huggingface_backend(variables, options):
    assert load_settings(variables).huggingface_options() == options


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_QUANTIZATION": "bitsandbytes", "HF_LOAD_4BIT": "false"},
        {"HF_QUANTIZATION": "none", "HF_LOAD_4BIT": "true"},
    ],
)
def test_variables_that_contradict_each_other_stop_the_start(variables):
    with pytest.raises(SettingsError, match="contradict each other: bitsandbytes quantises to 4 bits"):
        load_settings(variables)


def test_all_problems_are_named_at_once():
    with pytest.raises(SettingsError) as caught:
        load_settings({"PORT": "x", "TURBOV2_MAX_TEXTS": "0", "TURBOV2_NOPE": "1"})
    assert all(name in str(caught.value) for name in ("PORT", "TURBOV2_MAX_TEXTS", "TURBOV2_NOPE"))


def test_keys_come_from_a_list_and_from_files(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# team\nk2\n\n k3 \n")
    assert load_settings({"EMBEDDINGS_API_KEY": f"k1, @{file}"}).api_keys() == ("k1", "k2", "k3")


@pytest.mark.parametrize("content", [None, "", "# nothing\n"])
def test_a_key_file_without_keys_stops_the_start(tmp_path, content):
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match="EMBEDDINGS_API_KEY"):
        load_settings({"EMBEDDINGS_API_KEY": f"@{file}"})


def test_only_the_keys_are_secret():
    assert [setting.variable for setting in SETTINGS if setting.is_secret] == [
        "EMBEDDINGS_API_KEY",
        "VLLM_REMOTE_API_KEY",
        "REMOTE_OPENAI_API_KEY",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("300ms", 0.3),
        ("0", 0),
        ("1.5s", 1.5),
        ("10us", 1e-5),
        ("1h1m1s", 3661),
        ("-1m", math.inf),
        ("-1s", math.inf),
        ("+2s", 2),
    ],
)
def test_durations_follow_go(text, seconds):
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5d", "5 m", "five", "1h 5m", "--5m", "1m-5s"])
def test_what_go_refuses_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("1000", 1000), ("64MiB", 64 << 20), ("5GB", 5 * 10**9), ("1.5 GiB", 3 << 29), ("2k", 2000)],
)
def test_sizes(text, n_bytes):
    assert parse_bytes(text) == n_bytes


def test_aliases_of_models() -> None:
    told = load_settings({"TURBOV2_MODEL_ALIASES": "gpt-4o=a, claude-*=b"})
    assert told.model_aliases == ("gpt-4o=a", "claude-*=b")
    for bad in ("gpt-4o", "=a", "gpt=", "g*t=a"):
        with pytest.raises(SettingsError, match="is not NAME=MODEL"):
            load_settings({"TURBOV2_MODEL_ALIASES": bad})
