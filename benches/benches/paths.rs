//! The three paths by criterion: `invoke`, `push` and `send`, between two pinned processes.

use std::{process::ExitCode, time::Duration};

use benches::{Error, Job, Limit, Pair, latency::Pattern, take_part};
use criterion::{BenchmarkId, Criterion, Throughput};

const PAYLOADS: [usize; 3] = [48, 1024, 64 * 1024];

fn main() -> ExitCode {
    take_part().unwrap_or_else(|| {
        measure().expect("a pair of processes");
        ExitCode::SUCCESS
    })
}

fn measure() -> Result<(), Error> {
    let job = Job::pinned()?;
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();

    // The renderer's call, main's handler, the reply in the caller's hands.
    let mut group = criterion.benchmark_group("invoke");
    for payload in PAYLOADS {
        let mut pair = Pair::launch(job.of(Pattern::Invoke, payload))?;
        group.throughput(Throughput::Bytes(payload as u64));
        group.bench_function(BenchmarkId::from_parameter(payload), |bencher| {
            bencher.iter_custom(|count| pair.invoke_untimed(count).expect("replies").elapsed);
        });
        pair.close()?;
    }
    group.finish();

    // From before main's call until the renderer's listener runs. The next push follows when it was taken.
    let mut pair = Pair::launch(job.of(Pattern::Push, 48))?;
    criterion.bench_function("push one way/48", |bencher| {
        bencher.iter_custom(|count| pair.work(Limit::count(count)).expect("pushes").sum);
    });
    pair.close()?;

    // A stream from the renderer, until main's listener has counted the last message.
    let mut pair = Pair::launch(job.of(Pattern::Send, 48))?;
    let mut group = criterion.benchmark_group("send throughput");
    group.throughput(Throughput::Elements(1));
    group.bench_function("48", |bencher| {
        bencher.iter_custom(|count| pair.work(Limit::count(count)).expect("a stream").elapsed);
    });
    group.finish();
    pair.close()?;
    criterion.final_summary();
    Ok(())
}
