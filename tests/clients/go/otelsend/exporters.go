package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Sent again almost at once, unless the collector says how long to wait: then that shows.
var again = otlpmetricgrpc.RetryConfig{
	Enabled: true, InitialInterval: time.Millisecond, MaxInterval: 5 * time.Millisecond, MaxElapsedTime: time.Minute,
}

// The SDK's exporters read all of OTEL_EXPORTER_OTLP_… but which protocol it is to be.
func exporters(ctx context.Context) (sdkmetric.Exporter, sdktrace.SpanExporter, sdklog.Exporter, error) {
	switch protocol := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "grpc":
		metrics, ofMetrics := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithRetry(again))
		spans, ofSpans := otlptracegrpc.New(ctx, otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig(again)))
		records, ofRecords := otlploggrpc.New(ctx, otlploggrpc.WithRetry(otlploggrpc.RetryConfig(again)))
		return metrics, spans, records, errors.Join(ofMetrics, ofSpans, ofRecords)
	case "http/protobuf":
		metrics, ofMetrics := otlpmetrichttp.New(ctx, otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig(again)))
		spans, ofSpans := otlptracehttp.New(ctx, otlptracehttp.WithRetry(otlptracehttp.RetryConfig(again)))
		records, ofRecords := otlploghttp.New(ctx, otlploghttp.WithRetry(otlploghttp.RetryConfig(again)))
		return metrics, spans, records, errors.Join(ofMetrics, ofSpans, ofRecords)
	default:
		return nil, nil, nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q; expected grpc or http/protobuf", protocol)
	}
}
