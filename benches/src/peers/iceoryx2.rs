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
use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, OVER, Pacer, RendererSide, StreamPart, Subject, call, set_stamp, stamp},
        stage::Stage,
        work::{Task, Work},
    },
};

type Service = ipc::Service;

/// Publish-subscribe; the receiver polls.
pub(super) struct Polling;
/// Publish-subscribe; the sender notifies, and the receiver sleeps in its listener.
pub(super) struct Event;
/// Request-response; both poll.
pub(super) struct Request;

impl Subject for Polling {
    fn name(&self) -> &'static str {
        "iceoryx2"
    }

    fn about(&self) -> &'static str {
        "publish-subscribe of loaned slices; polls"
    }

    fn package(&self) -> Option<&'static str> {
        Some("iceoryx2")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        launch_and_open(stage, false)
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        Ok(Box::new(open(stage, Side::Renderer, false)?))
    }
}

impl Subject for Event {
    fn name(&self) -> &'static str {
        "iceoryx2-event"
    }

    fn about(&self) -> &'static str {
        "publish-subscribe and an event for each message; sleeps in the listener"
    }

    fn package(&self) -> Option<&'static str> {
        Some("iceoryx2")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        launch_and_open(stage, true)
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        Ok(Box::new(open(stage, Side::Renderer, true)?))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Main,
    Renderer,
}

fn launch_and_open(stage: &mut Stage, events: bool) -> Result<Box<dyn MainSide>, Error> {
    stage.launch()?;
    Ok(Box::new(open(stage, Side::Main, events)?))
}

/// A node whose files are in the run's folder and whose memory has the run's prefix.
fn node(stage: &Stage) -> Result<Node<Service>, Error> {
    // It prints to the standard error otherwise; what matters comes back as an error.
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

fn open(stage: &Stage, side: Side, events: bool) -> Result<Linked<PublishSubscribe>, Error> {
    let payload = stage.job.task.payload;
    let node = node(stage)?;
    let service = |name: &str| -> Result<_, Error> {
        let builder = node.service_builder(&name.try_into()?).publish_subscribe::<[u8]>();
        Ok(builder
            .max_publishers(1)
            .max_subscribers(1)
            // A message that finds the queue full waits; the others lose nothing either.
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(queue_len(payload))
            .open_or_create()?)
    };
    let event = |name: &str| -> Result<_, Error> {
        Ok(node.service_builder(&name.try_into()?).event().open_or_create()?)
    };
    let (out, back) = match side {
        Side::Main => ("from-main", "from-renderer"),
        Side::Renderer => ("from-renderer", "from-main"),
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
    // What is published before there is a subscriber is not delivered.
    stage.control.meet()?;
    let link = PublishSubscribe { publisher, subscriber, events, _node: node };
    Ok(Linked::new(link, payload))
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

impl Subject for Request {
    fn name(&self) -> &'static str {
        "iceoryx2-request"
    }

    fn about(&self) -> &'static str {
        "request-response of loaned slices; both poll"
    }

    fn package(&self) -> Option<&'static str> {
        Some("iceoryx2")
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        (task.work != Work::RoundTrip)
            .then_some("round trips only: the rest is publish-subscribe's")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        stage.launch()?;
        let payload = stage.job.task.payload;
        let node = node(stage)?;
        let service = service(&node)?;
        let server = service.server_builder().initial_max_slice_len(payload).create()?;
        stage.control.meet()?;
        Ok(Box::new(Answering { server, _node: node }))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let payload = stage.job.task.payload;
        let node = node(stage)?;
        let service = service(&node)?;
        let client = service.client_builder().initial_max_slice_len(payload).create()?;
        stage.control.meet()?;
        Ok(Box::new(Asking { client, message: vec![1; payload], _node: node }))
    }
}

type Requests =
    iceoryx2::service::port_factory::request_response::PortFactory<Service, [u8], (), [u8], ()>;

fn service(node: &Node<Service>) -> Result<Requests, Error> {
    let builder = node.service_builder(&"echo".try_into()?).request_response::<[u8], [u8]>();
    Ok(builder.max_servers(1).max_clients(1).open_or_create()?)
}

struct Answering {
    server: Server<Service, [u8], (), [u8], ()>,
    _node: Node<Service>,
}

impl MainSide for Answering {
    fn answer(&mut self) -> Result<(), Error> {
        loop {
            if let Some(request) = self.server.receive()? {
                if stamp(request.payload()) == OVER {
                    return Ok(());
                }
                reply(&request)?;
            }
        }
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
        Err("round trips only".into())
    }

    fn push(&mut self, _pacer: &mut Pacer) -> Result<(), Error> {
        Err("round trips only".into())
    }

    fn idle(&mut self, _time_ns: u64) -> Result<(), Error> {
        Err("round trips only".into())
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

impl RendererSide for Asking {
    fn call(&mut self, time_ns: u64, samples: &mut Vec<u64>) -> Result<(), Error> {
        let Self { client, message, .. } = self;
        let len = message.len();
        call(time_ns, samples, |asked| {
            set_stamp(message, asked);
            let request = client.loan_slice_uninit(len)?;
            let pending = request.write_from_slice(message).send()?;
            loop {
                if let Some(response) = pending.receive()? {
                    return Ok(stamp(response.payload()));
                }
            }
        })?;
        set_stamp(message, OVER);
        client.loan_slice_uninit(len)?.write_from_slice(message).send()?;
        Ok(())
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
        Err("round trips only".into())
    }

    fn receive_pushes(&mut self, _samples: &mut Vec<u64>) -> Result<(), Error> {
        Err("round trips only".into())
    }

    fn idle(&mut self) -> Result<(), Error> {
        Err("round trips only".into())
    }
}
