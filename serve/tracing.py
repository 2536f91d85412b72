"""Whether and where requests are traced; knows OpenTelemetry only when asked to trace."""

from importlib.util import find_spec

from pydantic import Field, model_validator

from cluster.config import Section
from serve.passage import Observer

PACKAGE = "opentelemetry.exporter"
EXPORTER = f"{PACKAGE}.otlp"
PATH = "/v1/traces"


class TraceConfig(Section):
    """`[serve.trace]`: spans to an OpenTelemetry collector; needs the extra `otel`."""

    endpoint: str | None = Field(default=None, pattern="^https?://")
    """The collector's OTLP over HTTP, such as "http://collector:4318"; None traces nothing."""
    sample: float = Field(default=0.01, ge=0, le=1)
    """Share of the requests that are traced where the caller's `traceparent` does not say."""

    @model_validator(mode="after")
    def _can_export(self) -> "TraceConfig":
        if self.endpoint and not (find_spec(PACKAGE) and find_spec(EXPORTER)):
            raise ValueError("endpoint needs the extra 'otel': pip install -e '.[otel]'")
        return self


def open_tracer(config: TraceConfig, recommender: str) -> Observer | None:
    """Return what sends spans to the configured collector; None where there is none."""
    if config.endpoint is None:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from serve.spans import Tracer

    exporter = OTLPSpanExporter(config.endpoint.rstrip("/") + PATH)
    return Tracer(recommender, config.sample, BatchSpanProcessor(exporter))
