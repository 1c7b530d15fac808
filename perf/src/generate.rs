//! Fresh cells, sealed under given keys, to any port: a source for other measurements, and its own limits.
//!
//! Without keys it makes its own, and receives what it sends: every record is opened, and must be the cell that was sealed.
//! With keys it sends to whoever has them, on loopback or by an interface that was named, and nowhere else.

mod check;
pub mod cli;
mod keys;
mod out;
mod report;
mod sealer;

pub use check::{Checked, Opener};
pub use keys::{Circuit, KeyFile, LinkKeys};
pub use out::{Out, Plan, Sent};
pub use report::{About, Report};
pub use sealer::Sealer;
