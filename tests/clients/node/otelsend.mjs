// otelsend measures, traces and logs a little with OpenTelemetry's SDK for JavaScript, and sends it by OTLP to where
// OTEL_EXPORTER_OTLP_… say. It ends with 1, and with a line for each fault, unless everything was taken.
//
// What it sends is fixed, so that tests know it; ../go/otelsend sends the same.

import process from 'node:process';
import { parseArgs } from 'node:util';

import { context, diag, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { detectResources, envDetector, defaultResource } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

/** Exporters' packages by OTEL_EXPORTER_OTLP_PROTOCOL; they read the rest of OTEL_EXPORTER_OTLP_… themselves. */
const PACKAGES = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' };

/** A time after the one that spans and log records begin at, as seconds and nanoseconds. */
const at = (nanos) => [1_795_000_000, 123_456_789 + nanos];
const MS = 1_000_000;

function tell(...words) {
  process.exitCode = 1;
  console.error(...words);
}

/** One instrument of each kind, and what sets all of them. */
function instruments(meter) {
  const requests = meter.createCounter('requests', { unit: '1' });
  const open = meter.createUpDownCounter('open');
  const temperature = meter.createGauge('temperature', { unit: 'Cel' });
  const latency = meter.createHistogram('latency', { unit: 's', advice: { explicitBucketBoundaries: [0.3, 1] } });
  const exponential = meter.createHistogram('latency.exp');
  let read = 0;
  meter.createObservableCounter('read', { unit: 'By' }).addCallback((result) => result.observe(read));
  return () => {
    requests.add(7, { route: '/pay', count: 3 });
    open.add(-2);
    temperature.record(21.5);
    [0.25, 0.5].forEach((seconds) => latency.record(seconds));
    [0, 1, 3].forEach((value) => exponential.record(value));
    read += 4096;
  };
}

/** A span within a span; the context is that of the inner one. */
function traced(tracer) {
  const parent = tracer.startSpan('parent', { kind: SpanKind.SERVER, startTime: at(0) }, ROOT_CONTEXT);
  const outer = trace.setSpan(ROOT_CONTEXT, parent);
  const links = [{ context: parent.spanContext(), attributes: { why: 'retry' } }];
  const child = tracer.startSpan('child', { startTime: at(MS), attributes: { n: 3, list: [1, 2] }, links }, outer);
  child.addEvent('cache miss', { key: 'k' }, at(2 * MS));
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'no stock' });
  child.end(at(3 * MS));
  parent.end(at(5 * MS + 1));
  return trace.setSpan(outer, child);
}

/** A message, and an event whose body is a map. */
function logged(logger, within) {
  logger.emit({
    context: within,
    timestamp: at(0),
    observedTimestamp: [at(0)[0] + 1, at(0)[1]],
    severityNumber: SeverityNumber.ERROR,
    severityText: 'ERROR',
    body: 'no tea left',
    attributes: { shelf: 4 },
  });
  logger.emit({
    context: within,
    timestamp: at(MS),
    severityNumber: SeverityNumber.INFO,
    eventName: 'boot',
    body: { a: 1, b: [true] },
  });
}

async function send(rounds) {
  const name = PACKAGES[process.env.OTEL_EXPORTER_OTLP_PROTOCOL];
  const { OTLPMetricExporter } = await import(`@opentelemetry/exporter-metrics-otlp-${name}`);
  const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${name}`);
  const { OTLPLogExporter } = await import(`@opentelemetry/exporter-logs-otlp-${name}`);
  const resource = defaultResource().merge(detectResources({ detectors: [envDetector] }));
  const reader = new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter() });
  const exponential = {
    instrumentName: 'latency.exp',
    aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM },
  };
  const meters = new MeterProvider({ resource, readers: [reader], views: [exponential] });
  const spans = new BatchSpanProcessor(new OTLPTraceExporter());
  const tracers = new BasicTracerProvider({ resource, spanProcessors: [spans] });
  const records = new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() });
  const loggers = new LoggerProvider({ resource, processors: [records] });
  const measure = instruments(meters.getMeter('library'));
  for (let round = 1; ; round += 1) {
    const within = traced(tracers.getTracer('library', '1.2'));
    context.with(within, measure);
    logged(loggers.getLogger('library'), within);
    if (round === rounds) {
      break;
    }
    await Promise.all([meters.forceFlush(), tracers.forceFlush(), loggers.forceFlush()]);
  }
  // Shutting down sends what there is, which would be sent twice after a flush.
  await Promise.all([meters.shutdown(), tracers.shutdown(), loggers.shutdown()]);
}

// What a collector refused, or took in part, comes this way.
diag.setLogger({ error: tell, warn: tell, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);
const { values } = parseArgs({ options: { rounds: { type: 'string', default: '1' } } });
await send(Number(values.rounds)).catch(tell);
