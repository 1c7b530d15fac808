//! The stages of a turn: pure functions over a burst and a worker's state (`docs/architecture.md`).
//!
//! ```text
//! transmit   what was sealed for this instant leaves, or is discarded as too late
//! receive    frames → records → opened cells
//! foreign    a foreign peer's records that are no cells go to control
//! relay      opened cells → peeled or layered cells → a queue, another worker, or the terminal
//! cross      what crosses links of this mix to itself arrives at the other end, and is relayed
//! mix        best-effort cells of an interval, permuted
//! watch      peers that are silent: what they owe is counted as lost
//! seal       which slots are due within the horizon; a waiting cell or chaff; sealed into transmit frames
//! ```

pub mod cross;
mod foreign;
pub mod mix;
pub mod receive;
pub mod relay;
pub mod seal;
pub mod transmit;
pub mod watch;
