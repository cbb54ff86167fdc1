"""What the paths of the application do with a request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from sit2.records import ByteArray
from sit2.serve.answering import Answerer, File
from sit2.serve.explaining import HeatMaps, Neighbours, picture, shown
from sit2.serve.refusal import Refusal
from sit2.serve.schema import Answer, Answers, Example, Explanation
from sit2.serve.settings import ServeSettings
from sit2.training.device import out_of_memory

MULTIPART = "multipart/form-data"


@dataclass
class Service:
    """A model that answers requests."""

    settings: ServeSettings
    answerer: Answerer
    heat_maps: HeatMaps
    neighbours: Neighbours | None = None  # None: no examples are shown
    busy: int = 0  # requests that are worked on

    async def predict(self, request: Request) -> Answers:
        """Answer for each file of a request. Raises :class:`Refusal`."""
        files = await files_of(request, self.settings, self.settings.max_images)
        async with self._working():
            return Answers(coverage=self.answerer.coverage, images=await self.answerer.answers(files))

    async def explain(self, request: Request) -> Explanation:
        """Answer for one file, and show what supports the answer. Raises :class:`Refusal`."""
        (file,) = await files_of(request, self.settings, 1)
        answerer = self.answerer
        async with self._working():
            (answer,) = await answerer.answers([file])
            (one,) = await answerer.decoded([file])
            if one.pixels is None:
                return Explanation(answer=answer, coverage=answerer.coverage)
            large = await answerer.in_pool(shown, file, answerer.how)
            heat = await answerer.in_worker(self.heat_maps.of, one.pixels, large)
            return Explanation(
                answer=answer,
                coverage=answerer.coverage,
                image=picture(large),
                heat_map=heat.src,
                brightest=heat.brightest,
                no_heat_map=heat.why_not,
                examples=await self._examples(answer, one.pixels),
            )

    async def _examples(self, answer: Answer, pixels: ByteArray) -> list[Example]:
        """Return the nearest training images of the two most probable classes, where they may be shown."""
        near, names = self.neighbours, self.answerer.classes
        if near is None or answer.probabilities is None:
            return []
        chances = list(answer.probabilities.values())
        first = sorted(range(len(chances)), key=lambda k: -chances[k])[:2]
        found = await self.answerer.in_worker(near.nearest, pixels, first)
        pictures = [
            self.answerer.in_pool(near.example, place, names[k], digest) for place, k, digest in found
        ]
        return [one for one in await asyncio.gather(*pictures) if one is not None]

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        """Count a request among those that are worked on, for as long as it may take."""
        if self.busy >= self.settings.max_concurrency:
            raise Refusal.busy("too many requests at once")
        self.busy += 1
        try:
            async with asyncio.timeout(self.settings.timeout):
                yield
        except TimeoutError:
            raise Refusal.busy(f"no answer was found within {self.settings.timeout:g} seconds") from None
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise Refusal.busy("out of memory") from None
        finally:
            self.busy -= 1


async def files_of(request: Request, settings: ServeSettings, most: int) -> list[File]:
    """Read the files of a request, into memory and never onto a disk.

    Raises:
        Refusal: it is of another kind, or holds no files, or too many.
    """
    expected = f"{MULTIPART}, with " + ("one image file" if most == 1 else f"1 to {most} image files")
    example = "curl -F images=@one.jpg -F images=@two.jpg ADDRESS/predict"
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != MULTIPART or "charset" in rest.lower():
        raise Refusal(415, f"the request's content is {kind.strip() or 'of no kind'}", expected, example)
    parser = MultiPartParser(request.headers, request.stream(), max_files=most, max_fields=0)
    parser.spool_max_size = settings.max_bytes + 1  # so it is never reached: images may show patients
    try:
        form = await parser.parse()
        given = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
        if not given or len(given) < parser._current_files:
            what = "a file is cut off" if parser._current_files else "it holds no file"
            raise Refusal(422, f"the request cannot be read: {what}", expected, example)
        return [File(one.filename or "", await one.read()) for one in given]
    except ClientDisconnect:
        raise Refusal(400, "the connection ended before the request did", expected, example) from None
    except (MultiPartException, UnicodeError, ValueError) as error:
        what = f"the request cannot be read: {error}"
        if parser._current_fields:
            what = "it holds text where a file should be; in curl, an @ before the file's name is missing"
        raise Refusal(422, what, expected, example) from None
    finally:
        for file in parser._files_to_close_on_error:  # all of them, those that never ended too
            file.close()
