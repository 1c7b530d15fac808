//! Where circuits end inside this process: a client's calls. Mixes have none.

use crate::drops::DropReason;
use drover_wire::control::PutEnd;

/// The client's side of the circuits that end here, called by the pacing thread.
///
/// `fill` is called once for each slot that an end owns, and must do the same work whether there is something to say
/// or not: a call is exactly u cells a second (Herd 3.4.1).
pub trait Terminal: Send {
    /// Expanded keys and queues of one end, made by the service thread.
    type End: Send;
    /// Whether this process serves `PutEnd` at all.
    const SERVES: bool;
    /// Makes an end of a put. Runs on the service thread and may allocate. The error is for the operator.
    fn expand(put: &PutEnd, body: usize) -> Result<Box<Self::End>, String>;
    /// An end appears at `end`.
    fn add(&mut self, end: u32, keys: Box<Self::End>);
    /// An end goes.
    fn remove(&mut self, end: u32) -> Option<Box<Self::End>>;
    /// Writes the whole body of the end's next cell, its layers included, and returns the cell's counter.
    fn fill(&mut self, end: u32, now: u64, body: &mut [u8]) -> u64;
    /// Takes the body of a cell that came in with `counter`, its layers still on; it may be overwritten.
    fn deliver(&mut self, end: u32, now: u64, counter: u64, body: &mut [u8]) -> Result<(), DropReason>;
}

/// A mix: no circuit ends here.
pub struct NoTerminal;

impl Terminal for NoTerminal {
    type End = ();
    const SERVES: bool = false;
    fn expand(_: &PutEnd, _: usize) -> Result<Box<()>, String> {
        Err("this data plane is a mix's: no circuit ends here".to_owned())
    }
    fn add(&mut self, _: u32, _: Box<()>) {}
    fn remove(&mut self, _: u32) -> Option<Box<()>> {
        None
    }
    fn fill(&mut self, _: u32, _: u64, _: &mut [u8]) -> u64 {
        0
    }
    fn deliver(&mut self, _: u32, _: u64, _: u64, _: &mut [u8]) -> Result<(), DropReason> {
        Err(DropReason::UnknownCircuit)
    }
}
