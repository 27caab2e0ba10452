//! What reading OTLP in JSON takes of memory. A program of its own: it counts what the whole process allocates.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use telemetry_core::translate::otlp::json::metrics_request;

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A tree of its values would be sixteen times as large as the text, and the largest request one has 16 MiB.
#[test]
fn a_request_in_json_takes_less_than_twice_its_bytes() {
    let point = r#"{"asInt": "1", "timeUnixNano": "1795000000000000000", "attributes": [{"key": "k", "value": {"intValue": 5}}]},"#;
    let points = point.repeat(16 * 1024 * 1024 / point.len());
    let body = format!(
        r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"name": "m", "gauge": {{"dataPoints": [{}]}}}}]}}]}}]}}"#,
        points.trim_end_matches(',')
    );
    let region = Region::new(MEMORY);
    let request = metrics_request(body.as_bytes()).expect("valid JSON");
    let taken = region.change();
    assert!(request.len() > body.len() / 8, "all of it is there: {} bytes", request.len());
    println!("{} bytes of JSON, {} allocated in all", body.len(), taken.bytes_allocated);
    assert!(taken.bytes_allocated < 2 * body.len(), "{taken:?} for {} bytes", body.len());
}
