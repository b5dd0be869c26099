//! OPEN PORT: requests of the browser become HTTP/1.1 over TCP from the gateway to a port of a machine.
//!
//! The browser's service worker gives requests and takes responses as they come; how much of a body may be on
//! its way is bounded by what the browser has taken. Cookies are kept here, by host as browsers keep them:
//! a service worker's responses cannot set them.
//!
//! *Not here:* WebSockets (no service worker sees them), HTTPS, HTTP/2.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::rc::Rc;

use clock::{Clock, Executor, JoinHandle, WaitQueue};
use http::header::{CONNECTION, COOKIE, HOST, HeaderValue, SET_COOKIE};
use serve::{Body, Request, Response};

use crate::cookies::Cookies;
use crate::gateway::Gateway;

/// Bytes of a body that may be on their way to the browser.
const WINDOW_BYTES: usize = 256 * 1024;
/// Requests at once; browsers open six connections to a host.
const REQUESTS_MAX: usize = 256;

/// A request of the browser.
#[derive(Clone, Debug)]
pub struct PortRequest {
    /// The machine's address.
    pub ip: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers the browser tells.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What becomes of a request, by its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortEvent {
    /// Status and headers.
    Head {
        /// Which request.
        id: u32,
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, String)>,
    },
    /// Part of the body.
    Data {
        /// Which request.
        id: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The response is complete.
    End {
        /// Which request.
        id: u32,
    },
    /// There is no response, or no more of it.
    Failed {
        /// Which request.
        id: u32,
        /// Why.
        text: String,
    },
}

/// A request on its way.
struct Running {
    flow: Rc<Flow>,
    task: JoinHandle<()>,
}

/// How much of a body the browser has.
#[derive(Default)]
struct Flow {
    /// Bytes it has not taken yet.
    waiting: Cell<usize>,
    taken: WaitQueue,
}

/// See the module's comment.
pub struct Ports {
    gateway: Rc<Gateway>,
    executor: Executor,
    clock: Clock,
    running: RefCell<BTreeMap<u32, Running>>,
    events: RefCell<VecDeque<PortEvent>>,
    cookies: RefCell<BTreeMap<Ipv4Addr, Cookies>>,
}

impl Ports {
    pub(crate) fn new(gateway: &Rc<Gateway>, executor: &Executor, clock: &Clock) -> Rc<Ports> {
        Rc::new(Ports {
            gateway: Rc::clone(gateway),
            executor: executor.clone(),
            clock: clock.clone(),
            running: RefCell::default(),
            events: RefCell::default(),
            cookies: RefCell::default(),
        })
    }

    /// Begins a request; `id` names it in events.
    pub fn request(self: &Rc<Self>, id: u32, request: PortRequest) {
        let flow = Rc::<Flow>::default();
        if self.running.borrow().len() >= REQUESTS_MAX {
            let text = "too many requests at once".to_string();
            return self
                .events
                .borrow_mut()
                .push_back(PortEvent::Failed { id, text });
        }
        let (ports, shared) = (Rc::clone(self), Rc::clone(&flow));
        let task = self.executor.spawn(async move {
            let outcome = ports.exchange(id, request, &shared).await;
            let end = match outcome {
                Ok(()) => PortEvent::End { id },
                Err(text) => PortEvent::Failed { id, text },
            };
            ports.events.borrow_mut().push_back(end);
            ports.running.borrow_mut().remove(&id);
        });
        let running = Running { flow, task };
        self.running.borrow_mut().insert(id, running);
    }

    /// The browser has taken this much of a body.
    pub fn taken(&self, id: u32, bytes: usize) {
        if let Some(Running { flow, .. }) = self.running.borrow().get(&id) {
            flow.waiting.set(flow.waiting.get().saturating_sub(bytes));
            flow.taken.wake_all();
        }
    }

    /// The browser wants no more of it: the connection is closed.
    pub fn cancel(&self, id: u32) {
        let gone = self.running.borrow_mut().remove(&id);
        if let Some(gone) = gone {
            gone.task.abort();
        }
    }

    /// Who asked is gone with the page it was.
    pub(crate) fn cancel_all(&self) {
        let running = std::mem::take(&mut *self.running.borrow_mut());
        for gone in running.into_values() {
            gone.task.abort();
        }
        self.events.borrow_mut().clear();
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn take_events(&self) -> Vec<PortEvent> {
        self.events.borrow_mut().drain(..).collect()
    }

    async fn exchange(&self, id: u32, request: PortRequest, flow: &Flow) -> Result<(), String> {
        let (ip, port) = (request.ip, request.port);
        let path = request.target.split('?').next().unwrap_or("/").to_string();
        let io = self
            .gateway
            .connect(ip, port)
            .await
            .map_err(|errno| format!("{ip}:{port}: {errno}"))?;
        let request = self.to_http(request, &path)?;
        let (response, _) = serve::h1::client::send(io, request, &self.executor)
            .await
            .map_err(|error| format!("{ip}:{port}: {error}"))?;
        self.learn_cookies(ip, &path, &response);
        let headers = response.headers().iter();
        let headers = headers
            .filter(|(name, _)| *name != SET_COOKIE)
            .map(|(name, value)| (name.to_string(), latin1(value.as_bytes())))
            .collect();
        self.events.borrow_mut().push_back(PortEvent::Head {
            id,
            status: response.status().as_u16(),
            headers,
        });
        let mut body = response.into_body();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| error.to_string())?.to_vec();
            let room = || (flow.waiting.get() < WINDOW_BYTES).then_some(());
            flow.taken.wait_for(room).await;
            flow.waiting.set(flow.waiting.get() + bytes.len());
            self.events
                .borrow_mut()
                .push_back(PortEvent::Data { id, bytes });
        }
        Ok(())
    }

    fn to_http(&self, request: PortRequest, path: &str) -> Result<Request, String> {
        let host = match request.port {
            80 => request.ip.to_string(),
            port => format!("{}:{port}", request.ip),
        };
        let mut builder = http::Request::builder()
            .method(request.method.as_str())
            .uri(&request.target)
            .header(HOST, host)
            .header(CONNECTION, HeaderValue::from_static("close"));
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let now = self.clock.unix_seconds();
        let cookies = self.cookies.borrow();
        let sent = cookies.get(&request.ip).map(|jar| jar.header(path, now));
        if let Some(sent) = sent.filter(|sent| !sent.is_empty()) {
            builder = builder.header(COOKIE, sent);
        }
        let body = Body::from(request.body);
        builder.body(body).map_err(|error| error.to_string())
    }

    fn learn_cookies(&self, ip: Ipv4Addr, path: &str, response: &Response) {
        let now = self.clock.unix_seconds();
        let mut jars = self.cookies.borrow_mut();
        for value in response.headers().get_all(SET_COOKIE) {
            let jar = jars.entry(ip).or_default();
            jar.set(&latin1(value.as_bytes()), path, now);
        }
    }
}

/// Header bytes as JavaScript takes them: a character each.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
