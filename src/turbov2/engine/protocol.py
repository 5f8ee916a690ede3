"""Engine: everything a wire may ask for. Callers may live in another process or machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from turbov2.media import OpenFile
from turbov2.types import (
    ChatEvent,
    ChatRequest,
    ClassifyRequest,
    ClassifyResult,
    Context,
    DocumentRequest,
    EmbedRequest,
    EmbedResult,
    LiveEvent,
    LiveInput,
    LiveRequest,
    MemoryEvent,
    MemoryPlan,
    ModelStatus,
    PageResult,
    PoolStatus,
    PullProgress,
    ReadRequest,
    ReadResult,
    RerankRequest,
    RerankResult,
    ResidentStatus,
    TranscribeEvent,
    TranscribeRequest,
)


class Engine(Protocol):
    """One machine's models, or a pool of machines."""

    async def start(self) -> None:
        """Returns when the models to preload are ready. Raises: TurboError when one is not."""

    async def stop(self) -> None:
        """Afterwards nothing is loaded and no task runs."""

    def is_ready(self) -> bool:
        """Returns whether traffic is welcome: started, not stopping, no preloaded model failed."""

    async def embed(self, request: EmbedRequest, context: Context) -> EmbedResult:
        """Returns vectors in input order. Raises: RequestError, CapacityError, BackendError."""

    async def rerank(self, request: RerankRequest, context: Context) -> RerankResult:
        """Returns scores in the documents' order. Raises: RequestError, CapacityError, BackendError."""

    async def classify(self, request: ClassifyRequest, context: Context) -> ClassifyResult:
        """Returns how complex a page is. Raises: RequestError, CapacityError, BackendError."""

    async def read(self, request: ReadRequest, context: Context) -> ReadResult:
        """Returns the lines of a page in reading order. Raises: RequestError, CapacityError, BackendError."""

    def read_pages(
        self, request: ReadRequest, pages: str, context: Context
    ) -> AsyncGenerator[ReadResult, None]:
        """Yields the same of `pages`, as in "1-3,7", one by one; empty: of all. `request.page` is unused.

        Closing it stops the work.
        """

    def documents(self, request: DocumentRequest, context: Context) -> AsyncGenerator[PageResult, None]:
        """Yields a file's pages as they are read, bad ones with their error. Closing it stops the work.

        Raises: RequestError for the file or what was asked; CapacityError where room ran out.
        """

    async def check_documents(self, request: DocumentRequest) -> None:
        """Raises: what `documents` would before its first page. Reads nothing but the file's outline."""

    def chat(self, request: ChatRequest, context: Context) -> AsyncGenerator[ChatEvent, None]:
        """Yields the answer's deltas as it is written, and last a ChatResult. Closing it stops the model.

        Where the backend knows it, the prompt's length comes first, as soon as it is counted.

        Raises: RequestError, CapacityError, BackendError, also after part of the answer.
        """

    async def count_tokens(self, request: ChatRequest, context: Context) -> int:
        """Returns how many tokens the model would read: the `n_prompt_tokens` that `chat` would tell.

        It waits for the model to be loaded, and for no answer. Raises: as `chat`.
        """

    def transcribe(
        self, request: TranscribeRequest, file: OpenFile, context: Context
    ) -> AsyncGenerator[TranscribeEvent, None]:
        """Yields TranscribeStarted, a TranscribeStep for each window, and last a TranscribeResult.

        file: stays open until the first event. Closing the generator stops the work.
        Raises: RequestError, CapacityError, BackendError, also after part of the text.
        """

    def live(
        self, request: LiveRequest, inputs: AsyncIterator[LiveInput], context: Context
    ) -> AsyncGenerator[LiveEvent, None]:
        """Yields LiveReady, then what is heard while `inputs` come, and behind their end a LiveResult.

        What comes faster than it can be heard is not taken from `inputs`. Closing the generator stops the
        work. Raises: RequestError, CapacityError, BackendError, also later; Stopping once the engine drains,
        behind the text of what was said; whatever `inputs` raises.
        """

    async def stopping(self) -> None:
        """Returns once the engine drains: who waits for a session to begin need not wait on."""

    async def check_transcribe(self, request: TranscribeRequest) -> None:
        """Raises: what `transcribe` would for its model, without loading it."""

    async def load(self, name: str, keep_alive_s: float | None, context: Context) -> int:
        """Returns the nanoseconds it took until the model was ready."""

    async def unload(self, name: str) -> bool:
        """Returns whether the model was loaded."""

    async def models(self) -> Sequence[ModelStatus]:
        """Returns all catalogued models, in catalogue order. Loads nothing."""

    def model(self, name: str) -> ModelStatus:
        """Returns one model, without its abilities. Raises: ModelNotFound."""

    async def describe(self, name: str) -> ModelStatus:
        """Returns one model, with its abilities, for which its files are read. Raises: ModelNotFound."""

    def residents(self) -> Sequence[ResidentStatus]:
        """Returns what is in memory or on its way, latest expiry first."""

    def pull(self, name: str, *, accept_license: bool) -> AsyncIterator[PullProgress]:
        """Yields the steps of fetching the model's weights; the last one is "done".

        Raises: PullFailed, LicenseNotAccepted.
        """

    async def delete(self, name: str) -> bool:
        """Returns whether there were weights to remove; a loaded model is unloaded first."""

    def pools(self) -> Sequence[PoolStatus]:
        """Returns the memory pools, host first."""

    def events(self) -> Sequence[MemoryEvent]:
        """Returns what lately happened to models in memory, newest last."""

    async def explain(self, name: str) -> MemoryPlan:
        """Returns what loading the model would take now. Loads nothing. Raises: ModelNotFound."""
