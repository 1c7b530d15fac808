//! `crypto.backend`: which back end runs, and why it is this one.

use super::check::Reader;
use drover_crypto::backend::{Backend, Choice};
use std::fmt;

/// The back end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// What the file says.
    pub choice: Choice,
    /// What that is on this processor.
    pub backend: Backend,
}

impl Crypto {
    /// `auto`, on this processor.
    pub fn auto() -> Crypto {
        Crypto { choice: Choice::Auto, backend: Backend::best() }
    }

    /// What `auto` could not have: the fastest back end, and the processor features that it lacks here.
    pub fn fallen_from(&self) -> Option<(Backend, Vec<&'static str>)> {
        let fastest = *Backend::ALL.first()?;
        (self.choice == Choice::Auto && self.backend != fastest).then(|| (fastest, fastest.missing()))
    }

    /// Why it is this one, in words.
    pub fn reason(&self) -> String {
        match (self.choice, self.fallen_from()) {
            (Choice::Forced(_), _) => "as configured".to_owned(),
            (Choice::Auto, None) => "the fastest".to_owned(),
            (Choice::Auto, Some((fastest, missing))) => {
                format!("this processor lacks {} for {fastest}", missing.join(", "))
            }
        }
    }

    pub(super) fn read(table: toml::Table, problems: &mut Vec<super::Problem>) -> Crypto {
        let mut reader = Reader::new("crypto.", table, problems);
        let crypto = read_backend(&mut reader).unwrap_or_else(Crypto::auto);
        reader.finish();
        crypto
    }
}

impl fmt::Display for Crypto {
    /// The back end's name and why it is this one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.backend, self.reason())
    }
}

fn read_backend(reader: &mut Reader<'_>) -> Option<Crypto> {
    let names = || format!("\"auto\", or a back end by name: {}", Backend::names());
    let mend = "leave it out, or write \"auto\": the fastest that the processor can run";
    let text = reader.text("backend", &names(), mend)?;
    let Ok(choice) = text.parse::<Choice>() else {
        reader.problem("backend", format!("{text:?}"), names(), mend);
        return None;
    };
    match Backend::choose(choice) {
        Ok(backend) => Some(Crypto { choice, backend }),
        Err(unsupported) => {
            let runs: Vec<_> = Backend::ALL.iter().filter(|b| b.missing().is_empty()).map(|b| b.name()).collect();
            let allowed = format!("\"auto\", or what this processor can run: {}", runs.join(", "));
            let missing = unsupported.missing.join(", ");
            let mend = format!("this processor lacks {missing}: write \"{}\" or \"auto\"", Backend::best());
            reader.problem("backend", format!("{text:?}"), allowed, mend);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problem};

    fn parse(backend: &str) -> Result<Crypto, Problem> {
        let text =
            format!("[crypto]\nbackend = {backend}\n[control]\nsocket = \"s\"\n[[worker]]\nlisten = \"[::1]:0\"\n");
        Config::parse(&text).map(|config| config.crypto).map_err(|mut problems| {
            assert_eq!(problems.0.len(), 1, "{problems}");
            problems.0.remove(0)
        })
    }

    #[test]
    fn each_back_end_is_had_or_told_why_not() {
        assert_eq!(parse("\"auto\""), Ok(Crypto::auto()));
        for backend in Backend::ALL {
            let missing = backend.missing();
            match parse(&format!("\"{backend}\"")) {
                Ok(crypto) => {
                    assert_eq!(crypto, Crypto { choice: Choice::Forced(*backend), backend: *backend });
                    assert!(missing.is_empty());
                    assert_eq!(crypto.to_string(), format!("{backend} (as configured)"));
                }
                Err(problem) => {
                    assert_eq!((problem.key.as_str(), problem.value), ("crypto.backend", format!("\"{backend}\"")));
                    assert!(
                        !missing.is_empty() && missing.iter().all(|m| problem.mend.contains(m)),
                        "{}",
                        problem.mend
                    );
                    assert!(problem.mend.contains(Backend::best().name()) && !problem.allowed.contains(backend.name()));
                }
            }
        }
    }

    #[test]
    fn what_is_no_back_end_is_told_their_names() {
        for value in ["\"frob\"", "\"\"", "3", "[\"auto\"]"] {
            let problem = parse(value).expect_err("is wrong");
            assert_eq!((problem.key.as_str(), problem.value.as_str()), ("crypto.backend", value));
            assert!(problem.allowed.contains(&Backend::names()) && problem.mend.contains("auto"), "{problem:?}");
        }
    }

    #[test]
    fn auto_says_what_it_could_not_have() {
        let auto = Crypto::auto();
        assert_eq!(auto.fallen_from().is_none(), Backend::ALL[0].missing().is_empty());
        // As on a processor that can run the slowest only.
        let slowest = *Backend::ALL.last().expect("there is one");
        let fallen = Crypto { choice: Choice::Auto, backend: slowest };
        assert_eq!(
            fallen.fallen_from().map(|(fastest, _)| fastest),
            Backend::ALL.first().copied().filter(|f| *f != slowest)
        );
        assert!(fallen.reason().starts_with("this processor lacks ") || Backend::ALL.len() == 1, "{fallen}");
        let forced = Crypto { choice: Choice::Forced(slowest), backend: slowest };
        assert_eq!(forced.fallen_from(), None, "nobody fell back who was told");
    }
}
