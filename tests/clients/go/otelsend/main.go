// otelsend measures, traces and logs a little with OpenTelemetry's SDK for Go, and sends it by OTLP to where
// OTEL_EXPORTER_OTLP_… say. It ends with 1, and with a line for each fault, unless everything was taken.
//
// What it sends is fixed, so that tests know it; ../../node/otelsend.mjs sends the same.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Spans and log records tell it as theirs, so that tests can tell a nanosecond too many.
var begin = time.Unix(1_795_000_000, 123_456_789)

func main() {
	rounds := flag.Int("rounds", 1, "how often everything is measured and sent")
	flag.Parse()
	var failed atomic.Bool
	tell := func(err error) {
		failed.Store(true)
		fmt.Fprintln(os.Stderr, err)
	}
	// What a collector took in part comes this way.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(tell))
	if err := send(context.Background(), *rounds); err != nil {
		tell(err)
	}
	if failed.Load() {
		os.Exit(1)
	}
}

func send(ctx context.Context, rounds int) error {
	metrics, spans, records, err := exporters(ctx)
	if err != nil {
		return err
	}
	exponential := sdkmetric.NewView(
		sdkmetric.Instrument{Name: "latency.exp"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}},
	)
	meters := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(time.Hour))),
		sdkmetric.WithView(exponential),
	)
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
	loggers := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(records)))
	measure := instruments(meters.Meter("library"))
	for round := range rounds {
		within := traced(ctx, tracers.Tracer("library", trace.WithInstrumentationVersion("1.2")))
		measure(within)
		logged(within, loggers.Logger("library"))
		if round == rounds-1 {
			// It sends what there is, which would be sent twice after a flush.
			break
		}
		if err := errors.Join(meters.ForceFlush(ctx), tracers.ForceFlush(ctx), loggers.ForceFlush(ctx)); err != nil {
			return err
		}
	}
	return errors.Join(meters.Shutdown(ctx), tracers.Shutdown(ctx), loggers.Shutdown(ctx))
}

// One instrument of each kind, and what sets all of them.
func instruments(meter metric.Meter) func(context.Context) {
	requests := must(meter.Int64Counter("requests", metric.WithUnit("1")))
	open := must(meter.Float64UpDownCounter("open"))
	temperature := must(meter.Float64Gauge("temperature", metric.WithUnit("Cel")))
	latency := must(meter.Float64Histogram(
		"latency", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(0.3, 1),
	))
	exponential := must(meter.Float64Histogram("latency.exp"))
	var read int64
	must(meter.Int64ObservableCounter("read", metric.WithUnit("By"), metric.WithInt64Callback(
		func(_ context.Context, observer metric.Int64Observer) error {
			observer.Observe(read)
			return nil
		},
	)))
	return func(ctx context.Context) {
		requests.Add(ctx, 7, metric.WithAttributes(attribute.String("route", "/pay"), attribute.Int("count", 3)))
		open.Add(ctx, -2)
		temperature.Record(ctx, 21.5)
		for _, seconds := range []float64{0.25, 0.5} {
			latency.Record(ctx, seconds)
		}
		for _, value := range []float64{0, 1, 3} {
			exponential.Record(ctx, value)
		}
		read += 4096
	}
}

// A span within a span; the context is that of the inner one.
func traced(ctx context.Context, tracer trace.Tracer) context.Context {
	at := func(after time.Duration) trace.SpanEventOption { return trace.WithTimestamp(begin.Add(after)) }
	outer, parent := tracer.Start(ctx, "parent", trace.WithSpanKind(trace.SpanKindServer), at(0))
	why := []attribute.KeyValue{attribute.String("why", "retry")}
	inner, child := tracer.Start(
		outer, "child", at(time.Millisecond),
		trace.WithAttributes(attribute.Int("n", 3), attribute.IntSlice("list", []int{1, 2})),
		trace.WithLinks(trace.Link{SpanContext: parent.SpanContext(), Attributes: why}),
	)
	child.AddEvent("cache miss", at(2*time.Millisecond), trace.WithAttributes(attribute.String("key", "k")))
	child.SetStatus(codes.Error, "no stock")
	child.End(at(3 * time.Millisecond))
	parent.End(at(5*time.Millisecond + 1))
	return inner
}

// A message, and an event whose body is a map.
func logged(ctx context.Context, logger log.Logger) {
	var message, event log.Record
	message.SetTimestamp(begin)
	message.SetObservedTimestamp(begin.Add(time.Second))
	message.SetSeverity(log.SeverityError)
	message.SetSeverityText("ERROR")
	message.SetBody(attribute.StringValue("no tea left"))
	message.AddAttributes(attribute.Int("shelf", 4))
	event.SetTimestamp(begin.Add(time.Millisecond))
	event.SetSeverity(log.SeverityInfo)
	event.SetEventName("boot")
	event.SetBody(attribute.MapValue(attribute.Int("a", 1), attribute.Slice("b", attribute.BoolValue(true))))
	logger.Emit(ctx, message)
	logger.Emit(ctx, event)
}

func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}
