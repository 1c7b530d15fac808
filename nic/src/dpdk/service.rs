//! The thread beside a device whose next hops are resolved: no kernel stands beside it, so the responder does what a host must
//! on its link. It hears frames from every worker's port, and what it says leaves by the first one's.

use super::buffer::{Buffer, Buffers};
use super::device::Device;
use super::port::ServiceEnd;
use crate::OpenError;
use crate::neighbour::responder::{self, Responder};
use crate::ring::{self, Receiver, Sender};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the thread looks: what an answer waits at most.
const EVERY: Duration = Duration::from_millis(2);
/// How often it asks for the link's state, in turns.
const LINK_EVERY: u32 = 25;
/// Frames that wait for the thread, a port.
const HEARD: usize = 256;
/// Frames that wait for the first port.
const SPOKEN: usize = 64;

/// The thread; it ends with the last port that has this.
pub(super) struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Mutex<responder::Counters>>,
}

/// What the thread works on.
struct Work {
    responder: Responder,
    heard: Vec<Receiver<Buffer>>,
    spoken: Sender<Buffer>,
    stop: Arc<AtomicBool>,
    counters: Arc<Mutex<responder::Counters>>,
    /// Last, so that it outlives every frame.
    device: Arc<Device>,
}

impl Service {
    /// Starts the thread, and gives each of `workers` ports its ends.
    pub(super) fn start(
        device: &Arc<Device>,
        responder: Responder,
        workers: usize,
    ) -> Result<(Arc<Service>, Vec<ServiceEnd>), OpenError> {
        let (spoken, spoken_end) = ring::queue(SPOKEN);
        let mut spoken_end = Some(spoken_end);
        let (ends, heard) = (0..workers)
            .map(|_| {
                let (sender, receiver) = ring::queue(HEARD);
                (ServiceEnd { heard: sender, spoken: spoken_end.take() }, receiver)
            })
            .unzip();
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::default();
        let work = Work {
            responder,
            heard,
            spoken,
            stop: Arc::clone(&stop),
            counters: Arc::clone(&counters),
            device: Arc::clone(device),
        };
        let thread = std::thread::Builder::new().name(String::from("drover-link")).spawn(move || work.run()).map_err(
            |error| {
                OpenError::environment(
                    "the thread beside a device",
                    error.to_string(),
                    "allow this process more threads",
                )
            },
        )?;
        Ok((Arc::new(Service { stop, thread: Some(thread), counters }), ends))
    }

    /// What the responder has heard and done.
    pub(super) fn counters(&self) -> responder::Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its panic has been printed, and must not become one of ours.
            let _ = thread.join();
        }
    }
}

impl Work {
    fn run(mut self) {
        let mut turn = 0;
        while !self.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            if turn % LINK_EVERY == 0 {
                self.responder.set_link(self.device.link_up(), now);
            }
            self.hear(now);
            let (device, spoken) = (&self.device, &mut self.spoken);
            self.responder.turn(now, |frame| say(device, spoken, frame));
            *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.responder.counters();
            turn = turn.wrapping_add(1);
            std::thread::park_timeout(EVERY);
        }
    }

    /// At most what was waiting: who floods the link keeps nothing else from its turn.
    fn hear(&mut self, now: Instant) {
        let (device, spoken) = (&self.device, &mut self.spoken);
        for heard in &mut self.heard {
            for _ in 0..heard.waiting() {
                let Some(frame) = heard.recv() else { break };
                self.responder.hear(frame.bytes(), now, |answer| say(device, spoken, answer));
            }
        }
    }
}

/// Hands a frame to the first port. What finds no room is lost, as on a link: whoever asked asks again.
fn say(device: &Device, spoken: &mut Sender<Buffer>, frame: &[u8]) {
    let mut copy = Buffers::new();
    device.pool().allocate(1, 0, frame.len(), |mut draft| {
        draft.payload_mut().copy_from_slice(frame);
        copy.push(draft.finish(|_, _| ()));
    });
    if let Some(copy) = copy.pop() {
        let _ = spoken.send(copy);
    }
}
