//! A renderer's source: main's frames, read in place, and the topics.

use std::{io, time::Instant};

use super::{shared::RendererShared, topics::ReadTopics};
use crate::{
    event_loop::driver::{BATCH, Progress, Source, Stop},
    kill_points::{KillPoint, reach},
    os::{
        clock::{self, Punctual},
        processor,
    },
    peer::{
        dispatch::{FollowUp, Routes},
        requests::outcome::Awaited,
    },
    ring::consumer::Consumer,
    session::liveness::GoneReason,
    sync::{loop_cell::LoopKey, snapshot::Cached},
    wake::{adaptive::Waiter, first_look::FirstLook},
};

pub(crate) struct Inbox {
    consumer: Consumer,
    pub(super) topics: ReadTopics,
    routes: Cached<Routes>,
    /// To the listeners and handlers of the application.
    pub(super) key: LoopKey,
    /// When the next request expires.
    request_until: Option<Instant>,
    /// Rings in a row from this thread's processor.
    rung_beside: u32,
    first_look: FirstLook,
    /// The bytes that were sent and received before this wait.
    moved: u64,
}

/// The longest delay of the first look for a reply, in ticks: 0.4 to 0.8 µs.
const FIRST_LOOK_MAX: u32 = 1500;

/// Rings in a row from this thread's processor, after which the thread leaves it.
const RUNG_BESIDE_MAX: u32 = 2;

impl Inbox {
    pub(super) fn new(consumer: Consumer, routes: Cached<Routes>, key: LoopKey) -> Self {
        Self {
            consumer,
            topics: ReadTopics::default(),
            routes,
            key,
            request_until: None,
            rung_beside: 0,
            first_look: FirstLook::new(FIRST_LOOK_MAX),
            moved: 0,
        }
    }

    #[inline]
    fn take_frames(
        &mut self,
        renderer: &RendererShared,
        awaited: &mut Option<&mut Awaited<'_>>,
    ) -> Progress {
        let RendererShared { port, dispatcher, .. } = renderer;
        for taken in 0..BATCH {
            let frame = match self.consumer.peek() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Progress { taken, took_long: false },
                Err(violation) => {
                    // Main is trusted, but a session that cannot be read is over.
                    port.counters.violations.add();
                    port.end(GoneReason::ProtocolViolation(violation));
                    return Progress { taken, took_long: false };
                }
            };
            reach(KillPoint::FrameReceived);
            let routes = self.routes.refresh();
            let bytes = self.consumer.payload(&frame);
            let received = dispatcher.receive(
                port,
                frame.header,
                bytes,
                routes,
                &mut self.key,
                awaited.as_deref_mut(),
            );
            if received.is_err() {
                port.counters.violations.add();
            }
            reach(KillPoint::FrameHandled);
            let is_alone = self.consumer.is_published();
            self.consumer.advance(frame);
            let took_long = matches!(received, Ok(FollowUp::GiveRoomBack { .. }));
            let settled = awaited.as_ref().is_some_and(|awaited| awaited.settled);
            // Perhaps no thread drives for a long time after the awaited reply. Main would call this renderer
            // unresponsive for a message in front of the reply, but not for the reply.
            if took_long || self.consumer.publish_due() || settled && !is_alone {
                self.publish(renderer);
            }
            if took_long || settled {
                return Progress { taken: taken + 1, took_long };
            }
        }
        Progress { taken: BATCH, took_long: false }
    }

    /// Tells main how far we have read, if it does not know.
    fn publish(&mut self, renderer: &RendererShared) -> bool {
        let published = self.consumer.publish();
        if published {
            renderer.port.bell.room_published(&renderer.port.counters.wakes);
        }
        published
    }

    fn has_news(&mut self) -> bool {
        !matches!(self.consumer.peek(), Ok(None)) || self.topics.has_news()
    }
}

impl Source for Inbox {
    type Shared = RendererShared;

    #[inline]
    fn turn(
        &mut self,
        renderer: &RendererShared,
        awaited: &mut Option<&mut Awaited<'_>>,
    ) -> Progress {
        let RendererShared { port, dispatcher, topics, hung_up, .. } = renderer;
        let Progress { mut taken, took_long } = self.take_frames(renderer, awaited);
        if topics.have_changed() {
            self.topics.apply(topics);
        }
        if !self.topics.topics.is_empty() {
            taken += self.topics.take(port, dispatcher, &mut self.routes, &mut self.key, BATCH);
        }
        // Every time: a steady stream of messages must not hold up what waits for room or is ready.
        port.sender.flush();
        taken += dispatcher.executor.run_ready();
        if taken == 0 {
            // Found empty: main may have waited for the room.
            if self.publish(renderer) {
                taken += usize::from(self.has_news());
            }
            if hung_up.is_raised() && taken == 0 && !self.has_news() {
                port.end(GoneReason::MainGone);
            }
        }
        Progress { taken, took_long }
    }

    #[inline]
    fn moved(&mut self, renderer: &RendererShared) -> u64 {
        let moved = renderer.port.sender.sent().wrapping_add(self.consumer.position());
        moved.wrapping_sub(std::mem::replace(&mut self.moved, moved))
    }

    #[inline]
    fn put_off_first_look(&mut self, renderer: &RendererShared) {
        self.first_look.begin(renderer.port.sender.requested_at());
        while self.first_look.is_put_off(|| self.consumer.has_frame()) {}
    }

    /// Moves this thread away from the sender, where messages come by a clock.
    ///
    /// A ring pulls the woken thread to the sender's processor. There the spin before the next message would keep
    /// the sender from sending it in time, so that neither is ever awake for the other. Irregular messages are
    /// better off on one processor: a wake-up across processors takes longer.
    #[cold]
    fn woken(&mut self, renderer: &RendererShared, waiter: &mut Waiter) {
        let sender = renderer.port.peer.bell.rung_on();
        let beside = sender.is_some() && sender == processor::current();
        self.rung_beside = if beside { self.rung_beside + 1 } else { 0 };
        let leaves = self.rung_beside >= RUNG_BESIDE_MAX && waiter.has_beat();
        let left = leaves && sender.is_some_and(processor::leave);
        if leaves {
            self.rung_beside = 0;
        }
        waiter.set_beside_sender(beside && !left);
    }

    fn is_over(&self, renderer: &RendererShared) -> bool {
        let port = &renderer.port;
        let Some(reason) = port.gone() else { return false };
        // What waits is settled by the end of the session, which may have just begun on another thread.
        port.end(reason.clone());
        true
    }

    fn keep_deadlines(&mut self, renderer: &RendererShared, now: Instant) -> Option<Instant> {
        let port = &renderer.port;
        if port.has_new_deadlines() || self.request_until.is_some_and(|until| until <= now) {
            self.request_until = port.expire(now);
        }
        // Its cancels may have found the outbox taken.
        port.sender.flush();
        self.request_until
    }

    fn keep_house(&mut self, renderer: &RendererShared, now: Instant) -> io::Result<()> {
        self.keep_deadlines(renderer, now);
        self.publish(renderer);
        Ok(())
    }

    fn park(
        &mut self,
        renderer: &RendererShared,
        until: Option<Instant>,
        alarm: Option<Instant>,
        stop: Stop<'_>,
    ) -> io::Result<()> {
        let RendererShared { port, dispatcher, topics, hung_up, .. } = renderer;
        let _punctual = alarm.map(|_| Punctual::begin());
        port.own.alarm.set(alarm.and_then(clock::alarm_ns));
        let until = [until, alarm].into_iter().flatten().min();
        // Read before the last look, so that an event after it ends the sleep.
        let (bell, interrupt) = (port.peer.bell.read(), port.interrupt.read());
        port.own.parked.announce();
        reach(KillPoint::ParkAnnounced);
        let has_work = self.has_news()
            || stop.is_asked()
            || hung_up.is_raised()
            || topics.have_changed()
            || dispatcher.executor.has_ready()
            || port.gone().is_some();
        if !has_work {
            port.counters.parks.add_alone(1);
            port.interrupt.sleep(&port.peer.bell, bell, interrupt, until);
        }
        reach(KillPoint::ParkEnded);
        port.own.parked.withdraw();
        Ok(())
    }

    fn leave(&mut self, renderer: &RendererShared) {
        self.publish(renderer);
    }
}
