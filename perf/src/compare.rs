//! Two runs of one tool beside each other.
//!
//! What two figures may be compared for depends on what else differs between their runs. So runs of different hosts,
//! commits, builds, tools, back ends or configurations are refused, unless the flag that names the difference is given.

pub mod cli;
mod figures;
mod report;
mod summary;

pub use figures::Figure;
pub use report::{Line, Report};
pub use summary::{Difference, Summary, differences};
