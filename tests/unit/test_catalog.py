import pytest

from turbov2.backends.registry import BACKENDS
from turbov2.catalog import Catalog, HubWeights, PackageWeights, Serving
from turbov2.catalog.catalog import CatalogError
from turbov2.errors import InvalidRequest, ModelNotFound

NAMED = [
    "m2v-bge-m3-1024d",
    "bge-m3-onnx",
    "bge-m3-maxsim",
    "gemma-768d",
    "qwen3-embed",
    "mxbai-embed-2d",
    "mxbai-embed-2d-fast",
    "mxbai-embed-2d-turbo",
    "mxbai-rerank-v2",
    "mxbai-rerank-xsmall",
    "qwen3-reranker",
    "qwen3-rerank",
    "vl-classifier",
    "lfm25-vl",
    "whisper-tiny",
    "whisper-base",
    "whisper-small",
    "whisper-medium",
    "whisper-base.en",
    "whisper-small.en",
    "whisper-medium.en",
    "whisper-large-v1",
    "whisper-large-v2",
    "whisper-large-v3",
    "whisper-turbo",
    "distil-small.en",
    "distil-medium.en",
    "distil-large-v2",
    "distil-large-v3",
    "distil-large-v3.5",
    "qwen2.5-coder-7b",
    "bitnet-2b",
    "bitnet-8b",
    "wordllama-256d",
    "minilm-384d",
    "minilm-maxsim",
    "all-minilm-l6-v2",
    "whisper-tiny.en",
    "smollm2-135m",
    "rapidocr",
]
STARTER = {
    "wordllama-256d",
    "minilm-384d",
    "minilm-maxsim",
    "vl-classifier",
    "rapidocr",
    "whisper-tiny.en",
    "smollm2-135m",
}


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load(None, {})


def test_it_names_every_model_of_the_product(catalog):
    assert [spec.name for spec in catalog] == NAMED
    assert {spec.name for spec in catalog if spec.starter} == STARTER


@pytest.mark.parametrize("name", ["wordllama-256d", "wordllama-256d:latest", "WordLlama-256D", "wordllama"])
def test_names_match_with_and_without_tag_in_any_case(catalog, name):
    assert catalog.resolve(name).name == "wordllama-256d"


@pytest.mark.parametrize(
    "name", ["", "nope", "wordllama-256d:v2", "wordllama-256d:latest:latest", "../wordllama-256d"]
)
def test_no_model_stands_in_for_another(catalog, name):
    with pytest.raises(ModelNotFound) as caught:
        catalog.resolve(name)
    assert caught.value.message == f"model '{name}' not found"


@pytest.mark.parametrize("name", ["a\x00b", "x" * 300, "a\nb"])
def test_a_name_no_model_can_have_is_a_bad_request(catalog, name):
    with pytest.raises(InvalidRequest):
        catalog.resolve(name)


def test_every_source_is_pinned_or_known_not_to_be(catalog):
    unpinned = {s.name for s in catalog if isinstance(s.weights, HubWeights) and not s.weights.revision}
    assert unpinned == {"m2v-bge-m3-1024d", "gemma-768d", "bitnet-8b"}
    for spec in catalog:
        if isinstance(spec.weights, PackageWeights):
            assert all(len(member.sha256) == 64 and member.bytes > 0 for member in spec.weights.members)


def test_every_name_of_faster_whisper_is_known(catalog):
    names = "tiny.en tiny base.en base small.en small medium.en medium large-v1 large-v2 large-v3 large "
    names += "large-v3-turbo turbo distil-large-v2 distil-medium.en distil-small.en distil-large-v3 "
    names += "distil-large-v3.5"
    assert {catalog.resolve(name).backend for name in names.split()} == {"whisper"}


def test_the_inline_runner_is_for_static_tables_only(catalog):
    assert {s.backend for s in catalog if s.runner == "inline"} == {"static"}
    assert "static" in BACKENDS


def test_a_variable_replaces_the_repository_and_its_pin(catalog):
    changed = Catalog.load(None, {"HF_MODEL_MXBAI_2D": "me/mine", "HF_MODEL_QWEN3_EMBED": "a/b@" + "0" * 40})
    for name in ("mxbai-embed-2d", "mxbai-embed-2d-fast", "mxbai-embed-2d-turbo"):
        assert (changed.resolve(name).weights.repo, changed.resolve(name).weights.revision) == ("me/mine", "")
    assert changed.resolve("qwen3-embed").weights.revision == "0" * 40
    same = Catalog.load(None, {"HF_MODEL_LFM25_VL": catalog.resolve("lfm25-vl").weights.repo})
    assert same.resolve("lfm25-vl") == catalog.resolve("lfm25-vl")


def test_a_backends_options_count_where_a_models_own_do_not(catalog, tmp_path):
    file = tmp_path / "models.toml"
    file.write_text('[models."qwen2.5-coder-7b".options]\nquantization = "none"\ntemperature = 0.5\n')
    options = {"quantization": "nf4", "attention": "flash_attention_2"}
    told = Serving(options={"huggingface": options})
    name = "qwen2.5-coder-7b"
    assert Catalog.load(None, {}, (), told).resolve(name).options == options
    own = Catalog.load(file, {}, (), told).resolve(name).options
    assert own == {"quantization": "none", "attention": "flash_attention_2", "temperature": 0.5}
    assert Catalog.load(None, {}, (), told).resolve("lfm25-vl") == catalog.resolve("lfm25-vl")


def test_users_add_and_override(tmp_path):
    file = tmp_path / "models.toml"
    file.write_text(
        '[models."wordllama-256d"]\naliases = ["mine"]\n'
        '[models."own-64d"]\ncapability = "embed"\nbackend = "static"\nrunner = "inline"\n'
        '[models."own-64d".weights]\nkind = "path"\npath = "somewhere"\n'
    )
    catalog = Catalog.load(file, {})
    assert catalog.resolve("mine").name == "wordllama-256d"
    assert catalog.resolve("mine").dimensions == 256
    assert catalog.resolve("own-64d:latest").backend == "static"


def test_a_name_of_the_users_own_is_no_alias_of_another(tmp_path):
    file = tmp_path / "models.toml"
    weights = '.weights]\nkind = "path"\npath = "/models/mine"\n'
    own = '[models.Tiny]\ncapability = "embed"\nbackend = "static"\nrunner = "inline"\naliases = ["small"]\n'
    file.write_text(own + "[models.Tiny" + weights, "utf-8")
    catalog = Catalog.load(file, {})
    assert [catalog.resolve(name).name for name in ("tiny", "small", "base")] == [
        "Tiny",
        "Tiny",
        "whisper-base",
    ]
    assert catalog.resolve("whisper-tiny").aliases == tuple(
        alias for alias in Catalog.load(None, {}).resolve("whisper-tiny").aliases if alias != "tiny"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml", "is not TOML"),
        ('[model."x"]\n', "may hold only"),
        ('[models."x"]\ncolour = "red"\n', "model 'x': "),
        ('[models."wordllama-256d"]\ndimension = 3\n', "unknown field `dimension`"),
        ('[models."wordllama-256d"]\nrunner = "moon"\n', "'wordllama-256d': "),
        ('[models."wordllama-256d"]\npriority = "urgent"\n', "'wordllama-256d': "),
        ('[models."wordllama-256d"]\nkeep_alive = "soon"\n', "'soon' is not a duration"),
        ('[models."wordllama-256d"]\nkeep_alive = 300\n', "'wordllama-256d': "),
        ('[models."wordllama-256d"]\naliases = ["bge-m3-onnx"]\n', "belongs to both"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path, text, said):
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(CatalogError) as caught:
        Catalog.load(file, {})
    assert said in str(caught.value)
