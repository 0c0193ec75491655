//! A stream of messages from the renderer, until main's listener has counted the last.

use std::{process::ExitCode, time::Duration};

use benches::{Backend, Job, Limit, Pair, Pins, Wait, is_renderer, renderer_main};
use criterion::{Criterion, Throughput};

fn main() -> ExitCode {
    if is_renderer() {
        return renderer_main();
    }
    let pins = Pins::choose().expect("two processors");
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    let job =
        Job { payload: 48, wait: Wait::Adaptive, backend: Backend::Sealed, pins, pinned: true };
    let pair = Pair::launch(job).expect("a renderer");
    let mut group = criterion.benchmark_group("send throughput");
    group.throughput(Throughput::Elements(1));
    group.bench_function("48", |bencher| {
        bencher.iter_custom(|count| pair.send(Limit::count(count)).expect("a stream").elapsed);
    });
    group.finish();
    pair.close().expect("an end");
    criterion.final_summary();
    ExitCode::SUCCESS
}
