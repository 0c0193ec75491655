//! Main's metrics for Prometheus, over HTTP.
//!
//! Each request reads the numbers at that moment; without requests there is no cost. A window that is gone is in no
//! response. The server has a thread of its own, and never calls into the loop's.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr, TcpListener},
    str::FromStr,
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
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use ringbridge::{Counters, IpcMain, MainMetrics, Metric, MetricKind, SessionMetrics, WebContents};

/// The format's media type.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The address of the server: a port of the loopback device, or another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = text.parse().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
        port.or_else(|_| text.parse()).map(Self).map_err(|_| {
            "give a port, such as 9464, or an address, such as 0.0.0.0:9464".to_owned()
        })
    }
}

/// Serves the endpoint's metrics until this process ends. Returns the address; port 0 becomes a free port.
pub(crate) fn start(address: Address, ipc: &IpcMain) -> Result<SocketAddr, Box<dyn Error>> {
    let failed = |error| format!("cannot serve metrics at {}: {error}", address.0);
    let listener = TcpListener::bind(address.0).map_err(failed)?;
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
    if !names_this_machine(&headers) {
        return Err((StatusCode::FORBIDDEN, "this server has no name: use its address"));
    }
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page)),
        Err(fmt::Error) => Err((StatusCode::INTERNAL_SERVER_ERROR, "a number has no text")),
    }
}

/// Returns whether a request names an address. A page of another site, whose name was rebound to this address, does not.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| {
        let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
        let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
        is_address || name == "localhost"
    })
}

/// The endpoint, read at each request.
#[derive(Debug)]
struct Endpoint(IpcMain);

impl Collector for Endpoint {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let main = self.0.metrics();
        for (metric, (_, value)) in MainMetrics::DESCRIPTIONS.iter().zip(main.iter()) {
            let name = format!("main_{}", metric.name);
            let encoder = encoder.encode_descriptor(&name, metric.help, None, type_of(metric))?;
            encode(metric, value, encoder)?;
        }
        let windows = self.0.windows();
        let read = |read: fn(&WebContents) -> Vec<u64>| windows.iter().map(read).collect();
        let sets: [(&[Metric], Vec<Vec<u64>>); 2] = [
            (SessionMetrics::DESCRIPTIONS, read(|window| values(window.metrics().iter()))),
            (Counters::DESCRIPTIONS, read(|window| values(window.counters().iter()))),
        ];
        for (descriptions, numbers) in sets {
            for (place, metric) in descriptions.iter().enumerate() {
                let name = format!("window_{}", metric.name);
                let mut family =
                    encoder.encode_descriptor(&name, metric.help, None, type_of(metric))?;
                for (window, numbers) in windows.iter().zip(&numbers) {
                    let labels = [("window", window.id()), ("pid", window.os_process_id())];
                    encode(metric, numbers[place], family.encode_family(&labels)?)?;
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

fn encode(
    metric: &Metric,
    value: u64,
    encoder: prometheus_client::encoding::MetricEncoder<'_>,
) -> Result<(), fmt::Error> {
    match metric.kind {
        MetricKind::Counter => ConstCounter::new(value).encode(encoder),
        MetricKind::Gauge => {
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_device() {
        let parse = |text: &str| text.parse().map(|Address(address)| address.to_string());
        assert_eq!(parse("9464").as_deref(), Ok("127.0.0.1:9464"));
        assert_eq!(parse("0.0.0.0:1").as_deref(), Ok("0.0.0.0:1"));
        assert_eq!(parse("[::1]:0").as_deref(), Ok("[::1]:0"));
        for bad in ["", "host:1", "70000", "1.2.3.4"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_by_another_name_is_refused() {
        let asked = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            names_this_machine(&headers)
        };
        for host in ["127.0.0.1:9464", "127.0.0.1", "localhost:1", "[::1]:9464", "10.0.0.7:80"] {
            assert!(asked(host), "{host}");
        }
        let others = "example.org example.org:9464 localhost.example.org:1 127.0.0.1.nip.io";
        for host in others.split(' ') {
            assert!(!asked(host), "{host}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }
}
