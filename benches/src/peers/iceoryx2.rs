//! iceoryx2: publish-subscribe with a polling receiver, the same with an event that wakes it, and
//! request-response.

use iceoryx2::{
    active_request::ActiveRequest,
    node::Node,
    port::{
        client::Client, listener::Listener, notifier::Notifier, publisher::Publisher,
        server::Server, subscriber::Subscriber,
    },
    prelude::{
        Config, FileName, LogLevel, NodeBuilder, Path, SemanticString, SignalHandlingMode, ipc,
        set_log_level,
    },
};

use super::queue_len;
use crate::pair::prelude::*;

type Service = ipc::Service;

/// Returns a node whose files are in the run's folder, and whose memory has the run's prefix.
fn node(stage: &Stage) -> Result<Node<Service>, Error> {
    // It prints to the standard error otherwise. Failures are returned as errors anyway.
    set_log_level(LogLevel::Fatal);
    let mut config = Config::default();
    let root = stage.job.scratch.to_str().ok_or("the folder's name is not text")?;
    config.global.set_root_path(&Path::new(root.as_bytes())?);
    config.global.prefix = FileName::new(stage.job.prefix.as_bytes())?;
    let builder = NodeBuilder::new().config(&config);
    // The run ends its processes itself.
    Ok(builder.signal_handling_mode(SignalHandlingMode::Disabled).create()?)
}

/// Publish-subscribe both ways, one service each; with an event each where the receiver sleeps.
struct PublishSubscribe {
    // Fields are dropped in this order: ports before the node.
    publisher: Publisher<Service, [u8], ()>,
    subscriber: Subscriber<Service, [u8], ()>,
    events: Option<Events>,
    _node: Node<Service>,
}

struct Events {
    notifier: Notifier<Service>,
    listener: Listener<Service>,
}

/// Connects by publish-subscribe. The receiver polls, or sleeps in its listener until the sender notifies it.
pub(super) fn publish(stage: &mut Stage, events: bool) -> Result<Box<dyn Side>, Error> {
    stage.launch()?;
    let payload = stage.payload();
    let node = node(stage)?;
    let [out, back] = [stage.is_main, !stage.is_main]
        .map(|is_main| if is_main { "from-main" } else { "from-renderer" });
    let service = |name: &str| -> Result<_, Error> {
        let builder = node.service_builder(&name.try_into()?).publish_subscribe::<[u8]>();
        Ok(builder
            .max_publishers(1)
            .max_subscribers(1)
            // A sender waits if the queue is full; the other peers lose nothing either.
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(queue_len(payload))
            .open_or_create()?)
    };
    let event = |name: &str| -> Result<_, Error> {
        Ok(node.service_builder(&name.try_into()?).event().open_or_create()?)
    };
    let (outgoing, incoming) = (service(out)?, service(back)?);
    let subscriber = incoming.subscriber_builder().create()?;
    let publisher = outgoing.publisher_builder().initial_max_slice_len(payload).create()?;
    let events = if events {
        let listener = event(back)?.listener_builder().create()?;
        let notifier = event(out)?.notifier_builder().create()?;
        Some(Events { notifier, listener })
    } else {
        None
    };
    // A message that is published before there is a subscriber is not delivered.
    stage.control.meet()?;
    Ok(PublishSubscribe { publisher, subscriber, events, _node: node }.side(payload))
}

impl Link for PublishSubscribe {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let sample = self.publisher.loan_slice_uninit(message.len())?;
        sample.write_from_slice(message).send()?;
        if let Some(events) = &self.events {
            events.notifier.notify()?;
        }
        Ok(())
    }

    #[inline]
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                return Ok(read(sample.payload()));
            }
            if let Some(events) = &self.events {
                events.listener.blocking_wait(|_| {})?;
            }
        }
    }
}

pub(super) fn request(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    stage.launch()?;
    let payload = stage.payload();
    let node = node(stage)?;
    let builder = node.service_builder(&"echo".try_into()?).request_response::<[u8], [u8]>();
    let service = builder.max_servers(1).max_clients(1).open_or_create()?;
    let side: Box<dyn Side> = if stage.is_main {
        let server = service.server_builder().initial_max_slice_len(payload).create()?;
        Box::new(Answering { server, _node: node })
    } else {
        let client = service.client_builder().initial_max_slice_len(payload).create()?;
        Box::new(Asking { client, message: vec![1; payload], _node: node })
    };
    stage.control.meet()?;
    Ok(side)
}

pub(super) fn not_for_request(task: Task) -> Option<&'static str> {
    let able = task.work == Work::RoundTrip;
    (!able).then_some("round trips only: the rest is publish-subscribe's")
}

struct Answering {
    server: Server<Service, [u8], (), [u8], ()>,
    _node: Node<Service>,
}

impl Side for Answering {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        let Half::Answer(_) = half else { return Err(unable()) };
        loop {
            if let Some(request) = self.server.receive()? {
                if stamp(request.payload()) == OVER {
                    return Ok(StreamPart::default());
                }
                reply(&request)?;
            }
        }
    }
}

#[inline]
fn reply(request: &ActiveRequest<Service, [u8], (), [u8], ()>) -> Result<(), Error> {
    let response = request.loan_slice_uninit(request.payload().len())?;
    Ok(response.write_from_slice(request.payload()).send()?)
}

struct Asking {
    client: Client<Service, [u8], (), [u8], ()>,
    message: Vec<u8>,
    _node: Node<Service>,
}

impl Side for Asking {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        let Half::Ask(limit, samples) = half else { return Err(unable()) };
        let Self { client, message, .. } = self;
        let len = message.len();
        ask_until(limit, samples, |asked| {
            set_stamp(message, asked);
            let request = client.loan_slice_uninit(len)?;
            let pending = request.write_from_slice(message).send()?;
            loop {
                if let Some(response) = pending.receive()? {
                    return Ok(read_all(response.payload()));
                }
            }
        })?;
        set_stamp(message, OVER);
        client.loan_slice_uninit(len)?.write_from_slice(message).send()?;
        Ok(StreamPart::default())
    }
}
