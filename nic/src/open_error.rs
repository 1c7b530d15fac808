//! Why a port could not be opened.

use std::fmt;

/// Whose business it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenErrorKind {
    /// The machine's: privileges, interfaces, huge pages, drivers. Programs exit with 3.
    Environment,
    /// The configuration's: no machine could do it. Programs exit with 2.
    Configuration,
}

impl OpenErrorKind {
    /// The exit status of a program that ends with this.
    pub const fn exit_status(self) -> u8 {
        match self {
            OpenErrorKind::Environment => 3,
            OpenErrorKind::Configuration => 2,
        }
    }
}

/// A port that could not be opened: what, why, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// Whose business it is.
    pub kind: OpenErrorKind,
    /// What could not be done, with its name: `device 0000:03:00.0`.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

impl OpenError {
    /// The machine's business.
    pub fn environment(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> OpenError {
        OpenError { kind: OpenErrorKind::Environment, what: what.into(), why: why.into(), mend: mend.into() }
    }

    /// The configuration's business.
    pub fn configuration(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> OpenError {
        OpenError { kind: OpenErrorKind::Configuration, what: what.into(), why: why.into(), mend: mend.into() }
    }
}

/// `what: why. mend`, in one line.
impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenError { what, why, mend, .. } = self;
        write!(f, "{what}: {why}. {mend}")
    }
}

impl std::error::Error for OpenError {}
