//! Main's metrics for Prometheus, over HTTP.
//!
//! Each request reads the numbers at that moment; without requests there is no cost. A window that is gone is in no
//! response. The server has a thread of its own, and never calls into the loop's.

use std::{
    error::Error,
    fmt,
    net::{SocketAddr, TcpListener},
    thread,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use renderer_proc::own_host;
use ringbridge::{Counters, IpcMain, MainMetrics, Metric, MetricKind, SessionMetrics, WebContents};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Parses the address of the server: a port of the loopback device, or another address.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
    port.or_else(|_| text.parse())
        .map_err(|_| "give a port, such as 9464, or an address, such as 0.0.0.0:9464".to_owned())
}

/// Serves the endpoint's metrics until this process ends. Returns the address; port 0 becomes a free port.
pub(crate) fn start(address: SocketAddr, ipc: &IpcMain) -> Result<SocketAddr, Box<dyn Error>> {
    let failed = |error| format!("cannot serve metrics at {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let mut registry = Registry::with_prefix("ringbridge");
    registry.register_collector(Box::new(Endpoint(ipc.clone())));
    let routes = Router::new().route("/metrics", get(answer)).with_state(registry.into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            axum::serve(tokio::net::TcpListener::from_std(listener)?, routes).await
        });
        if let Err(error) = served {
            eprintln!("main-proc: metrics are not served any more: {error}");
        }
    })?;
    Ok(bound)
}

async fn answer(
    State(registry): State<std::sync::Arc<Registry>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    // A page of another site, whose name was rebound to this address, is refused.
    if own_host(&headers).is_none() {
        return Err((StatusCode::FORBIDDEN, "this server has no name: use its address"));
    }
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("a string takes any text");
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page))
}

/// The endpoint, read at each request.
#[derive(Debug)]
struct Endpoint(IpcMain);

impl Collector for Endpoint {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let main = self.0.metrics();
        for (metric, (_, value)) in MainMetrics::DESCRIPTIONS.iter().zip(main.iter()) {
            let name = format!("main_{}", metric.name);
            let encoder = encoder.encode_descriptor(&name, metric.help, None, type_of(metric))?;
            encode(metric, value, encoder)?;
        }
        let windows = self.0.windows();
        let metrics = |window: &WebContents| values(window.metrics().iter());
        let counters = |window: &WebContents| values(window.counters().iter());
        let sets: [(_, Vec<_>); 2] = [
            (SessionMetrics::DESCRIPTIONS, windows.iter().map(metrics).collect()),
            (Counters::DESCRIPTIONS, windows.iter().map(counters).collect()),
        ];
        for (descriptions, values) in sets {
            for (place, metric) in descriptions.iter().enumerate() {
                let name = format!("window_{}", metric.name);
                let mut family =
                    encoder.encode_descriptor(&name, metric.help, None, type_of(metric))?;
                for (window, values) in windows.iter().zip(&values) {
                    let labels = [("window", window.id()), ("pid", window.os_process_id())];
                    encode(metric, values[place], family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn values(numbers: impl Iterator<Item = (&'static str, u64)>) -> Vec<u64> {
    numbers.map(|(_, value)| value).collect()
}

fn type_of(metric: &Metric) -> MetricType {
    match metric.kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
    }
}

fn encode(metric: &Metric, value: u64, encoder: MetricEncoder<'_>) -> fmt::Result {
    match metric.kind {
        MetricKind::Counter => ConstCounter::new(value).encode(encoder),
        MetricKind::Gauge => ConstGauge::new(value).encode(encoder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_device() {
        let parse = |text: &str| address(text).ok().map(|address| address.to_string());
        for (text, parsed) in
            [("9464", "127.0.0.1:9464"), ("0.0.0.0:1", "0.0.0.0:1"), ("[::1]:0", "[::1]:0")]
        {
            assert_eq!(parse(text).as_deref(), Some(parsed));
        }
        assert_eq!(["", "host:1", "70000", "1.2.3.4"].map(parse), [const { None }; 4]);
    }
}
