//! The demo's contract for a page: the channels that it may use, and their values as JSON.

use contract::{CONTRACT, GET_SYSTEM_INFO, LOG_MESSAGE, READ_FILE, STATISTICS};
use ringbridge::{ContextBridge, Error, ExposeError, Exposed, IpcRenderer};
use serde::Serialize;
use serde_json::Value;

use super::protocol::AboutChannel;
use crate::report::figures;

/// The maximum length of a line for main's log, in bytes.
const LOG_LEN_MAX: usize = 1024;
const PATH_LEN_MAX: usize = 4096;

/// Returns a bridge with the channels that main allows this renderer, and the list of all channels.
pub(super) fn expose(
    ipc: &IpcRenderer,
) -> Result<(ContextBridge<Value>, Vec<AboutChannel>), Error> {
    let read_file = Exposed::invoke(READ_FILE, |value| text(value, PATH_LEN_MAX), file);
    let get_system_info = Exposed::invoke(GET_SYSTEM_INFO, nothing, |info| Ok(camel_case(&info)));
    let statistics = Exposed::on(STATISTICS, statistics);
    let all = [
        ("send", LOG_MESSAGE.name(), Exposed::send(LOG_MESSAGE, |value| text(value, LOG_LEN_MAX))),
        ("invoke", GET_SYSTEM_INFO.name(), get_system_info),
        ("invoke", READ_FILE.name(), read_file),
        ("on", STATISTICS.name(), statistics),
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

/// Converts a file to a string, since JSON has no bytes.
fn file(bytes: Vec<u8>) -> Result<Value, String> {
    String::from_utf8(bytes).map(Value::String).map_err(|_| "the file is not text".to_owned())
}

/// Converts a push. Times are in milliseconds of the machine's clock.
fn statistics(statistics: &contract::Statistics) -> Value {
    let milliseconds = |ns: u64| ns as f64 / 1e6;
    let mut value = camel_case(&figures(statistics));
    value["sentAt"] = milliseconds(statistics.sent_ns).into();
    value["sampledAt"] =
        statistics.is_sampled().then(|| milliseconds(statistics.sampled_ns)).into();
    value
}

/// Serializes a struct with names in Electron's style: `totalMemory`, and `uptime` without its unit.
fn camel_case(value: &impl Serialize) -> Value {
    let Ok(Value::Object(fields)) = serde_json::to_value(value) else {
        unreachable!("a struct of numbers and text is a JSON object");
    };
    let rename = |name: String| {
        let mut words = name.trim_end_matches("_s").split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
    };
    fields.into_iter().map(|(name, value)| (rename(name), value)).collect()
}

#[cfg(test)]
mod tests {
    use contract::{Statistics, SystemInfo};
    use ringbridge::zerocopy::FromZeros;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_electrons_names_and_null_stands_for_the_unknown() {
        let mut sample = Statistics::new_zeroed();
        (sample.core_count, sample.sampled_ns, sample.cpu_usage) = (2, 2_500_000, 12.345);
        sample.core_usage[1] = f32::NAN;
        let expected = json!({
            "sequence": 0, "sentAt": 0.0, "sampledAt": 2.5, "cpuUsage": 12.35,
            "coreUsage": [0.0, null], "memoryTotal": 0, "memoryUsed": 0, "memoryAvailable": 0,
            "swapTotal": 0, "swapUsed": 0, "load": [0.0, 0.0, 0.0], "mainCpuUsage": 0.0,
            "mainMemory": 0,
        });
        assert_eq!(statistics(&sample), expected);
        sample.sampled_ns = 0;
        assert_eq!(statistics(&sample)["cpuUsage"], Value::Null);
        assert_eq!(statistics(&sample)["sampledAt"], Value::Null);
        let expected = json!({
            "cpuModel": "", "cores": 0, "totalMemory": 0, "os": "", "kernel": "", "hostName": "",
            "uptime": 0,
        });
        assert_eq!(camel_case(&SystemInfo::new_zeroed()), expected);
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_the_expected_kind() {
        assert_eq!(text(json!("a"), 1), Ok("a".to_owned()));
        let error = "expected a string of 1 bytes at the most";
        assert_eq!(text(json!("ab"), 1), Err(error.to_owned()));
        assert_eq!(text(json!([1]), 9), Err("expected a string, got an array".to_owned()));
        assert_eq!(nothing(Value::Null), Ok(()));
        assert_eq!(nothing(json!({})), Err("expected no argument, got an object".to_owned()));
        assert_eq!(file(b"abc".to_vec()), Ok(json!("abc")));
        assert!(file(vec![0xff]).is_err());
    }
}
