//! A push on its way: from before main's call until the renderer's listener runs. The next one leaves
//! when the last has been taken.

use std::{process::ExitCode, time::Duration};

use benches::{Backend, Job, Limit, Pair, Pins, Wait, is_renderer, renderer_main};
use criterion::Criterion;

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
    criterion.bench_function("push one way/48", |bencher| {
        bencher.iter_custom(|count| {
            let slice = pair.push(Limit::count(count)).expect("pushes");
            Duration::from_nanos(slice.samples.iter().sum())
        });
    });
    pair.close().expect("an end");
    criterion.final_summary();
    ExitCode::SUCCESS
}
