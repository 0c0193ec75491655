//! A page that stays open while main pushes 10,000 times a second.

use std::{
    env,
    time::{Duration, Instant},
};

use tests::proc::{command_line, processor_time, resident_memory_of as memory};

use super::{Browser, Scheme, Served};

/// The duration in seconds, unless `RINGBRIDGE_PAGE_SECONDS` is set.
const SECONDS: u64 = 300;
/// The time after which each process has allocated its memory.
const WARM_UP: Duration = Duration::from_secs(15);
/// The time for which main is measured before there is a page.
const ALONE: Duration = Duration::from_secs(8);
/// The growth of a process in bytes. A browser collects its garbage when it likes.
const GROWTH_MAX: u64 = 8 << 20;
const PAGE_GROWTH_MAX: u64 = 48 << 20;

/// A process's use of a core in percent, measured from now on.
fn share_of_a_core(process_id: u32, duration: Duration) -> f64 {
    let before = processor_time(process_id);
    std::thread::sleep(duration);
    100.0 * (processor_time(process_id) - before).as_secs_f64() / duration.as_secs_f64()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The browser's process for the page's scripts: its renderer with most memory.
fn page_process(browser: &Browser) -> u32 {
    // Chromium joins its arguments into one.
    let is_renderer =
        |id: &u32| command_line(*id).iter().any(|word| word.contains("--type=renderer"));
    let renderers = browser.processes().into_iter().filter(is_renderer);
    renderers.max_by_key(|id| memory(*id)).expect("a page has a process")
}

#[test]
#[ignore = "takes minutes: cargo test --profile testing -p tests --test page -- --ignored --nocapture"]
fn sixty_updates_a_second_and_no_growth_while_main_pushes_ten_thousand() {
    let seconds = env::var("RINGBRIDGE_PAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    let duration = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let served = Served::start(&["--push-interval", "100us"]);
    let main_alone = share_of_a_core(served.main.id(), ALONE);
    println!("main: {main_alone:.1} % of a core without a page");
    let Some(browser) = Browser::start(Scheme::Light) else { return };
    served.show_in(&browser);
    browser.run(
        "window.updates = 0; window.frames = 0; window.pushes = 0; \
         electron.on('statistics', (stats, { count }) => { updates += 1; pushes += count; }); \
         const frame = () => { frames += 1; requestAnimationFrame(frame); }; frame();",
    );
    std::thread::sleep(WARM_UP);

    let processes = [
        ("main", served.main.id(), GROWTH_MAX),
        ("renderer", served.renderer.id(), GROWTH_MAX),
        ("page", page_process(&browser), PAGE_GROWTH_MAX),
    ];
    let memories = || {
        // Garbage that waits to be collected is no growth.
        browser.run("gc()");
        processes.map(|(_, id, _)| memory(id))
    };
    let before = memories();
    browser.run("updates = 0; frames = 0; pushes = 0");
    let used_before = processes.map(|(_, id, _)| processor_time(id));
    let began = Instant::now();
    std::thread::sleep(duration);
    let seconds = began.elapsed().as_secs_f64();
    let used_after = processes.map(|(_, id, _)| processor_time(id));
    let rate = |what: &str| browser.run(&format!("return {what}")).as_f64().unwrap() / seconds;
    let after = memories();
    let (updates, frames, pushes) = (rate("updates"), rate("frames"), rate("pushes"));
    println!(
        "{seconds:.0} s: {updates:.1} updates/s of {frames:.1} frames/s, for {pushes:.0} pushes/s"
    );
    browser.keep_picture("page-after.png");
    // The browser's own rate is less where others want its cores, and then a push may miss a frame.
    assert!(updates >= 0.9 * frames.min(60.0), "{updates} updates of {frames} frames");
    for (place, (name, _, most)) in processes.into_iter().enumerate() {
        let (before, after) = (before[place], after[place]);
        let used = 100.0 * (used_after[place] - used_before[place]).as_secs_f64() / seconds;
        let (mib_before, mib_after) = (mib(before), mib(after));
        println!("{name}: {mib_before:.1} MiB before, {mib_after:.1} after; {used:.1} % of a core");
        assert!(before > 0 && after > 0, "{name} was alive all the time");
        assert!(after <= before + most, "{name} grew from {before} to {after}");
    }
}
