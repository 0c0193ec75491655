//! The round trip of an invoke: the renderer's call, main's handler, the reply in the caller's hands.

use std::{process::ExitCode, time::Duration};

use benches::{Backend, Job, Pair, Pins, Wait, is_renderer, renderer_main};
use criterion::{BenchmarkId, Criterion, Throughput};

const PAYLOADS: [usize; 3] = [48, 1024, 64 * 1024];

fn main() -> ExitCode {
    if is_renderer() {
        return renderer_main();
    }
    let pins = Pins::choose().expect("two processors");
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    let mut group = criterion.benchmark_group("invoke");
    for payload in PAYLOADS {
        let job =
            Job { payload, wait: Wait::Adaptive, backend: Backend::Sealed, pins, pinned: true };
        let pair = Pair::launch(job).expect("a renderer");
        group.throughput(Throughput::Bytes(payload as u64));
        group.bench_function(BenchmarkId::from_parameter(payload), |bencher| {
            bencher.iter_custom(|count| pair.invoke_untimed(count).expect("replies").elapsed);
        });
        pair.close().expect("an end");
    }
    group.finish();
    criterion.final_summary();
    ExitCode::SUCCESS
}
