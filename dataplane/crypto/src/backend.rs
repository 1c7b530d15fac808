//! Which back ends there are, which of them this processor can run, and how a program is built with the one it chose.
//!
//! Features are detected at run time, once, at start; a program is generic over [`Suite`] below that point.

use crate::Suite;
use crate::aws_lc::AwsLc;
#[cfg(target_arch = "x86_64")]
use crate::kernel::{AesNi, Vaes256, Vaes512};
use crate::reference::Reference;
use std::fmt;
use std::str::FromStr;

/// A crypto back end. All give the same bytes on the wire; they differ in speed and in what they ask of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Our kernel on VAES, VPCLMULQDQ and AVX-512.
    #[cfg(target_arch = "x86_64")]
    Vaes512,
    /// Our kernel on VAES, VPCLMULQDQ and AVX2.
    #[cfg(target_arch = "x86_64")]
    Vaes256,
    /// Our kernel on AES-NI and PCLMULQDQ.
    #[cfg(target_arch = "x86_64")]
    AesNi,
    /// AWS-LC's AES-128-GCM: runs everywhere.
    AwsLc,
    /// RustCrypto's AES-128-GCM and AES-128-CTR: runs everywhere, and is what every other one must equal.
    Reference,
}

/// Something to be done with a back end that is known at run time only.
pub trait WithSuite {
    /// What it gives.
    type Out;
    /// Does it with back end `C`.
    fn with<C: Suite>(self) -> Self::Out;
}

/// What a program was told: a back end by name, or to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The fastest that this processor can run.
    #[default]
    Auto,
    /// This one and no other.
    Forced(Backend),
}

/// A back end was forced that this processor cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The back end.
    pub backend: Backend,
    /// The processor features that it lacks.
    pub missing: Vec<&'static str>,
}

/// A name is that of no back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl Backend {
    /// Every back end, the fastest first.
    pub const ALL: &'static [Backend] = &[
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes512,
        #[cfg(target_arch = "x86_64")]
        Backend::Vaes256,
        #[cfg(target_arch = "x86_64")]
        Backend::AesNi,
        Backend::AwsLc,
        Backend::Reference,
    ];

    /// The name in configuration, status and reports.
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Backend::Vaes512 => Vaes512::NAME,
            #[cfg(target_arch = "x86_64")]
            Backend::Vaes256 => Vaes256::NAME,
            #[cfg(target_arch = "x86_64")]
            Backend::AesNi => AesNi::NAME,
            Backend::AwsLc => AwsLc::NAME,
            Backend::Reference => Reference::NAME,
        }
    }

    /// Processor features that this back end needs and this processor lacks; empty where it can run.
    pub fn missing(self) -> Vec<&'static str> {
        struct Missing;
        impl WithSuite for Missing {
            type Out = Vec<&'static str>;
            fn with<C: Suite>(self) -> Self::Out {
                C::missing()
            }
        }
        self.dispatch(Missing)
    }

    /// The fastest back end that this processor can run.
    pub fn best() -> Backend {
        let runs = |backend: &Backend| backend.missing().is_empty();
        Self::ALL.iter().copied().find(runs).unwrap_or(Backend::Reference)
    }

    /// The back end of a choice.
    ///
    /// # Errors
    /// [`Unsupported`] when one is forced that this processor cannot run.
    pub fn choose(choice: Choice) -> Result<Backend, Unsupported> {
        match choice {
            Choice::Auto => Ok(Self::best()),
            Choice::Forced(backend) => match backend.missing() {
                missing if missing.is_empty() => Ok(backend),
                missing => Err(Unsupported { backend, missing }),
            },
        }
    }

    /// Does `with` with this back end. A back end that this processor cannot run panics when it is first used.
    pub fn dispatch<W: WithSuite>(self, with: W) -> W::Out {
        match self {
            #[cfg(target_arch = "x86_64")]
            Backend::Vaes512 => with.with::<Vaes512>(),
            #[cfg(target_arch = "x86_64")]
            Backend::Vaes256 => with.with::<Vaes256>(),
            #[cfg(target_arch = "x86_64")]
            Backend::AesNi => with.with::<AesNi>(),
            Backend::AwsLc => with.with::<AwsLc>(),
            Backend::Reference => with.with::<Reference>(),
        }
    }

    /// Every back end's name, for people: `a, b, c`.
    pub fn names() -> String {
        Self::ALL.iter().map(|b| b.name()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Backend, Unknown> {
        Self::ALL.iter().copied().find(|b| b.name() == text).ok_or_else(|| Unknown(text.to_owned()))
    }
}

impl FromStr for Choice {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Choice, Unknown> {
        if text == "auto" { Ok(Choice::Auto) } else { text.parse().map(Choice::Forced) }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Auto => f.pad("auto"),
            Choice::Forced(backend) => backend.fmt(f),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, best) = (self.missing.join(", "), Backend::best());
        write!(f, "crypto back end {}: this processor lacks {missing}; use {best}, or auto", self.backend)
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no crypto back end: auto, {}", self.0, Backend::names())
    }
}

impl std::error::Error for Unsupported {}
impl std::error::Error for Unknown {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(*backend));
            assert_eq!(backend.to_string().parse(), Ok(Choice::Forced(*backend)));
        }
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("none".parse::<Choice>(), Err(Unknown("none".to_owned())));
        assert!(Unknown("none".to_owned()).to_string().contains("auto, "));
    }

    #[test]
    fn the_reference_always_runs_and_what_is_chosen_does() {
        assert!(Backend::Reference.missing().is_empty());
        let best = Backend::choose(Choice::Auto).expect("there is always one");
        assert!(best.missing().is_empty());
        for backend in Backend::ALL {
            let chosen = Backend::choose(Choice::Forced(*backend));
            match chosen {
                Ok(chosen) => assert_eq!(chosen, *backend),
                Err(error) => {
                    assert!(!error.missing.is_empty());
                    assert!(error.to_string().contains(backend.name()), "{error}");
                }
            }
        }
    }
}
