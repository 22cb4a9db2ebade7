"""The dashboard over HTTP: the page at /dashboard, which holds no data, and its data beside it."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tierwise.routing.errors import InvalidRequest
from tierwise.server.dashboard.data import dashboard
from tierwise.server.dashboard.page import page, policy
from tierwise.server.logs import redactor
from tierwise.server.tools.base import ToolContext
from tierwise.server.tools.usage import USAGE_SUMMARY, PeriodArguments
from tierwise.server.usage import UsageQuery
from tierwise.storage.errors import TierwiseError

PATH = "/dashboard"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def dashboard_routes(context: ToolContext) -> list[Route]:
    """The page, and `GET /dashboard/data` with the period and filters of `usage_summary` as its query."""
    redact = redactor(context.engine.environ, context.settings)

    async def data(request: Request) -> Response:
        try:
            found = await dashboard(context, _query(request.query_params, context))
        except InvalidRequest as error:
            return JSONResponse({"error": str(error)}, 400, _HEADERS)
        except TierwiseError as error:
            return JSONResponse({"error": redact(str(error))}, 500, _HEADERS)
        return Response(found.model_dump_json(exclude_unset=True), 200, _HEADERS, "application/json")

    return [Route(PATH, _page), Route(f"{PATH}/data", data)]


async def _page(request: Request) -> Response:
    return HTMLResponse(page("http"), headers=_HEADERS | {"Content-Security-Policy": policy()})


def _query(parameters: Mapping[str, str], context: ToolContext) -> UsageQuery:
    """What the query of a URL asks for: `days`, `start` and `end`, and whatever else is a filter."""
    period = {name: value for name, value in parameters.items() if name in PeriodArguments.model_fields}
    filters = {name: value for name, value in parameters.items() if name not in period}
    arguments = USAGE_SUMMARY.parse({**period, "filters": filters})
    return arguments.query(context.settings.usage_tracking.time_zone)
