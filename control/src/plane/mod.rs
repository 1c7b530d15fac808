//! The control side's view of a data plane: requests with their outcome, cells and datagrams handed over.

#[cfg(any(test, feature = "lab"))]
pub mod fake;
pub mod socket;

use drover_wire::control::{Dump, Refusal, Request, Welcome};
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

/// Pages of a dump: every page has one object at least, and a data plane has fewer than this.
const PAGES_MAX: u32 = 1 << 21;

/// All objects of a dump, page by page.
///
/// # Errors
/// The data plane's; [`PlaneError::Gone`] when what it says is no dump.
pub fn dump(plane: &mut dyn Plane, what: Dump) -> Result<Vec<serde_json::Value>, PlaneError> {
    let name = match what {
        Dump::Classes => "classes",
        Dump::Links => "links",
        Dump::Circuits => "circuits",
        Dump::Ends => "ends",
    };
    let odd = |what: &str| PlaneError::Gone(format!("the dump of {name} {what}; are both programs of the same build?"));
    let (mut all, mut from) = (Vec::new(), 0);
    for _ in 0..PAGES_MAX {
        let json = plane.report(&Request::Dump { what, from })?;
        let mut page: serde_json::Value = serde_json::from_str(&json).map_err(|_| odd("is no JSON"))?;
        match page[name].take() {
            serde_json::Value::Array(objects) => all.extend(objects),
            _ => return Err(odd("has no list of that name")),
        }
        match page["next"].as_u64().map(u32::try_from) {
            None => return Ok(all),
            Some(Ok(next)) if next > from => from = next,
            Some(_) => break,
        }
    }
    Err(odd("does not end"))
}
