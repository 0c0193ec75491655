//! The listeners and the handler of each channel: Electron's `EventEmitter` and handler map.
//!
//! Listeners run in the order of their registration; the same one may be registered twice. A channel
//! has one handler at most. `once` and `handle_once` are taken out *before* they run, so that they
//! may register again from inside. Validators stay for good.
//!
//! The router knows no payload, no ring and no clock. It is in a
//! [`Snapshot`](crate::sync::snapshot::Snapshot), hence `Clone`.

/// Names one registration, to remove it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u64);

/// How often a registration serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    Once,
    Always,
}

#[derive(Clone)]
pub(crate) struct Registered<F> {
    pub(crate) id: ListenerId,
    pub(crate) times: Times,
    pub(crate) function: F,
}

#[derive(Clone)]
pub(crate) struct Route<L, H, V> {
    pub(crate) listeners: Vec<Registered<L>>,
    pub(crate) handler: Option<Registered<H>>,
    /// Asked first, in order.
    pub(crate) validators: Vec<V>,
}

/// Routes by channel number.
#[derive(Clone)]
pub(crate) struct Router<L, H, V> {
    routes: Vec<Route<L, H, V>>,
    next_id: u64,
}

impl<L: Clone, H: Clone, V: Clone> Router<L, H, V> {
    pub(crate) fn new(channels: usize) -> Self {
        let nobody = Route { listeners: Vec::new(), handler: None, validators: Vec::new() };
        Self { routes: vec![nobody; channels], next_id: 1 }
    }

    /// `None`: no such channel.
    pub(crate) fn route(&self, channel: u16) -> Option<&Route<L, H, V>> {
        self.routes.get(usize::from(channel))
    }

    pub(crate) fn on(&mut self, channel: u16, times: Times, function: L) -> ListenerId {
        let id = self.next_id();
        self.routes[usize::from(channel)].listeners.push(Registered { id, times, function });
        id
    }

    pub(crate) fn validate(&mut self, channel: u16, function: V) {
        self.routes[usize::from(channel)].validators.push(function);
    }

    /// The same registrations, under the same ids, where channels have other numbers. `Err`: a channel on which
    /// something is registered has none there.
    pub(crate) fn renumbered(
        &self,
        channels: usize,
        number: impl Fn(u16) -> Option<u16>,
    ) -> Result<Self, u16> {
        let mut moved = Self { next_id: self.next_id, ..Self::new(channels) };
        for (old, route) in (0..).zip(&self.routes) {
            if route.listeners.is_empty() && route.handler.is_none() && route.validators.is_empty()
            {
                continue;
            }
            let new = number(old).and_then(|new| moved.routes.get_mut(usize::from(new)));
            *new.ok_or(old)? = route.clone();
        }
        Ok(moved)
    }

    /// Removes one listener; `false` if it is not there (any more).
    pub(crate) fn off(&mut self, id: ListenerId) -> bool {
        self.routes.iter_mut().any(|route| {
            let place = route.listeners.iter().position(|listener| listener.id == id);
            place.map(|place| route.listeners.remove(place)).is_some()
        })
    }

    /// Removes the listeners of one channel, or of all.
    pub(crate) fn remove_all_listeners(&mut self, channel: Option<u16>) {
        match channel {
            Some(channel) => self.routes[usize::from(channel)].listeners.clear(),
            None => self.routes.iter_mut().for_each(|route| route.listeners.clear()),
        }
    }

    /// Sets the channel's handler; `false` if it has one.
    pub(crate) fn handle(&mut self, channel: u16, times: Times, function: H) -> bool {
        let id = self.next_id();
        let place = &mut self.routes[usize::from(channel)].handler;
        let is_free = place.is_none();
        if is_free {
            *place = Some(Registered { id, times, function });
        }
        is_free
    }

    /// Silent when there is none, as in Electron.
    pub(crate) fn remove_handler(&mut self, channel: u16) {
        self.routes[usize::from(channel)].handler = None;
    }

    /// Takes a `handle_once` handler out; `false` if it has served meanwhile.
    pub(crate) fn take_handler(&mut self, channel: u16, id: ListenerId) -> bool {
        let place = &mut self.routes[usize::from(channel)].handler;
        place.take_if(|handler| handler.id == id).is_some()
    }

    fn next_id(&mut self) -> ListenerId {
        let id = ListenerId(self.next_id);
        self.next_id += 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(router: &Router<&'static str, &'static str, ()>, channel: u16) -> Vec<&'static str> {
        router.route(channel).unwrap().listeners.iter().map(|listener| listener.function).collect()
    }

    #[test]
    fn listeners_keep_the_order_of_their_registration_and_may_repeat() {
        let mut router = Router::<_, &str, ()>::new(1);
        let first = router.on(0, Times::Always, "a");
        router.on(0, Times::Once, "b");
        router.on(0, Times::Always, "a");
        assert_eq!(names(&router, 0), ["a", "b", "a"]);
        assert!(router.off(first));
        assert!(!router.off(first));
        assert_eq!(names(&router, 0), ["b", "a"]);
    }

    #[test]
    fn a_second_handler_is_refused_until_the_first_is_removed() {
        let mut router = Router::<&str, _, ()>::new(1);
        assert!(router.handle(0, Times::Always, "a"));
        assert!(!router.handle(0, Times::Always, "b"));
        router.remove_handler(0);
        router.remove_handler(0);
        assert!(router.handle(0, Times::Always, "b"));
    }

    #[test]
    fn removing_all_listeners_leaves_handlers_alone() {
        let mut router = Router::<_, _, ()>::new(2);
        router.on(0, Times::Always, "a");
        router.on(1, Times::Always, "b");
        assert!(router.handle(0, Times::Always, "h"));
        router.remove_all_listeners(Some(0));
        assert_eq!((names(&router, 0).len(), names(&router, 1).len()), (0, 1));
        router.remove_all_listeners(None);
        assert_eq!(names(&router, 1).len(), 0);
        assert!(router.route(0).unwrap().handler.is_some());
    }

    #[test]
    fn registrations_move_to_other_numbers_and_keep_their_ids() {
        let mut router = Router::<_, _, ()>::new(3);
        router.on(0, Times::Always, "a");
        let id = router.on(2, Times::Once, "c");
        assert!(router.handle(2, Times::Always, "h"));
        let mut moved =
            router.renumbered(2, |old| [Some(1), None, Some(0)][usize::from(old)]).unwrap();
        assert_eq!((names(&moved, 0), names(&moved, 1)), (vec!["c"], vec!["a"]));
        assert!(moved.route(0).unwrap().handler.is_some());
        assert!(moved.off(id));
        assert_ne!(moved.on(0, Times::Always, "d"), id);
        assert_eq!(router.renumbered(2, |old| (old == 0).then_some(1)).map(drop), Err(2));
    }

    #[test]
    fn a_handler_for_one_call_is_taken_once_and_never_its_successor() {
        let mut router = Router::<&str, _, ()>::new(1);
        assert!(router.handle(0, Times::Once, "a"));
        let id = router.route(0).unwrap().handler.as_ref().unwrap().id;
        assert!(router.take_handler(0, id));
        assert!(router.handle(0, Times::Once, "b"));
        assert!(!router.take_handler(0, id));
        assert!(router.route(0).unwrap().handler.is_some());
    }
}
