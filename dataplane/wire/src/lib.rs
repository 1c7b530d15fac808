//! What travels: cells, records and the messages between control and data plane (`docs/wire.md`).
//!
//! No I/O here. Parsers take bytes and return values or errors; they neither allocate nor panic.
#![forbid(unsafe_code)]

pub mod cell;
pub mod control;
pub mod record;
