//! The worker's core: messages in, machine turns, messages out.
//!
//! Plain Rust over two seams, so that it runs in native tests: `Host` is what the browser's
//! worker scope gives (post, clock, fetch), `Engine` is what crate `playground` gives. Timers,
//! promises and streams stay in `static/worker_loader.js`; here they are integers. Nothing from
//! JavaScript is kept between turns (design decision 6).
//!
//! Pacing: guests run in slices of fuel until a turn's time is used up, then the loader yields to
//! the event loop and calls again. So a keystroke waits for one turn at most, however busy the
//! guests are.

use std::collections::BTreeMap;

use crate::docker::{Look, Transferred};
use crate::flow::Window;
use crate::internet::{InternetAnswer, InternetRequest};
use crate::network::{Cable, CaptureStep};
use crate::ports::{PortEvent, PortRequest};
use crate::protocol::{BUILD, FromWorker, Place, ToWorker};

/// Guest instructions per slice: V8 replaces no running frame, so slices stay short, and the
/// clock is read between them.
pub const SLICE_FUEL: u64 = 1_000_000;

/// How long a turn may take before the event loop gets its chance.
pub const TURN_MS: f64 = 6.0;

/// What a slice of guest time left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// There is more to compute.
    Busy,
    /// Nothing until this time, in nanoseconds of the clock passed in.
    Until(u64),
    /// Nothing until a message or a download arrives.
    Idle,
}

/// A download the engine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Names the answer.
    pub id: u32,
    /// Relative to the page's folder.
    pub path: String,
    /// First and last byte, as in HTTP's `Range`.
    pub range: Option<(u64, u64)>,
    /// Addressed by digest: may be kept in the browser's cache for ever.
    pub immutable: bool,
    /// What is being downloaded, as the progress bar names it.
    pub label: String,
}

/// A download's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What the loader has to do for images on their way in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferStep {
    /// Give the next piece of an archive.
    Wanted {
        /// Which transfer.
        id: u32,
    },
    /// Keep a piece of an image.
    Piece {
        /// Which transfer.
        id: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// It is over; an image's pieces are all there, if it went well.
    Over {
        /// Which transfer.
        id: u32,
        /// It went well.
        well: bool,
    },
}

/// The machines, as the worker drives them; implemented over crate `playground`.
pub trait Engine {
    /// Starts a machine; `InstanceAdded` follows as an event.
    fn add_instance(&mut self) -> Result<(), String>;
    /// Drops a machine; `InstanceDeleted` follows as an event.
    fn delete_instance(&mut self, name: &str) -> Result<(), String>;
    /// Restarts a machine, or switches one on; `Power` follows as an event.
    fn restart_instance(&mut self, name: &str) -> Result<(), String>;
    /// Keys for a machine's terminal.
    fn input(&mut self, name: &str, bytes: &[u8]);
    /// The terminal's new size.
    fn resize(&mut self, name: &str, cols: u16, rows: u16);
    /// System call tracing.
    fn trace(&mut self, name: &str, on: bool);
    /// Something is done to a machine's cable; `Cable` follows as an event.
    fn set_cable(&mut self, name: &str, cable: Cable);
    /// Whether `Interfaces` of a machine is wanted as an event.
    fn watch(&mut self, name: &str, on: bool);
    /// A step of a capture; what is captured follows as events.
    fn capture(&mut self, name: &str, link: u32, step: CaptureStep) -> Result<(), String>;
    /// Takes the downloads that are to be started.
    fn requests(&mut self) -> Vec<FetchRequest>;
    /// The answer to `FetchRequest { id, .. }`, or why there is none.
    fn fetched(&mut self, id: u32, answer: Result<Fetched, String>);
    /// Runs until `fuel` instructions are spent or nothing is runnable at `now_ns`.
    fn turn(&mut self, now_ns: u64, fuel: u64) -> Slice;
    /// Names of machines with terminal output waiting.
    fn output_ready(&mut self) -> Vec<String>;
    /// Takes at most `bytes_max` of a machine's waiting output.
    fn output(&mut self, name: &str, bytes_max: usize) -> Vec<u8>;
    /// Takes what there is to tell the page since the last call; terminal output is not in it.
    fn events(&mut self, now_ns: u64) -> Vec<FromWorker>;
    /// A request of the browser for a port of a machine.
    fn port_request(&mut self, id: u32, request: PortRequest, body: Vec<u8>);
    /// The browser has taken this much of an answer.
    fn port_taken(&mut self, id: u32, bytes: usize);
    /// The browser wants no more of an answer.
    fn port_cancel(&mut self, id: u32);
    /// Takes what has become of requests.
    fn port_events(&mut self) -> Vec<PortEvent>;
    /// Whether programs' requests go out.
    fn internet(&mut self, on: bool);
    /// Takes the requests that are to go out.
    fn internet_requests(&mut self) -> Vec<InternetRequest>;
    /// What became of one.
    fn internet_answer(&mut self, id: u32, answer: InternetAnswer);
    /// What is looked at of a machine's Docker; what is seen follows as events.
    fn look(&mut self, name: &str, look: Option<Look>);
    /// Begins to load an archive of images.
    fn load_images(&mut self, name: &str, id: u32) -> Result<(), String>;
    /// The next piece of it; an empty one is the end.
    fn load_piece(&mut self, id: u32, bytes: Vec<u8>);
    /// Begins to give an image as an archive.
    fn save_image(&mut self, name: &str, id: u32, image: &str) -> Result<(), String>;
    /// The browser has a piece of it.
    fn piece_taken(&mut self, id: u32);
    /// A transfer is not wanted any more.
    fn cancel_transfer(&mut self, id: u32);
    /// Takes what the loader has to do for transfers.
    fn transfer_steps(&mut self) -> Vec<TransferStep>;
    /// Time stood still since `turn` was last called: the engine goes on as after a sleep, and tells of its
    /// machines anew, for a page that knows none.
    fn restored(&mut self, now_ns: u64);
}

/// What the browser gives a worker.
pub trait Host {
    /// Posts to the page.
    fn post(&self, message: FromWorker);
    /// Milliseconds since the Unix epoch, with fractions, never going back.
    fn now_ms(&self) -> f64;
    /// Starts a download; [`Worker::fetched`] is called with its id.
    fn fetch(&self, request: &FetchRequest);
    /// Sends a request out; [`Engine::internet_answer`] is called with its id.
    fn internet(&self, request: InternetRequest);
    /// Tells the browser what became of a request for a port.
    fn port_event(&self, event: PortEvent);
    /// Carries out a step of a transfer.
    fn transfer(&self, step: TransferStep);
    /// Saves the worker's memory once the call in progress has returned, with `page` beside it.
    fn save(&self, page: &str, place: Place);
}

/// Makes the engine once the page has said what it needs to know; `now_ns` is the time.
pub type Open = fn(seed: u64, now_ns: u64) -> Result<Box<dyn Engine>, String>;

/// Bytes of all downloads with one label, so that many ranges of one image are one bar.
#[derive(Debug, Default)]
struct Download {
    finished_bytes: u64,
    running: BTreeMap<u32, (u64, u64)>,
}

impl Download {
    /// Bytes received and bytes in all; the second is 0 as long as some server did not say.
    fn sums(&self) -> (u64, u64) {
        let (mut done, mut total) = (self.finished_bytes, self.finished_bytes);
        for (done_bytes, total_bytes) in self.running.values() {
            done += done_bytes;
            total += total_bytes.max(done_bytes);
        }
        let unknown = self.running.values().any(|(_, total)| *total == 0);
        (done, if unknown { 0 } else { total })
    }
}

/// The worker.
pub struct Worker<H: Host> {
    host: H,
    open: Open,
    engine: Option<Box<dyn Engine>>,
    /// Between `Pause` and `Save`.
    paused: bool,
    windows: BTreeMap<String, Window>,
    /// By label. A handful: the node image, and what is being pulled.
    downloads: BTreeMap<String, Download>,
    /// The label of each running download.
    labels: BTreeMap<u32, String>,
}

impl<H: Host> Worker<H> {
    /// A worker that has not been told to boot.
    pub fn new(host: H, open: Open) -> Worker<H> {
        Worker {
            host,
            open,
            engine: None,
            paused: false,
            windows: BTreeMap::new(),
            downloads: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// Takes a message of the page.
    pub fn message(&mut self, message: ToWorker) {
        if let Err(text) = self.try_message(message) {
            self.host.post(FromWorker::Error { text });
        }
    }

    fn try_message(&mut self, message: ToWorker) -> Result<(), String> {
        if let ToWorker::Boot { seed } = &message {
            let now = nanoseconds(self.host.now_ms());
            self.engine = Some((self.open)(*seed, now)?);
            self.host.post(FromWorker::Ready {
                build: BUILD.to_owned(),
            });
            return Ok(());
        }
        let Some(engine) = &mut self.engine else {
            return Err("the engine has not started".to_owned());
        };
        match message {
            // The loader's own.
            ToWorker::Boot { .. }
            | ToWorker::Restore { .. }
            | ToWorker::LoadImages { .. }
            | ToWorker::Forget => {}
            ToWorker::Pause => {
                self.paused = true;
                self.host.post(FromWorker::Paused);
            }
            ToWorker::Save { page, place } => {
                self.paused = false;
                self.host.save(&page, place);
            }
            ToWorker::AddInstance => {
                if let Err(text) = engine.add_instance() {
                    self.host.post(FromWorker::InstanceFailed { text });
                }
            }
            ToWorker::DeleteInstance { name } => {
                self.windows.remove(&name);
                engine.delete_instance(&name)?;
            }
            ToWorker::RestartInstance { name } => engine.restart_instance(&name)?,
            ToWorker::Input { name, bytes } => engine.input(&name, &bytes),
            ToWorker::Resize { name, cols, rows } => engine.resize(&name, cols, rows),
            ToWorker::Trace { name, on } => engine.trace(&name, on),
            ToWorker::Internet { on } => engine.internet(on),
            ToWorker::Cable { name, cable } => engine.set_cable(&name, cable),
            ToWorker::Watch { name, on } => engine.watch(&name, on),
            ToWorker::Capture { name, link, step } => engine.capture(&name, link, step)?,
            ToWorker::Look { name, look } => engine.look(&name, look),
            ToWorker::SaveImage { name, id, image } => {
                let begun = engine.save_image(&name, id, &image);
                self.transfer_begun(id, begun);
            }
            ToWorker::CancelTransfer { id } => {
                engine.cancel_transfer(id);
                self.host.transfer(TransferStep::Over { id, well: false });
            }
            ToWorker::Drawn { name, bytes } => {
                if let Some(window) = self.windows.get_mut(&name) {
                    window.drawn(bytes);
                }
            }
        }
        Ok(())
    }

    /// An archive of images is there to be loaded.
    pub fn load_images(&mut self, name: &str, id: u32) {
        let begun = match &mut self.engine {
            Some(engine) => engine.load_images(name, id),
            None => Err("the engine has not started".to_owned()),
        };
        self.transfer_begun(id, begun);
    }

    fn transfer_begun(&self, id: u32, begun: Result<(), String>) {
        if let Err(text) = begun {
            self.transfer_failed(id, text);
        }
    }

    /// The loader cannot go on with a transfer.
    pub fn transfer_failed(&self, id: u32, text: String) {
        let state = Transferred::Failed { text };
        self.host.transfer(TransferStep::Over { id, well: false });
        self.host.post(FromWorker::Transfer { id, state });
    }

    /// The engine, for what it alone has to do with.
    pub fn engine(&mut self) -> Option<&mut (dyn Engine + 'static)> {
        self.engine.as_deref_mut()
    }

    /// This memory was saved, and is used again by a new page.
    pub fn restored(&mut self) {
        self.paused = false;
        self.windows.clear();
        if let Some(engine) = &mut self.engine {
            engine.restored(nanoseconds(self.host.now_ms()));
        }
        self.host.post(FromWorker::Ready {
            build: BUILD.to_owned(),
        });
    }

    /// Part of a download has arrived. `total_bytes` is 0 if unknown.
    pub fn fetch_progress(&mut self, id: u32, done_bytes: u64, total_bytes: u64) {
        let Some(label) = self.labels.get(&id).cloned() else {
            return;
        };
        if let Some(download) = self.downloads.get_mut(&label) {
            download.running.insert(id, (done_bytes, total_bytes));
        }
        self.tell_progress(label);
    }

    /// A download has ended.
    pub fn fetched(&mut self, id: u32, answer: Result<Fetched, String>) {
        if let Some(label) = self.labels.remove(&id)
            && let Some(download) = self.downloads.get_mut(&label)
        {
            // What came from the browser's cache was never counted, and was not downloaded.
            let (done_bytes, _) = download.running.remove(&id).unwrap_or_default();
            download.finished_bytes += done_bytes;
            self.tell_progress(label);
        }
        if let Some(engine) = &mut self.engine {
            engine.fetched(id, answer);
        }
    }

    fn tell_progress(&self, what: String) {
        let sums = self.downloads.get(&what).map(Download::sums);
        if let Some((done_bytes, total_bytes)) = sums
            && done_bytes > 0
        {
            self.host.post(FromWorker::Progress {
                what,
                done_bytes,
                total_bytes,
            });
        }
    }

    /// Runs the machines for one turn. Answers after how many milliseconds to call again: 0 is
    /// at once (after the event loop's turn), a negative number is when something arrives.
    pub fn turn(&mut self) -> f64 {
        if self.paused {
            return -1.0;
        }
        let started = self.host.now_ms();
        let mut now = started;
        loop {
            let Some(engine) = &mut self.engine else {
                return -1.0;
            };
            let slice = engine.turn(nanoseconds(now), SLICE_FUEL);
            let delivered = self.deliver(now);
            now = self.host.now_ms();
            match slice {
                // A writer that waited for room on its terminal has it now.
                _ if delivered && now - started < TURN_MS => {}
                _ if delivered => return 0.0,
                Slice::Busy if now - started < TURN_MS => {}
                Slice::Busy => return 0.0,
                Slice::Until(deadline) => {
                    return (deadline as f64 / 1e6 - now).max(0.0);
                }
                Slice::Idle => return -1.0,
            }
        }
    }

    /// Hands on what the machines produced. Answers whether a terminal's output was taken.
    fn deliver(&mut self, now: f64) -> bool {
        let mut taken = false;
        let Some(engine) = &mut self.engine else {
            return taken;
        };
        for request in engine.requests() {
            self.labels.insert(request.id, request.label.clone());
            let download = self.downloads.entry(request.label.clone()).or_default();
            download.running.insert(request.id, (0, 0));
            self.host.fetch(&request);
        }
        for message in engine.events(nanoseconds(now)) {
            if let FromWorker::InstanceAdded { name, .. } = &message {
                self.windows.insert(name.clone(), Window::default());
            }
            self.host.post(message);
        }
        for request in engine.internet_requests() {
            self.host.internet(request);
        }
        for step in engine.transfer_steps() {
            self.host.transfer(step);
        }
        for event in engine.port_events() {
            self.host.port_event(event);
        }
        for name in engine.output_ready() {
            let Some(window) = self.windows.get_mut(&name) else {
                continue;
            };
            let room = window.room();
            if room == 0 {
                continue;
            }
            let bytes = engine.output(&name, room);
            if !bytes.is_empty() {
                taken = true;
                window.sent(bytes.len());
                self.host.post(FromWorker::Output { name, bytes });
            }
        }
        taken
    }
}

/// Milliseconds as the browser counts them, in the machines' unit.
fn nanoseconds(ms: f64) -> u64 {
    (ms * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;
    use crate::flow::WINDOW_BYTES;

    /// Not a machine: answers every key with itself, and floods while told to.
    #[derive(Default)]
    struct EchoForTests {
        waiting: Vec<u8>,
        flood: bool,
        requests: Vec<FetchRequest>,
        events: Vec<FromWorker>,
    }

    impl Engine for EchoForTests {
        fn add_instance(&mut self) -> Result<(), String> {
            self.events.push(FromWorker::InstanceAdded {
                name: "node1".into(),
                ip: "192.168.0.2".into(),
                hostname: "node1".into(),
            });
            Ok(())
        }
        fn delete_instance(&mut self, name: &str) -> Result<(), String> {
            Err(format!("no such instance: {name}"))
        }
        fn restart_instance(&mut self, name: &str) -> Result<(), String> {
            Err(format!("no such instance: {name}"))
        }
        fn input(&mut self, _name: &str, bytes: &[u8]) {
            self.waiting.extend_from_slice(bytes);
            self.flood = bytes == b"yes";
            if bytes == b"get" {
                self.requests.push(FetchRequest {
                    id: 7,
                    path: "v2/version.json".into(),
                    range: None,
                    immutable: false,
                    label: "index".into(),
                });
            }
        }
        fn resize(&mut self, _name: &str, _cols: u16, _rows: u16) {}
        fn trace(&mut self, _name: &str, _on: bool) {}
        fn set_cable(&mut self, _name: &str, _cable: Cable) {}
        fn watch(&mut self, _name: &str, _on: bool) {}
        fn capture(&mut self, name: &str, _link: u32, _step: CaptureStep) -> Result<(), String> {
            Err(format!("no such instance: {name}"))
        }
        fn look(&mut self, _name: &str, _look: Option<Look>) {}
        fn load_images(&mut self, name: &str, _id: u32) -> Result<(), String> {
            Err(format!("no such instance: {name}"))
        }
        fn load_piece(&mut self, _id: u32, _bytes: Vec<u8>) {}
        fn save_image(&mut self, name: &str, _id: u32, _image: &str) -> Result<(), String> {
            Err(format!("no such instance: {name}"))
        }
        fn piece_taken(&mut self, _id: u32) {}
        fn cancel_transfer(&mut self, _id: u32) {}
        fn transfer_steps(&mut self) -> Vec<TransferStep> {
            Vec::new()
        }
        fn requests(&mut self) -> Vec<FetchRequest> {
            std::mem::take(&mut self.requests)
        }
        fn fetched(&mut self, id: u32, answer: Result<Fetched, String>) {
            let text = match answer {
                Ok(fetched) => format!("{id}: {}", fetched.status),
                Err(error) => format!("{id}: {error}"),
            };
            self.waiting.extend_from_slice(text.as_bytes());
        }
        fn turn(&mut self, now_ns: u64, _fuel: u64) -> Slice {
            if self.flood {
                self.waiting.resize(WINDOW_BYTES as usize * 2, b'y');
                return Slice::Busy;
            }
            Slice::Until(now_ns + 20_000_000)
        }
        fn output_ready(&mut self) -> Vec<String> {
            if self.waiting.is_empty() {
                Vec::new()
            } else {
                vec!["node1".into()]
            }
        }
        fn output(&mut self, _name: &str, bytes_max: usize) -> Vec<u8> {
            let rest = self.waiting.split_off(bytes_max.min(self.waiting.len()));
            std::mem::replace(&mut self.waiting, rest)
        }
        fn events(&mut self, _now_ns: u64) -> Vec<FromWorker> {
            std::mem::take(&mut self.events)
        }
        fn port_request(&mut self, id: u32, request: PortRequest, body: Vec<u8>) {
            let text = format!("{id} {} {} bytes", request.target, body.len());
            self.waiting.extend_from_slice(text.as_bytes());
        }
        fn port_taken(&mut self, _id: u32, _bytes: usize) {}
        fn port_cancel(&mut self, _id: u32) {}
        fn port_events(&mut self) -> Vec<PortEvent> {
            Vec::new()
        }
        fn internet(&mut self, _on: bool) {}
        fn internet_requests(&mut self) -> Vec<InternetRequest> {
            Vec::new()
        }
        fn internet_answer(&mut self, _id: u32, _answer: InternetAnswer) {}
        fn restored(&mut self, _now_ns: u64) {
            let _ = self.add_instance();
        }
    }

    /// A browser of one clock that goes on by a millisecond whenever it is read.
    #[derive(Default)]
    struct FakeBrowser {
        now: Cell<f64>,
        posted: RefCell<Vec<FromWorker>>,
        fetches: RefCell<Vec<u32>>,
        saved: RefCell<Vec<(String, Place)>>,
    }

    impl Host for Rc<FakeBrowser> {
        fn post(&self, message: FromWorker) {
            self.posted.borrow_mut().push(message);
        }
        fn now_ms(&self) -> f64 {
            self.now.set(self.now.get() + 1.0);
            self.now.get()
        }
        fn fetch(&self, request: &FetchRequest) {
            self.fetches.borrow_mut().push(request.id);
        }
        fn internet(&self, _request: InternetRequest) {}
        fn port_event(&self, _event: PortEvent) {}
        fn transfer(&self, _step: TransferStep) {}
        fn save(&self, page: &str, place: Place) {
            self.saved.borrow_mut().push((page.to_owned(), place));
        }
    }

    fn booted() -> (Worker<Rc<FakeBrowser>>, Rc<FakeBrowser>) {
        let browser = Rc::new(FakeBrowser::default());
        let mut worker = Worker::new(browser.clone(), |_, _| {
            Ok(Box::new(EchoForTests::default()) as Box<dyn Engine>)
        });
        worker.message(ToWorker::Boot { seed: 1 });
        worker.message(ToWorker::AddInstance);
        worker.turn();
        browser.posted.borrow_mut().clear();
        (worker, browser)
    }

    fn type_text(worker: &mut Worker<Rc<FakeBrowser>>, text: &str) {
        worker.message(ToWorker::Input {
            name: "node1".into(),
            bytes: text.into(),
        });
    }

    fn output_len(browser: &FakeBrowser) -> usize {
        let posted = browser.posted.borrow();
        let lengths = posted.iter().map(|message| match message {
            FromWorker::Output { bytes, .. } => bytes.len(),
            _ => 0,
        });
        lengths.sum()
    }

    #[test]
    fn before_boot_everything_is_refused_and_nothing_runs() {
        let browser = Rc::new(FakeBrowser::default());
        let mut worker = Worker::new(browser.clone(), |_, _| Err("no images".into()));
        worker.message(ToWorker::AddInstance);
        worker.message(ToWorker::Boot { seed: 1 });
        assert_eq!(worker.turn(), -1.0);
        assert_eq!(
            *browser.posted.borrow(),
            [
                FromWorker::Error {
                    text: "the engine has not started".into()
                },
                FromWorker::Error {
                    text: "no images".into()
                },
            ]
        );
    }

    #[test]
    fn a_key_comes_back_and_the_worker_sleeps_until_the_deadline() {
        let (mut worker, browser) = booted();
        type_text(&mut worker, "한");
        let delay = worker.turn();
        assert!((17.0..=20.0).contains(&delay), "{delay}");
        assert_eq!(output_len(&browser), 3);
    }

    #[test]
    fn a_flood_stops_at_the_window_until_it_is_drawn() {
        let (mut worker, browser) = booted();
        type_text(&mut worker, "yes");
        for _ in 0..5 {
            assert_eq!(worker.turn(), 0.0);
        }
        assert_eq!(output_len(&browser), WINDOW_BYTES as usize);
        worker.message(ToWorker::Drawn {
            name: "node1".into(),
            bytes: 1000,
        });
        worker.turn();
        assert_eq!(output_len(&browser), WINDOW_BYTES as usize + 1000);
    }

    #[test]
    fn downloads_are_counted_by_label_and_answered_by_id() {
        let (mut worker, browser) = booted();
        type_text(&mut worker, "get");
        worker.turn();
        assert_eq!(*browser.fetches.borrow(), [7]);
        worker.fetch_progress(7, 10, 0);
        worker.fetch_progress(7, 40, 40);
        worker.fetched(
            7,
            Ok(Fetched {
                status: 200,
                body: vec![0; 40],
            }),
        );
        worker.fetch_progress(7, 99, 99);
        let progress: Vec<_> = browser
            .posted
            .borrow()
            .iter()
            .filter_map(|message| match message {
                FromWorker::Progress {
                    done_bytes,
                    total_bytes,
                    ..
                } => Some((*done_bytes, *total_bytes)),
                _ => None,
            })
            .collect();
        assert_eq!(progress, [(10, 0), (40, 40), (40, 40)]);
        browser.posted.borrow_mut().clear();
        worker.turn();
        assert_eq!(output_len(&browser), "7: 200".len());
    }

    #[test]
    fn nothing_runs_between_pause_and_save() {
        let (mut worker, browser) = booted();
        worker.message(ToWorker::Pause);
        type_text(&mut worker, "x");
        assert_eq!(worker.turn(), -1.0);
        assert_eq!(*browser.posted.borrow(), [FromWorker::Paused]);
        worker.message(ToWorker::Save {
            page: "screens".into(),
            place: Place::File,
        });
        assert_eq!(
            *browser.saved.borrow(),
            [("screens".to_owned(), Place::File)]
        );
        assert!(worker.turn() > 0.0);
        assert_eq!(output_len(&browser), 1);
    }

    #[test]
    fn a_restored_worker_tells_a_new_page_of_its_machines() {
        let (mut worker, browser) = booted();
        // The old page had drawn nothing of it.
        type_text(&mut worker, "yes");
        worker.turn();
        browser.posted.borrow_mut().clear();
        worker.restored();
        worker.turn();
        let posted = browser.posted.borrow();
        assert!(matches!(posted[0], FromWorker::Ready { .. }));
        assert!(matches!(posted[1], FromWorker::InstanceAdded { .. }));
        drop(posted);
        assert_eq!(output_len(&browser), WINDOW_BYTES as usize);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let (mut worker, browser) = booted();
        worker.message(ToWorker::DeleteInstance {
            name: "node9".into(),
        });
        assert_eq!(
            *browser.posted.borrow(),
            [FromWorker::Error {
                text: "no such instance: node9".into()
            }]
        );
    }
}
