"""Routes around the blocks: LLM profiles without their keys, and the blocks' logos."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Response

from vibesurf_blocks.api.context import Ctx
from vibesurf_blocks.api.schemas import Problem
from vibesurf_blocks.blocks.looks import LOGO_PATH, logo
from vibesurf_blocks.tables.records import ProfileInfo

router = APIRouter(tags=["LLM profiles"])


@router.get("/llm-profiles")
async def list_profiles(context: Ctx) -> list[ProfileInfo]:
    """All LLM profiles by name, without their keys."""
    return [
        ProfileInfo.model_validate(record.model_dump(exclude={"encrypted_api_key"}))
        for record in await context.profiles.all()
    ]


@router.get(
    f"{LOGO_PATH}/{{name}}.png",
    responses={200: {"content": {"image/png": {}}}, 404: {"model": Problem}},
    response_class=Response,
)
async def get_logo(name: Annotated[str, Path(max_length=100)]) -> Response:
    """The logo of a block type, for the Prefect UI."""
    content = logo(name)
    if content is None:
        raise HTTPException(404, "There is no such logo")
    return Response(content, media_type="image/png", headers={"Cache-Control": "max-age=86400"})
