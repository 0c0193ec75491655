//! The quota of one renderer: token buckets for its frames and bytes.
//!
//! ```text
//!   a turn     asks the buckets for the number of frames    no clock
//!              takes the tokens of the frames it took
//!   empty      fills them by the clock; still empty?         the window is held until there is enough
//! ```
//!
//! So main reads the clock once a bucketful, not once a frame. A sender may use up one bucketful and find the
//! next one filled, so a bucket holds half of the burst. Times are arguments: this file reads no clock.

use std::time::{Duration, Instant};

/// The shortest hold of a window. It bounds main's work for a flood.
pub(crate) const HOLD_MIN: Duration = Duration::from_millis(1);
/// The longest hold. Main's own messages to the window may wait meanwhile.
pub(crate) const HOLD_MAX: Duration = Duration::from_millis(100);
/// The least time that a bucket covers. Main looks at a held window only now and then, so less would lower the rate.
const FILLED_IN_MIN: Duration = Duration::from_millis(5);

const NANOS: u128 = 1_000_000_000;

/// A rate, and a burst.
///
/// ```
/// use ringbridge::Quota;
/// let quota = Quota::per_second(10_000).burst(500);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    per_second: u64,
    burst: u64,
}

impl Quota {
    /// A rate of `amount` a second (at least 1), with a burst of a tenth of that.
    pub fn per_second(amount: u64) -> Self {
        let per_second = amount.clamp(1, i64::MAX as u64);
        Self { per_second, burst: per_second / 10 }
    }

    /// Sets the most that goes through at once after a pause. The minimum is the rate's amount in 10 ms.
    #[must_use]
    pub fn burst(mut self, amount: u64) -> Self {
        self.burst = amount.min(i64::MAX as u64);
        self
    }

    pub(crate) fn amount_per_second(&self) -> u64 {
        self.per_second
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    per_second: u64,
    capacity: i64,
    /// Negative while overdrawn.
    tokens: i64,
    filled_at: Instant,
}

impl Bucket {
    fn new(quota: Quota, now: Instant) -> Self {
        let least = u128::from(quota.per_second) * FILLED_IN_MIN.as_nanos() / NANOS;
        let capacity = (quota.burst / 2).max(least as u64).max(1) as i64;
        Self { per_second: quota.per_second, capacity, tokens: capacity, filled_at: now }
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at).as_nanos();
        let gained = elapsed * u128::from(self.per_second) / NANOS;
        let room = self.capacity.abs_diff(self.tokens);
        if gained >= u128::from(room) {
            self.tokens = self.capacity;
            self.filled_at = now;
        } else {
            // Less than the room, so the sum fits. `filled_at` keeps the fraction of a token.
            self.tokens = (i128::from(self.tokens) + gained as i128) as i64;
            self.filled_at += self.time_for(gained);
        }
    }

    /// The time for this many tokens, rounded up.
    fn time_for(&self, tokens: u128) -> Duration {
        let nanos = (tokens * NANOS).div_ceil(u128::from(self.per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The time of the next token. Call right after `fill`.
    fn ready_at(&self) -> Option<Instant> {
        let missing = 1 - i128::from(self.tokens);
        match u128::try_from(missing) {
            Ok(missing) if missing > 0 => self.filled_at.checked_add(self.time_for(missing)),
            _ => Some(self.filled_at),
        }
    }

    fn take(&mut self, amount: u64) {
        self.tokens = self.tokens.saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX));
    }
}

/// The remaining quota of one window.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    frames: Option<Bucket>,
    bytes: Option<Bucket>,
    /// The most bytes that one frame takes.
    frame_len_max: u64,
}

impl Allowance {
    /// `None` without a quota.
    pub(crate) fn new(
        frames: Option<Quota>,
        bytes: Option<Quota>,
        frame_len_max: usize,
        now: Instant,
    ) -> Option<Self> {
        let bucket = |quota| Bucket::new(quota, now);
        let (frames, bytes) = (frames.map(bucket), bytes.map(bucket));
        let any = frames.is_some() || bytes.is_some();
        any.then_some(Self { frames, bytes, frame_len_max: frame_len_max.max(1) as u64 })
    }

    /// Returns the number of frames that main may take now, up to `max`. Their bytes are known only afterwards, so at
    /// most one of them exceeds the quota of bytes, and a longer hold follows.
    pub(crate) fn frames(&self, max: usize) -> usize {
        let tokens = |bucket: &Bucket| u64::try_from(bucket.tokens).unwrap_or(0);
        let frames = self.frames.as_ref().map_or(u64::MAX, tokens);
        let by_bytes = self.bytes.as_ref().map_or(u64::MAX, |bytes| match tokens(bytes) {
            0 => 0,
            tokens => (tokens / self.frame_len_max).max(1),
        });
        usize::try_from(frames.min(by_bytes)).map_or(max, |frames| frames.min(max))
    }

    /// Takes the tokens of these frames and bytes.
    pub(crate) fn take(&mut self, frames: usize, bytes: u64) {
        if let Some(bucket) = &mut self.frames {
            bucket.take(frames as u64);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.take(bytes);
        }
    }

    /// Adds the tokens up to `now`.
    pub(crate) fn fill(&mut self, now: Instant) {
        let buckets = [&mut self.frames, &mut self.bytes].into_iter().flatten();
        buckets.for_each(|bucket| bucket.fill(now));
    }

    /// Returns the end of the hold of a window whose buckets are empty after `fill`.
    pub(crate) fn held_until(&self, now: Instant) -> Instant {
        let buckets = [&self.frames, &self.bytes].into_iter().flatten();
        let ready = buckets.map(|bucket| bucket.ready_at().unwrap_or(now + HOLD_MAX));
        ready.max().unwrap_or(now).clamp(now + HOLD_MIN, now + HOLD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn allowance(frames: Option<Quota>, bytes: Option<Quota>, now: Instant) -> Allowance {
        Allowance::new(frames, bytes, 1024, now).unwrap()
    }

    #[test]
    fn without_a_quota_there_is_nothing_to_keep() {
        assert!(Allowance::new(None, None, 1024, Instant::now()).is_none());
    }

    #[test]
    fn over_a_long_time_exactly_the_rate_goes_through_whatever_the_looks() {
        for look_every in [MS, 7 * MS, 33 * MS] {
            let began = Instant::now();
            let mut allowance = allowance(Some(Quota::per_second(1000).burst(200)), None, began);
            let (mut now, mut taken) = (began, 0);
            while now < began + Duration::from_secs(20) {
                allowance.fill(now);
                let frames = allowance.frames(64);
                allowance.take(frames, 0);
                taken += frames;
                now += look_every;
            }
            // The first bucketful, and one token that was just coming.
            assert!((20_000 - 40..=20_000 + 101).contains(&taken), "{taken} by {look_every:?}");
        }
    }

    #[test]
    fn no_more_than_the_burst_goes_through_at_once_after_any_pause() {
        let began = Instant::now();
        let mut allowance = allowance(Some(Quota::per_second(10).burst(64)), None, began);
        let now = began + Duration::from_secs(1000);
        let mut at_once = 0;
        // Used up, filled by the clock, used up.
        for _ in 0..3 {
            let frames = allowance.frames(usize::MAX);
            allowance.take(frames, 0);
            at_once += frames;
            allowance.fill(now);
        }
        assert_eq!(at_once, 64);
        assert_eq!(allowance.frames(64), 0);
        assert_eq!(allowance.held_until(now), now + HOLD_MAX, "a token takes longer than that");
    }

    #[test]
    fn bytes_are_overdrawn_by_one_frame_at_the_most_and_that_is_paid_back() {
        let began = Instant::now();
        let mut allowance = allowance(None, Some(Quota::per_second(10_000).burst(2000)), began);
        assert_eq!(allowance.frames(64), 1, "all of which might be the largest");
        allowance.take(1, 999);
        assert_eq!(allowance.frames(64), 1);
        allowance.take(1, 1024);
        assert_eq!(allowance.frames(64), 0);
        // 1023 are owed, and a hundred milliseconds bring a thousand.
        allowance.fill(began + 100 * MS);
        assert_eq!(allowance.frames(64), 0);
        allowance.fill(began + 103 * MS);
        assert_eq!(allowance.frames(64), 1);
    }

    #[test]
    fn the_scarcer_of_two_quotas_decides() {
        let now = Instant::now();
        let many = Quota::per_second(1 << 30);
        let few = Quota::per_second(100).burst(6);
        assert_eq!(allowance(Some(few), Some(many), now).frames(64), 3);
        assert_eq!(allowance(Some(many), Some(Quota::per_second(1 << 20)), now).frames(64), 51);
    }

    #[test]
    fn a_window_is_held_until_there_is_a_token_and_for_a_moment_at_least() {
        let now = Instant::now();
        let mut slow = allowance(Some(Quota::per_second(50).burst(0)), None, now);
        slow.take(1, 0);
        slow.fill(now);
        assert_eq!(slow.held_until(now), now + 20 * MS);
        let mut fast = allowance(Some(Quota::per_second(1_000_000)), None, now);
        fast.take(fast.frames(usize::MAX), 0);
        fast.fill(now);
        assert_eq!(fast.held_until(now), now + HOLD_MIN);
    }

    #[test]
    fn a_quota_of_nothing_is_one_in_a_second() {
        assert_eq!(Quota::per_second(0), Quota::per_second(1));
    }
}
