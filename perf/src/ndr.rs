//! The rate that one worker carries: without loss, and with the loss that is allowed.

mod classify;
mod search;

pub use classify::{Class, Goal};
pub use search::{Ask, Found, Search};
