//! The control side's view of a data plane: requests with their outcome, cells and datagrams handed over.

use drover_wire::control::{Refusal, Request, Welcome};
use std::fmt;

/// An instant on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, ns: the data plane's own.
    pub mono_ns: u64,
    /// Seconds since 1970.
    pub unix_s: u64,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaneError {
    /// The data plane refused; nothing was changed.
    Refused(Refusal, String),
    /// The data plane is gone, or another life of it answers.
    Gone(String),
}

impl fmt::Display for PlaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaneError::Refused(code, text) => write!(f, "the data plane refuses ({code:?}): {text}"),
            PlaneError::Gone(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for PlaneError {}

/// What control asks of its data plane. Links, circuits and calls are written against this, so that tests bring their own.
pub trait Plane {
    /// Who it is: its boot id, cell size and workers.
    fn welcome(&self) -> &Welcome;
    /// Has a request carried out.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn ask(&mut self, request: &Request) -> Result<(), PlaneError>;
    /// Asks a question that is answered by a report, JSON.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn report(&mut self, request: &Request) -> Result<String, PlaneError>;
}
