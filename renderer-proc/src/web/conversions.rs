//! The demo's contract for a page: which channels it may use, and their values as JSON.

use contract::{
    CONTRACT, GET_SYSTEM_INFO, LOG_MESSAGE, READ_FILE, STATISTICS, Statistics, SystemInfo,
};
use ringbridge::{ContextBridge, Error, ExposeError, Exposed, IpcRenderer};
use serde::Serialize;
use serde_json::{Value, json};

use super::protocol::AboutChannel;
use crate::console::two_digits;

/// How long a line for main's log may be, in bytes.
const LOG_LEN_MAX: usize = 1024;
/// How long a path may be, in bytes.
const PATH_LEN_MAX: usize = 4096;

/// A bridge with all channels of the contract that main allows this renderer, and the list of all of them.
pub(super) fn expose(
    ipc: &IpcRenderer,
) -> Result<(ContextBridge<Value>, Vec<AboutChannel>), Error> {
    let all = [
        ("send", LOG_MESSAGE.name(), Exposed::send(LOG_MESSAGE, |value| text(value, LOG_LEN_MAX))),
        (
            "invoke",
            GET_SYSTEM_INFO.name(),
            Exposed::invoke(GET_SYSTEM_INFO, nothing, |info| Ok(system_info(&info))),
        ),
        (
            "invoke",
            READ_FILE.name(),
            Exposed::invoke(READ_FILE, |value| text(value, PATH_LEN_MAX), file),
        ),
        ("on", STATISTICS.name(), Exposed::on(STATISTICS, statistics)),
    ];
    debug_assert_eq!(all.len(), CONTRACT.len());
    let mut bridge = ContextBridge::new(ipc);
    let mut channels = Vec::with_capacity(all.len());
    for (call, name, exposed) in all {
        let allowed = match bridge.expose_in_main_world(exposed) {
            Ok(()) => true,
            Err(ExposeError::Forbidden { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        channels.push(AboutChannel { name, call, allowed });
    }
    Ok((bridge, channels))
}

fn text(value: Value, len_max: usize) -> Result<String, String> {
    match value {
        Value::String(text) if text.len() <= len_max => Ok(text),
        Value::String(_) => Err(format!("expected a string of {len_max} bytes at the most")),
        other => Err(format!("expected a string, got {}", name(&other))),
    }
}

fn nothing(value: Value) -> Result<(), String> {
    match value {
        Value::Null => Ok(()),
        other => Err(format!("expected no argument, got {}", name(&other))),
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// JSON has no bytes.
fn file(bytes: Vec<u8>) -> Result<Value, String> {
    String::from_utf8(bytes).map(Value::String).map_err(|_| "the file is not text".to_owned())
}

fn system_info(info: &SystemInfo) -> Value {
    json!({
        "cpuModel": info.cpu_model.as_str(),
        "cores": info.cores,
        "totalMemory": info.total_memory,
        "os": info.os.as_str(),
        "kernel": info.kernel.as_str(),
        "hostName": info.host_name.as_str(),
        "uptime": info.uptime_s,
    })
}

/// [`Statistics`] in a page's world. What is not known, or not sampled, is `null`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatisticsTold {
    sequence: u64,
    /// Milliseconds of the machine's clock.
    sent_at: f64,
    sampled_at: Option<f64>,
    cpu_usage: Option<f64>,
    core_usage: Vec<Option<f64>>,
    memory_total: u64,
    memory_used: u64,
    memory_available: u64,
    swap_total: u64,
    swap_used: u64,
    load: [Option<f64>; 3],
    main_cpu_usage: Option<f64>,
    main_memory: u64,
}

fn statistics(statistics: &Statistics) -> Value {
    let sampled = statistics.sampled_ns != 0;
    let figure = |value| two_digits(value).filter(|_| sampled);
    let milliseconds = |ns: u64| ns as f64 / 1e6;
    let told = StatisticsTold {
        sequence: statistics.sequence,
        sent_at: milliseconds(statistics.sent_ns),
        sampled_at: sampled.then(|| milliseconds(statistics.sampled_ns)),
        cpu_usage: figure(statistics.cpu_usage),
        core_usage: statistics.cores().iter().copied().map(figure).collect(),
        memory_total: statistics.memory_total,
        memory_used: statistics.memory_used,
        memory_available: statistics.memory_available,
        swap_total: statistics.swap_total,
        swap_used: statistics.swap_used,
        load: [statistics.load_1, statistics.load_5, statistics.load_15].map(figure),
        main_cpu_usage: figure(statistics.main_cpu_usage),
        main_memory: statistics.main_memory,
    };
    serde_json::to_value(told).expect("numbers under names are JSON")
}

#[cfg(test)]
mod tests {
    use ringbridge::zerocopy::FromZeros;

    use super::*;

    #[test]
    fn a_page_sees_statistics_by_electrons_names_and_null_for_what_is_not_known() {
        let mut sample = Statistics::new_zeroed();
        (sample.core_count, sample.sampled_ns, sample.cpu_usage) = (2, 2_500_000, 12.345);
        sample.core_usage[1] = f32::NAN;
        let told = statistics(&sample);
        assert_eq!(told["cpuUsage"], 12.35);
        assert_eq!(told["coreUsage"], json!([0.0, null]));
        assert_eq!(told["sampledAt"], 2.5);
        sample.sampled_ns = 0;
        assert_eq!(statistics(&sample)["cpuUsage"], Value::Null);
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_what_was_expected() {
        assert_eq!(text(json!("a"), 1), Ok("a".to_owned()));
        assert_eq!(
            text(json!("ab"), 1),
            Err("expected a string of 1 bytes at the most".to_owned())
        );
        assert_eq!(text(json!([1]), 9), Err("expected a string, got an array".to_owned()));
        assert_eq!(nothing(Value::Null), Ok(()));
        assert_eq!(nothing(json!({})), Err("expected no argument, got an object".to_owned()));
    }

    #[test]
    fn a_file_is_text_or_an_error() {
        assert_eq!(file(b"abc".to_vec()), Ok(json!("abc")));
        assert!(file(vec![0xff]).is_err());
    }
}
