//! Why a port cannot be opened, and what mends it.

use std::fmt;

/// Who has to mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenErrorKind {
    /// The machine: an interface, a privilege, a resource.
    Environment,
    /// What was asked for can be opened nowhere.
    Configuration,
}

impl OpenErrorKind {
    /// The exit status of a program that ends for this: 3 for the environment, 2 for the configuration.
    pub const fn exit_status(self) -> u8 {
        match self {
            OpenErrorKind::Environment => 3,
            OpenErrorKind::Configuration => 2,
        }
    }
}

/// A port that cannot be opened. Prints as one line: `interface eth7: there is none; ip link lists those there are`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// Who has to mend it.
    pub kind: OpenErrorKind,
    /// What could not be had.
    pub what: String,
    /// Why not.
    pub why: String,
    /// What to do.
    pub mend: String,
}

impl OpenError {
    /// The machine lacks it.
    pub fn environment(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> OpenError {
        OpenError { kind: OpenErrorKind::Environment, what: what.into(), why: why.into(), mend: mend.into() }
    }

    /// It was asked for wrongly.
    pub fn configuration(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> OpenError {
        OpenError { kind: OpenErrorKind::Configuration, what: what.into(), why: why.into(), mend: mend.into() }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.why, self.mend)
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_why_and_how_to_mend_it() {
        let error = OpenError::environment("interface eth7", "there is none", "`ip link` lists those there are");
        assert_eq!(error.to_string(), "interface eth7: there is none; `ip link` lists those there are");
        assert_eq!(error.kind.exit_status(), 3);
        assert_eq!(OpenError::configuration("a", "b", "c").kind.exit_status(), 2);
    }
}
