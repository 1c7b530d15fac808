//! A worker that sends chaff on one core, and a control core that answers set-ups without a pause on another: windows of
//! the one, with and without the other.

use super::Core;
use crate::pace::{Bench, Kind, Setting, Window};
use crate::pin;
use drover_crypto::Suite;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Departures that a window has at least.
const DEPARTURES_LEAST: u64 = 100;
/// Between the flood's begin or end and the window.
const SETTLE: Duration = Duration::from_millis(20);

/// Both, running.
pub struct Flood<C: Suite, const S: usize> {
    bench: Bench<C, S>,
    flooding: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    /// Set-ups and seconds of windows with the flood.
    floods: (u64, f64),
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl<C: Suite, const S: usize> Flood<C, S> {
    /// A worker with its links, and a control core on `core`.
    ///
    /// # Errors
    /// The system gives no socket, no shared memory or no thread.
    pub fn start(setting: Setting, core: usize) -> Result<Self, String> {
        let bench = Bench::new(setting)?;
        let (flooding, stop, answered) = (Arc::default(), Arc::default(), Arc::default());
        let thread = Some(flood(core, &flooding, &stop, &answered)?);
        Ok(Flood { bench, flooding, stop, answered, floods: (0, 0.0), thread })
    }

    /// One window, with or without the flood, which began `at_s` after the measurement did.
    ///
    /// # Errors
    /// The worker has too few departures, a core cannot be had, or the flood failed.
    pub fn window(&mut self, with: bool, at_s: f64) -> Result<Window, String> {
        self.flooding.store(with, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        std::thread::sleep(SETTLE);
        let (begin, answered) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        let window = self.bench.window(Kind::Worker, at_s)?;
        if with {
            self.floods.0 += self.answered.load(Ordering::Relaxed) - answered;
            self.floods.1 += begin.elapsed().as_secs_f64();
        }
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return Err(self.end().err().unwrap_or_else(|| "the flood ended by itself".to_owned()));
        }
        match window.lateness.len() {
            0..DEPARTURES_LEAST => Err(format!(
                "{} departures in a window: fewer than {DEPARTURES_LEAST}; give more links or longer windows",
                window.lateness.len()
            )),
            _ => Ok(window),
        }
    }

    /// What was counted so far does not count.
    pub fn forget(&mut self) {
        self.floods = (0, 0.0);
    }

    /// Set-ups a second while the flood was on.
    pub fn rate(&self) -> f64 {
        self.floods.0 as f64 / self.floods.1.max(f64::MIN_POSITIVE)
    }

    fn end(&mut self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.thread().unpark();
        thread.join().unwrap_or_else(|_| Err("the flood panicked".to_owned()))
    }
}

impl<C: Suite, const S: usize> Drop for Flood<C, S> {
    fn drop(&mut self) {
        // Its failure was told by the window, or nobody waits for it any more.
        let _ = self.end();
    }
}

/// The control core: set-ups while `flooding`, else asleep.
fn flood(
    core: usize,
    flooding: &Arc<AtomicBool>,
    stop: &Arc<AtomicBool>,
    answered: &Arc<AtomicU64>,
) -> Result<JoinHandle<Result<(), String>>, String> {
    let (flooding, stop, answered) = (Arc::clone(flooding), Arc::clone(stop), Arc::clone(answered));
    let body = move || {
        pin::to(core)?;
        let mut control = Core::new()?;
        while !stop.load(Ordering::Relaxed) {
            if flooding.load(Ordering::Relaxed) {
                control.batch()?;
                answered.fetch_add(super::BATCH as u64, Ordering::Relaxed);
            } else {
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        Ok(())
    };
    std::thread::Builder::new().name("set-ups".to_owned()).spawn(body).map_err(|error| error.to_string())
}
